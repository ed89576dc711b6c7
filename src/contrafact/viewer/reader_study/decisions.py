"""What readers decided: figures of each arm, changes between arms, over-reliance and under-reliance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contrafact.core.power import wilson

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
FIGURES = ("sensitivity", "specificity", "accuracy", "AUC")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Decisions:
    """The answers of a study of decisions; NaN where there is none.

    truth, predicted   (C,) whether an image shows the finding, and whether the model predicts it
    yes                (A, R, C) 1 where a reader decided for the finding in an arm, else 0
    rating             (A, R, C) confidence signed by the decision: 0.5 (unsure) to 4.5 (certain), negative: no
    seconds            (A, R, C)
    """

    arms: tuple[str, ...]
    readers: tuple[str, ...]
    items: tuple[str, ...]
    truth: Flags
    predicted: Flags
    yes: Floats
    rating: Floats
    seconds: Floats

    @property
    def correct(self) -> Floats:
        """(A, R, C): 1 where the decision is right, else 0"""
        return np.where(np.isnan(self.yes), np.nan, self.yes == self.truth)

    @property
    def follows(self) -> Floats:
        """(A, R, C): 1 where the decision is the model's prediction, else 0"""
        return np.where(np.isnan(self.yes), np.nan, self.yes == self.predicted)

    @property
    def confidence_in_model(self) -> Floats:
        """(A, R, C): the rating, positive where the decision is the model's prediction"""
        return np.where(self.predicted, self.rating, -self.rating)


