"""Many readers, many cases: intervals that hold for other readers and other images than those of the study."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from contrafact.core.power import wilson
from contrafact.viewer.reader_study.decisions import (
    Decisions,
    Flags,
    Floats,
    Weights,
    area,
    figure,
    once,
    placements,
)

RESAMPLES = 2000


def resampled(found: Decisions, rng: np.random.Generator, *, count: int = RESAMPLES) -> Weights:
    """Return resamples of readers and of images, both with replacement; images with and without the finding
    apart, so that both are in every resample. A single reader is always there."""
    readers, cases = len(found.readers), len(found.items)
    drawn = rng.multinomial(readers, np.full(readers, 1 / readers), size=count).astype(float)
    weights = np.zeros((count, cases))
    for side in (found.truth, ~found.truth):
        size = int(side.sum())
        if size:
            weights[:, side] = rng.multinomial(size, np.full(size, 1 / size), size=count)
    return Weights(drawn, weights)


def interval(values: Floats) -> tuple[float | None, float | None]:
    """Return the percentile interval, 95 %, of a resampled figure; None where fewer than half of them have a
    value."""
    values = values[np.isfinite(values)]
    if len(values) < RESAMPLES / 2:
        return None, None
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def with_interval(found: Decisions, name: str, arm: int, weights: Weights) -> dict[str, float | None]:
    """Return a figure of an arm as value, low and high."""
    value = float(figure(found, name, arm, once(found))[0])
    kinds = int(found.truth.sum()), int((~found.truth).sum())
    count = {"sensitivity": kinds[0], "specificity": kinds[1], "accuracy": sum(kinds)}.get(name, min(kinds))
    return told(value, figure(found, name, arm, weights), count)


def told(value: float, values: Floats, count: int | None = None) -> dict[str, float | None]:
    """Return a figure with the interval of its resamples.

    count  of a share, the number of its images: at 0 and 1, where every resample is alike, the interval is
           Wilson's of that number (an AUC has that of the smaller group)
    """
    low, high = interval(values)
    if count and low is not None and value in (0.0, 1.0):
        low, high = wilson(round(value * count), count)
    return {"value": value if np.isfinite(value) else None, "low": low, "high": high}


def difference(found: Decisions, name: str, arms: tuple[int, int], weights: Weights) -> dict[str, float | None]:
    """Return a figure of the second arm minus that of the first as value, low and high, same resamples."""
    first, second = (figure(found, name, arm, once(found))[0] for arm in arms)
    both = [figure(found, name, arm, weights) for arm in arms]
    return told(float(second - first), both[1] - both[0])


def whole(found: Decisions) -> Decisions | None:
    """Return the part of the study in which every reader has decided on every image in every arm: readers who
    have finished; None where fewer than two have, or with fewer than two images of a kind or two arms."""
    there = ~np.isnan(found.yes)
    done = np.atleast_1d(there.all(axis=(0, 2)))
    kinds = min(int(found.truth.sum()), int((~found.truth).sum()))
    if done.sum() < 2 or len(found.arms) < 2 or kinds < 2:
        return None
    return Decisions(
        arms=found.arms,
        readers=tuple(itertools.compress(found.readers, done)),
        items=found.items,
        truth=found.truth,
        predicted=found.predicted,
        yes=found.yes[:, done],
        rating=found.rating[:, done],
        seconds=found.seconds[:, done],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ObuchowskiRockette:
    """Analysis of variance of figures of readers in arms (A, R), whose errors are correlated over images.

    arms, readers   their numbers
    treatment       mean square of the arms; interaction: of arms by readers
    cov1, cov2, cov3   covariance of two figures of one reader in two arms; of two readers in one arm; of two
                    readers in two arms
    """

    arms: int
    readers: int
    treatment: float
    interaction: float
    cov1: float
    cov2: float
    cov3: float

    @property
    def error(self) -> float:
        """Mean square against which the arms are tested."""
        return self.interaction + max(self.readers * (self.cov2 - self.cov3), 0.0)

    @property
    def f(self) -> float | None:
        return self.treatment / self.error if self.error > 0 else None

    @property
    def freedom(self) -> float:
        """Denominator degrees of freedom (Hillis 2007); infinite where the interaction is 0."""
        if self.interaction <= 0:
            return float("inf")
        return self.error**2 / (self.interaction**2 / ((self.arms - 1) * (self.readers - 1)))

    @property
    def p(self) -> float | None:
        """p of "all arms are alike"."""
        from scipy.stats import chi2, f  # slow to import

        if self.f is None:
            return None
        if not np.isfinite(self.freedom):
            return float(chi2.sf((self.arms - 1) * self.f, self.arms - 1))
        return float(f.sf(self.f, self.arms - 1, self.freedom))

    def of_difference(self, value: float) -> dict[str, float | None]:
        """Return the interval, 95 %, and p of the difference of two arms."""
        from scipy.stats import t  # slow to import

        spread = float(np.sqrt(2 * self.error / self.readers))
        if spread == 0:
            return {"value": value, "low": None, "high": None, "p": None}
        freedom = min(self.freedom, 1e9)
        half = float(t.ppf(0.975, freedom)) * spread
        p = float(2 * t.sf(abs(value) / spread, freedom))
        return {"value": value, "low": value - half, "high": value + half, "p": p}


def obuchowski_rockette(figures: Floats, without: Floats) -> ObuchowskiRockette:
    """Return the analysis of figures (A, R), with the covariances of the jackknife.

    without  (K, A, R): the same figures without image 1, 2, …, K

    Source: Obuchowski and Rockette 1995; degrees of freedom of Hillis 2007. Readers and images are both random.
    """
    arms, readers = figures.shape
    rows, columns, mean = figures.mean(1, keepdims=True), figures.mean(0, keepdims=True), figures.mean()
    treatment = readers * ((rows - mean) ** 2).sum() / (arms - 1)
    interaction = ((figures - rows - columns + mean) ** 2).sum() / ((arms - 1) * (readers - 1))
    count = len(without)
    moved = (without - without.mean(axis=0)).reshape(count, -1)
    covariance = ((count - 1) / count * moved.T @ moved).reshape(arms, readers, arms, readers)
    same_arm = np.eye(arms, dtype=bool)[:, None, :, None]
    same_reader = np.eye(readers, dtype=bool)[None, :, None, :]
    kinds = (~same_arm & same_reader, same_arm & ~same_reader, ~same_arm & ~same_reader)
    cov1, cov2, cov3 = (float(covariance[np.broadcast_to(k, covariance.shape)].mean()) for k in kinds)
    return ObuchowskiRockette(
        arms=arms,
        readers=readers,
        treatment=float(treatment),
        interaction=float(interaction),
        cov1=cov1,
        cov2=cov2,
        cov3=cov3,
    )


def figures_of(found: Decisions, name: str) -> tuple[Floats, Floats]:
    """Return a figure, AUC or accuracy, of each reader in each arm (A, R), and without each image (K, A, R)."""
    if name == "AUC":
        all_ = np.ones((1, len(found.items)))
        figures = np.array([[area(r, found.truth, all_)[0] for r in of_arm] for of_arm in found.rating])
        without = np.array([[areas_without(r, found.truth) for r in of_arm] for of_arm in found.rating])
        return figures, np.moveaxis(without, -1, 0)
    total, count = found.correct.sum(axis=2), len(found.items)
    return total / count, np.moveaxis((total[..., None] - found.correct) / (count - 1), -1, 0)


def areas_without(rating: Floats, truth: Flags) -> Floats:
    """Return the area under the ROC curve without each image in its turn (C,)."""
    order = placements(rating[truth], rating[~truth])
    ill, well = order.shape
    left = np.empty(len(rating))
    left[truth] = (order.sum() - order.sum(axis=1)) / ((ill - 1) * well)
    left[~truth] = (order.sum() - order.sum(axis=0)) / (ill * (well - 1))
    return left


def analysis(found: Decisions, name: str) -> dict[str, Any] | None:
    """Return the analysis of AUC or accuracy over all arms, and the difference of every two of them; None for a
    study that is not `whole`."""
    part = whole(found)
    if part is None:
        return None
    figures, without = figures_of(part, name)
    made, means = obuchowski_rockette(figures, without), figures.mean(axis=1)
    return {
        "readers": len(part.readers),
        "p": made.p,
        "differences": {
            (a, b): made.of_difference(float(means[b] - means[a]))
            for a, b in itertools.combinations(range(len(part.arms)), 2)
        },
    }
