"""Where a map's evidence lies, in named places and in words: a radiologist asks for organs, not voxels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from contrafact.core import Grid, InputError, labels_in

Mask = NDArray[np.bool_]
OUTSIDE = "outside the body"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How much of a map lies in one place.

    share    of the evidence for the target, 0 to 1; against: of the evidence against it
    size     of the place, as a share of the image
    """

    name: str
    share: float
    against: float
    size: float


def evidence(values: NDArray[np.floating[Any]], places: Mapping[str, Mask]) -> list[Place]:
    """How a map (*S) is spread over places, the one with most of it first. Places may overlap.

    raises  InputError for a place of another shape, or a map without evidence
    """
    good, bad = np.clip(values, 0, None), np.clip(-values, 0, None)
    if not values.any():
        raise InputError("the map is zero everywhere: there is no evidence to place")
    found = []
    for name, mask in places.items():
        if mask.shape != values.shape:
            raise InputError(f"the place '{name}' must be {values.shape}, as the map; got {mask.shape}")
        share, against = (float(part[mask].sum() / max(part.sum(), 1e-30)) for part in (good, bad))
        found.append(Place(name=name, share=share, against=against, size=float(mask.mean())))
    return sorted(found, key=lambda place: -place.share)


def places_of(
    labels: NDArray[Any], names: Mapping[int, str], grid: Grid, image: NDArray[np.floating[Any]] | None = None
) -> dict[str, Mask]:
    """Named places of a label map (*S): each label, the same place on the other side, and what is no body.

    names   of the labels; 0 is nothing
    image   (C, *S), to tell the body from the air around it; None: not asked
    raises  InputError where no label is there, or for values that are no labels
    """
    labels = labels_in(labels)
    found: dict[str, Mask] = {}
    for number, name in names.items():
        mask = np.asarray(labels == number)
        if mask.any():
            found[name] = mask
    if not found:
        there = sorted({int(v) for v in np.unique(labels)} - {0})
        raise InputError(f"the labels hold {there or 'nothing'}; got names for {sorted(names)}")
    whole = np.any(list(found.values()), axis=0)
    axis = across(grid)
    for name, mask in list(found.items()):
        other = np.flip(mask, axis) & ~whole
        if not (np.flip(mask, axis) & mask).any() and other.any():  # of what lies on one side
            found[f"the other side of {name}"] = other
    if image is not None:
        air = ~body(image)
        if air.mean() > 0.01:
            found[OUTSIDE] = air & ~whole
    return found


def across(grid: Grid) -> int:
    """The array axis that runs most nearly from left to right; of a 2D image its columns."""
    if len(grid.shape) == 2:
        return 1
    lines = np.abs(grid.affine[0, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0))
    return int(lines.argmax())


def body(image: NDArray[np.floating[Any]]) -> Mask:
    """(*S) the largest bright thing of an image (C, *S), holes filled: the body in the air around it."""
    from skimage.filters import threshold_otsu

    values = ndimage.gaussian_filter(np.asarray(image, dtype=np.float64).mean(axis=0), 1.0)
    if np.ptp(values) == 0:
        return np.ones(values.shape, dtype=bool)
    bright = values > (values.min() + threshold_otsu(values)) / 2  # soft tissue is dark beside bone
    parts, count = ndimage.label(bright)
    if not count:
        return np.ones(values.shape, dtype=bool)
    largest = parts == 1 + int(np.bincount(parts.ravel())[1:].argmax())
    return np.asarray(ndimage.binary_fill_holes(largest))


def in_words(places: Sequence[Place], target: str = "the finding") -> str:
    """One sentence: where the evidence lies, and how large those places are."""
    told = [p for p in places if p.share >= 0.01]
    if not told:
        return f"None of the evidence for {target} lies in a named place."
    first, *others = told
    words = f"{_percent(first.share)} of the evidence for {target} lies in {_the(first.name)}, which is "
    words += f"{_percent(first.size)} of the image"
    words += "".join(f"; {_percent(p.share)} {_where(p.name)}" for p in others)
    warned = [p for p in told if p.name == OUTSIDE and p.share >= 0.1]
    return words + (". The model looks at what is not the patient." if warned else ".")


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 or share == 0 else "under 1 %"


def _the(name: str) -> str:
    return name if name.startswith("the ") else f"the {name}"


def _where(name: str) -> str:
    if name == OUTSIDE:
        return name
    return f"on {name}" if name.startswith("the other side") else f"in {_the(name)}"
