"""A fit that is continued is the same fit: other images, window, settings or model are refused by name."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Picture

from contrafact.core import InputError
from contrafact.fitting import fit_stages
from contrafact.generation import LegacyTrainerConfig, MedXGANTrainerConfig, TrainerConfig
from contrafact.generation.checkpoint import check_trained_with, trained_with
from contrafact.io import read_tensors

FIT = (
    'name = "toy"\nout = "out"\n[data]\npath = "images"\nwindow = [0, 255]\n'
    "[generator]\nresolution = 8\nchannel_base = 64\nchannel_max = 8\nz_dim = 8\nw_dim = 8\n"
    "[training]\nkimg = 0.008\nbatch = 8\nrate = 0.0025\n[encoder]\nsteps = 1\nbatch = 2\nwidth = 4\n"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for number in range(8):
        draw = np.random.default_rng(number)
        Picture.fromarray(draw.integers(0, 256, (8, 8), dtype=np.uint8)).save(
            tmp_path / "images" / f"{number}.png"
        )
    (tmp_path / "fit.toml").write_text(FIT)
    assert seen(tmp_path / "fit.toml") == 8
    return tmp_path / "fit.toml"


def seen(path: Path, stage: str = "generator") -> int:
    for _ in fit_stages(path, stage=stage, device="cpu"):
        pass
    return int(read_tensors(path.parent / "out" / "checkpoint.safetensors")["counts"][1])


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("batch = 8", "batch = 4", "trained with batch 8, now 4: continue"),
        ("rate = 0.0025", "rate = 0.01", "trained with rate 0.0025, now 0.01: continue"),
        (
            "window = [0, 255]",
            "window = [0, 9]",
            "trained with window [0.0, 255.0], now [0.0, 9.0]; other images",
        ),
    ],
)  # fmt: skip
def test_a_fit_is_not_continued_with_other_settings(path: Path, before: str, after: str, told: str) -> None:
    path.write_text(FIT.replace(before, after).replace("kimg = 0.008", "kimg = 0.016"))
    kept = (path.parent / "out" / "checkpoint.safetensors").read_bytes()
    with pytest.raises(InputError, match=re.escape(told)):
        seen(path)
    assert (path.parent / "out" / "checkpoint.safetensors").read_bytes() == kept


def test_a_fit_is_continued_for_longer_and_not_on_other_images(path: Path) -> None:
    path.write_text(FIT.replace("kimg = 0.008", "kimg = 0.016"))
    assert seen(path) == 16
    Picture.fromarray(np.full((8, 8), 9, np.uint8)).save(path.parent / "images" / "0.png")
    for stage in ("generator", "encoder"):
        with pytest.raises(InputError, match="the saved run was trained with other images: continue"):
            seen(path, stage)


def test_an_encoder_is_not_trained_for_a_generator_of_another_window(path: Path) -> None:
    path.write_text(
        FIT.replace("window = [0, 255]", "window = [0, 200]").replace("rate = 0.0025", "rate = 0.01")
    )
    with pytest.raises(InputError, match=r"window \[0.0, 255.0\], now \[0.0, 200.0\]; other images: continue"):
        seen(path, "encoder")


@pytest.mark.parametrize("config", [TrainerConfig, MedXGANTrainerConfig, LegacyTrainerConfig])
def test_every_setting_but_the_length_and_gamma_is_compared(config: type) -> None:
    images = torch.zeros(2, 1, 8, 8, dtype=torch.uint8)
    saved = {"about": trained_with(config(), images, None)}
    check_trained_with(saved, trained_with(config(kimg=7.0), images, None))
    for changed in ({"seed": 5}, {"batch": 12}, {"precision": "fp16"}):
        name = next(iter(changed))
        with pytest.raises(InputError, match=f"trained with {name} "):
            check_trained_with(saved, trained_with(config(**changed), images, None))
    with pytest.raises(InputError, match='model "a", now "b"'):
        before, after = (trained_with(config(), images, {"model": m}) for m in "ab")
        check_trained_with({"about": before}, after)
