"""Contrafact explains what a deep network saw in a medical image.

Where (heatmaps), how (the same image changed until the model changes its mind), and how far to
trust it (the model's measured answer on every frame, the drift of the reconstruction).
Importing this package does not import torch: names load when they are used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from contrafact.core.showing import draw_with, plot_with

if TYPE_CHECKING:
    from contrafact.attribution import GradCAM
    from contrafact.core import (
        EmptyMapWarning,
        Grid,
        Heatmap,
        Image,
        InputRangeWarning,
        Strip,
        read_result,
    )
    from contrafact.face import explain, fit, load_bundle, load_predictor
    from contrafact.io import read_image
    from contrafact.judging import evaluate
    from contrafact.model import Preprocessing
    from contrafact.studying import study

_HOMES = {
    "EmptyMapWarning": "contrafact.core",
    "InputRangeWarning": "contrafact.core",
    "Preprocessing": "contrafact.model",
    "read_result": "contrafact.core",
    "Grid": "contrafact.core",
    "Heatmap": "contrafact.core",
    "Image": "contrafact.core",
    "Strip": "contrafact.core",
    "GradCAM": "contrafact.attribution",
    "evaluate": "contrafact.judging",
    "explain": "contrafact.face",
    "fit": "contrafact.face",
    "load_bundle": "contrafact.face",
    "load_predictor": "contrafact.face",
    "read_image": "contrafact.io",
    "study": "contrafact.studying",
}
__all__ = [
    "EmptyMapWarning",
    "GradCAM",
    "Grid",
    "Heatmap",
    "Image",
    "InputRangeWarning",
    "Preprocessing",
    "Strip",
    "evaluate",
    "explain",
    "fit",
    "load_bundle",
    "load_predictor",
    "read_image",
    "read_result",
    "study",
]

draw_with("contrafact.views.notebook")
plot_with("contrafact.views.plotting")


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'contrafact' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
