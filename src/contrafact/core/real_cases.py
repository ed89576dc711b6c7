"""Real cases on the other side of a decision, beside a heatmap and a counterfactual."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contrafact.core.image import Image


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class RealCase:
    """A real image that the model predicts on the other side of the decision.

    image       as it was read
    label       its label where one is known, else empty
    score       the model's score, in units of the target
    answer      the model's prediction as text
    distance    1 - cosine of the standardised features: 0 the same direction, 1 unrelated, 2 opposite
    nearer      share of the cases on the explained image's own side that lie nearer; None if there is none
    other_rank  its place by the other network's features among the same cases, from 1; None without one
    """

    image: Image
    label: str
    score: float
    answer: str
    distance: float
    nearer: float | None
    other_rank: int | None

    @property
    def file(self) -> str:
        """Name of its file."""
        return Path(self.image.source).name


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class NearestCases:
    """The real cases nearest to an image on the other side of its decision.

    cases     nearest by the features of the model, nearest first
    by_other  nearest by the features of an independent network; empty without one
    target    whose decision it is; layer, other_layer: where the features come from
    across    number of cases on the other side; same: on the image's own side
    left_out  number of cases that are the image itself, or of the same patient
    """

    cases: tuple[RealCase, ...]
    by_other: tuple[RealCase, ...]
    target: str
    layer: str
    other_layer: str
    across: int
    same: int
    left_out: int

    @property
    def overlap(self) -> int | None:
        """Number of cases that both networks name; None without a second network or a case."""
        if not self.other_layer or not self.cases:
            return None
        return len({one.image.digest for one in self.cases} & {one.image.digest for one in self.by_other})

    def words(self, name: str = "") -> str:
        """Return what the cases were chosen from, by what, and whether another network agrees.

        name    of the target, where it has one
        """
        decision = f"the decision on {name or self.target}"
        left_out = f"; {self.left_out} of the same patient left out" if self.left_out else ""
        chosen = f"{self.across} of {self.across + self.same} cases{left_out}"
        if not self.cases:
            return f"No real case lies on the other side of {decision} ({chosen})."
        return (
            f"Real images that the model predicts on the other side of {decision} ({chosen}), nearest by its "
            f"features ({self.layer}). {self._other_words()}"
        )

    def _other_words(self) -> str:
        if self.overlap is None:
            return "There is no independent network whose features could confirm them."
        count = len(self.cases)
        return (
            f"By the features of an independent network, {self.overlap} of these {count} are among the {count} "
            f"nearest; by chance {count * count / self.across:.2f} would be."
        )

    def stored(self, name: str = "") -> dict[str, Any]:
        """Return what a run stores of them beside the images, as JSON; `name` as in `words`."""
        rows = [
            {
                "name": one.file,
                "label": one.label,
                "answer": one.answer,
                "distance": one.distance,
                "nearer": one.nearer,
                "other_rank": one.other_rank,
                "window": list(one.image.window),
            }
            for one in self.cases
        ]
        return {"words": self.words(name), "cases": rows}
