"""What counterfactuals change on the average: means over the cases of a group, summed file by file."""

from __future__ import annotations

import hashlib
import time
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

from contrafact.core import Grid, InputError
from contrafact.io import Run
from contrafact.render.case import grid_of, plane_of, shrunk
from contrafact.render.case_facts import CaseFacts
from contrafact.render.changes import best_change
from contrafact.render.difference import difference_scale, enlarged
from contrafact.render.figures import aspect_of, moving_slice, png, telling_slice
from contrafact.render.outcome import last_frame
from contrafact.render.pixels import grey, signed_overlay, signed_scale

Floats = NDArray[np.float32]
Row = Mapping[str, Any]
LAYOUTS = 4  # sizes and orientations that are summed at once in a group; images of others are left out
VOXELS = 1 << 21  # of a sum; larger volumes are averaged within their slices
FEW = 10  # cases below which single ones stand out in a mean; such means do not set the scale of the others
SIDE = 320  # pixels of a picture at least
UNREADABLE = (InputError, OSError, LookupError, TypeError, ValueError, zipfile.BadZipFile)


@dataclass(frozen=True, slots=True)
class Changed:
    """What one counterfactual changes: the image in its display window (0 to 1) and the change as a share of
    that window, both (*S), and the grid."""

    image: Floats
    change: Floats
    grid: Grid

    @property
    def layout(self) -> tuple[str, str]:
        """Size and orientation: images that agree in both may be laid on each other."""
        axes = np.round(self.grid.affine[:3, :3] / np.linalg.norm(self.grid.affine[:3, :3], axis=0), 1) + 0.0
        return " × ".join(map(str, self.grid.shape)), str(axes.tolist())


def changed_of(run: Run, row: Row) -> Changed:
    """Return what a counterfactual changes. raises InputError where it cannot be read"""
    arrays = run.arrays(row)
    frames, (low, high) = arrays["frames"], (float(v) for v in row["window"])
    origin, end = int(row["origin"]), last_frame(row)
    width = max(high - low, 1e-9)
    image = np.clip((frames[origin].mean(axis=0, dtype=np.float32) - low) / width, 0, 1)
    change = (frames[end] - frames[origin]).mean(axis=0, dtype=np.float32) / width
    return Changed(image, change, grid_of(arrays, "frames"))


@dataclass(slots=True)
class _Sum:
    count: int
    image: Floats
    change: Floats
    grid: Grid


@dataclass(slots=True)
class Group:
    """A group of cases whose counterfactuals change the prediction in one direction.

    words    what the cases have in common; towards: what the change does
    filters  the filter of these cases on the cohort page
    """

    words: str
    towards: str
    filters: Mapping[str, str]
    sums: dict[tuple[str, str], _Sum] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)

    def add(self, one: Changed) -> None:
        """Add a counterfactual to the sum of its size and orientation."""
        total = self.sums.get(one.layout)
        by = max(1, int(np.ceil((one.change.size / VOXELS) ** 0.5)))
        image, change = (shrunk(values, by=by) for values in (one.image, one.change))
        if total is None and len(self.sums) == LAYOUTS:
            self.left_out[one.layout[0]] += 1
        elif total is None:
            self.sums[one.layout] = _Sum(1, image.copy(), change.copy(), one.grid)
        else:
            total.count, total.image, total.change = total.count + 1, total.image + image, total.change + change

    def mean(self) -> _Sum | None:
        """Return the sum of the size and orientation that most images have."""
        return max(self.sums.values(), key=lambda one: one.count, default=None)

    def without(self) -> str:
        """Return how many images are left out and why; empty where none is."""
        most, lines = self.mean(), Counter(self.left_out)
        kept = next((layout for layout, one in self.sums.items() if one is most), None)
        for layout, one in self.sums.items():
            if layout != kept:
                alike = kept is not None and layout[0] == kept[0]
                lines["another orientation" if alike else layout[0]] += one.count
        said = ", ".join(f"{count} of {why}" for why, count in lines.items())
        return f"Left out: {said}." if said else ""


