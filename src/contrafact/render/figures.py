"""Heatmaps as pictures: five kinds of overlay, projections that keep the sign, animations through slices."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from PIL import ImageDraw

from contrafact.core import Grid, InputError, nearest
from contrafact.render.captions import font_of
from contrafact.render.pixels import AGAINST, FOR, grey, signed_overlay
from contrafact.render.text import printable

Floats = NDArray[np.floating[Any]]
Pixels = NDArray[np.uint8]
KINDS = ("signed", "heat", "blended", "masked", "alpha")
MASKED = 0.2  # share of the scale; an overlay "masked" is black where the map is below it
PLANES = ("sagittal", "coronal", "axial")


def overlay(image: Floats, values: Floats, *, window: tuple[float, float], scale: float, kind: str) -> Pixels:
    """Return a heatmap (H, W) over its image (C, H, W) as a picture (H, W, 3), or (H, W, 4) for "alpha".

    kind  signed   colour by sign, opacity by magnitude, on the darkened image
          heat     the map alone, from black
          blended  image and map half and half
          masked   the image, only where the map is above a fifth of the scale
          alpha    the map alone, transparent where it is small
    """
    base = grey(image, window)
    share = np.clip(np.abs(values) / max(scale, 1e-12), 0, 1)[..., None]
    colour = np.where(values[..., None] > 0, FOR, AGAINST)
    if kind == "signed":
        return signed_overlay((base * 0.75).astype(np.uint8), values, scale)
    if kind == "heat":
        return np.asarray(np.round(colour * share), dtype=np.uint8)
    if kind == "blended":
        return np.asarray(np.round(base * 0.5 + colour * share * 0.5), dtype=np.uint8)
    if kind == "masked":
        return np.where(share > MASKED, base, 0).astype(np.uint8)
    if kind == "alpha":
        return np.concatenate([colour, 255 * share], axis=-1).round().astype(np.uint8)
    raise InputError(f"kind must be one of {', '.join(KINDS)}; got '{kind}'{nearest(kind, KINDS)}")


def telling_slice(values: Floats, axis: int) -> int:
    """Return the slice across `axis` with the most evidence for the target, or else the most of any kind."""
    others = tuple(a for a in range(values.ndim) if a != axis)
    weight = np.clip(values, 0, None) if values.max() > 0 else np.abs(values)
    return int(weight.sum(axis=others).argmax())


def flat_frames(frames: Floats, origin: int) -> Floats:
    """Return frames (K, C, H, W); of volumes, the slice that changes most from the image."""
    return frames if frames.ndim == 4 else frames[:, :, moving_slice(frames, origin)]


def moving_slice(frames: Floats, origin: int) -> int:
    """Return the slice of frames (K, C, D, H, W) that changes most from the image; the middle if none does."""
    moved = np.abs(frames - frames[origin]).sum(axis=(0, 1))
    return telling_slice(moved, 0) if moved.any() else frames.shape[2] // 2


def across(values: Floats, at: int, axis: int) -> Floats:
    """Return slice `at` across an axis."""
    return np.asarray(values.take(at, axis=axis))


def signed_projection(values: Floats, axis: int) -> Floats:
    """Return the value of largest magnitude along `axis`, with its sign."""
    high, low = values.max(axis=axis), values.min(axis=axis)
    return np.where(high >= -low, high, low)


def plane_names(grid: Grid) -> tuple[str, ...]:
    """Return the plane of slices across each array axis: sagittal, coronal or axial."""
    columns = np.abs(grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0))
    names: list[str] = []
    for axis in range(3):
        order = np.argsort(-columns[:, axis])
        names.append(next(PLANES[i] for i in order if PLANES[i] not in names))
    return tuple(names)


def views_of(
    image: Floats, values: Floats, grid: Grid, *, window: tuple[float, float], scale: float, kind: str
) -> dict[str, Pixels]:
    """Return pictures by name.

    An image gives one overlay. A volume gives the slice with the most evidence in three planes, and three
    projections (the maximum of the image under the strongest value of the map).
    """
    if values.ndim == 2:
        return {kind: overlay(image, values, window=window, scale=scale, kind=kind)}
    found = {}
    for axis, name in enumerate(plane_names(grid)):
        at = telling_slice(values, axis)
        planes = across(image, at, axis + 1), across(values, at, axis)
        flat = image.max(axis=axis + 1), signed_projection(values, axis)
        sides = [grid.spacing_mm[a] for a in range(3) if a != axis]
        for label, (under, over) in ((kind, planes), ("projection", flat)):
            drawn = overlay(under, over, window=window, scale=scale, kind="signed" if label != kind else kind)
            found[f"{label}_{name}"] = upright(drawn, grid, axis, sides)
    return found


def upright(picture: Pixels, grid: Grid, axis: int, spacing: Sequence[float]) -> Pixels:
    """Return a plane in radiological orientation and true proportions: head or front up, the patient's left on
    the viewer's right."""
    picture, spacing = turned(picture, grid, axis, spacing)
    step = min(spacing)
    size = tuple(max(1, round(n * s / step)) for n, s in zip(picture.shape[:2], spacing, strict=True))
    return np.asarray(
        Picture.fromarray(np.ascontiguousarray(picture)).resize(size[::-1], Picture.Resampling.BILINEAR)
    )


