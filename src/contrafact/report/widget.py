"""Notebook widget of a counterfactual: morph, wipe, difference, single frames. Needs the extra
`contrafact[notebook]`; makes no network requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from contrafact import render
from contrafact.core import Counterfactual, UnsupportedError
from contrafact.report.notebook import strip_traits

try:
    import anywidget
    import traitlets
except ModuleNotFoundError as error:
    raise UnsupportedError(f"the widget needs {error.name}: pip install 'contrafact[notebook]'") from error

SCRIPT = Path(render.__file__).parent / "web" / "dist" / "widget.js"


class StripWidget(anywidget.AnyWidget):
    """Interactive counterfactual, the same control as in the viewer.

    position  the frame shown, 0 to K - 1; fractions lie between frames. It can be set and observed.
    slice     the slice of a volume that is sent to the page; -1 for an image
    """

    _esm = SCRIPT.read_text(encoding="utf-8")
    about = traitlets.Dict().tag(sync=True)
    shape: Any = traitlets.List().tag(sync=True)
    frames = traitlets.Bytes().tag(sync=True)
    reconstruction = traitlets.Bytes().tag(sync=True)
    window: Any = traitlets.List().tag(sync=True)
    aspect = traitlets.Float(1.0).tag(sync=True)
    position = traitlets.Float(0.0).tag(sync=True)
    slice = traitlets.Int(-1).tag(sync=True)
    slices = traitlets.Int(0).tag(sync=True)

    def __init__(
        self, strip: Counterfactual, *, window: tuple[float, float] | None = None, **more: Any
    ) -> None:
        """window  (low, high) shown as black and white; None: minimum and maximum of the image"""
        self._strip, self._window = strip, window
        volume = len(strip.grid.shape) == 3
        at = strip.grid.shape[0] // 2 if volume else -1
        last = len(strip.requested) - 1
        first = {0: last, last: 0}.get(strip.origin, strip.origin)
        super().__init__(
            **strip_traits(strip, window, at if volume else None),
            slices=strip.grid.shape[0] if volume else 0,
            slice=at,
            position=float(first),
            **more,
        )
        self.observe(self._turn, names="slice")

    @traitlets.validate("position")
    def _in_the_strip(self, proposal: Any) -> float:
        return float(min(max(proposal["value"], 0.0), len(self._strip.requested) - 1.0))

    def _turn(self, change: Any) -> None:
        at = min(max(int(change["new"]), 0), max(self.slices - 1, 0))
        if self.slices:
            found = strip_traits(self._strip, self._window, at)
            with self.hold_sync():
                self.frames, self.reconstruction = found["frames"], found["reconstruction"]
