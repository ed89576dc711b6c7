"""The engine that a bundle names: any registered method that makes counterfactuals, also of another package."""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

import contrafact as cf
from bright_half import bright_bundle, grey
from conftest import RANGE
from contrafact.bundles.store import find_bundle
from contrafact.cli.arguments import possible_methods
from contrafact.core import EXPLAINERS, InputError, engines, registry
from contrafact.io import Run
from contrafact.render.case import case_page
from contrafact.render.run_index import RunIndex
from finding_bundle import finding_bundle

MODULE = '''
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from contrafact.core import EXPLAINERS, Counterfactual


@EXPLAINERS.register("bleach")
@dataclass(frozen=True, slots=True, kw_only=True)
class Bleach:
    """Make the whole image white, whatever the score."""

    strip: ClassVar[bool] = True
    needs_bundle: ClassVar[bool] = True
    goal: float | None = None

    def __call__(self, question, rng):
        strips = []
        for image in question.images:
            frames = np.stack([image, np.full_like(image, 255.0)])
            with torch.no_grad():
                scores = question.target(question.predictor(frames)).double().numpy()
            strips.append(
                Counterfactual(
                    frames=frames, requested=scores - scores[0], scores=scores, latent_distance=np.zeros(2),
                    origin=0, reconstruction_error=0.0, above_tolerance=False, outcome="reached", goal=None,
                    reconstruction=image, grid=question.grid,
                )
            )
        return strips


@EXPLAINERS.register("whiten")
@dataclass(frozen=True, slots=True, kw_only=True)
class Whiten:
    """A heatmap, and so no engine."""

    def __call__(self, question, rng):
        return question.images[:, 0]
'''


@pytest.fixture
def bleach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package that names a module with an engine under the entry point group of methods."""
    (tmp_path / "bleaching.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    point = EntryPoint(name="bleach", value="bleaching", group="contrafact.explainers")
    monkeypatch.setattr(registry, "entry_points", lambda *, group: [point] if group == point.group else [])
    monkeypatch.setattr(EXPLAINERS, "_classes", dict(EXPLAINERS._classes))
    monkeypatch.setattr(EXPLAINERS, "_loaded", False)
    yield
    sys.modules.pop("bleaching", None)


def phantom_with(folder: Path, engine: str) -> Path:
    shutil.copytree(find_bundle("phantom"), folder)
    about = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps({**about, "engine": engine}))
    return folder


def test_an_engine_of_somebody_else_is_loaded_asked_recorded_and_named(bleach: None, tmp_path: Path) -> None:
    bundle = cf.load_bundle(phantom_with(tmp_path / "b", "bleach"))
    assert bundle.engine == bundle.own_method == "bleach"
    assert "bleach" in possible_methods(bundle.predictor, bundle)
    image = cf.Image(np.linspace(0, 255, 64 * 64, dtype=np.float32).reshape(1, 64, 64), window=(0, 255))
    strip = cf.explain("counterfactual", bundle.predictor, image, target="class:1", bundle=bundle)
    assert strip.record is not None and strip.record.engine == "bleach"
    assert (strip.frames[-1] == 255).all()
    run = Run.create(tmp_path / "run", about={})
    run.add("one", image, strip, case="one")
    index = RunIndex(run)
    [case] = index.cases().values()
    [shown] = case_page(index, case)["strips"]
    assert shown["engine"] == "bleach"


def test_what_is_no_engine_is_refused_with_the_engines_there_are(bleach: None, tmp_path: Path) -> None:
    assert {"bleach", "latent-walk", "latent-shift", "translate", "medxgan"} == set(engines())
    for wrong in ("whiten", "counterfactual", "gradcam", "bleech"):
        with pytest.raises(InputError, match=r"'engine' in 'bundle.json' must be one of bleach, latent-shift"):
            cf.load_bundle(phantom_with(tmp_path / wrong, wrong))


def test_an_engine_that_the_package_has_is_asked_where_the_bundle_names_it() -> None:
    bundle = cf.load_bundle("phantom")
    bundle = dataclasses.replace(bundle, engine="latent-shift")
    target = bundle.predictor.target("class:1")
    assert bundle.method_for(bundle.predictor, target) == "latent-shift"
    other = bright_bundle(engine="translate")
    assert other.method_for(other.predictor, other.predictor.target("class:1")) == "translate"


@pytest.mark.filterwarnings(RANGE)
def test_a_goal_that_the_engine_cannot_take_is_refused(bleach: None, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = bright_bundle(engine="bleach")
    image = grey(80.0)
    assert cf.explain("counterfactual", bundle.predictor, image, bundle=bundle, goal=0.9).frames.shape[0] == 2
    monkeypatch.setattr(EXPLAINERS.get("bleach"), "__dataclass_fields__", {})
    with pytest.raises(InputError, match="bleach takes no parameters; got 'goal'"):
        cf.explain("counterfactual", bundle.predictor, image, bundle=bundle, goal=0.9)


@pytest.mark.parametrize("engine", ["latent-walk", "medxgan"])
def test_a_bundle_without_a_translator_is_asked_by_the_engine_that_it_has(engine: str, tmp_path: Path) -> None:
    """The error about the missing translator names the method to use, which is found without that error."""
    bundle = cf.load_bundle(finding_bundle(tmp_path / "bundle") if engine == "medxgan" else "phantom")
    target = bundle.predictor.target("class:1")
    assert bundle.method_for(bundle.predictor, target) == engine
    with pytest.raises(InputError, match=f"has no translator; use {engine}"):
        bundle.translation(bundle.predictor, target)
