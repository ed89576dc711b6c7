"""The shared cohorts as tensors: images, labels, patients, in three parts that share no patient.

`fit` trains; `choice` (a tenth of the training patients) chooses settings and moments; `val` is measured once.
"""

from __future__ import annotations

import csv
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from torch import Tensor

from contrafact.models import resize

PARTS = ("fit", "choice", "val")
WINDOW = 48  # pixels of a nodule window
LUNG = 90  # greys below are air in the released lung window


@dataclass(frozen=True)
class Cohort:
    """images uint8 (N, C, side, side); labels 0 or 1; levels: the ordinal grade, or the label; names of
    files."""

    images: Tensor
    labels: NDArray[np.int64]
    levels: NDArray[np.int64]
    patients: list[str]
    names: list[str]
    classes: tuple[str, str]

    def __len__(self) -> int:
        return len(self.labels)

    def rows(self, chosen: list[int]) -> Cohort:
        """Some of the images."""
        return Cohort(
            images=self.images[chosen],
            labels=self.labels[chosen],
            levels=self.levels[chosen],
            patients=[self.patients[i] for i in chosen],
            names=[self.names[i] for i in chosen],
            classes=self.classes,
        )


def load(name: str, root: Path, part: str, *, side: int) -> Cohort:
    """One part of a cohort: `knee`, `chest`, `nodule` or `histology`, from the folder of all shared data."""
    return COHORTS[name](root, part, side)


def in_choice(patient: str) -> bool:
    """Whether a training patient belongs to the tenth that chooses settings; the same on every machine."""
    return zlib.crc32(patient.encode()) % 10 == 0


def _of_part(patients: list[str], part: str) -> list[int]:
    return [i for i, who in enumerate(patients) if part == "val" or in_choice(who) == (part == "choice")]


def read(paths: list[Path], side: int) -> Tensor:
    """Grey images at `side` pixels, uint8, resized as predictors resize."""
    return torch.cat([_sized(np.asarray(Image.open(path).convert("L")), side) for path in paths])


def _sized(values: NDArray[np.uint8], side: int) -> Tensor:
    image = torch.from_numpy(np.array(values, dtype=np.float32))
    image = image[None, None] if image.ndim == 2 else image.movedim(2, 0)[None]
    return resize(image, (side, side)).round().clamp(0, 255).byte()


def _knee(root: Path, part: str, side: int) -> Cohort:
    folder = root / "knee_kl_128" / ("val" if part == "val" else "train")
    paths = sorted(folder.glob("*/*.jpg"))
    paths = [paths[i] for i in _of_part([p.stem[:-1] for p in paths], part)]
    grades = np.array([int(p.parent.name) for p in paths])
    return Cohort(
        images=read(paths, side),
        labels=(grades > 1).astype(np.int64),
        levels=grades,
        patients=[p.stem[:-1] for p in paths],
        names=[p.name for p in paths],
        classes=("KL 0-1", "KL 2-4"),
    )


@dataclass(frozen=True)
class NoduleWindow:
    """One window of a slice and every reader's mask in it."""

    values: NDArray[np.uint8]
    readers: NDArray[np.uint8]
    nodule: bool
    patient: str
    name: str


def nodule_windows(root: Path, part: str) -> list[NoduleWindow]:
    """Pairs of windows from the same slice: one holds the whole nodule, one none of it, as like as can be in
    the share of air and in how dark and bright they are beside the nodule, so that neither says which is which.

    A slice without a second window that is alike (air within 0.06) gives none; up to three slices a nodule.
    """
    folder = root / "lidc_nodules_128" / ("val" if part == "val" else "train")
    nodules = sorted(p for p in folder.iterdir() if p.is_dir())
    kept = _of_part([p.name.split("_")[0] for p in nodules], part)
    found: list[NoduleWindow] = []
    for nodule in (nodules[i] for i in kept):
        slices = sorted(p for p in nodule.glob("slice-*.png") if "readers" not in p.name)
        middle = len(slices) // 2
        for path in slices[max(0, middle - 1) : middle + 2]:
            found += _pair(path, nodule.name)
    return found


def _pair(path: Path, nodule: str) -> list[NoduleWindow]:
    values = np.asarray(Image.open(path).convert("L"))
    readers = np.asarray(Image.open(path.with_name(f"{path.stem}_readers.png")))
    rng = np.random.default_rng(zlib.crc32(f"{nodule}/{path.stem}".encode()))
    rows, columns = np.nonzero(readers)
    if not len(rows) or max(np.ptp(rows), np.ptp(columns)) > WINDOW - 10:
        return []
    top = rng.integers(max(0, rows.max() + 4 - WINDOW), min(rows.min() - 3, 128 - WINDOW) + 1)
    left = rng.integers(max(0, columns.max() + 4 - WINDOW), min(columns.min() - 3, 128 - WINDOW) + 1)
    with_nodule = (slice(top, top + WINDOW), slice(left, left + WINDOW))
    wanted = _content(values[with_nodule], readers[with_nodule])
    best: tuple[float, tuple[slice, slice]] | None = None
    for _ in range(200):
        y, x = rng.integers(0, 128 - WINDOW + 1, 2)
        place = (slice(y, y + WINDOW), slice(x, x + WINDOW))
        if readers[place].any():
            continue
        far = np.abs(_content(values[place], readers[place]) - wanted)
        distance = float(far @ np.array([1.0, 0.5, 0.5]))
        if far[0] < 0.06 and (best is None or distance < best[0]):
            best = (distance, place)
    if best is None:
        return []
    patient, name = nodule.split("_")[0], f"{nodule}/{path.stem}"
    return [
        NoduleWindow(values[place], readers[place], has, patient, name)
        for place, has in ((with_nodule, True), (best[1], False))
    ]


