"""Contrafact explains what a deep network saw in a medical image.

Where (heatmaps), how (the same image changed until the model changes its mind), and how far to
trust it (the model's measured answer on every frame, the drift of the reconstruction).
Importing this package does not import torch: names load when they are used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from contrafact.core.showing import draw_with

if TYPE_CHECKING:
    from contrafact.attribution import GradCAM
    from contrafact.core import Grid, Heatmap, Image, Strip
    from contrafact.face import explain, fit, load_bundle, load_predictor
    from contrafact.io import read_image
    from contrafact.judging import evaluate
    from contrafact.studying import study

_HOMES = {
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
    "GradCAM",
    "Grid",
    "Heatmap",
    "Image",
    "Strip",
    "evaluate",
    "explain",
    "fit",
    "load_bundle",
    "load_predictor",
    "read_image",
    "study",
]

draw_with("contrafact.views.notebook")


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'contrafact' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
