"""One picture with the maps of many methods of one image, each with its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont

from contrafact.core import Counterfactual, Heatmap, Image
from contrafact.render.figures import flat_frames, telling_slice
from contrafact.render.pixels import grey, signed_overlay, signed_scale

Pixels = NDArray[np.uint8]
SIDE, GAP, LINE = 180, 8, 14  # pixels of a tile, between tiles, of a line of text
COLUMNS = 6
INK, PAPER, FAINT = (20, 20, 20), (255, 255, 255), (110, 110, 110)


def contact_sheet(
    image: Image, results: Mapping[str, Heatmap | Counterfactual], words: Mapping[str, str]
) -> Pixels:
    """Return a picture (H, W, 3) of the image and one tile for each method.

    results  by method: a heatmap over the image, with a per-image scale; of a counterfactual its last frame. Of
             a volume the slice with the most evidence
    words    a line below the name of a method, and below "image"
    """
    tiles = [("image", words.get("image", ""), _base(image, image.values.shape[1] // 2))]
    tiles += [(name, words.get(name, ""), _tile(image, result)) for name, result in results.items()]
    rows = -(-len(tiles) // COLUMNS)
    height = SIDE + 2 * LINE + GAP
    sheet = Picture.new("RGB", (COLUMNS * (SIDE + GAP) + GAP, rows * height + GAP), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for number, (name, line, pixels) in enumerate(tiles):
        left, top = GAP + number % COLUMNS * (SIDE + GAP), GAP + number // COLUMNS * height
        draw.text((left, top), _short(name), INK, font)
        draw.text((left, top + LINE), _short(line), FAINT, font)
        tile = _fitted(pixels)
        sheet.paste(tile, (left + (SIDE - tile.width) // 2, top + 2 * LINE + (SIDE - tile.height) // 2))
    return np.asarray(sheet)


def _tile(image: Image, result: Heatmap | Counterfactual) -> Pixels:
    """Return the pixels of one result, without text."""
    if isinstance(result, Counterfactual):
        frames = np.asarray(result.frames)
        window = (float(frames.min()), float(frames.max()))
        return grey(flat_frames(frames, 0)[-1], window)
    values: NDArray[Any] = result.values
    at = telling_slice(values, 0) if values.ndim == 3 else 0
    flat = values[at] if values.ndim == 3 else values
    faded = (_base(image, at) * 0.75).astype(np.uint8)
    return signed_overlay(faded, flat, signed_scale([values]))


def _base(image: Image, at: int) -> Pixels:
    """Return the image as pixels; of a volume slice `at`."""
    values = image.values[:, at] if image.values.ndim == 4 else image.values
    return grey(values, image.window)


def _fitted(pixels: Pixels) -> Picture.Image:
    """Return a picture that fits a tile; small ones keep sharp pixels."""
    picture = Picture.fromarray(pixels)
    share = SIDE / max(picture.size)
    size = (max(1, round(picture.width * share)), max(1, round(picture.height * share)))
    return picture.resize(size, Picture.Resampling.NEAREST if share > 1 else Picture.Resampling.BILINEAR)


def _short(text: str) -> str:
    return text if len(text) <= 32 else f"{text[:30]}…"