def decisions_of(lines: Sequence[Mapping[str, Any]], arms: Sequence[str]) -> Decisions:
    """Return the answers of the lines of `Answers.lines`; other tasks are passed over."""
    lines = [line for line in lines if line["task"] == "decide"]
    readers, items = (tuple(dict.fromkeys(line[name] for line in lines)) for name in ("reader", "item"))
    at_reader, at_item = ({name: k for k, name in enumerate(names)} for names in (readers, items))
    shape = (len(arms), len(readers), len(items))
    yes, rating, seconds = (np.full(shape, np.nan) for _ in range(3))
    truth, predicted = (np.zeros(len(items), dtype=bool) for _ in range(2))
    for line in lines:
        item = at_item[line["item"]]
        truth[item], predicted[item] = line["truth"] == "yes", line["predicted"] == "yes"
        if line["answer"] is None or line["arm"] not in arms:
            continue
        place = (list(arms).index(line["arm"]), at_reader[line["reader"]], item)
        yes[place] = line["answer"] == "yes"
        rating[place] = (line["confidence"] - 0.5) * (1 if yes[place] else -1)
        seconds[place] = np.nan if line["seconds"] is None else line["seconds"]
    return Decisions(
        arms=tuple(arms),
        readers=readers,
        items=items,
        truth=truth,
        predicted=predicted,
        yes=yes,
        rating=rating,
        seconds=seconds,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """How often each reader (B, R) and each case (B, C) counts in each of B resamples."""

    readers: Floats
    cases: Floats


def once(found: Decisions) -> Weights:
    """Return the weights of the sample itself."""
    return Weights(np.ones((1, len(found.readers))), np.ones((1, len(found.items))))


def figure(found: Decisions, name: str, arm: int, weights: Weights) -> Floats:
    """Return a figure of an arm (B,): the mean over readers of the figure of each; NaN without answers."""
    if name == "AUC":
        values = np.stack([area(r, found.truth, weights.cases) for r in found.rating[arm]], axis=1)
    else:
        among = {"sensitivity": found.truth, "specificity": ~found.truth}.get(name, np.ones_like(found.truth))
        values = shares(found.correct[arm], weights.cases * among)
    return over_readers(values, weights.readers)


def shares(values: Floats, weights: Floats) -> Floats:
    """Return the weighted mean of each reader's values (R, C) with weights (B, C), as (B, R)."""
    there = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(weights @ np.where(there, values, 0).T / (weights @ there.T.astype(float)))


def area(rating: Floats, truth: Flags, weights: Floats) -> Floats:
    """Return the area under the ROC curve of ratings (C,) with weights of the cases (B, C): the share of pairs
    of an image with and one without the finding that are rated in the right order, ties half."""
    there = ~np.isnan(rating)
    ill, well = there & truth, there & ~truth
    order = placements(rating[ill], rating[well])
    first, second = weights[:, ill], weights[:, well]
    with np.errstate(invalid="ignore"):
        return np.asarray(((first @ order) * second).sum(axis=1) / (first.sum(axis=1) * second.sum(axis=1)))


def roc(rating: Floats, truth: Flags) -> list[tuple[float, float]]:
    """Return the ROC curve of the ratings (R, C) of all readers together, from (0, 0) to (1, 1): for each
    rating, from the highest, the shares of images without and with the finding that are rated as high or more.
    """
    there = ~np.isnan(rating)
    ill, well = (rating[there & side] for side in (truth, ~truth))
    if not len(ill) or not len(well):
        return []
    cuts = np.unique(rating[there])[::-1]
    return [(0.0, 0.0)] + [(float((well >= cut).mean()), float((ill >= cut).mean())) for cut in cuts]


def placements(ill: Floats, well: Floats) -> Floats:
    """Return 1 where an image with the finding is rated above one without, 0.5 where equal, else 0 (P, N)."""
    return np.asarray((ill[:, None] > well) + 0.5 * (ill[:, None] == well), dtype=float)


def over_readers(values: Floats, weights: Floats) -> Floats:
    """Return the weighted mean over readers of (B, R), without readers that have no value."""
    there = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.asarray((np.where(there, values, 0) * weights).sum(1) / (there * weights).sum(1))


def changes(found: Decisions, first: int, second: int) -> dict[str, Any]:
    """Return how decisions differ between two arms, of the same reader for the same image.

    gives  pairs, changed, towards (wrong, then right), away (right, then wrong), p (exact McNemar)
    """
    before, after = found.correct[first], found.correct[second]
    both = ~np.isnan(before) & ~np.isnan(after)
    towards, away = (int((both & (before == k) & (after == 1 - k)).sum()) for k in (0, 1))
    return {
        "pairs": int(both.sum()),
        "changed": towards + away,
        "towards": towards,
        "away": away,
        "p": mcnemar(towards, away),
    }


def mcnemar(gained: int, lost: int) -> float | None:
    """Return p of the exact McNemar test, two-sided; None without a pair that differs.

    Source: McNemar 1947; exact by the binomial distribution.
    """
    differ = gained + lost
    if not differ:
        return None
    tail = sum(math.comb(differ, k) for k in range(min(gained, lost) + 1))
    return min(1.0, 2 * tail / 2**differ)


def reliance(found: Decisions, first: int, second: int) -> dict[str, dict[str, Any]]:
    """Return how often readers follow the model in the second arm against their own decision in the first.

    over   of wrong predictions where the reader was right in the first arm: followed, so wrong in the second
    under  of right predictions where the reader was wrong in the first arm: not followed, still wrong
    gives  count, of, share, low, high (Wilson's interval)
    """
    before, after, right = found.correct[first], found.correct[second], found.truth == found.predicted
    asked = {"over": (before == 1) & ~right, "under": (before == 0) & right}
    table = {}
    for name, among in asked.items():
        among = among & ~np.isnan(after)
        count, of = int((among & (after == 0)).sum()), int(among.sum())
        low, high = wilson(count, of)
        table[name] = {"count": count, "of": of, "share": count / of if of else None, "low": low, "high": high}
    return table


def sides(found: Decisions) -> dict[str, Flags]:
    """Return the images (C,) by what the prediction is, as far as there are."""
    kinds = {
        "true positives": found.truth & found.predicted,
        "false positives": ~found.truth & found.predicted,
        "true negatives": ~found.truth & ~found.predicted,
        "false negatives": found.truth & ~found.predicted,
    }
    return {name: among for name, among in kinds.items() if among.any()}
