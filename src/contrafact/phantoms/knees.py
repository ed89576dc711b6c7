"""Knee radiographs with planted joint space, osteophytes, density and a laterality marker."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from contrafact.core import Image, InputError
from contrafact.phantoms.phantom import Phantom

SOFT, GAP = 0.30, 0.12  # grey level of soft tissue and of the joint space, of 1


@dataclass(frozen=True, slots=True, kw_only=True)
class KneeFactors:
    """The planted factors; lengths in pixels of a 32 px image, scaled with the side.

    joint_space   distance between femur and tibia, 0.5 to 6
    osteophyte    radius of the spurs at both margins, 0 to 3
    density       brightness of bone, 0.5 to 0.9
    marker        brightness of the side marker in the corner, 0 (none) to 1: a shortcut if it correlates
                  with the label
    across, down  displacement of the joint, -3 to 3
    tilt          slope of the joint line, -0.15 to 0.15
    """

    joint_space: float = 3.0
    osteophyte: float = 0.5
    density: float = 0.7
    marker: float = 0.0
    across: float = 0.0
    down: float = 0.0
    tilt: float = 0.0


def draw_factors(rng: np.random.Generator) -> KneeFactors:
    """Return random independent factors of one patient."""
    return KneeFactors(
        joint_space=float(rng.uniform(1.0, 5.0)),
        osteophyte=float(rng.uniform(0.0, 2.5)),
        density=float(rng.uniform(0.55, 0.85)),
        marker=float(rng.uniform(0.0, 1.0)),
        across=float(rng.uniform(-1.5, 1.5)),
        down=float(rng.uniform(-1.5, 1.5)),
        tilt=float(rng.uniform(-0.06, 0.06)),
    )


def knee_phantom(factors: KneeFactors, rng: np.random.Generator, *, side: int = 32) -> Phantom:
    """Return one knee (1, side, side), grey levels 0 to 255; `rng` affects only the texture.

    raises  InputError for a side below 16 pixels
    """
    if side < 16:
        raise InputError(f"side must be at least 16 pixels; got {side}")
    unit = side / 32
    y, x = np.mgrid[0:side, 0:side].astype(np.float64)
    middle = (side - 1) / 2
    across = x - middle - factors.across * unit
    line = middle + factors.down * unit + factors.tilt * across
    # Two condyles rest on an almost flat plateau.
    condyles = 0.9 * unit * np.cos(across / (3.2 * unit)) * np.exp(-((across / (9 * unit)) ** 2))
    half = factors.joint_space * unit / 2
    femur_edge, tibia_edge = line - half + condyles - 0.9 * unit, line + half
    femur = _inside(femur_edge - y, unit) * _inside(_shaft(femur_edge - y, unit) - abs(across), unit)
    tibia = _inside(y - tibia_edge, unit) * _inside(_shaft(y - tibia_edge, unit) - abs(across), unit)
    spurs = _spurs(across, y, line, half, factors, unit)
    bone = np.maximum.reduce([femur, tibia, spurs])
    capsule = _inside(11.5 * unit - abs(across), unit) * _inside(half + unit - abs(y - line), unit)
    base = SOFT + (GAP - SOFT) * capsule
    texture = ndimage.gaussian_filter(rng.normal(size=(side, side)), 0.8 * unit)
    values = base + (factors.density - base) * bone + 0.05 * texture * (0.4 + bone)
    marker = _marker_mask(side)
    values = np.where(marker, values + factors.marker * (0.95 - values), values)
    masks = {
        "joint_space": (np.abs(y - line) < half + 1.5 * unit) & (np.abs(across) < 11 * unit),
        "osteophyte": spurs > 0.2,
        "density": bone > 0.5,
        "marker": marker,
    }
    image = Image(
        (255 * np.clip(values, 0, 1))[None].astype(np.float32),
        window=(0.0, 255.0),
        source="phantom",
        about={"factors": asdict(factors), "synthetic": True, "phantom": True},
    )
    return Phantom(image, asdict(factors), masks)


def measure_joint_space(values: NDArray[np.floating]) -> float:
    """Return the width of the dark gap between the bones, in pixels of a 32 px image, from grey levels alone.

    values (H, W), 0 to 255; also of images that are not phantoms. The width is the mean over six columns
    through the condyles; in a column it is the darkness, relative to bone (0) and gap (1), summed along it.
    """
    side = values.shape[0]
    unit = side / 32
    grey = np.asarray(values, dtype=np.float64) / 255
    widths = []
    for share in (0.28, 0.34, 0.40, 0.60, 0.66, 0.72):
        column = grey[int(8 * unit) : int(25 * unit), round(share * (side - 1))]
        level = np.median(np.concatenate([column[: int(3 * unit)], column[-int(3 * unit) :]]))
        widths.append(np.clip((level - column) / max(level - GAP, 0.05), 0, 1).sum() / unit)
    return float(np.mean(widths))


def measure_marker(values: NDArray[np.floating]) -> float:
    """Return the brightness of the marker: 0 soft tissue, 1 the full marker. values (H, W), 0 to 255."""
    grey = np.asarray(values, dtype=np.float64) / 255
    return float((grey[_marker_mask(values.shape[0])].mean() - SOFT) / (0.95 - SOFT))


def _inside(distance: NDArray[np.float64], unit: float) -> NDArray[np.float64]:
    """Return 1 inside (distance above 0), 0 outside, with a soft edge of one pixel."""
    return np.asarray(1 / (1 + np.exp(-np.clip(distance / (0.35 * unit), -60, 60))))


def _shaft(depth: NDArray[np.float64], unit: float) -> NDArray[np.float64]:
    """Return half the width of the bone: wide at the joint, narrow in the shaft."""
    return (7.0 + 4.5 * np.exp(-np.clip(depth, 0, None) / (5 * unit))) * unit


def _spurs(
    across: NDArray[np.float64],
    y: NDArray[np.float64],
    line: NDArray[np.float64],
    half: float,
    factors: KneeFactors,
    unit: float,
) -> NDArray[np.float64]:
    radius = factors.osteophyte * unit
    if radius <= 0:
        return np.zeros_like(y)
    parts = [
        _inside(radius - np.hypot(across - sign * 11 * unit, y - (line + edge)), unit)
        for sign in (-1, 1)
        for edge in (-half - unit, half + unit)
    ]
    return np.asarray(np.maximum.reduce(parts)) * float(radius > 0.3 * unit)


def _marker_mask(side: int) -> NDArray[np.bool_]:
    """Return the mask of the marker, an L in the upper left corner."""
    mask = np.zeros((side, side), dtype=bool)
    unit = side / 32
    low, high = round(2 * unit), round(8 * unit)
    mask[low:high, round(1 * unit) : round(3 * unit)] = True
    mask[round(6 * unit) : high, round(1 * unit) : round(6 * unit)] = True
    return mask
