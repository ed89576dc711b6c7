"""Where the cohorts lie, which patients belong to which part, and how their images are read."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from contrafact.models import resize

FOLDERS = {
    "knee": "knee_kl_128",
    "chest": "chestxray_pneumonia_224",
    "brain": "brain_tumor_mri_4class_224",
    "nodule": "lidc_nodules_128",
    "nodule_3d": "lidc_nodules_128",
    "malignancy": "lidc_nodules_128",
    "histology": "lc25000_lung_224",
}


def folder_of(name: str, root: Path) -> Path:
    """The folder of a cohort, from it or from the folder of all shared data; of drawn images any."""
    folder = root / FOLDERS.get(name, "")
    return folder if folder.is_dir() else root


def in_choice(patient: str) -> bool:
    """Whether a training patient belongs to the tenth that chooses settings; the same on every machine."""
    return zlib.crc32(patient.encode()) % 10 == 0


def of_part(patients: list[str], part: str) -> list[int]:
    """Rows of the patients of a part; `val` has a list of its own."""
    whole = part in ("val", "train")
    return [i for i, who in enumerate(patients) if whole or in_choice(who) == (part == "choice")]


def read(paths: list[Path], side: int) -> Tensor:
    """Grey images at `side` pixels, uint8, resized as predictors resize."""
    images = []
    for path in paths:
        with Image.open(path) as picture:
            images.append(sized(np.asarray(picture.convert("L")), side))
    return torch.cat(images)


def sized(values: NDArray[np.uint8], side: int, *, grey: bool = False) -> Tensor:
    """An image (H, W), a colour image (H, W, 3) or, if `grey`, a stack (D, H, W) as uint8 (1, C, side, ...)."""
    image = torch.from_numpy(np.array(values, dtype=np.float32))
    image = image[None, None] if grey or image.ndim == 2 else image.movedim(2, 0)[None]
    return resize(image, (side,) * (image.ndim - 2)).round().clamp(0, 255).byte()
