"""Tasks of experiments/evaluate/medxgan.py: phantoms, classifiers and generators, trained here and stored.

No network is trained with masks: they are used for evaluation only.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import contrafact as cf
from contrafact.bundles.fit_config import guided, latent_family, make_generator
from contrafact.core import Image
from contrafact.counterfactual import Bundle, LatentStatistics
from contrafact.generators import (
    EncoderConfig,
    LegacyConfig,
    LegacyTrainerConfig,
    MedXGANConfig,
    MedXGANTrainerConfig,
    ResNetEncoder,
    TrainingSetup,
    train_encoder,
    train_generator,
)
from contrafact.io import read_json, read_tensors, write_json, write_tensors
from contrafact.models import Preprocessing, TorchPredictor
from contrafact.models.example_networks import ResidualNetwork
from contrafact.phantoms import draw_factors, knee_phantom, lesion_phantom
from contrafact.phantoms.phantom import Phantom
from experiments.evaluate.known_truth import LesionNet

WINDOW = (0.0, 255.0)
CLASSES = ["healthy", "lesion"]
ALIKE = 24.0  # thousand images for the published form, and for the default beside it


@dataclass(frozen=True)
class Task:
    """draw      chance and whether it is wanted sick, to a phantom
    mask      name of the mask that says where the finding is
    network   of the classifier; None: one that ships is explained
    refined   steps by which a latent that the encoder found is made better
    sees      another task, whose classifier is explained
    teach     steps and images a step of the classifier's training
    noise     greatest standard deviation of the noise in it, of the range, drawn for each image; None: always a
              twentieth of the images' own deviation
    """

    name: str
    draw: Callable[[np.random.Generator, bool], Phantom]
    mask: str
    size: MedXGANConfig | LegacyConfig
    training: MedXGANTrainerConfig | LegacyTrainerConfig
    encoder: EncoderConfig
    images: int
    network: Callable[[], nn.Module] | None = None
    teach: tuple[int, int] = (300, 24)
    noise: float | None = None
    sees: str = ""
    refined: int = 60


def lesion(axes: int, side: int, radius: tuple[float, float]) -> Callable[..., Phantom]:
    def draw(rng: np.random.Generator, sick: bool) -> Phantom:
        size, contrast = float(rng.uniform(*radius)), float(rng.uniform(50, 80))
        return lesion_phantom(rng, side=side, radius=size if sick else 0.0, contrast=contrast, axes=axes)

    return draw


def doubled(rng: np.random.Generator, sick: bool) -> Phantom:
    """The phantom of `lesions` with every pixel four times."""
    found = TASKS["lesions"].draw(rng, sick)
    values = found.image.values.repeat(2, axis=1).repeat(2, axis=2)
    masks = {k: m.repeat(2, axis=0).repeat(2, axis=1) for k, m in found.masks.items()}
    return Phantom(Image(values, window=WINDOW, source="phantom"), found.factors, masks)


def knee(rng: np.random.Generator, sick: bool) -> Phantom:
    """With a narrow or a wide joint space; everything else as it comes."""
    return knee_phantom(
        dataclasses.replace(draw_factors(rng), joint_space=rng.uniform(*((1.2, 2.6) if sick else (3.4, 5.0)))),
        rng,
    )


TASKS = {
    "lesions": Task(
        name="lesions",
        draw=lesion(2, 32, (2.5, 4.5)),
        mask="lesion",
        size=MedXGANConfig(resolution=32, anatomy=64, pathology=8, channel_base=512, channel_max=64),
        training=MedXGANTrainerConfig(kimg=16, batch=16),
        encoder=EncoderConfig(steps=400, batch=16, width=12),
        images=3000,
        network=lambda: ResidualNetwork(width=12, stages=3, outputs=2),
    ),
    "volumes": Task(
        name="volumes",
        draw=lesion(3, 32, (4.0, 6.4)),
        mask="lesion",
        size=MedXGANConfig(resolution=32, axes=3, anatomy=32, pathology=8, channel_base=256, channel_max=32),
        training=MedXGANTrainerConfig(kimg=16, batch=8, judged=16),
        encoder=EncoderConfig(steps=200, batch=8, width=8),
        images=1000,
        network=LesionNet,
        teach=(500, 12),
        refined=180,  # its encoder saw 1,600 volumes
        noise=0.05,  # a network of three convolutions that was never shown noise answers to nothing else
    ),
    "few": Task(
        name="few",
        draw=lesion(2, 32, (2.5, 4.5)),
        mask="lesion",
        size=MedXGANConfig(resolution=32, anatomy=64, pathology=8, channel_base=512, channel_max=64),
        training=MedXGANTrainerConfig(kimg=ALIKE, batch=16),
        encoder=EncoderConfig(steps=100, batch=16, width=12),
        images=3000,
        sees="lesions",
    ),
    "published": Task(
        name="published",
        draw=doubled,
        mask="lesion",
        size=LegacyConfig(channels=1),
        training=LegacyTrainerConfig(kimg=ALIKE, precision="bf16"),
        encoder=EncoderConfig(steps=100, batch=16, width=12),
        images=3000,
        sees="lesions",
    ),
    "knees": Task(
        name="knees",
        draw=knee,
        mask="joint_space",
        size=MedXGANConfig(resolution=32, anatomy=64, pathology=8, channel_base=512, channel_max=64),
        training=MedXGANTrainerConfig(kimg=8, batch=16),
        encoder=EncoderConfig(steps=400, batch=16, width=12),
        images=3000,
    ),
}


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def bundle_for(task: Task, folder: Path) -> Bundle:
    """The trained task, from `folder` where it was kept."""
    predictor = classifier(task, folder)
    with guided(predictor, [predictor.target("class:1")], WINDOW) as guide:
        generator = trained(task, folder / f"{task.name}.generator.safetensors", guide)
        encoder = encoded(task, folder / f"{task.name}.encoder.safetensors", generator, guide)
    return Bundle(
        name=task.name,
        generator=generator,
        encoder=encoder,
        statistics=LatentStatistics.of(generator, torch.Generator().manual_seed(1), samples=4000),
        window=WINDOW,
        directions=(),
        findings=((predictor.digest, "class:1"),),
        predictor=predictor,
        predictors={"classifier": predictor},
    )


def classifier(task: Task, folder: Path) -> TorchPredictor:
    """Healthy or not, with labels a little softened."""
    if task.name == "knees":
        return cf.load_bundle("phantom").predictors["honest"]  # type: ignore[no-any-return]
    if task.sees:
        found = classifier(TASKS[task.sees], folder)
        times = task.size.resolution // TASKS[task.sees].size.resolution
        network: nn.Module = found.module  # sees the same phantom when every pixel was doubled
        return predictor_of(nn.Sequential(nn.AvgPool2d(times), network) if times > 1 else network)
    path = folder / f"{task.name}.classifier.safetensors"
    assert task.network is not None
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = task.network()
        if not path.exists():
            write_tensors(path, taught(task, network).state_dict())
    network.load_state_dict(read_tensors(path))
    return predictor_of(network)


def predictor_of(network: nn.Module) -> TorchPredictor:
    how = Preprocessing(channels=1, window=WINDOW)
    return TorchPredictor(network.eval(), classes=CLASSES, preprocessing=how)


def taught(task: Task, network: nn.Module) -> nn.Module:
    steps, many = task.teach
    adam = torch.optim.AdamW(network.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, 3e-3, total_steps=steps)
    rng, prepare = np.random.default_rng(1), Preprocessing(channels=1, window=WINDOW)
    for step in range(steps):
        sick = rng.random(many) < 0.5
        images = prepare(torch.from_numpy(np.stack([task.draw(rng, bool(s)).image.values for s in sick])))
        if task.noise is None:
            deviation: Any = 0.05 * float(images.std())
        else:
            deviation = task.noise * torch.rand(many, *(1,) * (images.ndim - 1))
        images = images + deviation * torch.randn_like(images)
        goals = torch.from_numpy(sick).float() * 0.96 + 0.02
        loss = F.cross_entropy(network(images), torch.stack([1 - goals, goals], dim=1))
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()
        if (step + 1) % 50 == 0:
            say(f"{task.name}: classifier {step + 1}/{steps}, loss {float(loss.detach()):.3f}")
    return network


def pictures(task: Task) -> Tensor:
    """(N, C, *S) uint8 to train on, every second one sick."""
    rng = np.random.default_rng(2)
    values = np.stack([task.draw(rng, n % 2 == 1).image.values for n in range(task.images)])
    return torch.from_numpy(values).round().clamp(0, 255).byte()


def trained(task: Task, path: Path, guide: Any) -> Any:
    """The averaged generator, in evaluation mode; a run that was stopped goes on."""
    checkpoint = path.with_suffix(".checkpoint")
    if not path.exists():
        setup = TrainingSetup(images=pictures(task), guide=guide)
        run = latent_family(task.size).training(task.size, task.training, setup)
        if checkpoint.exists():
            run.restore(read_tensors(checkpoint))
        pace = 0.0
        for progress in train_generator(run, report_kimg=0.5, quality_kimg=1000, quality_images=256):
            pace = progress.figures["images_s"]
            figures = " ".join(f"{k} {v:.3g}" for k, v in {**progress.figures, **progress.quality}.items())
            say(f"{path.stem} {progress.done:.0f}/{progress.total:.0f}: {figures}")
            write_tensors(checkpoint, run.state())
        write_tensors(path, run.average.state_dict())
        write_json(path.with_suffix(".json"), {"seconds": run.seen / pace})
    generator = make_generator(task.size)
    generator.load_state_dict(read_tensors(path))
    return generator.eval().requires_grad_(False)


def seconds_of(task: Task, folder: Path) -> float:
    """How long its generator was trained, on whatever machine that was."""
    return float(read_json(folder / f"{task.name}.generator.json")["seconds"])


def encoded(task: Task, path: Path, generator: Any, guide: Any) -> ResNetEncoder:
    encoder = ResNetEncoder.of(generator, width=task.encoder.width)
    if path.exists():
        encoder.load_state_dict(read_tensors(path))
    else:
        for progress, found in train_encoder(generator, pictures(task), task.encoder, guide=guide):
            encoder = found
            figures = " ".join(f"{k} {v:.3g}" for k, v in progress.figures.items())
            say(f"{path.stem} {progress.done:.0f}/{progress.total:.0f}: {figures}")
        write_tensors(path, encoder.state_dict())
    return encoder.eval().requires_grad_(False)
