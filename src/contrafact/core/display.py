"""How a result shows itself as the last line of a notebook's cell.

Core draws nothing. The package's face names, once, the module that does; it is loaded when a notebook asks.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_module = _plotter = ""


def draw_with(module: str) -> None:
    """Name the module whose functions `image`, `heatmap`, `strip`, `record` and `card` give HTML."""
    global _module
    _module = module


def plot_with(module: str) -> None:
    """Name the module whose functions `heatmap` and `strip` give matplotlib axes or figures."""
    global _plotter
    _plotter = module


def plotted(kind: str, thing: Any, **options: Any) -> Any:
    """A result as matplotlib draws it; the module is loaded when it is asked for."""
    return getattr(import_module(_plotter), kind)(thing, **options)


def drawn(kind: str, thing: Any) -> str | None:
    """HTML of a result; None, for which a notebook shows its text, where nobody draws."""
    return str(getattr(import_module(_module), kind)(thing)) if _module else None
