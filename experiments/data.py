"""The shared cohorts as tensors: images, labels, patients, in three parts that share no patient.

`fit` trains; `choice` (a tenth of the training patients) chooses settings and moments; `val` is measured once.
`train` is `fit` and `choice` together, for what is trained without a choice.
"""

from __future__ import annotations

import csv
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage.exposure import match_histograms
from torch import Tensor

from contrafact.phantoms import Phantom, draw_factors, knee_phantom
from experiments.malignancy import HIGH, LOW, single_ratings
from experiments.nodule_windows import NoduleWindow, nodule_stacks, nodule_windows
from experiments.reading import folder_of, in_choice, of_part, read, sized
from experiments.stains import air_of, alike, stain_of, with_stain

PARTS = ("fit", "choice", "val", "train")
NARROW = 3.0  # pixels of 32; a phantom's joint space below it is narrow


@dataclass(frozen=True)
class Cohort:
    """images uint8 (N, C, side, side), of stacks (N, 1, side, side, side); labels 0 or 1; levels: the ordinal
    grade, or the label; names of files, and their paths where each is one image."""

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
    """One part of a cohort: `knee`, `chest`, `brain`, `nodule`, `nodule_3d` or `histology`, from the folder of
    all shared data or from the cohort's own, or `phantom`, which is drawn."""
    return COHORTS[name](folder_of(name, root), part, side)


def train_and_val(name: str, root: Path, *, side: int = 64) -> tuple[Cohort, Cohort]:
    """All images to train on, and those of the other patients."""
    return load(name, root, "train", side=side), load(name, root, "val", side=side)


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


def _knee(folder: Path, part: str, side: int) -> Cohort:
    paths = sorted((folder / ("val" if part == "val" else "train")).glob("*/*.jpg"))
    paths = [paths[i] for i in of_part([p.stem[:-1] for p in paths], part)]
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


def _nodule(root: Path, part: str, side: int) -> Cohort:
    return _of_windows(nodule_windows(root, part), side)


def _malignancy(root: Path, part: str, side: int) -> Cohort:
    """Windows of nodules that readers rated likely benign or likely malignant, whose rating joins without
    ambiguity; those rated in between are left out."""
    rated = {who: mean for who, mean in single_ratings().items() if not LOW < mean < HIGH}
    windows = [w for w in nodule_windows(root, part) if w.nodule and w.patient in rated]
    labels = np.array([int(rated[w.patient] >= HIGH) for w in windows])
    return replace(_of_windows(windows, side), labels=labels, levels=labels, classes=("benign", "malignant"))


def _stack(root: Path, part: str, side: int) -> Cohort:
    return _of_windows(nodule_stacks(root, part), side)


def _of_windows(windows: list[NoduleWindow], side: int) -> Cohort:
    labels = np.array([int(w.nodule) for w in windows])
    return Cohort(
        images=torch.cat([sized(w.values, side, grey=True) for w in windows]),
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
    paths = [paths[i] for i in of_part([patient(p) for p in paths], part)]
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


def phantoms(part: str, side: int) -> dict[str, Phantom]:
    """Drawn knees with independent factors by name, others for each part; a phantom is a patient."""
    if part == "train":
        return phantoms("fit", side) | phantoms("choice", side)
    count, seed = {"fit": (3000, 12), "choice": (300, 13), "val": (600, 14)}[part]
    rng = np.random.default_rng(seed)
    return {f"{part}-{k:04d}": knee_phantom(draw_factors(rng), rng, side=side) for k in range(count)}


def _phantom(_: Path, part: str, side: int) -> Cohort:
    drawn = phantoms(part, side)
    images = np.stack([one.image.values for one in drawn.values()])
    labels = np.array([int(one.factors["joint_space"] < NARROW) for one in drawn.values()])
    return Cohort(
        images=torch.from_numpy(images).round().to(torch.uint8),
        labels=labels,
        levels=labels,
        patients=list(drawn),
        names=list(drawn),
        classes=("wide joint", "narrow joint"),
    )


COHORTS: dict[str, Callable[[Path, str, int], Cohort]] = {
    "knee": _knee,
    "chest": _chest,
    "brain": _brain,
    "nodule": _nodule,
    "nodule_3d": _stack,
    "malignancy": _malignancy,
    "histology": _histology,
    "phantom": _phantom,
}
