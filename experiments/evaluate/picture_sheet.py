"""Pictures of results: tiles below the names of their columns, with a mark where a network made the image."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageDraw

from contrafact.io.weights import write_atomic
from contrafact.render.captions import described_png, font_of
from contrafact.render.paper import FOOT, MARK

COLUMN = 126  # least pixels of a column, in which its name can be read
SIZE, LINE, GAP = 13, 17, 2  # pixels of letters, of a line of them, and between tiles
INK, PAPER, AMBER = "#111111", "#ffffff", "#8a3a00"
SYNTHETIC = "SYNTHETIC"
Tile = NDArray[Any]


def sheet(
    blocks: Mapping[str, Sequence[Sequence[Tile]]],
    names: Sequence[str],
    path: Path,
    *,
    made: Collection[int] = (),
) -> None:
    """Write rows of tiles (H, W) or (H, W, 3) of 0 to 255, all of one shape, as a picture.

    blocks  rows by the line above them; a line "" is not written
    names   what a column shows, above it
    made    columns of what a network generated: the mark stands below their names, and what it means at the
            foot, as it does where a line of `blocks` begins with the mark
    """
    high, wide = next(iter(blocks.values()))[0][0].shape[:2]
    by = max(1, -(-COLUMN // wide))
    heads = [wrapped(name, by * wide - 4) + [SYNTHETIC] * (k in made) for k, name in enumerate(names)]
    above, width = LINE * max(map(len, heads)) + 6, len(names) * (by * wide + GAP) - GAP
    count = sum(len(rows) for rows in blocks.values())
    marked = made or any(line.startswith(SYNTHETIC) for line in blocks)
    lines = wrapped(f"{MARK} · made by a network · {FOOT}" if marked else FOOT, width)
    below = LINE * len(lines) + 8
    strips = {line: LINE * len(wrapped(line, width)) + 8 if line else 0 for line in blocks}
    height = above + count * (by * high + GAP) + sum(strips.values()) + below
    page = Picture.new("RGB", (width, height), PAPER)
    pen, top = ImageDraw.Draw(page), above
    for k, head in enumerate(heads):
        _write(pen, (k * (by * wide + GAP), 2), head)
    for line, rows in blocks.items():
        _write(pen, (0, top + 4), wrapped(line, width))
        top += strips[line]
        for row in rows:
            for k, tile in enumerate(row):
                page.paste(_picture(tile, by), (k * (by * wide + GAP), top))
            top += by * high + GAP
    _write(pen, (0, top + 4), lines)
    said = [name + f" ({SYNTHETIC})" * (k in made) for k, name in enumerate(names)]
    write_atomic(path, described_png(np.asarray(page), ". ".join([*filter(None, blocks), *said, *lines])))


def wrapped(words: str, width: int) -> list[str]:
    """Words as lines of at most so many pixels, broken at spaces and after hyphens."""
    lines = [""]
    for part in re.findall(r"\s+|[^\s-]*-|[^\s-]+", words):
        if lines[-1] and font_of(SIZE).getlength((lines[-1] + part).rstrip()) > width:
            lines.append("")
        lines[-1] = (lines[-1] + part).lstrip()
    return [line.rstrip() for line in lines if line]


def _write(pen: ImageDraw.ImageDraw, place: tuple[int, int], lines: Sequence[str]) -> None:
    for number, line in enumerate(lines):
        colour = AMBER if line.startswith(SYNTHETIC) else INK
        pen.text((place[0], place[1] + number * LINE), line, colour, font_of(SIZE))


def _picture(tile: Tile, by: int) -> Picture.Image:
    """A tile enlarged by a whole number, its pixels as they are."""
    pixels = np.asarray(tile).clip(0, 255).round().astype(np.uint8)
    return Picture.fromarray(pixels.repeat(by, axis=0).repeat(by, axis=1)).convert("RGB")
