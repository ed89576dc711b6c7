"""The shared cohorts as tensors: images, labels, patients, in three parts that share no patient.

`fit` trains; `choice` (a tenth of the training patients) chooses settings and moments; `val` is measured once.
`train` is `fit` and `choice` together, for what is trained without a choice.
"""

from __future__ import annotations

import csv
import functools
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage.exposure import match_histograms
from torch import Tensor

from contrafact.models import resize
from experiments.stains import air_of, alike, stain_of, with_stain

PARTS = ("fit", "choice", "val", "train")
FOLDERS = {
    "knee": "knee_kl_128",
    "chest": "chestxray_pneumonia_224",
    "brain": "brain_tumor_mri_4class_224",
    "nodule": "lidc_nodules_128",
    "histology": "lc25000_lung_224",
}
WINDOW = 48  # pixels of a nodule window
LUNG = 90  # greys below are air in the released lung window


@dataclass(frozen=True)
class Cohort:
    """images uint8 (N, C, side, side); labels 0 or 1; levels: the ordinal grade, or the label; names of files,
    and their paths where each is one image."""

    images: Tensor
    labels: NDArray[np.int64]
    levels: NDArray[np.int64]
    patients: list[str]
    names: list[str]
    classes: tuple[str, str]
    paths: list[Path] = field(default_factory=list)

    @property
    def goals(self) -> Tensor:
        """What a network learns, (N, outputs): grades as cumulative labels, P(grade > k); a label as it is."""
        levels = torch.from_numpy(self.levels)
        return (levels[:, None] > torch.arange(int(self.levels.max()))).float()

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
            paths=[self.paths[i] for i in chosen] if self.paths else [],
        )


def load(name: str, root: Path, part: str, *, side: int) -> Cohort:
    """One part of a cohort: `knee`, `chest`, `brain`, `nodule` or `histology`, from the folder of all shared
    data or from the cohort's own."""
    return COHORTS[name](folder_of(name, root), part, side)


def train_and_val(name: str, root: Path, *, side: int = 64) -> tuple[Cohort, Cohort]:
    """All images to train on, and those of the other patients."""
    return load(name, root, "train", side=side), load(name, root, "val", side=side)


def folder_of(name: str, root: Path) -> Path:
    """The folder of a cohort, from it or from the folder of all shared data."""
    return root / FOLDERS[name] if (root / FOLDERS[name]).is_dir() else root


