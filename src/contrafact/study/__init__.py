"""Many methods on many images: what is asked, and processes that can be stopped."""

from contrafact.study.config import ModelChoice, StudyConfig, read_study
from contrafact.study.engine import ENGINES, Failure, Outcome, Worker, run_cells, solved
from contrafact.study.torchesegeta import convert_torchesegeta
from contrafact.study.underway import Underway

__all__ = [
    "ENGINES",
    "Failure",
    "ModelChoice",
    "Outcome",
    "StudyConfig",
    "Underway",
    "Worker",
    "convert_torchesegeta",
    "read_study",
    "run_cells",
    "solved",
]
