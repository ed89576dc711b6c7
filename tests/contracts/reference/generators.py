"""One step of each training with every setting on, and what generators, encoders and translators give."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from contrafact.generators import (
    PRESETS,
    EncoderConfig,
    MedXGAN,
    MedXGANConfig,
    MedXGANTrainerConfig,
    MedXGANTraining,
    RandomFeatures,
    ResNetEncoder,
    StyleGAN2,
    StyleGAN2Config,
    StyleGAN2Training,
    TrainerConfig,
    Translator,
    TranslatorConfig,
    TranslatorTrainerConfig,
    TranslatorTraining,
    augment,
    frechet_distance,
    kernel_distance,
    kernel_distance_interval,
    train_encoder,
)
from contrafact.generators.augmentation import apply_warp, draw_colour, draw_warp, next_probability
from contrafact.generators.diagnostics import TrainingMonitor
from contrafact.generators.distances import batch_size
from contrafact.generators.losses import (
    discriminator_loss,
    generator_loss,
    path_lengths,
    path_penalty,
    total_variation,
)
from contrafact.generators.student import Student
from contrafact.generators.translator import fold, unfold, without_comb
from contrafact.generators.translator_losses import blurred, huber, recoloured, shifted, variation
from contrafact.generators.translator_regions import span as _span
from reference.kept import brief

STYLE = StyleGAN2Config(
    resolution=8, channels=2, channel_base=64, channel_max=8, z_dim=6, w_dim=5, mapping_layers=3
)
CODED: dict[str, Any] = {"resolution": 8, "anatomy": 6, "pathology": 3, "channel_base": 64, "channel_max": 8}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(n: int, channels: int = 1, side: int = 8, axes: int = 2) -> Tensor:
    """Dark to bright from first to last, with noise."""
    levels = torch.linspace(20, 190, n).reshape(-1, *(1,) * (axes + 1))
    return (torch.rand(n, channels, *(side,) * axes, generator=rng(1)) * 60 + levels).byte()


def bright(x: Tensor) -> Tensor:
    """Two scores: of the upper half, and of the whole, not linear."""
    upper = 5 * x[:, :, : x.shape[2] // 2].flatten(1).mean(dim=1)
    return torch.stack([upper, 3 * x.flatten(1).mean(dim=1).tanh() - 0.2], dim=1)


def after(training: Any, steps: int, network: str) -> dict[str, Any]:
    """The figures of each step, and the weights after all: their sums tell which gradient was applied."""
    figures = []
    for _ in range(steps):
        training.step()
        figures.append({k: v for k, v in training.figures.items() if k != "images_s"})
    parts: dict[str, Any] = {"figures": figures}
    for name in (network, "average"):
        weights = [p.detach().flatten() for p in getattr(training, name).parameters()]
        parts[name] = float(torch.cat(weights).double().abs().sum())
    return parts


def stylegan2() -> dict[str, Any]:
    settings: dict[str, Any] = {"kimg": 0.5, "batch": 8, "precision": "fp32"}
    every = {
        "path_after_kimg": 0.0,
        "path_every": 1,
        "r1_every": 1,
        "mixing": 0.6,
        "mirror": True,
        "rate": 0.001,
    }
    labelled = StyleGAN2Config(
        resolution=8, channel_base=64, channel_max=8, z_dim=6, w_dim=5, labels=2, noise=True
    )
    labels = torch.eye(2)[torch.arange(40) % 2]
    found = {
        "plain": after(StyleGAN2Training(STYLE, TrainerConfig(**settings), images(40, 2)), 2, "generator"),
        "every": after(
            StyleGAN2Training(STYLE, TrainerConfig(**settings, **every), images(40, 2)), 1, "generator"
        ),
        "labels": after(
            StyleGAN2Training(
                labelled, TrainerConfig(**settings, gamma=3.0, seed=4), images(40), labels=labels
            ),
            1,
            "discriminator",
        ),
    }
    augmented = StyleGAN2Training(STYLE, TrainerConfig(**settings, augment="histology"), images(40, 2))
    augmented.augment_p = 0.7
    return {**found, "augmented": after(augmented, 1, "discriminator")}


def medxgan() -> dict[str, Any]:
    found: dict[str, Any] = {}
    settings: dict[str, Any] = {"batch": 8, "precision": "fp32", "kimg": 0.1}
    cases: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
        ("plain", {"classes": 2}, {}),
        (
            "every",
            {"classes": 2},
            {"r1_every": 1, "mirror": True, "noise": 0.2, "change": 2.0, "identity": 0.7},
        ),
        ("volume", {"axes": 3, "classes": 2}, {"gamma": 0.5, "guide": 5.0}),
    ]
    for name, size, more in cases:
        made = MedXGANConfig(**CODED, **size)
        training = MedXGANTraining(
            made, MedXGANTrainerConfig(**settings, **more), images(24, axes=made.axes), guide=bright
        )
        found[name] = [training.noise, training.generator.levels, after(training, 1, "generator")]
    return found


def translators() -> dict[str, Any]:
    found: dict[str, Any] = {}
    settings: dict[str, Any] = {"kimg": 1.0, "batch": 8, "features": "none", "precision": "fp32"}
    every = {"saturation": 0.2, "regions": 0.9, "exposure": 0.4, "mirror": True, "jitter": 0.1, "seed": 3}
    pairs = (images(5, 2, 16), images(5, 2, 16).clone())
    pairs[1][..., 3:7, 4:9] += 50
    for name, axes, more, extra in (
        ("plain", 2, {}, {}),
        ("every", 2, every, {"pairs": pairs}),
        ("pairs first", 2, {"pair_kimg": 0.1, "pairs": 3.0}, {"pairs": (pairs[0][:, :1], pairs[1][:, :1])}),
        ("black box", 2, {}, {"black_box": True}),
        ("volume", 3, {"regions": 0.9, "exposure": 0.3}, {}),
    ):
        channels = 2 if name == "every" else 1
        size = TranslatorConfig(
            resolution=16 if axes == 2 else 8, channels=channels, axes=axes, widths=(4, 8), targets=2
        )
        data = images(40, channels, size.resolution, axes)
        config = TranslatorTrainerConfig(**{**settings, **more})
        training = TranslatorTraining(size, config, data, guide=bright, **extra)
        torch.nn.init.normal_(training.translator.out.weight, std=0.2, generator=rng(2))
        found[name] = after(training, 1, "translator")
        found[name] |= {
            "range": [training.translator.low, training.translator.high],
            "heads": float(sum(p.detach().double().abs().sum() for p in training.heads.parameters())),
            "regions": brief(training._regions(12)),
            "perturbed": brief(training._perturbed(data[:5].float() / 127.5 - 1)),
            "rows": training._rows_near(torch.tensor([-2.0, 0.1, 1.5]), torch.tensor([0, 1, 1])),
        }
    found["spans"] = [_span(16, start, length) for start in (0.0, 0.4, 1.0) for length in (0.0, 0.5, 1.0)]
    return found


def networks() -> dict[str, Any]:
    found: dict[str, Any] = {}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        plain = StyleGAN2(STYLE).eval()
        plain.mapping.w_avg.uniform_(-1, 1)
        w = plain.sample(4, rng())
        found["stylegan2"] = [brief(w), brief(plain.decode(w)), brief(plain.sample(4, rng(), psi=0.5))]
        for axes in (2, 3):
            made = MedXGAN(MedXGANConfig(**CODED, axes=axes, classes=2)).eval()
            made.levels.copy_(torch.tensor([[-1.0, 2.0], [0.5, 3.0]]))
            codes = made.sample(5, rng())
            found[f"medxgan {axes}"] = [brief(codes), brief(made.decode(codes)), made.strength(codes)]
            found[f"medxgan {axes}"] += [made.expected(made.strength(codes)), brief(made.negative(codes))]
            found[f"medxgan {axes}"] += [made.excess(torch.tensor([[0.5, 0.1], [3.0, 4.0]]))]
            size = TranslatorConfig(resolution=8, channels=2, axes=axes, widths=(4, 8), targets=2)
            moved = Translator(size).eval()
            torch.nn.init.normal_(moved.out.weight, std=0.3)
            for level in (*moved.down, *moved.up, moved.bottom):
                torch.nn.init.normal_(level.style.weight, std=0.3)
            x, now = images(3, 2, 8, axes).float() / 127.5 - 1, torch.tensor([-1.0, 0.0, 2.0])
            region = torch.ones(3, 1, *(8,) * axes)
            region[..., :3] = 0
            which = torch.tensor([0, 1, 1])
            found[f"translator {axes}"] = [
                brief(moved(x, now, now + 1.5)),
                brief(moved(x, now, -now, which=which, region=region)),
            ]
            encoder = ResNetEncoder(2, 5, width=4, axes=axes).eval()
            encoder.w_avg.fill_(0.3)
            encoder.w_std.fill_(2.0)
            student = Student(2, 2, axes=axes, widths=(8, 8))
            student.low.fill_(-3.0)
            features = RandomFeatures(2, axes=axes)
            found[f"others {axes}"] = [brief(encoder(x)), brief(student(x)), brief(features(x))]
            found[f"others {axes}"] += [student.loss(x, bright(x))]
    return found


def encoders() -> dict[str, Any]:
    """Two steps of an encoder's training, with and without real images."""
    found = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = MedXGAN(MedXGANConfig(**CODED, classes=2)).eval().requires_grad_(False)
        for name, settings in (("default", {}), ("published", {"published": True})):
            config = EncoderConfig(width=2, steps=2, batch=4, precision="fp32", **settings)
            how = PRESETS["extremity-xray"]
            told = list(train_encoder(made, images(12), config, guide=bright, mirror=True, how=how))
            progress, encoder = told[-1]
            found[name] = [progress.figures, brief(encoder.w_avg), brief(encoder.w_std), len(told)]
    return found


