"""A fit that is continued is the same fit: other images, window, settings or model are refused by name."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Picture

import contrafact as cf
from contrafact.bundles.fit_models import copy_models
from contrafact.bundles.fitting import fit_stages, read_config, training_images
from contrafact.bundles.growing_images import GrowingImages
from contrafact.bundles.training_images import _check_window, _CohortSummary
from contrafact.core import InputError
from contrafact.counterfactual import Bundle, LatentStatistics
from contrafact.generators import (
    LegacyTrainerConfig,
    MedXGANTrainerConfig,
    StyleGAN2,
    StyleGAN2Config,
    TrainerConfig,
)
from contrafact.generators.checkpoint import check_trained_with, trained_with
from contrafact.io import read_cohort, read_tensors
from contrafact.io.lock import sole_writer

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
        ("window = [0, 255]", "window = [0, 99]", "window [0.0, 255.0], now [0.0, 99.0]; other images"),
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


def save16(path: Path, low: int, high: int, shape: tuple[int, int] = (8, 8)) -> None:
    for number in range(8):
        draw = np.random.default_rng(number).integers(low, high, shape).astype(np.uint16)
        Picture.fromarray(draw).save(path.parent / "images" / f"{number}.png")


def test_a_window_that_the_images_leave_is_refused_with_the_line_to_write(path: Path) -> None:
    save16(path, 300, 4001)
    with pytest.raises(InputError, match=r"100% of the pixels lie outside the window 0 to 255") as caught:
        seen(path)
    line = re.search(r"write (window = \[\d+, \d+\]) under \[data\]", str(caught.value))
    assert line is not None
    config = read_config(path)[0]
    path.write_text(FIT.replace("window = [0, 255]", line[1]).replace('out = "out"', 'out = "new"'))
    low, high = read_config(path)[0].data.window
    images = training_images(read_cohort(path.parent / "images"), read_config(path)[0])
    assert (low, high) != config.data.window
    assert (float(images.min()), float(images.max())) == pytest.approx((-1, 1))


def test_a_window_that_clips_on_purpose_is_taken(path: Path) -> None:
    save16(path, 0, 1000)
    path.write_text(FIT.replace("window = [0, 255]", "window = [0, 200]"))  # four of five pixels become white
    images = training_images(read_cohort(path.parent / "images"), read_config(path)[0])
    assert 0.6 < float((images == 1).float().mean()) < 0.9


@pytest.mark.parametrize("crop", ["squeeze", "center"])
def test_images_that_are_not_square_are_squeezed_or_cut_and_it_is_said(path: Path, crop: str) -> None:
    wide = np.zeros((8, 16), np.uint8)
    wide[:, 4:12] = 200  # exactly the middle
    for number in range(8):
        Picture.fromarray(wide).save(path.parent / "images" / f"{number}.png")
    path.write_text(FIT.replace("window = [0, 255]", f'crop = "{crop}"').replace('out = "out"', 'out = "new"'))
    images = training_images(read_cohort(path.parent / "images"), read_config(path)[0])
    middle = images[0, 0, 4]
    assert bool((middle == 200).all()) == (crop == "center")
    name, progress = next(iter(fit_stages(path, stage="generator", device="cpu")))
    assert name == "images"
    assert progress.findings[0].startswith("8 of 8 images have sides of different lengths: ")
    assert ("squeezed" if crop == "squeeze" else "cropped to the centre") in progress.findings[0]


def test_an_unknown_crop_is_refused(path: Path) -> None:
    path.write_text(FIT.replace("window = [0, 255]", 'crop = "centre"'))
    with pytest.raises(
        InputError, match="crop must be one of squeeze, center; got 'centre'; did you mean 'center'"
    ):
        seen(path)


def test_a_bundle_of_cut_images_refuses_other_proportions() -> None:
    statistics = LatentStatistics(mean=torch.zeros(4), covariance=torch.eye(4))
    generator = StyleGAN2(StyleGAN2Config(resolution=8, channel_base=64, channel_max=8, z_dim=4, w_dim=4))
    bundle = Bundle(
        name="cut",
        generator=generator,
        encoder=torch.nn.Identity(),
        statistics=statistics,
        window=(0.0, 1.0),
        directions=(),
        crop="center",
    )
    assert bundle.to_canvas(torch.zeros(1, 1, 16, 16)).shape == (1, 1, 8, 8)
    with pytest.raises(InputError, match="got an image of 8 x 16: crop it"):
        bundle.to_canvas(torch.zeros(1, 1, 8, 16))


def test_a_fit_in_python_holds_its_folder(path: Path) -> None:
    with (
        sole_writer(path.parent / "out"),
        pytest.raises(InputError, match="another run is writing to '.*out'"),
    ):
        cf.fit(path, stage="encoder")
    cf.fit(path, stage="encoder")
    assert not (path.parent / "out" / ".lock").exists()


@pytest.mark.parametrize(
    ("window", "outside", "refused"),
    [
        ((0, 255), 0.009, False),
        ((0, 255), 0.02, True),
        ((-1000, 400), 0.02, False),  # of CT, air and bone may be clipped
        ((-1000, 400), 0.89, False),
        ((-1000, 400), 0.91, True),
    ],
)
def test_pixels_outside_a_window_are_few_or_clipped_on_purpose(
    window: tuple[float, float], outside: float, refused: bool
) -> None:
    summary = _CohortSummary(pixels=1000, outside=round(1000 * outside), low=window[0], high=window[1] + 900)
    if not refused:
        _check_window(summary, window)
        return
    with pytest.raises(InputError, match="of the pixels lie outside the window"):
        _check_window(summary, window)


def test_models_are_copied_under_their_own_names(path: Path) -> None:
    for name, content in (("net.onnx", b"one"), ("net.pt2", b"two"), ("w.safetensors", b"three")):
        (path.parent / name).write_bytes(content)
    (path.parent / "about.json").write_text(json.dumps({"factory": "f", "weights": "w.safetensors"}))
    tables = "".join(
        f'[models.{name}]\npath = "{file}"\n{more}'
        for name, file, more in (
            ("a", "net.onnx", ""), ("b", "net.pt2", 'output = "probabilities"\n'), ("c", "about.json", ""),
        )
    )  # fmt: skip
    path.write_text(FIT + tables)
    folder = path.parent / "bundle"
    assert copy_models(read_config(path)[0], path.parent, folder) == {
        "a": "a.onnx",
        "b": "b.json",
        "c": "c.json",
    }
    assert [(folder / name).read_bytes() for name in ("a.onnx", "b.pt2", "c.safetensors")] == [
        b"one",
        b"two",
        b"three",
    ]
    assert json.loads((folder / "b.json").read_text()) == {"model": "b.pt2", "output": "probabilities"}
    assert json.loads((folder / "c.json").read_text()) == {"factory": "f", "weights": "c.safetensors"}


class Killed(BaseException):
    """The end of a process between two writes."""


def fitted_files(path: Path) -> dict[str, bytes]:
    """Train a generator, and return all files but the saved state."""
    list(fit_stages(path, stage="generator", device="cpu"))
    out = path.parent / "out"
    return {p.name: p.read_bytes() for p in out.rglob("*") if p.is_file() and "checkpoint" not in p.name}


@pytest.mark.slow
@pytest.mark.parametrize("family", ["translator", "latent space"])
def test_a_fit_that_ends_at_any_write_goes_on_to_the_same_files(
    tmp_path: Path, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime", reason="its inputs are those of the killed commands")
    from experiments.evaluate import kills

    text = kills.FIT.replace("kimg = 0.96", "kimg = 0.032") if family == "translator" else kills.LATENT_FIT
    kills._fit_inputs(text, 128 if family == "translator" else 24)(tmp_path)
    whole, at, replace, path = fitted_files(tmp_path / "fit.toml"), 0, Path.replace, tmp_path / "fit.toml"

    def ends(self: Path, target: Path) -> Path:
        nonlocal left
        left -= 1
        if not left:
            raise Killed
        return replace(self, target)

    ended = True
    while ended:
        shutil.rmtree(tmp_path / "out")
        at, ended = at + 1, False
        left = at
        monkeypatch.setattr(Path, "replace", ends)
        try:
            list(fit_stages(path, stage="generator", device="cpu"))
        except Killed:
            ended = True
        monkeypatch.setattr(Path, "replace", replace)
        assert fitted_files(path) == whole, f"ended at write {at}"
    assert at > 3


SPATIAL = (
    FIT.replace("resolution = 8", "resolution = 32\nspatial = 1")
    .replace("[training]", "[training]\njoint = 1.0")
    .replace("[encoder]\nsteps = 1", "[encoder]\nsteps = 1\nrate = 1e-9")
)


def test_a_fit_begins_with_another_ones_generator_and_trains_both_together(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for number in range(8):
        values = np.random.default_rng(number).integers(0, 256, (32, 32), dtype=np.uint8)
        Picture.fromarray(values).save(tmp_path / "images" / f"{number}.png")
    first, second = tmp_path / "fit.toml", tmp_path / "second.toml"
    first.write_text(FIT.replace("resolution = 8", "resolution = 32"))
    for stage in ("generator", "encoder"):
        list(fit_stages(first, stage=stage, device="cpu"))
    second.write_text(SPATIAL.replace('out = "out"', 'out = "more"\nstart = "out"').replace("0.0025", "1e-9"))
    for stage in ("generator", "encoder"):
        list(fit_stages(second, stage=stage, device="cpu"))
    old, new = (read_tensors(tmp_path / out / "generator.safetensors") for out in ("out", "more"))
    assert torch.allclose(old["synthesis.constant"], new["synthesis.constant"], atol=1e-6)
    assert "synthesis.from_code.weight" in new
    joint, encoder = (read_tensors(tmp_path / "more" / f"{n}encoder.safetensors") for n in ("joint_", ""))
    assert torch.allclose(joint["network.conv1.weight"], encoder["network.conv1.weight"], atol=1e-6)
    list(fit_stages(second, stage="generator", device="cpu"))  # a finished one, again
    assert (tmp_path / "more" / "joint_encoder.safetensors").exists()
    second.write_text(
        second.read_text().replace('start = "out"', 'start = "nowhere"').replace('"more"', '"else"')
    )
    with pytest.raises(InputError, match=r"expected generator.safetensors in the folder of 'start'; got none"):
        list(fit_stages(second, stage="generator", device="cpu"))


def test_a_translator_has_nothing_to_begin_with(path: Path) -> None:
    path.write_text(
        'name = "a"\nout = "new"\nstart = "out"\n[data]\npath = "images"\n[models.m]\npath = "m.json"\n'
        '[generator]\nfamily = "translator"\n'
    )
    with pytest.raises(InputError, match="expected no 'start' for a translator"):
        read_config(path)


@pytest.mark.parametrize("kinds", ["8 8 8 8", "f f f f", "8 8 f 8", "f 8 8 8"])
def test_many_images_lie_in_a_file_and_are_those_of_few(
    kinds: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = torch.Generator().manual_seed(0)
    images = [torch.randint(0, 256, (1, 2, 4, 4), generator=rng) / 255 for _ in kinds.split()]
    found = []
    for folder in (None, tmp_path / "out"):
        monkeypatch.setattr("contrafact.bundles.growing_images.LIMIT", 40)
        growing, eight_bit = GrowingImages(folder), True
        for kind, image in zip(kinds.split(), images, strict=True):
            eight_bit &= kind == "8"
            growing.add(image, eight_bit=eight_bit)
        assert (growing._file is None) == (folder is None)
        found.append(growing.whole())
    torch.testing.assert_close(*found, rtol=0, atol=0)
    assert found[0].dtype == (torch.uint8 if "f" not in kinds else torch.float32)
    expected = torch.cat(images) * 2 - 1 if "f" in kinds else (torch.cat(images) * 255).round().byte()
    torch.testing.assert_close(found[1], expected)
    rows = torch.tensor([3, 0])
    torch.testing.assert_close(found[1][rows], found[0][rows])
    assert not list((tmp_path / "out").iterdir())  # the file has no name
