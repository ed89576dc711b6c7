"""The shared cohorts as tensors, split by patient."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from contrafact.models import resize


@dataclass(frozen=True)
class Cohort:
    """images uint8 (N, 1, 64, 64); labels 0/1; goals (N, outputs) of the network; who and which."""

    images: Tensor
    labels: np.ndarray
    goals: Tensor
    patients: list[str]
    paths: list[Path]
    classes: tuple[str, str]


def load(name: str, root: Path, *, side: int = 64) -> tuple[Cohort, Cohort]:
    """(to fit on, held out): no patient in both."""
    return {"knee": _knee, "chest": _chest, "brain": _brain}[name](root, side)


def read(paths: list[Path], side: int) -> Tensor:
    """Grey images at `side` pixels, uint8, resized as the predictors resize."""
    parts = []
    for path in paths:
        with Image.open(path) as picture:
            grey = torch.from_numpy(np.array(picture.convert("L"), dtype=np.float32))[None, None]
        parts.append(resize(grey, (side, side)).round().clamp(0, 255).byte())
    return torch.cat(parts)


def _knee(root: Path, side: int) -> tuple[Cohort, Cohort]:
    made = []
    for part in ("train", "val"):
        paths = sorted((root / part).glob("*/*.jpg"))
        grades = torch.tensor([int(p.parent.name) for p in paths])
        made.append(
            Cohort(
                images=read(paths, side),
                labels=(grades > 1).long().numpy(),
                goals=(grades[:, None] > torch.arange(4)).float(),
                patients=[p.stem[:-1] for p in paths],
                paths=paths,
                classes=("KL 0-1", "KL 2-4"),
            )
        )
    return made[0], made[1]


def chest_patient(path: Path) -> str:
    """`person63_bacteria_306` -> person63; `IM-0115-0001` and `NORMAL2-IM-0115-0001` -> their number."""
    found = re.match(r"(person\d+|(?:NORMAL2-)?IM-\d+)", path.stem)
    return found.group(1) if found else path.stem


def chest_held(paths: list[Path]) -> list[bool]:
    """Whether each image belongs to the 15 % of patients who are held out."""
    patients = [chest_patient(p) for p in paths]
    names = sorted(set(patients))
    chosen = np.random.default_rng(0).permutation(len(names))[: round(0.15 * len(names))]
    held = {names[i] for i in chosen}
    return [p in held for p in patients]


def _chest(root: Path, side: int) -> tuple[Cohort, Cohort]:
    paths = sorted((root / "train").glob("*/*.jp*g"))
    patients, held = [chest_patient(p) for p in paths], chest_held(paths)
    made = []
    for wanted in (False, True):
        rows = [i for i, out in enumerate(held) if out == wanted]
        labels = np.array([int(paths[i].parent.name == "PNEUMONIA") for i in rows])
        made.append(
            Cohort(
                images=read([paths[i] for i in rows], side),
                labels=labels,
                goals=torch.from_numpy(labels).float()[:, None],
                patients=[patients[i] for i in rows],
                paths=[paths[i] for i in rows],
                classes=("normal", "pneumonia"),
            )
        )
    return made[0], made[1]


def brain_held(paths: list[Path]) -> list[bool]:
    """Whether each file belongs to the 20 % that are held out. The files name no patient, and the data holds
    near-duplicate slices, so this is no test of other patients."""
    held = np.zeros(len(paths), dtype=bool)
    held[np.random.default_rng(0).permutation(len(paths))[: round(0.2 * len(paths))]] = True
    return [bool(out) for out in held]


def _brain(root: Path, side: int) -> tuple[Cohort, Cohort]:
    paths = sorted(root.glob("*/*.jp*g"))
    held = brain_held(paths)
    made = []
    for wanted in (False, True):
        chosen = [p for p, out in zip(paths, held, strict=True) if out == wanted]
        labels = np.array([int(p.parent.name != "notumor") for p in chosen])
        made.append(
            Cohort(
                images=read(chosen, side),
                labels=labels,
                goals=torch.from_numpy(labels).float()[:, None],
                patients=[f"{p.parent.name}-{p.stem}" for p in chosen],
                paths=chosen,
                classes=("no tumour", "tumour"),
            )
        )
    return made[0], made[1]
