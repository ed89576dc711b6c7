"""Shares of a map's evidence in named anatomical regions, and a sentence about them."""

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
    """Share of a map's evidence in one region.

    share    share of the evidence for the target, 0 to 1
    against  share of the evidence against the target, 0 to 1
    size     size of the region, as a share of the image
    """

    name: str
    share: float
    against: float
    size: float


def evidence(values: NDArray[np.floating[Any]], places: Mapping[str, Mask]) -> list[Place]:
    """Return the share of a map's (*S) evidence in each region, the greatest first. Regions may overlap.

    raises  InputError for a region of another shape, or a map of zeros
    """
    good, bad = np.clip(values, 0, None), np.clip(-values, 0, None)
    if not values.any():
        raise InputError("expected a map with evidence; got one that is zero everywhere")
    result = []
    for name, mask in places.items():
        if mask.shape != values.shape:
            raise InputError(f"the region '{name}' must be {values.shape}, like the map; got {mask.shape}")
        share, against = (float(part[mask].sum() / max(part.sum(), 1e-30)) for part in (good, bad))
        result.append(Place(name=name, share=share, against=against, size=float(mask.mean())))
    return sorted(result, key=lambda region: -region.share)


def places_of(
    labels: NDArray[Any], names: Mapping[int, str], grid: Grid, image: NDArray[np.floating[Any]] | None = None
) -> dict[str, Mask]:
    """Return masks of named regions of a label map (*S): each label, its mirror image, and outside the body.

    names   names of the labels; 0 is background
    image   (C, *S), to separate the body from the air; None: leave out the region outside the body
    raises  InputError if none of the labels occurs, or for values that are not labels
    """
    labels = labels_in(labels)
    regions: dict[str, Mask] = {}
    for number, name in names.items():
        mask = np.asarray(labels == number)
        if mask.any():
            regions[name] = mask
    if not regions:
        present = sorted({int(v) for v in np.unique(labels)} - {0})
        raise InputError(f"the labels hold {present or 'nothing'}; got names for {sorted(names)}")
    whole = np.any(list(regions.values()), axis=0)
    axis = across(grid)
    for name, mask in list(regions.items()):
        other = np.flip(mask, axis) & ~whole
        if not (np.flip(mask, axis) & mask).any() and other.any():  # regions on one side only
            regions[f"the other side of {name}"] = other
    if image is not None:
        air = ~body(image)
        if air.mean() > 0.01:
            regions[OUTSIDE] = air & ~whole
    return regions


def across(grid: Grid) -> int:
    """Return the array axis closest to the left-right axis; for a 2D image the axis of its columns."""
    if len(grid.shape) == 2:
        return 1
    lines = np.abs(grid.affine[0, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0))
    return int(lines.argmax())


def body(image: NDArray[np.floating[Any]]) -> Mask:
    """Return a mask (*S) of the body in an image (C, *S): the largest bright component, with holes filled."""
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
    """Return one sentence with the shares of the evidence in each region, and the size of the first."""
    relevant = [p for p in places if p.share >= 0.01]
    if not relevant:
        return f"None of the evidence for {target} lies in a named region."
    first, *others = relevant
    words = f"{_percent(first.share)} of the evidence for {target} lies {_where(first.name)}, which is "
    words += f"{_percent(first.size)} of the image"
    words += "".join(f"; {_percent(p.share)} {_where(p.name)}" for p in others)
    warned = [p for p in relevant if p.name == OUTSIDE and p.share >= 0.1]
    return words + (". The model uses image content outside the patient." if warned else ".")


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 or share == 0 else "under 1 %"


def _the(name: str) -> str:
    return name if name.startswith("the ") else f"the {name}"


def _where(name: str) -> str:
    if name == OUTSIDE:
        return name
    return f"on {name}" if name.startswith("the other side") else f"in {_the(name)}"
