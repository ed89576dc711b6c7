"""Display of heatmaps: colour scale, meaning of orange and blue, and notes on degenerate maps."""

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
FAINT = 0.15  # share of the cohort scale; a fainter map has a per-image scale
CLIPPED = 0.05  # share of pixels beyond the scale; on its per-image scale a map has 0.005
ALIKE = 1e-6  # share of the largest value; smaller differences count as equal


@dataclass(frozen=True, slots=True)
class MapScale:
    """The value of full colour.

    shared  the cohort scale: one value for all maps of a model, kind of target and method
    drawn   the scale of this map: `shared`, or the per-image scale of a faint map
    seen    number of maps from which the cohort scale is estimated
    there   number of maps it applies to
    """

    shared: float
    drawn: float
    seen: int = 0
    there: int = 0

    @property
    def factor(self) -> float:
        """Return the factor by which colours are stronger than on the cohort scale; 1 on that scale."""
        return self.shared / self.drawn

    @property
    def words(self) -> str:
        """Return `×48` with its meaning; empty on the cohort scale."""
        if self.drawn == self.shared:
            return ""
        digits = 0 if self.factor >= 9.95 else 1
        return (
            f"×{self.factor:.{digits}f}: per-image scale of a faint map; the cohort scale is ±{self.shared:.3g}"
        )


def scale_key(row: Row) -> ScaleKey:
    """Return what maps on one scale have in common: model, kind of target, method."""
    record = row["record"]
    return str(record["model"]), str(record["target"]).split(":")[0], str(record["method"])


def scale_for(values: NDArray[Any], shared: float, seen: int = 0, there: int = 0) -> MapScale:
    """Return the scale of one map. A map whose 99.5th percentile is below 15 % of the cohort scale gets a
    per-image scale."""
    own = signed_scale([values])
    return MapScale(shared, own if 0 < own < FAINT * shared else shared, seen, there)


def map_flaw(values: NDArray[Any], scale: float) -> str:
    """Describe a degenerate map: empty, constant or saturated; else return an empty string."""
    size = np.abs(values)
    most = float(size.max(initial=0.0))
    if most == 0:
        return "The map is zero everywhere: it shows no evidence."
    if float(np.ptp(values)) <= ALIKE * most:
        return f"The map has the same value everywhere ({float(values.flat[0]):.3g}): it localises nothing."
    share = float((size > scale * (1 + ALIKE)).mean())
    if share > CLIPPED:
        return f"Saturated: {100 * share:.0f} % of the map is beyond the end of the scale (up to {most:.3g})."
    return ""


def display_sign(row: Row) -> int:
    """Return 1, or -1 where the colours are swapped: of two exclusive classes, orange is always evidence for
    the last. Stored values never change."""
    first = re.match(r"(class|margin|probability):0\b", str(row["record"]["target"]))
    return -1 if first and len(_exclusive(row)) == 2 else 1


def colour_names(row: Row) -> tuple[str, str]:
    """Return the meaning of orange and blue: ("for narrow joint", "for wide joint") for two exclusive classes,
    else ("for NAME", "against NAME")."""
    classes = _exclusive(row)
    if len(classes) == 2 and _of_classes(row):
        return f"for {classes[1]}", f"for {classes[0]}"
    return f"for {finding_of(row)}", f"against {finding_of(row)}"


def finding_of(row: Row) -> str:
    """Return the finding that orange is evidence for; a higher score times `display_sign` means more of it."""
    classes = _exclusive(row)
    if len(classes) == 2 and _of_classes(row):
        return classes[1]
    return str(row.get("target_name") or row["record"]["target"])


def _of_classes(row: Row) -> bool:
    return str(row["record"]["target"]).split(":")[0] in ("class", "margin", "probability")


def _exclusive(row: Row) -> list[str]:
    """Return the names of mutually exclusive classes; empty where the run does not declare them exclusive."""
    names = row.get("exclusive_classes")
    return [str(name) for name in names] if isinstance(names, list) else []
