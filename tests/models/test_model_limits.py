"""Checks of models at their limits."""

from __future__ import annotations

import warnings

import pytest
import torch

from contrafact.core import InputRangeWarning
from contrafact.models import Preprocessing
from contrafact.models.declaration_checks import FAR, warn_of_range


@pytest.mark.parametrize(
    "preprocessing",
    [Preprocessing(mean=(0.5,), std=(0.2,)), Preprocessing(window=(0, 1))],
)
def test_a_mean_or_a_window_declares_the_range_of_images(preprocessing: Preprocessing) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not warn_of_range(torch.tensor([0.0, 255.0]), preprocessing)


@pytest.mark.parametrize("values", [(0.0, FAR), (-FAR, 0.0)])
def test_values_beyond_a_few_units_are_warned_of(values: tuple[float, float]) -> None:
    images = torch.tensor(values)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not warn_of_range(images, Preprocessing())
    with pytest.warns(InputRangeWarning):
        assert warn_of_range(images * 1.001, Preprocessing(size=(3, 3)))
