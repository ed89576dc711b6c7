"""How a result is displayed in a notebook, and plotted.

Core cannot draw: `contrafact/__init__.py` sets the modules that can, and they are imported on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_module = _plotter = ""


def draw_with(module: str) -> None:
    """Set the module whose functions `image`, `heatmap`, `strip`, `record` and `card` return HTML."""
    global _module
    _module = module


def plot_with(module: str) -> None:
    """Set the module whose functions `heatmap` and `strip` return matplotlib axes or figures."""
    global _plotter
    _plotter = module


def plotted(kind: str, result: Any, **options: Any) -> Any:
    """Return matplotlib axes or a figure of a result."""
    return getattr(import_module(_plotter), kind)(result, **options)


def html_of(kind: str, result: Any) -> str | None:
    """Return HTML of a result; None (the notebook then shows its `repr`) if no module is set."""
    return str(getattr(import_module(_module), kind)(result)) if _module else None
