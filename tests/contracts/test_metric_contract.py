"""One suite that every metric of heatmaps must pass: the registry is the list."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from contrafact.core import METRICS
from contrafact.core.execution import parameters_of
from contrafact.metrics import evaluate
from linear_panel import linear_panel

SMALL = {"samples": 8, "steps": 6, "count": 8}
HEATMAP = [n for n in METRICS.names() if METRICS.get(n).of == "heatmap"]


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
