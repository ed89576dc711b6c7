"""One suite that every metric of heatmaps must pass: the registry is the list."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from contrafact.attribution import Gradient
from contrafact.core import METRICS, Grid, Question
from contrafact.core.execution import parameters_of
from contrafact.metrics import HeatmapContext, evaluate
from contrafact.models import TorchPredictor

SMALL = {"samples": 8, "steps": 6, "count": 8}
HEATMAP = [n for n in METRICS.names() if METRICS.get(n).of == "heatmap"]


class Linear(nn.Module):
    """f = sum of weights x image: what every voxel is worth is known."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights)

    def forward(self, x: Tensor) -> Tensor:
        value = (x * self.weights).flatten(1).sum(dim=1)
        return torch.stack([-value, value], dim=1)


def linear_panel(
    *, axes: int = 2, channels: int = 1, side: int = 12, more: NDArray[np.float64] | None = None
) -> HeatmapContext:
    """A linear model's own worth map, a random one and its opposite; the mask is where the weights are."""
    rng = np.random.default_rng(0)
    size = (side,) * axes
    where = np.zeros(size, dtype=bool)
    where[(slice(2, 6),) * axes] = True
    weights = rng.uniform(0.5, 1.5, (channels, *size)) * where
    image = rng.uniform(1, 2, (1, channels, *size)).astype(np.float32)
    truth = (weights * image[0]).sum(axis=0)
    maps = np.stack([truth, rng.normal(size=size), -truth])
    if more is not None:
        maps = np.concatenate([maps, more])
    predictor = TorchPredictor(Linear(torch.tensor(weights, dtype=torch.float32)), classes=["a", "b"])
    question = Question(predictor=predictor, images=image, target=predictor.target("value:1"), grid=Grid(size))
    other = TorchPredictor(Linear(torch.tensor(rng.normal(size=weights.shape), dtype=torch.float32)))
    explainers = [Gradient()] * len(maps)
    return HeatmapContext(question, maps, explainers=explainers, mask=where, shuffled=other)


def made(name: str) -> object:
    return METRICS.make(name, **{k: v for k, v in SMALL.items() if k in METRICS.fields_of(name)})


@pytest.mark.parametrize("name", HEATMAP)
@pytest.mark.parametrize(("axes", "channels"), [(2, 1), (2, 3), (3, 1), (3, 4)])
def test_a_number_for_every_map_and_the_same_again(name: str, axes: int, channels: int) -> None:
    size = {"axes": axes, "channels": channels, "side": 12 if axes == 2 else 8}
    first = [s.value for s in evaluate(linear_panel(**size), [made(name)], ["a", "b", "c"])]
    second = [s.value for s in evaluate(linear_panel(**size), [made(name)], ["a", "b", "c"])]
    assert len(first) == 3
    assert first == second
    assert np.isfinite(first).all()


@pytest.mark.parametrize("name", HEATMAP)
def test_flawed_maps_are_rows_with_a_reason_and_the_others_go_on(name: str) -> None:
    flat, broken = np.zeros((12, 12)), np.full((12, 12), np.nan)
    panel = linear_panel(more=np.stack([flat, broken]))
    scores = list(evaluate(panel, [made(name)], list("abcde")))
    assert all(np.isfinite(s.value) for s in scores[:3]), scores
    assert "the same value everywhere" in scores[3].reason and np.isnan(scores[3].value)
    assert "NaN" in scores[4].reason and np.isnan(scores[4].value)


@pytest.mark.parametrize("name", HEATMAP)
def test_it_says_what_it_is(name: str) -> None:
    cls = METRICS.get(name)
    assert cls.better in ("higher", "lower")
    assert "Source:" in (cls.__doc__ or "") and "gives" in (cls.__doc__ or "")
    assert dataclasses.is_dataclass(cls)
    json.dumps(parameters_of(made(name)))


@pytest.mark.parametrize("name", HEATMAP)
def test_model_and_image_are_as_they_were(name: str) -> None:
    panel = linear_panel()
    before = panel.image.clone(), [p.clone() for p in panel.question.predictor.module.parameters()]  # type: ignore[attr-defined]
    state = torch.random.get_rng_state()
    list(evaluate(panel, [made(name)], ["a", "b", "c"]))
    assert torch.equal(panel.image, before[0])
    assert all(
        torch.equal(a, b)
        for a, b in zip(panel.question.predictor.module.parameters(), before[1], strict=True)  # type: ignore[attr-defined]
    )
    assert torch.equal(torch.random.get_rng_state(), state)
