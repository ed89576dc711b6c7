"""Model formats, one a file: from what lies on disk to a network and what its format states of it."""

from contrafact.models.formats.description import Description
from contrafact.models.formats.onnx_graph import OnnxGraph
from contrafact.models.formats.program import Program
from contrafact.models.formats.script import Script

__all__ = ["Description", "OnnxGraph", "Program", "Script"]