def balanced(cohort: Cohort, count: int, *, seed: int = 1) -> Cohort:
    """As many images of each label, of different patients, in random order: the first hold both labels."""
    rows, taken, want = [], set(), {0: count // 2, 1: count - count // 2}
    for row in np.random.default_rng(seed).permutation(len(cohort)).tolist():
        who, label = cohort.patients[row], int(cohort.labels[row])
        if who in taken or not want[label]:
            continue
        taken.add(who)
        want[label] -= 1
        rows.append(row)
    return cohort.rows(rows)


def in_choice(patient: str) -> bool:
    """Whether a training patient belongs to the tenth that chooses settings; the same on every machine."""
    return zlib.crc32(patient.encode()) % 10 == 0


def _of_part(patients: list[str], part: str) -> list[int]:
    whole = part in ("val", "train")
    return [i for i, who in enumerate(patients) if whole or in_choice(who) == (part == "choice")]


def read(paths: list[Path], side: int) -> Tensor:
    """Grey images at `side` pixels, uint8, resized as predictors resize."""
    images = []
    for path in paths:
        with Image.open(path) as picture:
            images.append(_sized(np.asarray(picture.convert("L")), side))
    return torch.cat(images)


def _sized(values: NDArray[np.uint8], side: int) -> Tensor:
    image = torch.from_numpy(np.array(values, dtype=np.float32))
    image = image[None, None] if image.ndim == 2 else image.movedim(2, 0)[None]
    return resize(image, (side, side)).round().clamp(0, 255).byte()


def _knee(folder: Path, part: str, side: int) -> Cohort:
    paths = sorted((folder / ("val" if part == "val" else "train")).glob("*/*.jpg"))
    paths = [paths[i] for i in _of_part([p.stem[:-1] for p in paths], part)]
    grades = np.array([int(p.parent.name) for p in paths])
    return Cohort(
        images=read(paths, side),
        labels=(grades > 1).astype(np.int64),
        levels=grades,
        patients=[p.stem[:-1] for p in paths],
        names=[p.name for p in paths],
        classes=("KL 0-1", "KL 2-4"),
        paths=paths,
    )


@dataclass(frozen=True)
class NoduleWindow:
    """One window of a slice and every reader's mask in it."""

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
    folder = folder_of("nodule", root) / ("val" if part == "val" else "train")
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
    """Windows with a pasted nodule, and the same windows without it, uint8 (N, 1, side, side), three of each.

    The nodule, turned by quarters, with two pixels around it, comes from the other window of the same slice; it
    is pasted, with a soft edge, where the tissue around it is most like its own.
    """
    windows, pasted, plain = nodule_windows(root, part), [], []
    for own, other, turn in (
        (own, other, turn) for own, other in zip(windows[::2], windows[1::2], strict=True) for turn in range(3)
    ):
        turned = replace(
            own,
            values=np.rot90(own.values, turn),
            readers=np.rot90(own.readers, turn),
            name=f"{own.name}-{turn}",
        )
        with_nodule = _pasted(turned, other.values)
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


def _chest(folder: Path, part: str, side: int) -> Cohort:
    """Chest radiographs. Exposure alone tells much of the label (docs/results/chest.md), so that those of `fit`
    and `choice` have the greys of another patient of either class each; `train` and `val` are as they are."""
    paths = sorted((folder / "train").glob("*/*.jp*g"))
    paths = [p for p, held in zip(paths, chest_held(paths), strict=True) if held == (part == "val")]
    positive, classes = (lambda p: p.parent.name == "PNEUMONIA"), ("normal", "pneumonia")
    cohort = _of_files(paths, part, side, patient=chest_patient, positive=positive, classes=classes)
    return replace(cohort, images=with_exchanged_greys(cohort.images)) if part in ("fit", "choice") else cohort


def with_exchanged_greys(images: Tensor) -> Tensor:
    """Grey images uint8 (N, 1, H, W), each with the histogram of another one, drawn at random."""
    others = np.random.default_rng(11).permutation(len(images))
    values = images[:, 0].numpy()
    exchanged = [match_histograms(one, values[other]) for one, other in zip(values, others, strict=True)]
    return torch.from_numpy(np.round(np.stack(exchanged)).clip(0, 255).astype(np.uint8))[:, None]


def _of_files(
    paths: list[Path],
    part: str,
    side: int,
    *,
    patient: Callable[[Path], str],
    positive: Callable[[Path], bool],
    classes: tuple[str, str],
) -> Cohort:
    """The files of a part as a cohort of two classes."""
    paths = [paths[i] for i in _of_part([patient(p) for p in paths], part)]
    labels = np.array([int(positive(path)) for path in paths])
    return Cohort(
        images=read(paths, side),
        labels=labels,
        levels=labels,
        patients=[patient(p) for p in paths],
        names=[p.name for p in paths],
        classes=classes,
        paths=paths,
    )


def chest_patient(path: Path) -> str:
    """`person63_bacteria_306` -> person63; `IM-0115-0001` and `NORMAL2-IM-0115-0001-0002` -> their number."""
    found = re.match(r"(person\d+|(?:NORMAL2-)?IM-\d+)", path.stem)
    return found.group(1) if found else path.stem


def chest_held(paths: list[Path]) -> list[bool]:
    """Whether each image belongs to the 15 % of patients who are held out."""
    patients = [chest_patient(p) for p in paths]
    names = sorted(set(patients))
    held = {names[i] for i in np.random.default_rng(0).permutation(len(names))[: round(0.15 * len(names))]}
    return [who in held for who in patients]


def _brain(folder: Path, part: str, side: int) -> Cohort:
    paths = sorted(folder.glob("*/*.jp*g"))
    paths = [p for p, held in zip(paths, brain_held(paths), strict=True) if held == (part == "val")]
    positive, classes = (lambda p: p.parent.name != "notumor"), ("no tumour", "tumour")
    return _of_files(paths, part, side, patient=_brain_name, positive=positive, classes=classes)


def _brain_name(path: Path) -> str:
    return f"{path.parent.name}-{path.stem}"


def brain_held(paths: list[Path]) -> list[bool]:
    """Whether each file belongs to the 20 % that are held out. The files name no patient, and the data holds
    near-duplicate slices, so this is no test of other patients."""
    held = np.zeros(len(paths), dtype=bool)
    held[np.random.default_rng(0).permutation(len(paths))[: round(0.2 * len(paths))]] = True
    return [bool(out) for out in held]


def _histology(folder: Path, part: str, side: int) -> Cohort:
    """Crops of `side` pixels from tiles of 224, in colour, tumour (two kinds) or benign; a fifth of the source
    tiles are `val`.

    Benign tiles hold more air, and their stains tell the class of nearly every tile. So every part has as many
    crops of each class for every tenth of air, and outside `val` every crop has the stain of another tile, of
    either class; `val` is as it was scanned.
    """
    with (folder / "tiles.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    images, labels, sources, names, air = [], [], [], [], []
    tiles, chosen = list[NDArray[np.uint8]](), list[dict[str, str]]()
    for row in table:
        source = row["source_tile"]
        if (zlib.crc32(f"val {source}".encode()) % 5 == 0) != (part == "val"):
            continue
        if part not in ("val", "train") and in_choice(source) != (part == "choice"):
            continue
        chosen.append(row)
        tiles.append(np.asarray(Image.open(folder / row["file"]).convert("RGB")))
    stains, rng = [stain_of(tile) for tile in tiles], np.random.default_rng(7)
    for row, values, stain in zip(chosen, tiles, stains, strict=True):
        for number in range(25):
            y, x = (round(k * (224 - side) / 4) for k in divmod(number, 5))
            crop = values[y : y + side, x : x + side]
            air.append(air_of(crop, stain))
            if part != "val":
                crop = with_stain(crop, stain, stains[rng.integers(len(stains))])
            images.append(torch.from_numpy(crop.copy()).movedim(2, 0)[None])
            labels.append(int(row["label"] != "lung_n"))
            sources.append(row["source_tile"])
            names.append(f"{row['file']}-{number}")
    known = np.array(labels)
    cohort = Cohort(torch.cat(images), known, known, sources, names, ("benign", "tumour"))
    return cohort.rows(alike(known, np.array(air), rng))


COHORTS: dict[str, Callable[[Path, str, int], Cohort]] = {
    "knee": _knee,
    "chest": _chest,
    "brain": _brain,
    "nodule": _nodule,
    "histology": _histology,
}
