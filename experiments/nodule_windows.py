"""Windows of lung nodules and windows without one, of slices and of stacks of slices, and pairs of both."""

from __future__ import annotations

import functools
import itertools
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from torch import Tensor

from experiments.reading import folder_of, of_part, sized

WINDOW = 48  # pixels of a nodule window
DEEP = 8  # slices of a stack, at least
LUNG = 90  # greys below are air in the released lung window


@dataclass(frozen=True)
class NoduleWindow:
    """One window (H, W) of a slice, or (D, H, W) of a stack of slices, and every reader's mask in it."""

    values: NDArray[np.uint8]
    readers: NDArray[np.uint8]
    nodule: bool
    patient: str
    name: str


@functools.lru_cache(maxsize=4)
def nodule_windows(root: Path, part: str) -> list[NoduleWindow]:
    """Pairs of windows from the same slice: one holds the whole nodule, one none of it, as like as can be in
    the share of air and in how dark and bright they are beside the nodule, so that neither says which is which.

    A slice without a second window that is alike (air within 0.06) gives none; up to three slices a nodule.
    """
    found: list[NoduleWindow] = []
    for nodule, slices in _slices(root, part):
        middle = len(slices) // 2
        for path in slices[max(0, middle - 1) : middle + 2]:
            rng = np.random.default_rng(zlib.crc32(f"{nodule}/{path.stem}".encode()))
            found += _pair(*_read([path]), rng, f"{nodule}/{path.stem}", flat=True)
    return found


@functools.lru_cache(maxsize=4)
def nodule_stacks(root: Path, part: str) -> list[NoduleWindow]:
    """The same of whole stacks of eight to ten slices (D, 48, 48): the window without a nodule holds it in no
    slice. Three pairs a nodule, at other places; one of `val`. The distance of the slices was not released."""
    found: list[NoduleWindow] = []
    for nodule, slices in _slices(root, part):
        if len(slices) < DEEP:
            continue
        values, readers = _read(slices)
        for number in range(1 if part == "val" else 3):
            rng = np.random.default_rng(zlib.crc32(f"{nodule}/stack-{number}".encode()))
            found += _pair(values, readers, rng, f"{nodule}/stack-{number}")
    return found


def _slices(root: Path, part: str) -> list[tuple[str, list[Path]]]:
    """The nodules of a part by name, with the pictures of their slices."""
    folder = folder_of("nodule", root) / ("val" if part == "val" else "train")
    nodules = sorted(p for p in folder.iterdir() if p.is_dir())
    kept = of_part([p.name.split("_")[0] for p in nodules], part)
    return [
        (nodules[i].name, sorted(p for p in nodules[i].glob("slice-*.png") if "readers" not in p.name))
        for i in kept
    ]


def _read(slices: list[Path]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Values and readers' masks (D, 128, 128) of slices."""
    values = [np.asarray(Image.open(path).convert("L")) for path in slices]
    readers = [np.asarray(Image.open(path.with_name(f"{path.stem}_readers.png"))) for path in slices]
    return np.stack(values), np.stack(readers)


def _pair(
    values: NDArray[np.uint8],
    readers: NDArray[np.uint8],
    rng: np.random.Generator,
    name: str,
    *,
    flat: bool = False,
) -> list[NoduleWindow]:
    """A window with the nodule and one without, of a stack (D, 128, 128); `flat`: of its only slice."""
    rows, columns = np.nonzero(readers.any(axis=0))
    if not len(rows) or max(np.ptp(rows), np.ptp(columns)) > WINDOW - 10:
        return []
    top = rng.integers(max(0, rows.max() + 4 - WINDOW), min(rows.min() - 3, 128 - WINDOW) + 1)
    left = rng.integers(max(0, columns.max() + 4 - WINDOW), min(columns.min() - 3, 128 - WINDOW) + 1)
    whole = slice(None)
    with_nodule = (whole, slice(top, top + WINDOW), slice(left, left + WINDOW))
    wanted = _content(values[with_nodule], readers[with_nodule])
    best: tuple[float, tuple[slice, slice, slice]] | None = None
    for _ in range(200):
        y, x = rng.integers(0, 128 - WINDOW + 1, 2)
        place = (whole, slice(y, y + WINDOW), slice(x, x + WINDOW))
        if readers[place].any():
            continue
        far = np.abs(_content(values[place], readers[place]) - wanted)
        distance = float(far @ np.array([1.0, 0.5, 0.5]))
        if far[0] < 0.06 and (best is None or distance < best[0]):
            best = (distance, place)
    if best is None:
        return []
    patient = name.split("_")[0]
    both = ((with_nodule, True), (best[1], False))
    found = [NoduleWindow(values[place], readers[place], has, patient, name) for place, has in both]
    return [replace(one, values=one.values[0], readers=one.readers[0]) for one in found] if flat else found


def nodule_pairs(root: Path, part: str, *, side: int, stacks: bool = False) -> tuple[Tensor, Tensor]:
    """Windows with a pasted nodule, and the same windows without it, uint8 (N, 1, side, side), three of each;
    or stacks (N, 1, side, side, side).

    The nodule, turned by quarters, with two pixels around it, comes from the other window of the same slice; it
    is pasted, with a soft edge, where the tissue around it is most like its own.
    """
    windows = (nodule_stacks if stacks else nodule_windows)(root, part)
    of_both, pasted, plain = zip(windows[::2], windows[1::2], strict=True), [], []
    for (own, other), turn in itertools.product(of_both, range(3)):
        turned = replace(
            own,
            values=np.rot90(own.values, turn, (-2, -1)),
            readers=np.rot90(own.readers, turn, (-2, -1)),
            name=f"{own.name}-{turn}",
        )
        with_nodule = _pasted(turned, other.values)
        if with_nodule is not None:
            pasted.append(sized(with_nodule, side, grey=True))
            plain.append(sized(other.values, side, grey=True))
    return torch.cat(pasted), torch.cat(plain)


def _pasted(own: NoduleWindow, onto: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """The window `onto` with the nodule of the window `own`; None where no place is alike within 40 levels."""
    core = ndimage.binary_dilation(own.readers > 0, iterations=2)
    rim = ndimage.binary_dilation(core, iterations=3) & ~core
    *depth, rows, columns = np.nonzero(rim)
    rng = np.random.default_rng(zlib.crc32(own.name.encode()))
    lit, best = own.values[rim].astype(float), (40.0, (0, 0))
    for _ in range(60):
        dy = int(rng.integers(-rows.min(), WINDOW - rows.max()))
        dx = int(rng.integers(-columns.min(), WINDOW - columns.max()))
        under = onto[(*depth, rows + dy, columns + dx)].astype(float)
        distance = abs(np.median(under) - np.median(lit)) + 0.5 * abs(under.std() - lit.std())
        if distance < best[0]:
            best = (distance, (dy, dx))
    if best[0] == 40.0:
        return None
    soft = ndimage.gaussian_filter(core.astype(float), 1.0)
    soft, nodule = (np.roll(x, best[1], axis=(-2, -1)) for x in (soft, own.values.astype(float)))
    return np.asarray(np.round(onto * (1 - soft) + nodule * soft).astype(np.uint8))


def _content(values: NDArray[np.uint8], readers: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Share of air, share of bright tissue, share of grey between, of what is not the nodule."""
    beside = values[readers == 0]
    return np.array(
        [np.mean(beside < LUNG), np.mean(beside > 200), np.mean((beside >= LUNG) & (beside <= 200))]
    )
