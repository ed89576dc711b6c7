"""How far an explanation can be trusted: one metric, one file, and a panel that shares the passes."""

from contrafact.metrics.deletion import Deletion
from contrafact.metrics.evaluation import Score, evaluate
from contrafact.metrics.infidelity import Infidelity
from contrafact.metrics.panel import Panel

__all__ = ["Deletion", "Infidelity", "Panel", "Score", "evaluate"]
