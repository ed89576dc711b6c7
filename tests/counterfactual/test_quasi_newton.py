"""Quasi-Newton steps of a batch of latents, the curvature that they begin with, and paths cut at levels."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

import contrafact as cf
from contrafact.core.execution import explain
from contrafact.counterfactual import LatentStatistics, LatentWalk, Refinement, invert, mean_curvature
from contrafact.counterfactual.inversion import _with_score
from contrafact.counterfactual.latent_path import POINTS, LatentPath
from contrafact.counterfactual.quasi_newton import minimised
from four_pixels import MIX, FourPixels, bundle, image, predictor

SCALES = torch.tensor([100.0, 1.0, 0.01])


def norm(steps: Tensor) -> Tensor:
    return steps.norm(dim=-1)


def bowl(x: Tensor) -> Tensor:
    return (SCALES * (x - 1) ** 2).sum(dim=1)


def test_a_known_curvature_reaches_the_floor_in_one_step() -> None:
    inverse = torch.diag(1 / (2 * SCALES))
    found, least = minimised(bowl, torch.zeros(2, 3), inverse, steps=1, longest=9.0, length=norm)
    torch.testing.assert_close(found, torch.ones(2, 3), atol=1e-4, rtol=0)
    torch.testing.assert_close(least, torch.zeros(2), atol=1e-6, rtol=0)


def test_a_wrong_curvature_is_corrected() -> None:
    found, _ = minimised(bowl, torch.zeros(1, 3), 0.01 * torch.eye(3), steps=30, longest=9.0, length=norm)
    torch.testing.assert_close(found, torch.ones(1, 3), atol=1e-2, rtol=0)


def test_rows_go_their_own_ways_and_none_ends_higher_than_it_began() -> None:
    def rough(x: Tensor) -> Tensor:
        return (x**2).sum(dim=1) + torch.sin(9 * x).sum(dim=1)

    start = torch.linspace(-3, 3, 12).reshape(6, 2)
    options = {"steps": 12, "longest": 2.0, "length": norm}
    found, least = minimised(rough, start, torch.eye(2), **options)
    assert bool((least <= rough(start)).all()) and float(least.mean()) < 0.7 * float(rough(start).mean())
    torch.testing.assert_close(least, rough(found))
    for row in range(6):
        alone, _ = minimised(rough, start[row : row + 1], torch.eye(2), **options)
        torch.testing.assert_close(alone[0], found[row], atol=1e-5, rtol=1e-5)


def test_a_step_is_no_longer_than_allowed() -> None:
    seen: list[Tensor] = []

    def loss(x: Tensor) -> Tensor:
        seen.append(x.detach())
        return bowl(x)

    minimised(loss, torch.zeros(1, 3), torch.eye(3), steps=5, longest=0.1, length=norm)
    assert len(seen) == 6
    assert max(float(norm(b - seen[0])) for b in seen[1:2]) <= 0.1001


def test_the_mean_curvature_of_a_linear_generator_is_its_own() -> None:
    found = mean_curvature(FourPixels(), torch.Generator().manual_seed(0), probes=4000)

    def loss(w: Tensor) -> Tensor:
        from contrafact.counterfactual.inversion import _residuals

        return _residuals(FourPixels().decode(w[None])).square().sum()

    exact = torch.autograd.functional.hessian(loss, torch.zeros(4))
    torch.testing.assert_close(found, exact, atol=0.06 * float(exact.abs().max()), rtol=0)


class Off(torch.nn.Module):
    """An encoder that is wrong by half."""

    def forward(self, images: Tensor) -> Tensor:
        return 0.5 * images.flatten(1)


@pytest.mark.parametrize("known", [True, False])
def test_an_inversion_meets_the_image_and_its_score(known: bool) -> None:
    curvature = mean_curvature(FourPixels(), torch.Generator().manual_seed(0)) if known else None
    statistics = LatentStatistics(torch.zeros(4), MIX @ MIX, curvature)
    images = FourPixels().decode(torch.tensor([[0.5, -0.3, 0.2, 0.1], [-0.4, 0.2, 0.3, -0.1]]))
    passes = [0]

    def score(pictures: Tensor) -> Tensor:
        passes[0] += 1
        return 3 * pictures.flatten(1)[:, 0]

    found = invert(
        FourPixels(),
        Off(),
        images,
        statistics=statistics,
        refinement=Refinement(prior=1e-4),
        score=score,
    )
    again = FourPixels().decode(found)
    torch.testing.assert_close(again, images, atol=0.01, rtol=0)
    torch.testing.assert_close(score(again), score(images), atol=1e-3, rtol=0)
    assert passes[0] <= (22 if known else 46)


def test_every_frame_lies_at_its_level_for_few_gradients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[int] = []
    plain = LatentPath._gradients

    def counted(self: LatentPath, rows: Tensor, offsets: Tensor) -> object:
        calls.append(len(rows))
        return plain(self, rows, offsets)

    monkeypatch.setattr(LatentPath, "_gradients", counted)
    model = predictor()
    walk = LatentWalk(goal=0.9, refinement=Refinement(steps=0))
    found = explain(
        walk, model, [image((-1.0, 0, 0, 0))], target=model.target("class:1"), bundle=bundle(model)
    )[0]
    assert found.outcome == "reached" and len(found.frames) == 9
    off = (found.scores - found.scores[found.origin]) - found.requested
    assert np.all(off >= -1e-3) and np.all(off <= 0.03 * abs(found.requested[-1]) / 9 + 1e-3)
    assert found.scores[-1] >= math.log(9) - 1e-4
    assert len(calls) <= POINTS + 2


def test_a_shipped_bundle_has_a_curvature_and_its_digest_tells() -> None:
    shipped = cf.load_bundle("phantom")
    statistics = shipped.statistics
    assert statistics.curvature is not None and statistics.curvature.shape == statistics.covariance.shape
    without = dataclasses.replace(shipped, statistics=dataclasses.replace(statistics, curvature=None))
    assert without.digest != shipped.digest


def test_a_digest_of_a_network_is_made_once_and_again_after_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    from contrafact.models import identity

    made: list[int] = []
    plain = identity.ContentDigest._make
    monkeypatch.setattr(identity.ContentDigest, "_make", lambda self: (made.append(1), plain(self))[1])
    shipped = cf.load_bundle("phantom")
    first = shipped.generator_digest
    before = len(made)
    assert shipped.generator_digest == first and len(made) == before
    with torch.no_grad():
        next(shipped.generator.parameters()).add_(1.0)
    assert shipped.generator_digest != first


def test_a_point_without_a_value_shortens_the_next_step() -> None:
    def loss(x: Tensor) -> Tensor:  # neither a value nor a slope from 1 on
        return (10 * (x - 0.9) ** 2 + 0.01 * torch.sqrt(1 - x)).sum(dim=1)

    found, _ = minimised(loss, torch.zeros(1, 1), 5 * torch.eye(1), steps=12, longest=9.0, length=norm)
    torch.testing.assert_close(found, torch.full((1, 1), 0.9), atol=0.01, rtol=0)


def test_a_step_to_the_score_that_leads_no_closer_is_taken_again_shorter() -> None:
    statistics, images = LatentStatistics(torch.zeros(4), torch.eye(4)), FourPixels().decode(torch.zeros(1, 4))

    def score(pictures: Tensor) -> Tensor:  # so steep that the first step leads past it
        return torch.tanh(80 * pictures.flatten(1)[:, 0])

    begin = torch.tensor([[-0.15, 0.0, 0.0, 0.0]])
    found = _with_score(begin, FourPixels(), images, score, torch.eye(4), statistics)
    assert abs(float(score(FourPixels().decode(found)))) < 0.5 < abs(float(score(FourPixels().decode(begin))))


@pytest.mark.parametrize("unit", [1.0, 1e-7, 1e6])
def test_a_score_is_met_in_any_unit(unit: float) -> None:
    statistics, begin = LatentStatistics(torch.zeros(4), MIX @ MIX), torch.tensor([[0.1, 0.0, 0.0, 0.0]])
    images = FourPixels().decode(torch.tensor([[0.4, -0.3, 0.2, 0.1]]))

    def score(pictures: Tensor) -> Tensor:
        return unit * 24 * pictures.flatten(1)[:, 0]

    found = _with_score(begin, FourPixels(), images, score, statistics.covariance, statistics)
    torch.testing.assert_close(score(FourPixels().decode(found)) / unit, score(images) / unit)


def path_of(measure: Callable[[Tensor], Tensor], *, above: float = 0.0, blend: bool = True) -> LatentPath:
    """The path of one image whose generated image scores `above` it."""
    latents = torch.zeros(1, 4)
    images = FourPixels().decode(latents)
    return LatentPath(
        generator=FourPixels(),
        statistics=LatentStatistics(torch.zeros(4), torch.eye(4)),
        direction=None,
        measure=measure,
        images=images,
        latents=latents,
        reconstruction=images,
        start=measure(images) - above,
        blend=blend,
    )


def test_a_path_ends_before_the_model_has_no_score() -> None:
    def measure(images: Tensor) -> Tensor:
        return -3 * torch.log(0.9 - 8 * images.flatten(1)[:, 0])

    path = path_of(measure)
    found = path.follow(torch.tensor([[-1.0, 0.0, 1.0, 60.0]]), share=1.0, budget=5.0)
    scores = measure(FourPixels().decode(found[0])) - path.start
    assert bool(torch.isfinite(scores).all())
    torch.testing.assert_close(scores[:2], torch.tensor([-1.0, 0.0]), atol=0.4, rtol=0)


@pytest.mark.parametrize("above", [2.0, -2.0])
def test_frames_that_are_generated_alone_reach_their_levels_from_either_side(above: float) -> None:
    def measure(images: Tensor) -> Tensor:
        return 24 * images.flatten(1)[:, 0]

    path, requested = path_of(measure, above=above, blend=False), torch.tensor([[-3.0, -1.0, 0.0, 1.0, 6.0]])
    found = path.follow(requested, share=1.0, budget=5.0)[0]
    reached = measure(FourPixels().decode(found)) - path.start
    expected = torch.where(requested[0] == 0, above, requested[0])
    torch.testing.assert_close(reached, expected, atol=0.05, rtol=0)