def parts() -> dict[str, Any]:
    x, fake = images(3, 2).float() / 127.5 - 1, torch.randn(20, 6, generator=rng(3)).double()
    real = fake.flip(0) * 1.5 + 0.2
    theta = torch.eye(2, 3).repeat(3, 1, 1)
    theta[:, 0, 2], theta[:, 1, 2] = 0.3, -0.15
    shift = torch.tensor([[0.2, -0.1]] * 3)
    interval = kernel_distance_interval(real, fake, rng=np.random.default_rng(0), rounds=8, subset=12)
    mean, draw = torch.tensor(1.0), rng(4)
    lengths = path_lengths(
        lambda w: w[:, 0, :, None, None] ** 2 * x[:, :1], torch.ones(3, 2, 1).requires_grad_(), draw
    )
    how, monitor = PRESETS["histology"], TrainingMonitor()
    small = StyleGAN2Training(STYLE, TrainerConfig(batch=4, precision="fp32"), images(20, 2))
    small.seen, small.figures = 30_000, {"real_sign": 0.99}
    return {
        "folded": [brief(fold(x, 2)), brief(unfold(fold(x, 4), 2, 2)), brief(without_comb(x))],
        "losses": [huber(x), variation(x), total_variation(x), generator_loss(x), discriminator_loss(x, -x)],
        "images": [
            brief(shifted(x, theta)),
            brief(blurred(x)),
            brief(recoloured(x, torch.full((3, 2, 2), 0.4), shift, shift)),
        ],
        "distances": [kernel_distance(real, fake), frechet_distance(real, fake)],
        "interval": [interval.value, interval.low, interval.high],
        "batches": [batch_size(sides) for sides in ((64, 64), (8, 8, 8), (512, 512, 512))],
        "paths": [lengths, path_penalty(lengths, mean), mean],
        "warps": [brief(draw_warp(6, how, 0.8, rng())), brief(apply_warp(x, draw_warp(3, how, 0.8, rng())))],
        "colours": [brief(part) for part in draw_colour(6, 2, how, 0.8, rng())],
        "augmented": [brief(augment(x, PRESETS[name], 0.9, rng())) for name in PRESETS],
        "probabilities": [
            next_probability(p, s, target=0.6, images=4000) for p in (0, 0.5, 1) for s in (0.5, 0.7)
        ],
        "monitor": [TrainingMonitor.diversity(small), [monitor.report(small) for _ in range(5)]],
    }


def values() -> dict[str, Any]:
    made = (stylegan2, medxgan, translators, networks, encoders, parts)
    return {part.__name__: part() for part in made}
