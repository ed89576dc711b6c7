"""Text stored with a picture: a caption line, or a text chunk of the file."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont, PngImagePlugin

Pixels = NDArray[np.uint8]
WIDE, LINE = 96, 14  # pixels: the smallest width of a captioned picture, and the height of the caption


def described_png(pixels: Pixels, words: str) -> bytes:
    """Return a PNG with `words` in the text chunk `Description` (UTF-8); pixels are unchanged."""
    about, buffer = PngImagePlugin.PngInfo(), io.BytesIO()
    about.add_itxt("Description", words)
    Picture.fromarray(pixels).save(buffer, format="PNG", optimize=True, pnginfo=about)
    return buffer.getvalue()


def captioned(pixels: Pixels, words: str) -> Pixels:
    """Return the picture (H, W, 3) with a caption below; a narrow picture is enlarged by an integer factor."""
    by = -(-WIDE // pixels.shape[1])
    large = pixels.repeat(by, axis=0).repeat(by, axis=1)
    line = Picture.new("RGB", (large.shape[1], LINE))
    ImageDraw.Draw(line).text((2, 1), words, fill=(255, 255, 255), font=ImageFont.load_default(10))
    return np.concatenate([large, np.asarray(line)])
