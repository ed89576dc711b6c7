"""Convert arrays to pictures: windows, signed colours, PNG as text. Scaling happens here only."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

# Orange is evidence for, blue against (`map_display.colour_names`); safe for red-green colour blindness.
FOR, AGAINST = np.array([255.0, 150.0, 40.0]), np.array([70.0, 160.0, 255.0])


def grey(values: NDArray[np.floating[Any]], window: tuple[float, float]) -> NDArray[np.uint8]:
    """Convert (C, H, W) to (H, W, 3) through a window; one channel is grey, three are colour."""
    low, high = window
    share = np.clip((values - low) / max(high - low, 1e-9), 0, 1)
    planes = share[:3] if len(values) >= 3 else np.repeat(share[:1], 3, axis=0)
    return np.asarray(np.round(np.moveaxis(planes, 0, -1) * 255), dtype=np.uint8)


def signed_overlay(
    base: NDArray[np.uint8], values: NDArray[np.floating[Any]], scale: float, *, strength: float = 0.85
) -> NDArray[np.uint8]:
    """Blend signed values (H, W) over a picture (H, W, 3): colour by sign, opacity by |value| / scale."""
    share = np.clip(np.abs(values) / max(scale, 1e-12), 0, 1)[..., None] * strength
    colour = np.where(values[..., None] > 0, FOR, AGAINST)
    return np.asarray(np.round(base * (1 - share) + colour * share), dtype=np.uint8)


def signed_scale(maps: list[NDArray[np.floating[Any]]]) -> float:
    """Return one symmetric scale for maps that are compared: the 99.5th percentile of the magnitude, or the
    maximum where that percentile is zero."""
    sizes = np.abs(np.concatenate([m.ravel() for m in maps]))
    return float(np.percentile(sizes, 99.5)) or float(sizes.max(initial=0.0))


def png_text(picture: NDArray[np.uint8]) -> str:
    """Return a PNG data URI, so that a page needs no other file."""
    buffer = io.BytesIO()
    Picture.fromarray(picture).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
