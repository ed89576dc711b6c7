"""Text stored with a picture: a caption line, or a text chunk of the file."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont, PngImagePlugin

from contrafact.render.text import printable

Pixels = NDArray[np.uint8]


@cache
def font_of(size: int) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans, which matplotlib brings: Pillow's own font lacks arrows and letters with accents."""
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf", size)


def described_png(pixels: Pixels, words: str) -> bytes:
    """Return a PNG with `words` in the text chunk `Description` (UTF-8); pixels are unchanged."""
    about, buffer = PngImagePlugin.PngInfo(), io.BytesIO()
    about.add_itxt("Description", words)
    Picture.fromarray(pixels).save(buffer, format="PNG", optimize=True, pnginfo=about)
    return buffer.getvalue()


def over_words(
    pixels: NDArray[Any], lines: Sequence[str], *, low: float = 0, high: float = 255, rows: int = 0
) -> NDArray[Any]:
    """Return a picture (H, W) or (H, W, 3) over a strip of words, each line wrapped to its width; the picture
    itself is not changed.

    low, high  values of the strip and of its letters
    rows       least number of lines, for strips of one height
    """
    width = pixels.shape[1]
    size = max(11, min(20, width // 34))
    font, step = font_of(size), round(1.35 * size)
    wrapped = [part for line in lines for part in _wrapped(printable(line), font, width - size)]
    page = Picture.new("L", (width, step * max(rows, len(wrapped)) + size // 2))
    pen = ImageDraw.Draw(page)
    for number, words in enumerate(wrapped):
        pen.text((size // 2, step * number + size // 4), words, fill=255, font=font)
    strip = low + (high - low) * np.asarray(page, dtype=float) / 255
    strip = strip if pixels.dtype.kind == "f" else np.round(strip)
    strip = np.repeat(strip[..., None], 3, axis=2) if pixels.ndim == 3 else strip
    return np.concatenate([pixels, strip.astype(pixels.dtype)])


def _wrapped(words: str, font: Any, width: int) -> list[str]:
    """Return words as lines that fit into a width; a word that is wider stands in parts."""
    lines = [""]
    for word in words.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) > width:
            lines.append("")
            longer = word
        while font.getlength(longer) > width:
            fits = next(
                n for n in range(len(longer) - 1, 0, -1) if n == 1 or font.getlength(longer[:n]) <= width
            )
            lines[-1], longer = longer[:fits], longer[fits:]
            lines.append("")
        lines[-1] = longer
    return [line for line in lines if line]
