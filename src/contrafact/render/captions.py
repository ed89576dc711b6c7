"""Words that a picture carries by itself: a line under it, or a text chunk of its file."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont, PngImagePlugin

Pixels = NDArray[np.uint8]
WIDE, LINE = 96, 14  # pixels: the narrowest picture that a line stands under, and its height


def described_png(pixels: Pixels, words: str) -> bytes:
    """A PNG with its description as text (UTF-8, chunk `Description`); the pixels are left alone."""
    about, buffer = PngImagePlugin.PngInfo(), io.BytesIO()
    about.add_itxt("Description", words)
    Picture.fromarray(pixels).save(buffer, format="PNG", optimize=True, pnginfo=about)
    return buffer.getvalue()


def captioned(pixels: Pixels, words: str) -> Pixels:
    """The picture (H, W, 3) with a line below it; a narrow one is enlarged by a whole factor first."""
    by = -(-WIDE // pixels.shape[1])
    large = pixels.repeat(by, axis=0).repeat(by, axis=1)
    line = Picture.new("RGB", (large.shape[1], LINE))
    ImageDraw.Draw(line).text((2, 1), words, fill=(255, 255, 255), font=ImageFont.load_default(10))
    return np.concatenate([large, np.asarray(line)])
