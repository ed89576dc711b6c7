"""Phantoms of lesions in 2D and 3D, and of vessels in 3D."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from contrafact.core import Grid, Image, InputError
from contrafact.phantoms.phantom import Phantom


def lesion_phantom(
    rng: np.random.Generator, *, side: int = 64, radius: float = 5.0, contrast: float = 60.0, axes: int = 2
) -> Phantom:
    """Return smooth tissue with one round lesion, (1, side, side), or (1, side, side, side) with 3 `axes`;
    grey levels 0 to 255.

    radius    in pixels; 0: healthy
    contrast  in grey levels
    raises    InputError for other axes, or a radius of a quarter of the side or more
    """
    if axes not in (2, 3):
        raise InputError(f"axes must be 2 or 3; got {axes}")
    if not 0 <= radius < side / 4:
        raise InputError(f"radius must be from 0 to below {side / 4:g} px; got {radius}")
    size = (side,) * axes
    tissue = ndimage.gaussian_filter(rng.normal(size=size), side / 12)
    values = 110 + 25 * tissue / max(float(np.abs(tissue).max()), 1e-9)
    values = values + ndimage.gaussian_filter(rng.normal(size=size), 1.0) * 6
    centre = rng.uniform(side / 4 + radius, 3 * side / 4 - radius, size=axes)
    distance = np.hypot.reduce([index - c for index, c in zip(np.indices(size), centre, strict=True)])
    mask = distance < radius
    soft = 1 / (1 + np.exp(np.clip((distance - radius) / 0.7, -60, 60))) if radius else 0.0
    position = dict(zip(("slice", "row", "column")[-axes:], centre, strict=True))
    factors = {"radius": radius, "contrast": contrast, **position}
    image = Image(
        np.clip(values + contrast * soft, 0, 255)[None].astype(np.float32),
        window=(0.0, 255.0),
        source="phantom",
        about={"factors": factors, "synthetic": True, "phantom": True},
    )
    return Phantom(image, factors, {"lesion": mask})


def vessel_phantom(
    rng: np.random.Generator, *, side: int = 48, vessels: int = 3, spacing_mm: float = 0.5
) -> Phantom:
    """Return a volume (1, side, side, side) with bright winding tubes, as in time-of-flight angiography.

    The radius of the tubes is 1 to 2.5 voxels; masks: "vessel", and "vessel K" for each tube.
    """
    if vessels < 1:
        raise InputError(f"vessels must be at least 1; got {vessels}")
    noise = ndimage.gaussian_filter(rng.normal(size=(side,) * 3), 1.0)
    values = 60 + 40 * noise
    masks = {}
    radii = {}
    for number in range(vessels):
        steps = np.linspace(0, 1, 4 * side)
        ends = rng.uniform(0.15, 0.85, size=(4, 2)) * side
        curve = np.stack([np.polyval(np.polyfit(np.linspace(0, 1, 4), e, 3), steps) for e in ends.T])
        path = np.stack([steps * (side - 1), *curve]).round().astype(int).clip(0, side - 1)
        line = np.zeros((side,) * 3, dtype=bool)
        line[tuple(path)] = True
        radius = float(rng.uniform(1.0, 2.5))
        masks[f"vessel {number + 1}"] = ndimage.distance_transform_edt(~line) <= radius
        radii[f"radius {number + 1}"] = radius
    masks["vessel"] = np.logical_or.reduce(list(masks.values()))
    values = values + 140 * ndimage.gaussian_filter(masks["vessel"].astype(float), 0.6)
    image = Image(
        values[None].astype(np.float32),
        Grid((side,) * 3, spacing_mm=(spacing_mm,) * 3),
        source="phantom",
        about={"factors": radii, "synthetic": True, "phantom": True},
    )
    return Phantom(image, radii, masks)
