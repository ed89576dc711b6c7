"""What the core says at its limits."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest

from contrafact.attribution import Occlusion
from contrafact.core import Image, InputError, Request, explain, read_result
from contrafact.core.power import judgements_needed, power
from contrafact.models import BlackBox


def test_a_saved_result_that_is_not_there_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected a saved result; got '.*no\.npz', which does not exist"):
        read_result(tmp_path / "no.npz")
    with pytest.raises(InputError, match="which is a folder"):
        read_result(tmp_path)


def test_a_single_judgement_can_be_enough() -> None:
    """Where chance hits once in a hundred, one hit tells it apart, and 0.9 of the judges hit."""
    assert power(1, 0.9, chance=0.01) == pytest.approx(0.9)
    assert judgements_needed(0.9, chance=0.01) == 1
    assert judgements_needed(0.9, chance=0.03) > 1


def test_a_request_without_a_seed_is_that_of_explain() -> None:
    predictor = BlackBox(lambda x: x.mean(axis=(2, 3)), classes="ab", digest="x")
    image = Image(np.arange(18.0).reshape(2, 3, 3))
    request = Request.of(Occlusion(), predictor, image, target="class:0")
    assert request.seed == inspect.signature(explain).parameters["seed"].default
    assert request.key == Request.of(Occlusion(), predictor, image, target="class:0", seed=0).key
    assert request.key != Request.of(Occlusion(), predictor, image, target="class:0", seed=1).key
