"""One suite that every metric of strips must pass: the registry is the list."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
import torch

from contrafact.core import METRICS, InputError
from contrafact.core.execution import parameters_of
from contrafact.metrics import evaluate_strips
from linear_walk import toy

STRIP = [n for n in METRICS.names() if METRICS.get(n).of == "strip"]
NEEDS = {
    "adversarial-null": "second model",
    "change-iou": "mask",
    "change-share": "mask",
    "composition": "again",
    "factor-correlation": "factors",
    "identity": "mask",
    "off-factor": "factors",
    "off-target": "others",
    "perceptual-distance": "layers",
    "oracle-agreement": "second model",
    "oracle-change": "second model",
    "random-direction": "control",
    "reversibility": "again",
    "shortcut-share": "shortcut",
}


@pytest.mark.parametrize("name", STRIP)
@pytest.mark.parametrize(("axes", "channels"), [(2, 1), (2, 3), (3, 1), (3, 4)])
def test_a_number_and_the_same_again(name: str, axes: int, channels: int) -> None:
    made = toy(axes=axes, channels=channels, side=12 if axes == 2 else 8)
    first, second = (next(evaluate_strips([made.walked()], [METRICS.make(name)])) for _ in range(2))
    assert np.isfinite(first.value), first.reason
    assert first.value == second.value
    assert (first.metric, first.label) == (name, "0")


@pytest.mark.parametrize("name", STRIP)
def test_what_is_missing_is_said_and_never_a_silent_nan(name: str) -> None:
    nothing = dict.fromkeys(("oracle", "mask", "shortcut", "again", "control", "layers"))
    bare: dict[str, Any] = {**nothing, "others": {}, "factors": {}}
    made = toy()
    if name in NEEDS:
        with pytest.raises(InputError, match=f"{name} needs .*{NEEDS[name]}.*; got none"):
            METRICS.make(name)(made.walked(**bare))
    else:
        assert np.isfinite(METRICS.make(name)(made.walked(**bare)))


@pytest.mark.parametrize("name", STRIP)
def test_a_strip_that_goes_nowhere_has_a_number_or_a_reason(name: str) -> None:
    made = toy()
    still = made.walked(made.strip([0.0], outcome="already"))
    score = next(evaluate_strips([still], [METRICS.make(name)], ["still"]))
    assert np.isfinite(score.value) != bool(score.reason)


@pytest.mark.parametrize("name", STRIP)
def test_it_says_what_it_is(name: str) -> None:
    cls = METRICS.get(name)
    assert cls.better in ("higher", "lower")
    assert all(word in (cls.__doc__ or "") for word in ("Source:", "Differs:", "gives"))
    assert dataclasses.is_dataclass(cls)
    json.dumps(parameters_of(METRICS.make(name)))


@pytest.mark.parametrize("name", STRIP)
def test_model_image_and_chance_are_as_they_were(name: str) -> None:
    made = toy()
    walked = made.walked()
    before = walked.start.copy(), walked.strip.frames.copy(), made.weights.clone()
    state = torch.random.get_rng_state()
    METRICS.make(name)(walked)
    assert np.array_equal(walked.start, before[0]) and np.array_equal(walked.strip.frames, before[1])
    assert torch.equal(made.predictor.module.weights, before[2])  # type: ignore[arg-type]
    assert torch.equal(torch.random.get_rng_state(), state)