class MeanChanges:
    """The means of one division of the cases, computed a little at a time; memory does not grow with the
    number of cases. `done` of `total` counterfactuals are summed."""

    def __init__(self, run: Run, parts: Iterable[tuple[CaseFacts, str, Mapping[str, str]]]) -> None:
        self.run, self.groups, self.done = run, dict[tuple[str, str], Group](), 0
        self._pictures: dict[str, bytes] = {}
        self._tiles: list[dict[str, Any]] | None = None
        self._scale = 0.0
        self._open: list[tuple[int, Group]] = []
        for one, words, filters in parts:
            number = best_change(one.changes)
            change = next((change for change in one.changes if change.row == number), None)
            if change is not None:
                towards = _towards(one.classes, change.finding, change.towards)
                new = Group(words, towards, filters)
                self._open.append((change.row, self.groups.setdefault((words, towards), new)))
        self.total = len(self._open)

    def measure(self, *, seconds: float) -> None:
        """Sum further counterfactuals for at most `seconds`, but at least one."""
        ends, begun = time.monotonic() + seconds, self.done
        while self.done < self.total and (self.done == begun or time.monotonic() < ends):
            number, group = self._open[self.done]
            self.done += 1
            try:
                group.add(changed_of(self.run, self.run.row(number)))
            except UNREADABLE:
                group.left_out["unreadable files"] += 1

    def tiles(self) -> list[dict[str, Any]]:
        """Return the groups with their pictures by name, once all is summed; then the sums are dropped."""
        if self._tiles is None:
            self._tiles = self._drawn_groups()
            for group in self.groups.values():
                group.sums.clear()  # those of volumes are large
        return self._tiles

    def _drawn_groups(self) -> list[dict[str, Any]]:
        found = [(group, mean) for group in self.groups.values() if (mean := group.mean()) is not None]
        enough = [mean for _, mean in found if mean.count >= FEW] or [mean for _, mean in found]
        self._scale = signed_scale([mean.change / mean.count for mean in enough]) if found else 0.0
        tiles = []
        for group, mean in found:
            picture, words = _picture(mean, self._scale)
            name = hashlib.sha256(picture).hexdigest()[:16]  # other models have groups of the same words
            self._pictures[name] = picture
            about = {"words": group.words, "towards": group.towards, "filters": dict(group.filters)}
            tiles.append(
                {
                    **about,
                    "picture": name,
                    "count": mean.count,
                    "few": mean.count < FEW,
                    "slice": words,
                    "without": group.without(),
                }
            )
        return tiles

    @property
    def scale(self) -> float:
        """The mean change of full colour, as a share of the display window."""
        return self._scale

    def picture(self, name: str) -> bytes | None:
        """Return a picture of `tiles` as PNG."""
        return self._pictures.get(name)


def _towards(classes: Sequence[str], finding: str, sign: int) -> str:
    if len(classes) == 2 and finding == classes[1]:
        return f"towards {classes[1 if sign > 0 else 0]}"
    return f"{'more' if sign > 0 else 'less'} {finding}"


def _picture(mean: _Sum, scale: float) -> tuple[bytes, str]:
    """Return the mean change over the mean image as PNG; of a volume the slice that changes most, and which."""
    image, change, words = mean.image / mean.count, mean.change / mean.count, ""
    if change.ndim == 3:
        at = telling_slice(np.abs(change), 0)
        words = f"slice {at + 1} of {len(change)}"
        image, change = (plane_of(values, mean.grid, at) for values in (image, change))
    return png(_drawn(image, change, max(scale, 1e-12), aspect_of(mean.grid), side=SIDE, light=0.75)), words


def change_thumbnail(run: Run, row: Row, side: int = 96) -> bytes:
    """Return what a counterfactual changes over its image as a small PNG, on the scale of all difference
    pictures; of a volume the slice that changes most."""
    one = changed_of(run, row)
    image, change = one.image, one.change
    if change.ndim == 3:
        at = moving_slice(np.stack([np.zeros_like(change), change])[:, None], 0)
        image, change = (plane_of(values, one.grid, at) for values in (image, change))
    by = max(1, -(-max(change.shape) // side))
    scale = difference_scale((0.0, 1.0)).value
    return png(_drawn(image[::by, ::by], change[::by, ::by], scale, 1.0, side=0, light=0.5))


def _drawn(
    image: NDArray[Any], change: NDArray[Any], scale: float, aspect: float, *, side: int, light: float
) -> NDArray[np.uint8]:
    image, change = enlarged(np.stack([image, change]), side) if side else (image, change)
    base = (grey(image[None], (0.0, 1.0)) * light).astype(np.uint8)
    drawn = signed_overlay(base, change, scale)
    if abs(aspect - 1) < 0.01:
        return drawn
    size = (drawn.shape[1], max(1, round(drawn.shape[0] * aspect)))
    return np.asarray(Picture.fromarray(drawn).resize(size, Picture.Resampling.BILINEAR))
