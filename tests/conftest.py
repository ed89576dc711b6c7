"""What many tests need: small predictors whose answer is known by construction."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from contrafact.core import Image
from contrafact.models import Preprocessing, TorchPredictor, declaration_checks

SHARED = Path(__file__).parents[2] / "shared" / "data"


def pytest_configure() -> None:
    """Tests that run in the background inherit an ignored Ctrl-C, and so would the commands that they start."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _two_threads() -> None:
    torch.set_num_threads(min(2, torch.get_num_threads()))


RANGE = "ignore::contrafact.core.errors.InputRangeWarning"


@pytest.fixture(autouse=True)
def _no_image_in_a_range_that_nobody_declared(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """No test may show a network images far from 0 to 1 without a preprocessing, nor by the command line,
    which prints the warning. A toy that takes images in their own units says so:
    `pytest.mark.filterwarnings(RANGE)`."""
    warned = []
    check = declaration_checks.warn_of_range

    def noted(images: torch.Tensor, preprocessing: Preprocessing) -> bool:
        found = check(images, preprocessing)
        warned.extend([str(request.node.name)] if found else [])
        return found

    monkeypatch.setattr(declaration_checks, "warn_of_range", noted)
    yield
    asked = any("InputRangeWarning" in str(mark.args) for mark in request.node.iter_markers("filterwarnings"))
    if warned and not asked and request.node.get_closest_marker("warns_of_range") is None:
        pytest.fail("InputRangeWarning: mark this test with RANGE of conftest.py, or declare a preprocessing")


@pytest.fixture
def shared() -> Path:
    """Real data beside the project; a stranger's machine has none."""
    if not SHARED.exists():
        pytest.skip("no ../shared/data on this machine: real images are not part of the repository")
    return SHARED


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, for the tests in browser/."""
    from visiting import chromium  # Playwright, which need not be installed

    with chromium() as started:
        yield started


class PlantedBlock(nn.Module):
    """Class 1 is the mean of one block of the image, class 0 its negative; nothing else matters."""

    def __init__(self, axes: int, channels: int, size: int = 16) -> None:
        super().__init__()
        kind = {2: nn.Conv2d, 3: nn.Conv3d}[axes]
        self.conv = kind(channels, 1, 3, padding=1, bias=False)
        nn.init.zeros_(self.conv.weight)
        with torch.no_grad():
            self.conv.weight[(0, slice(None), *(1,) * axes)] = 1.0
        self.relu = nn.ReLU()
        mask = torch.zeros(1, 1, *(size,) * axes)
        mask[(0, 0, *(slice(4, 8),) * axes)] = 1.0
        self.register_buffer("mask", mask)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # Images are not negative, so the ReLU passes all; methods that change ReLUs need one.
        score = self.relu(self.conv(x * self.mask)).flatten(1).sum(1) / self.mask.sum()
        return torch.stack([-score, score], dim=1)


def planted_predictor(axes: int, channels: int) -> TorchPredictor:
    return TorchPredictor(PlantedBlock(axes, channels), classes=["no", "yes"])


def noise_image(axes: int, channels: int, *, size: int = 16, seed: int = 0) -> Image:
    rng = np.random.default_rng(seed)
    return Image(rng.uniform(0.5, 1.0, (channels, *(size,) * axes)).astype(np.float32))


def small_network(outputs: int = 2, channels: int = 1) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return nn.Sequential(
            nn.Conv2d(channels, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 6, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(6, outputs),
        )


def grey_preprocessing() -> Preprocessing:
    return Preprocessing(size=(16, 16), channels=1, window=(0, 255), mean=(0.5,), std=(0.5,))
