"""Latent paths, masks and bundles, each alone, on a generator that draws its latent and scores that curve."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from contrafact.core import Grid, Question
from contrafact.counterfactual import (
    Bundle,
    DirectionConfig,
    LatentStatistics,
    attributes,
    change_mask,
    fit_direction,
    local_change,
    medxgan,
    steady_gradient,
)
from contrafact.counterfactual.bundle_parts import check_values, resized
from contrafact.counterfactual.inversion import carry_over
from contrafact.counterfactual.latent_path import LatentPath
from contrafact.counterfactual.region import region_on_canvas
from contrafact.models import BlackBox, Preprocessing, TorchPredictor
from reference.heatmaps import network
from reference.kept import asked, brief, tried

SIDE, LATENT = 6, 12


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Drawn:
    """Draws 12 numbers as the upper two rows of an image and their negatives, halved, below."""

    latent_size, image_shape = LATENT, (1, SIDE, SIDE)

    def decode(self, w: Tensor) -> Tensor:
        part = torch.tanh(w).reshape(-1, 1, 2, SIDE)
        return torch.cat([part, -part / 2, part * part], dim=2)

    def sample(self, n: int, rng: Any, **_: Any) -> Tensor:
        return torch.randn(n, LATENT, generator=rng) * torch.linspace(0.5, 1.5, LATENT) + 0.1

    def strength(self, w: Tensor) -> Tensor:
        return torch.stack([w[:, :2].norm(dim=1), w[:, 2:4].norm(dim=1)], dim=1)

    def code(self, finding: int) -> slice:
        return slice(2 * finding, 2 * finding + 2)


class Nearly:
    """An encoder that is off by a tenth."""

    def __call__(self, images: Tensor) -> Tensor:
        return torch.atanh(images[:, 0, :2].flatten(1).clamp(-0.9, 0.9)) * 0.9


MAKER: Any = Drawn()
STATISTICS = LatentStatistics.of(MAKER, torch.Generator().manual_seed(1), samples=500)
WEIGHTS = draw(1, SIDE, SIDE, seed=3)


def score(images: Tensor) -> Tensor:
    line = (images * WEIGHTS).sum(dim=(1, 2, 3))
    return line + 0.2 * line.square() - 0.1 * images.square().sum(dim=(1, 2, 3))


def rough(images: Tensor) -> Tensor:
    return torch.sin(3 * (images * WEIGHTS).sum(dim=(1, 2, 3))) + score(images) / 3


def path(**more: Any) -> LatentPath:
    latents = draw(3, LATENT, seed=5) * 0.5
    images = MAKER.decode(latents) * 0.9 + 0.05 * draw(3, 1, SIDE, SIDE, seed=6)
    fitted = fit_direction(MAKER, score, target="class:1", config=DirectionConfig(samples=100, bootstrap=3))  # type: ignore[arg-type]
    about: dict[str, Any] = {
        "generator": MAKER,
        "statistics": STATISTICS,
        "direction": fitted,
        "measure": score,
        "images": images,
        "latents": latents,
        "reconstruction": MAKER.decode(latents),
        "start": score(images),
    }
    return LatentPath(**{**about, **more})


def paths() -> dict[str, Any]:
    where = torch.linspace(0, 1, 3 * SIDE * SIDE).reshape(3, 1, SIDE, SIDE)
    made = {
        "plain": path(),
        "own": path(direction=None),
        "masked": path(where=where),
        "generated": path(blend=False),
        "rough": path(measure=rough, start=rough(path().images)),
        "steady": path(steady=lambda x: score(0.8 * x) + x.mean((1, 2, 3))),
    }
    held = replace(made["plain"].direction, held=draw(2, LATENT, seed=9))  # type: ignore[type-var]
    made["held"] = path(direction=held)
    rows, offsets = torch.tensor([2, 0]), 0.4 * draw(2, LATENT, seed=7)
    asked_for = torch.tensor([[-0.5, 0.0, 0.7], [0.2, 0.4, 0.9], [-2.0, -1.0, 3.0]])
    found: dict[str, Any] = {}
    for name, one in made.items():
        gradients = one._gradients(rows, offsets)
        found[name] = [
            brief(one.frame(rows, offsets)),
            one.scores(rows, offsets),
            brief(one.line()),
            brief(one.ahead(share=0.4)),
            gradients.agreement,
            brief(gradients.own),
        ]
        for share, budget in ((0.5, 5.0), (1.0, 0.5), (0.0, 2.0)) if name != "rough" else ():
            bent = one.follow(asked_for, share=share, budget=budget)
            ends = one.scores(torch.arange(3), bent[:, -1]) - one.start
            found[f"{name} {share} {budget}"] = [brief(bent), ends, STATISTICS.length(bent)]
    found["frames"] = [
        brief(made["plain"].frame(rows, offsets, where[:2])),
        brief(made["masked"].frame(rows, offsets, where[:2])),
        made["plain"].scores(rows, offsets, where[:2]),
    ]
    found["within"] = [brief(made["plain"].within(offsets, budget)) for budget in (0.1, 1.0, 99.0)]
    return found


def masks() -> dict[str, Any]:
    magnitude = draw(2, 1, 9, 7, seed=2).abs()
    solid = draw(1, 1, 5, 6, 7, seed=2).abs()
    rows, offsets, one = torch.arange(3), 0.8 * draw(3, LATENT, seed=8), path()
    goals = one.start + torch.tensor([0.5, -0.5, 3.0])
    return {
        "largest": [
            brief(change_mask.largest_changes(m, area))
            for m in (magnitude, solid)
            for area in (0.001, 0.1, 0.5, 1.0)
        ],
        "smoothed": [brief(change_mask.smoothed(m)) for m in (magnitude, solid)],
        "windows": [
            change_mask.window_size(torch.zeros(1, 1, *size))
            for size in ((4, 4), (63, 99), (64, 64), (96, 95), (128, 128), (64, 99, 64))
        ],
        "masks": [
            brief(change_mask.change_mask(one, rows, offsets, goals=g, keep=keep))
            for g in (None, goals)
            for keep in (0.3, 0.9, 1.0)
        ],
        "carried": [
            brief(carry_over(images, 3 * draw(2, 1, 4, 4, seed=1)))
            for images in (draw(2, 1, 4, 4), draw(2, 1, 4, 4) / 9)
        ],
        "regions": [
            asked(
                lambda r=r, size=size: region_on_canvas(
                    Question(
                        predictor=BlackBox(len, digest="x"),
                        images=np.zeros((1, 1, 6, 8)),
                        target=None,
                        grid=Grid((6, 8)),
                        region=r,
                    ),
                    torch.zeros(2, 1, *size),
                )
            )  # type: ignore[arg-type, misc]
            for r in (None, np.arange(48).reshape(6, 8) > 20, np.arange(48).reshape(6, 8) == 20)
            for size in ((6, 8), (3, 4))
        ],
        "views": [
            brief(torch.cat(steady_gradient.views_of(draw(1, 1, *size))))
            for size in ((6, 6), (64, 66), (47, 64), (48, 48), (48, 49, 50))
        ],
        "shifted": [brief(steady_gradient.shifted(magnitude, steps)) for steps in ((1, 0), (-2, 3))],
        "blurred": [brief(steady_gradient.blurred(m)) for m in (magnitude, solid, magnitude[..., 0])],
        "steady": steady_gradient.steady(score)(draw(2, 1, SIDE, SIDE)),
    }


def others() -> dict[str, Any]:
    places = torch.zeros(3, 1, 4, 4)
    places[0, :, :2, :2], places[1, :, 2:], places[2, :, :, 3] = 1, 1, 1
    regions = [torch.zeros(2, 1, 4, 4) for _ in range(3)]
    regions[0][:, :, :2], regions[1][:, :, :3], regions[2][:, :, 1:, 1:] = 1, 1, 1
    before, after = torch.tensor([-1.0, 0.2, -0.5, 0.5]), torch.tensor([0.5, 0.4, -0.1, -3.0])
    bundle = Bundle(
        name="b", window=(-10, 30), generator=MAKER, encoder=Nearly(), statistics=STATISTICS, least=5
    )  # type: ignore[arg-type]
    strict = replace(bundle, crop="center", least=None)
    sizes = ((6, 6), (12, 12), (5, 5), (4, 9), (9, 12), (7, 6))
    own = TorchPredictor(network(2, 1), classes="abc", preprocessing=Preprocessing(window=(0, 1)))
    return {
        "places": [
            None if (inside := local_change.places_in(r, p)) is None else brief(inside)
            for r in (None, *regions)
            for p in (None, places)
        ],
        "greatest": [
            attributes._greatest([torch.tensor([1.0, -3, 2]), torch.tensor([-2.5, 0.5])], n) for n in (1, 3, 9)
        ],
        "interval": attributes._interval(torch.tensor([1.0, 2.0, 4.0])),
        "flips": [attributes._flips(before, after, text) for text in ("class:1", "probability:1", "value:0")]
        + [attributes._flips(before + 9, after, "class:1")],
        "spread": [
            brief(medxgan.spread(np.arange(24.0, dtype=np.float32).reshape(n, 1, 4, -1) ** 2))
            for n in (1, 2, 3)
        ],
        "canvas": [
            asked(
                lambda b=b, size=size: brief(
                    b.to_canvas(torch.linspace(-10, 30, size[0] * size[1]).reshape(1, 1, *size))
                )
            )
            for b in (bundle, strict)
            for size in sizes
        ],  # type: ignore[misc]
        "units": bundle.to_units(torch.tensor([-1.0, 0.0, 1.0, 2.0])),
        "values": tried(
            *(
                functools.partial(check_values, torch.tensor(v).reshape(1, 1, 1, -1), (-10.0, 30.0), "b")
                for v in (
                    [0.0, 20.0],
                    [-11.0, 0.0],
                    [0.0, 99.0],
                    [0.0, 1.0],
                    [-10.0, -9.9],
                    [0.0] * 99 + [31.0],
                )
            )
        ),
        "resized": [
            brief(resized(draw(1, 1, *size), (6, 6)[: len(size)] if len(size) == 2 else (4, 4, 4)))
            for size in ((6, 6), (12, 7), (5, 5), (3, 9, 4))
        ],
        "digests": len(
            {
                b.digest
                for b in (
                    bundle,
                    strict,
                    replace(bundle, window=(0, 30)),
                    replace(bundle, least=6),
                    replace(bundle, predictor=own),
                    replace(bundle, findings=(("a", "b"),)),
                    replace(bundle, name="c"),
                )
            }
        ),
        "refused": tried(
            lambda: bundle.direction(own, own.target("class:1")),
            lambda: bundle.finding(own, own.target("class:1")),
            lambda: bundle.translation(own, own.target("class:1")),
            lambda: bundle.predictor_of("0123"),
            lambda: replace(bundle, generator=None).latent,
            lambda: replace(bundle, generator=None).image_shape,
            lambda: bundle.second_model(own),
            lambda: bundle.own_method,
        ),
    }


def values() -> dict[str, Any]:
    return {part.__name__: part() for part in (paths, masks, others)}
