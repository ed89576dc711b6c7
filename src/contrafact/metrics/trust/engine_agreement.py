"""Whether another engine changes the same places of an image, beside what it reaches by chance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.transform import resize

from contrafact.core import Counterfactual, InputError
from contrafact.core.results import confirms

SIDE = 64  # voxels a side, at most, on which maps are compared
BLUR = 1 / 32  # standard deviation of the Gaussian, as a share of the side: engines place an edge differently
DARK = 0.05  # share of the image's range below which a voxel is air
Map = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class OtherEngine:
    """What an independent engine made of the same image with the same request, and what chance makes of it.

    strip   its counterfactual, whose record names it
    others  changes (N, *S) of other images with the same request, by `by`: one of the two engines
    by      name of the engine that made `others`
    """

    strip: Counterfactual
    others: NDArray[np.floating]
    by: str

    def __post_init__(self) -> None:
        if len(self.others) < 1:
            raise InputError("agreement of engines needs changes of at least 1 other image; got none")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineAgreement:
    """Correlation of two engines' changes of one image; `null` (N,): the same with changes of other images."""

    value: float
    null: tuple[float, ...]

    @property
    def chance(self) -> float:
        """Share of other images whose changes agree at least as well, itself counted as one of them."""
        return (1 + sum(one >= self.value for one in self.null)) / (1 + len(self.null))

    def limit(self, chance: float) -> float:
        """Return the agreement that must be exceeded for at most this share by chance; infinite for too few
        others, minus infinity for a share of 1."""
        above = math.floor(chance * (1 + len(self.null)) + 1e-9)  # with the image itself
        if above > len(self.null):
            return -math.inf
        return sorted(self.null)[-above] if above >= 1 else math.inf


def change_of(strip: Counterfactual) -> Map:
    """Return the absolute change (*S) of the counterfactual frame, in the channel with the greatest change."""
    gap = strip.frames[strip.end].astype(np.float64) - strip.image
    return np.asarray(np.abs(gap).max(axis=0))


def agreement(strip: Counterfactual, other: OtherEngine) -> EngineAgreement:
    """Return how well two engines agree where an image changes.

    gives   the correlation (Pearson) of their absolute changes, blurred, inside the body, both on the smaller
            grid; and the same with the changes of other images, which have the anatomy in common but not the
            patient
    cost    no pass of a model
    raises  InputError for a change that is the same everywhere, and frames of other dimensions
    """
    sizes = [one.frames.shape[2:] for one in (strip, other.strip)]
    if len(sizes[0]) != len(sizes[1]):
        raise InputError(f"expected frames of the same dimensions; got {sizes[0]} and {sizes[1]}")
    size = tuple(min(SIDE, *sides) for sides in zip(*sizes, strict=True))
    inside = _not_air(strip.image, size)
    own = {one.record.engine if one.record else "": change_of(one) for one in (other.strip, strip)}
    pair = [_prepared(change_of(one), size)[inside] for one in (strip, other.strip)]
    fixed = next((change for name, change in own.items() if name != other.by), change_of(strip))
    across = _prepared(fixed, size)[inside]
    return EngineAgreement(
        value=_correlation(*pair),
        null=tuple(_correlation(across, _prepared(one, size)[inside]) for one in other.others),
    )


def follows(strip: Counterfactual, least: float) -> bool | None:
    """Whether the second model follows a counterfactual: its prediction flips as well, or, where none flips,
    its score changes by at least that share. None without a second model or a change."""
    if strip.second is None:
        return None
    first, last = (float(score) for score in strip.second[[strip.origin, strip.end]])
    before, after = (float(score) for score in strip.scores[[strip.origin, strip.end]])
    if abs(after - before) < 1e-3:
        return None
    return confirms(first, last, after) if strip.flips else (last - first) / (after - before) >= least


def _not_air(image: NDArray[np.floating], size: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return where an image (C, *S) is not air; everywhere if hardly anything is not."""
    grey = _prepared(image.astype(np.float64).max(axis=0), size)
    inside = grey > grey.min() + DARK * np.ptp(grey)
    return inside if inside.mean() > 0.1 else np.ones(size, dtype=bool)


def _prepared(change: NDArray[np.floating], size: tuple[int, ...]) -> Map:
    """Return a change (*S) on a grid of that size, blurred."""
    if change.shape != size:
        change = resize(change.astype(np.float64), size, order=1, anti_aliasing=True)
    return np.asarray(ndimage.gaussian_filter(change.astype(np.float64), [BLUR * side for side in size]))


def _correlation(first: Map, second: Map) -> float:
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        raise InputError("agreement of engines needs changes that differ between places; got a constant one")
    return float(np.corrcoef(first, second)[0, 1])
