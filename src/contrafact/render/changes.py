"""What a counterfactual did, in the few facts by which the cases of a run are counted and filtered."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from contrafact.render.map_display import display_sign, finding_of
from contrafact.render.outcome import CONFIRMED, NOT_CONFIRMED, flips, last_frame, probability_of, second_words

MOST = 0.5  # share of a change that is most of it


class Change(NamedTuple):
    """A counterfactual of a case.

    row          number of its row in the run
    flipped      whether the prediction flips; None without a decision, or where nothing had to be changed
    confirmed    whether a second model confirms the flip; None where it was not asked or there is no flip
    towards      1: more of `finding` at the end, -1: less, 0: as much
    probability  of `finding` on the image itself, 0 to 1; None for targets without probability
    inside       share of the change in the anatomy that a reader marked, 0 to 1; None without a mask
    """

    row: int
    flipped: bool | None
    confirmed: bool | None
    towards: int
    finding: str
    probability: float | None
    inside: float | None

    @property
    def outside(self) -> bool | None:
        """Whether most of the change lies outside the anatomy; None without a mask."""
        return None if self.inside is None else self.inside < 1 - MOST


def change_of(number: int, row: Mapping[str, Any], inside: float | None = None) -> Change:
    """Return the facts of a counterfactual's row; `inside` for a row that does not tell it."""
    target, scores, sign = str(row["record"]["target"]), row["scores"], display_sign(row)
    first, last = float(scores[int(row["origin"])]), float(scores[last_frame(row)])
    share, flipped, gap = probability_of(target, first), flips(row), sign * (last - first)
    said = second_words(row) if flipped else ""
    return Change(
        row=number,
        flipped=None if row["outcome"] == "already" else flipped,
        confirmed={CONFIRMED: True, NOT_CONFIRMED: False}.get(said),
        towards=(gap > 0) - (gap < 0),
        finding=finding_of(row),
        probability=share if share is None or sign > 0 else 1 - share,
        inside=_share(row.get("change_inside", inside)),
    )


def best_change(changes: Iterable[Change]) -> int | None:
    """Return the row of the counterfactual that stands for a case: a flip that is confirmed, else a flip, else
    the first one that changes anything; None without one."""
    moving = [change for change in changes if change.towards]
    best = max(moving, key=lambda c: (bool(c.flipped), bool(c.confirmed), -c.row), default=None)
    return None if best is None else best.row


def _share(value: Any) -> float | None:
    whole = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if whole and 0 <= value <= 1 else None
