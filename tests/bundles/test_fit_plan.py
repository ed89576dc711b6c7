"""The plan of a fit says what the fit then does, and writes nothing."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from contrafact.bundles.fit_plan import plan_fit
from contrafact.bundles.fitting import fit_stages
from contrafact.cli import main
from contrafact.core import InputError
from contrafact.io import read_tensors
from experiments.evaluate import kills
from experiments.evaluate.kills import FIT, LATENT_FIT

KINDS = {"translator": (FIT, 128), "latent space": (LATENT_FIT, 24)}


@pytest.fixture(params=KINDS)
def config(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A configuration with its model and images."""
    text, count = KINDS[request.param]
    kills._fit_inputs(text, count)(tmp_path)
    return tmp_path / "fit.toml"


def files(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.mark.slow
def test_a_plan_writes_nothing_and_counts_the_steps_and_bytes_of_the_fit(config: Path) -> None:
    before = files(config.parent)
    plan = plan_fit(config, device="cpu", seconds=0.0)
    assert files(config.parent) == before
    began = time.perf_counter()
    last = dict(fit_stages(config, device="cpu"))
    took = time.perf_counter() - began
    assert plan.images == len(list((config.parent / "images").iterdir()))
    assert plan.out == (config.parent / "out").resolve()
    for stage in plan.stages:
        assert stage.name in last
        assert 0 < stage.step_seconds < took
    if "encoder" in last:
        assert plan.stages[1].steps == last["encoder"].total
    written = sum(file.stat().st_size for file in (config.parent / "out").glob("*.safetensors"))
    state = read_tensors(config.parent / "out" / "checkpoint.safetensors")
    assert sum(part.nbytes for part in state.values()) < plan.disk < 1.5 * written
    assert plan.memory is None or plan.memory > plan.disk


def test_a_plan_counts_the_steps_to_the_end(config: Path) -> None:
    text = config.read_text()
    first = plan_fit(config, device="cpu", seconds=0.0).stages[0]
    kimg = next(float(line.split("=")[1]) for line in text.splitlines() if line.startswith("kimg"))
    config.write_text(text.replace(f"kimg = {kimg:g}", f"kimg = {1000 * kimg:g}"))
    later = plan_fit(config, device="cpu", seconds=0.0).stages[0]
    assert later.steps == pytest.approx(1000 * first.steps, rel=0.5)
    assert later.seconds == later.steps * later.step_seconds


@pytest.mark.slow
def test_the_verb_prints_time_memory_and_disk(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", str(config), "--plan", "--device", "cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for begin in ("reading the images: about", "generator: ", "memory: about", "disk: about"):
        assert any(line.startswith(begin) for line in lines), lines
    assert main(["fit", str(config), "--plan", "--device", "cpu", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stages"][0]["seconds"] > 0


@pytest.mark.parametrize("words", [["--resume"], ["--stage", "encoder"], ["--devices", "2"]])
def test_a_plan_goes_with_no_word_that_it_would_leave_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert main(["fit", str(tmp_path / "fit.toml"), "--plan", *words]) == 2
    assert f"{words[0]} does not go with --plan" in capsys.readouterr().err


def test_a_plan_refuses_what_the_fit_refuses(config: Path) -> None:
    config.write_text(config.read_text().replace('path = "images"', 'path = "nowhere"'))
    with pytest.raises(InputError, match="nowhere"):
        plan_fit(config)


@pytest.mark.slow
def test_the_path_that_fit_prints_is_one_that_explain_takes(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", str(config), "--device", "cpu"]) == 0
    words = capsys.readouterr().out.splitlines()[-1].partition(": contrafact ")[2].split()
    assert words[:2] == ["explain", "IMAGE"]
    image = str(next((config.parent / "images").iterdir()))
    out = ["--out", str(config.parent / "run"), "--no-checks"]
    assert main([*(image if word == "IMAGE" else word for word in words), *out]) == 0
