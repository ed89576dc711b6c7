"""A family of generators that the package does not know: one class, registered; fitted, saved and loaded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from safetensors.torch import save_file
from torch import Tensor, nn

import contrafact as cf
from contrafact.bundles import save_bundle
from contrafact.bundles.fitting import fit_stages, read_config
from contrafact.core import GENERATORS, Image, InputError
from contrafact.generators import (
    GeneratorFamily,
    Progress,
    TrainingSetup,
    Translator,
    TranslatorConfig,
    TranslatorFamily,
    families,
)
from contrafact.generators.augmentation import signed
from contrafact.models.example_networks import ResidualNetwork

FIT = (
    'name = "toy"\nout = "out"\n[data]\npath = "images"\n'
    '[generator]\nfamily = "components"\nresolution = 16\ncomponents = 3\n[training]\nkimg = 0.012\n'
    "[encoder]\nsteps = 1\nbatch = 2\nwidth = 4\n"
    "[direction]\nsamples = 400\nanchors = 12\nbootstrap = 20\ndraws = 50\n"
    '[models.net]\npath = "net.json"\ntargets = ["class:1"]\n'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentsSize:
    resolution: int = 16
    channels: int = 1
    components: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentsSettings:
    kimg: float = 0.002
    mirror: bool = False
    augment: str = "none"


class Components(nn.Module):
    """The mean image, and its principal components times the latent."""

    def __init__(self, config: ComponentsSize) -> None:
        super().__init__()
        self.config = config
        self.image_shape = (config.channels, config.resolution, config.resolution)
        self.latent_size = config.components
        pixels = int(np.prod(self.image_shape))
        self.register_buffer("mean", torch.zeros(pixels))
        self.register_buffer("basis", torch.zeros(config.components, pixels))

    def decode(self, w: Tensor) -> Tensor:
        return (self.mean + w @ self.basis).view(-1, *self.image_shape)

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        return torch.randn(n, self.latent_size, generator=rng)


class ComponentsRun:
    def __init__(self, size: ComponentsSize, images: Tensor) -> None:
        self.average, self.images, self.seen = Components(size), images, 0

    def step(self) -> None:
        flat = signed(self.images).flatten(1)
        self.average.mean.copy_(flat.mean(dim=0))
        _, values, rows = torch.linalg.svd(flat - self.average.mean, full_matrices=False)
        count = self.average.latent_size
        self.average.basis.copy_(rows[:count] * values[:count, None] / len(flat) ** 0.5)
        self.seen += len(flat)

    def state(self) -> dict[str, Tensor]:
        return {**self.average.state_dict(), "seen": torch.tensor(self.seen)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self.seen = int(state["seen"])
        self.average.load_state_dict({k: v for k, v in state.items() if k in ("mean", "basis")})


class ComponentsFamily(GeneratorFamily):
    network, size, settings = Components, ComponentsSize, ComponentsSettings

    @classmethod
    def training(cls, size: Any, settings: Any, setup: TrainingSetup) -> ComponentsRun:
        assert isinstance(settings, ComponentsSettings)
        return ComponentsRun(size, setup.images)

    @classmethod
    def train(cls, training: Any, *, stop: Callable[[], bool]) -> Iterator[Progress]:
        if not stop():
            training.step()
        yield Progress(done=training.seen, total=training.seen, seconds_left=0.0)


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    families()  # the package's own are there
    monkeypatch.setattr(GENERATORS, "_classes", dict(GENERATORS._classes))
    GENERATORS.register("components")(ComponentsFamily)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for number in range(12):
        values = np.random.default_rng(number).integers(0, 256, (16, 16), dtype=np.uint8)
        Picture.fromarray(values).save(tmp_path / "images" / f"{number}.png")
    torch.manual_seed(0)
    save_file(ResidualNetwork(width=4, stages=1).state_dict(), tmp_path / "net.safetensors")
    about = {
        "factory": "contrafact.models.example_networks:ResidualNetwork",
        "arguments": {"width": 4, "stages": 1},
        "weights": "net.safetensors",
        "classes": ["no", "yes"],
        "preprocessing": {"window": [0, 255]},
    }
    (tmp_path / "net.json").write_text(json.dumps(about))
    (tmp_path / "fit.toml").write_text(FIT)
    return tmp_path / "fit.toml"


def test_a_family_of_somebody_else_is_fitted_saved_loaded_and_explains(path: Path, tmp_path: Path) -> None:
    bundle = cf.fit(path)
    assert bundle is not None
    generator: Any = bundle.generator
    assert type(generator) is Components
    assert generator.config == ComponentsSize(components=3)
    assert bool(generator.basis.abs().sum() > 0), "the weights were read back"
    about = json.loads((tmp_path / "out" / "bundle" / "bundle.json").read_text())
    assert about["family"] == json.loads((tmp_path / "out" / "fit.json").read_text())["family"] == "components"
    assert about["generator"] == {"resolution": 16, "channels": 1, "components": 3}
    image = Image(np.full((1, 16, 16), 100.0), window=(0, 255))
    strip = cf.explain(cf.LatentWalk(steps=(1.0,), follow=0.0), bundle.predictor, image, bundle=bundle)
    assert strip.frames.shape == (2, 1, 16, 16)


def test_a_run_of_that_family_is_continued_from_its_state(path: Path) -> None:
    for _ in range(2):
        seen = [progress.done for _, progress in fit_stages(path, stage="generator", device="cpu")]
    assert seen == [24]


def test_an_unknown_family_or_size_is_answered_with_what_there_is(path: Path) -> None:
    path.write_text(FIT.replace('"components"', '"componentz"', 1))
    with pytest.raises(InputError, match=r"family must be one of components, .*did you mean 'components'"):
        read_config(path)
    path.write_text(FIT.replace("components = 3", "component = 3"))
    with pytest.raises(InputError, match="unknown key 'component'"):
        read_config(path)


class Brighter(Translator):
    """A translator of somebody else's."""


class BrighterFamily(TranslatorFamily):
    network = Brighter


def test_a_translator_of_somebody_else_is_saved_by_its_name_and_loaded_as_what_it_is(
    path: Path, tmp_path: Path
) -> None:
    GENERATORS.register("brighter")(BrighterFamily)
    made = Brighter(TranslatorConfig(resolution=16, widths=(4, 8), targets=1))
    predictor = cf.load_predictor(path.parent / "net.json")
    bundle = cf.Bundle(
        name="toy", window=(0, 255), translator=made, predictor=predictor, predictors={"net": predictor}
    )
    for name in ("net.json", "net.safetensors"):
        (tmp_path / "saved").mkdir(exist_ok=True)
        (tmp_path / "saved" / name).write_bytes((path.parent / name).read_bytes())
    save_bundle(tmp_path / "saved", bundle, descriptions={"net": "net.json"}, main="net")
    assert json.loads((tmp_path / "saved" / "bundle.json").read_text())["translator_family"] == "brighter"
    assert type(cf.load_bundle(tmp_path / "saved").translator) is Brighter
    with pytest.raises(InputError, match="expected the family brighter or translator; got 'stylegan2'"):
        about = json.loads((tmp_path / "saved" / "bundle.json").read_text())
        (tmp_path / "saved" / "bundle.json").write_text(json.dumps(about | {"translator_family": "stylegan2"}))
        cf.load_bundle(tmp_path / "saved")
