"""Checks of models at their limits."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from contrafact.core import InputError, InputRangeWarning
from contrafact.models import Preprocessing, TorchPredictor
from contrafact.models.declaration_checks import FAR, warn_of_range
from contrafact.models.opened import merged


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


@pytest.mark.parametrize("made_for", [2, 3])
@pytest.mark.parametrize("first", ["Conv", "BatchNorm", "MaxPool"])
def test_images_of_other_axes_than_the_network_are_one_line(made_for: int, first: str) -> None:
    layer = getattr(nn, f"{first}{made_for}d")
    begin = {"Conv": lambda: layer(1, 1, 3), "BatchNorm": lambda: layer(1), "MaxPool": lambda: layer(2)}[
        first
    ]()
    conv, pool = getattr(nn, f"Conv{made_for}d"), getattr(nn, f"AdaptiveAvgPool{made_for}d")
    network = nn.Sequential(begin, conv(1, 2, 3), pool(1), nn.Flatten(), nn.Linear(2, 2))
    model = TorchPredictor(network.eval())
    assert model(torch.rand(1, 1, *[12] * made_for)).shape == (1, 2)
    with pytest.raises(InputError, match=f"takes {made_for}D images; got {5 - made_for}D: give "):
        model(torch.rand(1, 1, *[12] * (5 - made_for)))


@pytest.mark.parametrize(
    ("window", "clip", "low", "high", "warns"),
    [
        ((0, 255), False, 0, 1, True),
        ((0, 255), False, 0, 255, False),
        ((0, 255), False, 20, 60, False),
        ((0, 1), False, 0, 255, False),
        ((0, 2), False, 0, 255, True),
        ((0, 2), True, 0, 999, True),
        ((-160, 240), True, -1000, 300, False),
        ((-160, 240), False, -1000, 3000, False),
        ((0, 1), False, 0, 1, False),
        ((0, 255), False, 7, 7, False),
    ],
)
def test_values_that_do_not_fit_the_declared_window_are_told_once(
    window: tuple[float, float], clip: bool, low: float, high: float, warns: bool
) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    model = TorchPredictor(network, preprocessing=Preprocessing(window=window, clip=clip))
    images = torch.linspace(low, high, 64).reshape(1, 1, 8, 8)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        model(torch.full((1, 1, 8, 8), window[0]))  # of one value: it says nothing
        model(images)
        model(images)
    assert [one.category for one in told] == [InputRangeWarning] * warns
    assert all(f"values from {low} to {high}" in str(one.message) for one in told)


def test_a_window_over_what_a_format_states_keeps_its_size_and_the_limits_of_it() -> None:
    stated = {"preprocessing": Preprocessing(size=(224, 224), least=1, channels=3, mean=(0.5,), std=(0.2,))}
    both = merged(stated, {"preprocessing": Preprocessing(window=(0, 255))})["preprocessing"]
    assert both == Preprocessing(size=(224, 224), least=1, channels=3, window=(0, 255))
    own = merged(stated, {"preprocessing": Preprocessing(size=(64, 64))})["preprocessing"]
    assert (own.size, own.least, own.channels) == ((64, 64), None, 3)
