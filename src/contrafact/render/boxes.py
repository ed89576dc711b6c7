"""A box that a reader draws on an image: what alone may change, or what must not, in pixels of the image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contrafact.core import Grid, InputError
from contrafact.render.figures import turned

MODES = {"only": "Change only here", "keep": "Leave unchanged"}
Span = tuple[int, int]  # first and last, both inside


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A box in the plane in which an image is shown, of a volume over a range of slices.

    mode           only: nothing outside the box may change; keep: nothing inside it
    columns, rows  of the image as shown: of a volume, of its upright slices along the first axis
    slices         of a volume; None: an image
    """

    mode: str
    columns: Span
    rows: Span
    slices: Span | None = None

    def __post_init__(self) -> None:
        if self.mode not in tuple(MODES):  # a tuple also takes what cannot be hashed
            raise InputError(f"expected {' or '.join(MODES)} as the mode of a box; got {self.mode!r:.20}")
        for name, span in self._spans().items():
            whole = len(span) == 2 and all(type(value) is int for value in span)
            if not (whole and 0 <= span[0] <= span[1]):
                raise InputError(f"expected the first and the last of the {name} of a box; got {span!r:.40}")

    def _spans(self) -> dict[str, Span]:
        plane = {"rows": self.rows, "columns": self.columns}
        return plane if self.slices is None else {"slices": self.slices, **plane}

    @staticmethod
    def read(said: Any) -> Box:
        """Return a box from JSON. Raise InputError for anything else."""
        spans = ("columns", "rows", "slices")
        given = (
            {name: said[name] for name in spans if said.get(name) is not None} if isinstance(said, dict) else {}
        )
        if not {"columns", "rows"} <= set(given) or not all(isinstance(span, list) for span in given.values()):
            raise InputError("expected a box with its mode, columns and rows")
        return Box(mode=said.get("mode"), **{name: tuple(span) for name, span in given.items()})

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise InputError unless the box lies in an image of this size, that of `shown_shape`."""
        spans = self._spans()
        if len(spans) != len(shape):
            raise InputError("expected a box with slices on a volume, and without on an image")
        for (name, span), size in zip(spans.items(), shape, strict=True):
            if span[1] >= size:
                raise InputError(f"expected {name} from 0 to {size - 1}; got {span[1]}")

    def mask(self, grid: Grid) -> NDArray[np.bool_]:
        """Return where an image on `grid` may change, bool (*S). Raise InputError where that is nowhere."""
        self.check(shown_shape(grid))
        inside = np.zeros((*grid.shape[:-2], math.prod(grid.shape[-2:])), dtype=bool)
        numbers = np.arange(inside.shape[-1]).reshape(grid.shape[-2:])
        if len(grid.shape) == 3:
            numbers = turned(numbers, grid, 0, grid.spacing_mm[1:])[0]
        here = numbers[self.rows[0] : self.rows[1] + 1, self.columns[0] : self.columns[1] + 1].ravel()
        if self.slices is None:
            inside[here] = True
        else:
            inside[self.slices[0] : self.slices[1] + 1, here] = True
        inside = inside.reshape(grid.shape)
        found = inside if self.mode == "only" else ~inside
        if not found.any():
            raise InputError(
                "expected a box that leaves a part of the image free to change; got the whole image"
            )
        return found

    def stored(self) -> dict[str, Any]:
        """Return the box as JSON, for a row of a run."""
        return {"mode": self.mode, "slices": None, **{name: list(span) for name, span in self._spans().items()}}

    def words(self) -> str:
        """Return the box as text."""
        columns, rows = ("{} to {}".format(*span) for span in (self.columns, self.rows))
        deep = "" if self.slices is None else f", slices {self.slices[0] + 1} to {self.slices[1] + 1}"
        return f"{MODES[self.mode]}: columns {columns}, rows {rows}{deep}"


def shown_shape(grid: Grid) -> tuple[int, ...]:
    """Return the size of an image as shown: (height, width), or of a volume (slices, height, width)."""
    if len(grid.shape) == 2:
        return grid.shape
    plane, _ = turned(np.empty(grid.shape[1:], dtype=bool), grid, 0, grid.spacing_mm[1:])
    return (grid.shape[0], *plane.shape)


def box_about(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the box within which a counterfactual was requested, with its words; None where there was none.
    Raise InputError where the row is damaged."""
    said = row.get("box")
    if said is None:
        return None
    box = Box.read(said)
    held = " Every pixel that had to stay is exactly that of the original, in every frame."
    return {**box.stored(), "words": f"{box.words()}." + (held if said.get("exact") is True else "")}