def turned(
    plane: NDArray[Any], grid: Grid, axis: int, spacing: Sequence[float]
) -> tuple[NDArray[Any], Sequence[float]]:
    """Rotate and mirror a plane (H, W, ...) across `axis` until it is upright; return it with its spacing."""
    rows, columns = (a for a in range(3) if a != axis)
    directions = grid.affine[:3, :3]
    main = [int(np.abs(directions[:, a]).argmax()) for a in (rows, columns)]
    if main[0] < main[1]:  # the axis that goes up the page is the higher of R, A, S
        plane, main = np.swapaxes(plane, 0, 1), main[::-1]
        rows, columns, spacing = columns, rows, spacing[::-1]
    if directions[main[0], rows] > 0:  # towards the head (or front): up
        plane = plane[::-1]
    if directions[main[1], columns] > 0:  # towards the patient's right (or front): the viewer's left
        plane = plane[:, ::-1]
    return plane, spacing


def slices_pictures(
    image: Floats, values: Floats, grid: Grid, *, window: tuple[float, float], scale: float, axis: int = 0
) -> Iterator[Pixels]:
    """Yield the slices of a volume across an axis with the map over them, upright."""
    sides = [grid.spacing_mm[a] for a in range(3) if a != axis]
    for at in range(values.shape[axis]):
        planes = across(image, at, axis + 1), across(values, at, axis)
        drawn = overlay(*planes, window=window, scale=scale, kind="signed")
        yield upright(drawn, grid, axis, sides)


def animation(frames: Iterable[Pixels], *, milliseconds: int = 90, colours: int = 128) -> bytes:
    """Return pictures (H, W, 3) as a looping GIF, forwards and backwards. Each is reduced to so many colours as
    it comes, and once: all slices of a volume at once would fill the memory."""
    pictures = [Picture.fromarray(frame).quantize(colours) for frame in frames]
    others, buffer = pictures[1:] + pictures[-2:0:-1], io.BytesIO()
    pictures[0].save(buffer, format="GIF", save_all=True, append_images=others, duration=milliseconds, loop=0)
    return buffer.getvalue()


def panel(pictures: Sequence[tuple[str, Pixels]], *, scale: float, height: int = 256) -> Pixels:
    """Return pictures side by side, with names above and one colour bar; letters grow with the height."""
    size = max(16, height // 24)
    above, gap, wide = size + 12, 8, max(14, height // 24)
    sized = []
    for _, pixels in pictures:
        width = max(1, round(pixels.shape[1] * height / pixels.shape[0]))
        sized.append(Picture.fromarray(pixels[..., :3]).resize((width, height), Picture.Resampling.BILINEAR))
    ends = {0.0: f"+{scale:.2g}", 0.5: "0", 1.0: f"-{scale:.2g}"}
    beside = max(font_of(size).getlength(words) for words in ends.values())
    width = sum(p.width + gap for p in sized) + wide + 3 * gap + round(beside)
    page = Picture.new("RGB", (width, height + above), (13, 17, 20))
    draw, left = ImageDraw.Draw(page), 0
    for (name, _), picture in zip(pictures, sized, strict=True):
        words, font = _within(printable(name), picture.width - 4, size)
        draw.text((left + 4, above / 2), words, (220, 226, 230), font, anchor="lm")
        page.paste(picture, (left, above))
        left += picture.width + gap
    page.paste(Picture.fromarray(_bar(height, wide)), (left, above))
    for share, words in ends.items():
        place = (left + wide + gap, above + share * (height - size))
        draw.text(place, words, (220, 226, 230), font_of(size))
    return np.asarray(page)


def _within(words: str, width: int, size: int) -> tuple[str, Any]:
    """Return words and a font in which they take at most so many pixels: smaller, and shortened below 10."""
    font = font_of(max(10, min(size, int(size * width / max(font_of(size).getlength(words), 1)))))
    while len(words) > 1 and font.getlength(words) > width:
        words = f"{words.removesuffix('…')[:-1]}…"
    return words, font


def _bar(height: int, width: int) -> Pixels:
    values = np.linspace(1, -1, height)[:, None].repeat(width, axis=1)
    black = np.full((height, width, 3), 30, dtype=np.uint8)
    return signed_overlay(black, values, 1.0, strength=1.0)


def png(pixels: Pixels) -> bytes:
    buffer = io.BytesIO()
    Picture.fromarray(pixels).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def aspect_of(grid: Grid) -> float:
    """Return the displayed height of a pixel divided by its width."""
    spacing: Sequence[float] = grid.spacing_mm[-2:]
    if len(grid.shape) == 3:
        spacing = turned(np.zeros((1, 1)), grid, 0, spacing)[1]
    return spacing[0] / spacing[1]