def nodule_pairs(root: Path, part: str, *, side: int) -> tuple[Tensor, Tensor]:
    """Windows with a pasted nodule, and the same windows without it, uint8 (N, 1, side, side).

    The nodule, with two pixels around it, comes from the other window of the same slice; it is pasted, with a
    soft edge, where the tissue around it is most like its own.
    """
    windows, pasted, plain = nodule_windows(root, part), [], []
    for own, other in zip(windows[::2], windows[1::2], strict=True):
        with_nodule = _pasted(own, other.values)
        if with_nodule is not None:
            pasted.append(_sized(with_nodule, side))
            plain.append(_sized(other.values, side))
    return torch.cat(pasted), torch.cat(plain)


def _pasted(own: NoduleWindow, onto: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """The window `onto` with the nodule of the window `own`; None where no place is alike within 40 levels."""
    core = ndimage.binary_dilation(own.readers > 0, iterations=2)
    rim = ndimage.binary_dilation(core, iterations=3) & ~core
    rows, columns = np.nonzero(rim)
    rng = np.random.default_rng(zlib.crc32(own.name.encode()))
    lit, best = own.values[rim].astype(float), (40.0, (0, 0))
    for _ in range(60):
        dy = int(rng.integers(-rows.min(), WINDOW - rows.max()))
        dx = int(rng.integers(-columns.min(), WINDOW - columns.max()))
        under = onto[rows + dy, columns + dx].astype(float)
        distance = abs(np.median(under) - np.median(lit)) + 0.5 * abs(under.std() - lit.std())
        if distance < best[0]:
            best = (distance, (dy, dx))
    if best[0] == 40.0:
        return None
    soft = ndimage.gaussian_filter(core.astype(float), 1.0)
    soft, nodule = (np.roll(x, best[1], axis=(0, 1)) for x in (soft, own.values.astype(float)))
    return np.round(onto * (1 - soft) + nodule * soft).astype(np.uint8)


def _content(values: NDArray[np.uint8], readers: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Share of air, share of bright tissue, share of grey between, of what is not the nodule."""
    beside = values[readers == 0]
    return np.array(
        [np.mean(beside < LUNG), np.mean(beside > 200), np.mean((beside >= LUNG) & (beside <= 200))]
    )


def _nodule(root: Path, part: str, side: int) -> Cohort:
    windows = nodule_windows(root, part)
    labels = np.array([int(w.nodule) for w in windows])
    return Cohort(
        images=torch.cat([_sized(w.values, side) for w in windows]),
        labels=labels,
        levels=labels,
        patients=[w.patient for w in windows],
        names=[f"{w.name}-{'nodule' if w.nodule else 'none'}" for w in windows],
        classes=("no nodule", "nodule"),
    )


def _chest(root: Path, part: str, side: int) -> Cohort:
    """Chest radiographs as they are: exposure alone tells much of the label (docs/results/chest.md)."""
    paths = sorted((root / "chestxray_pneumonia_224" / "train").glob("*/*.jp*g"))
    patients = [_chest_patient(p) for p in paths]
    names = sorted(set(patients))
    held = {names[i] for i in np.random.default_rng(0).permutation(len(names))[: round(0.15 * len(names))]}
    rows = [i for i, who in enumerate(patients) if (who in held) == (part == "val")]
    rows = [i for i in rows if part == "val" or in_choice(patients[i]) == (part == "choice")]
    labels = np.array([int(paths[i].parent.name == "PNEUMONIA") for i in rows])
    return Cohort(
        images=read([paths[i] for i in rows], side),
        labels=labels,
        levels=labels,
        patients=[patients[i] for i in rows],
        names=[paths[i].name for i in rows],
        classes=("normal", "pneumonia"),
    )


def _chest_patient(path: Path) -> str:
    """`person63_bacteria_306` -> person63; `IM-0115-0001` and `NORMAL2-IM-0115-0001` -> their number."""
    stem = path.stem
    return stem.split("_")[0] if stem.startswith("person") else "-".join(stem.split("-")[:-1]) or stem


def _histology(root: Path, part: str, side: int) -> Cohort:
    """Nine crops of `side` pixels from each tile of 224, in colour, tumour (two kinds) or benign; a fifth of
    the source tiles are `val`."""
    folder = root / "lc25000_lung_224"
    with (folder / "tiles.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    images, labels, sources, names = [], [], [], []
    for row in table:
        source = row["source_tile"]
        if (zlib.crc32(f"val {source}".encode()) % 5 == 0) != (part == "val"):
            continue
        if part != "val" and in_choice(source) != (part == "choice"):
            continue
        values = np.asarray(Image.open(folder / row["file"]).convert("RGB"))
        for number in range(9):
            y, x = (round(k * (224 - side) / 2) for k in divmod(number, 3))
            crop = values[y : y + side, x : x + side]
            images.append(torch.from_numpy(crop.copy()).movedim(2, 0)[None])
            labels.append(int(row["label"] != "lung_n"))
            sources.append(source)
            names.append(f"{row['file']}-{number}")
    return Cohort(torch.cat(images), np.array(labels), np.array(labels), sources, names, ("benign", "tumour"))


COHORTS: dict[str, Callable[[Path, str, int], Cohort]] = {
    "knee": _knee,
    "chest": _chest,
    "nodule": _nodule,
    "histology": _histology,
}
