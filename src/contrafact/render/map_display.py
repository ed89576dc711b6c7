"""How a heatmap is coloured: on which scale, what orange means, and what must be said of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contrafact.render.pixels import signed_scale

Row = Mapping[str, Any]
ScaleKey = tuple[str, str, str]
FAINT = 0.15  # of the shared scale: a map that stays below is shown on its own
CLIPPED = 0.05  # of the pixels at the end of the scale; on its own scale a map has 0.005
ALIKE = 1e-6  # of the largest value: below it all values are the same


@dataclass(frozen=True, slots=True)
class MapScale:
    """The value that is drawn in full colour.

    shared  of all maps of a model, kind of target and method; seen of there maps decided it
    drawn   with which this map is drawn: `shared`, or its own where the map is faint
    """

    shared: float
    drawn: float
    seen: int = 0
    there: int = 0

    @property
    def factor(self) -> float:
        """By how much the colours are stronger than on the shared scale: 1 where it is that scale."""
        return self.shared / self.drawn

    @property
    def words(self) -> str:
        """`×48` and what it means; empty on the shared scale."""
        if self.drawn == self.shared:
            return ""
        digits = 0 if self.factor >= 9.95 else 1
        return (
            f"×{self.factor:.{digits}f}: a faint map on its own scale; the shared scale is ±{self.shared:.3g}"
        )


def scale_key(row: Row) -> ScaleKey:
    """What maps must share to be compared on one scale: model, kind of target, method."""
    record = row["record"]
    return str(record["model"]), str(record["target"]).split(":")[0], str(record["method"])


def scale_for(values: NDArray[Any], shared: float, seen: int = 0, there: int = 0) -> MapScale:
    """The scale of one map beside others; a map whose 99.5th percentile is under 15 % of the shared scale gets
    its own."""
    own = signed_scale([values])
    return MapScale(shared, own if 0 < own < FAINT * shared else shared, seen, there)


def map_flaw(values: NDArray[Any], scale: float) -> str:
    """A sentence where a map shows no places: it is empty, constant, or most of it lies beyond the scale."""
    size = np.abs(values)
    most = float(size.max(initial=0.0))
    if most == 0:
        return "The map is zero everywhere: it shows no evidence."
    if float(np.ptp(values)) <= ALIKE * most:
        return f"The map has the same value everywhere ({float(values.flat[0]):.3g}): it points to no place."
    share = float((size > scale * (1 + ALIKE)).mean())
    if share > CLIPPED:
        return f"Saturated: {100 * share:.0f} % of the map is beyond the end of the scale (up to {most:.3g})."
    return ""


def display_sign(row: Row) -> int:
    """1, or -1 where orange must be turned round: of two classes that exclude each other, orange is always
    evidence for the last one. Stored values are never changed."""
    first = re.match(r"(class|margin|probability):0\b", str(row["record"]["target"]))
    return -1 if first and len(_exclusive(row)) == 2 else 1


def colour_names(row: Row) -> tuple[str, str]:
    """What orange and blue mean, in words: ("for narrow joint", "for wide joint"), or, of more classes and of
    other targets, ("for NAME", "against NAME")."""
    classes = _exclusive(row)
    if len(classes) == 2 and _of_classes(row):
        return f"for {classes[1]}", f"for {classes[0]}"
    return f"for {finding_of(row)}", f"against {finding_of(row)}"


def finding_of(row: Row) -> str:
    """What orange, and a higher score times `display_sign`, is evidence for."""
    classes = _exclusive(row)
    if len(classes) == 2 and _of_classes(row):
        return classes[1]
    return str(row.get("target_name") or row["record"]["target"])


def _of_classes(row: Row) -> bool:
    return str(row["record"]["target"]).split(":")[0] in ("class", "margin", "probability")


def _exclusive(row: Row) -> list[str]:
    """Names of classes of which exactly one is true; empty where the run does not say so."""
    names = row.get("exclusive_classes")
    return [str(name) for name in names] if isinstance(names, list) else []
