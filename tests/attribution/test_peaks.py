"""What methods hold at their peak, and how often they call the network, is counted; the maps stay as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from contrafact.core import Image, Question
from contrafact.core.execution import explain
from contrafact.core.registry import EXPLAINERS
from contrafact.models import TorchPredictor
from contrafact.perturbation import memory

SIDE = 12
VOXELS = SIDE**3


class Asked(nn.Module):
    """A small network that notes how many images it is shown at once."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layers = nn.Sequential(
                nn.Conv3d(1, 3, 3, stride=2), nn.SiLU(), nn.AdaptiveAvgPool3d(2), nn.Flatten(), nn.Linear(24, 2)
            )
        self.calls = list[int]()

    def forward(self, images: Tensor) -> Tensor:
        self.calls.append(len(images))
        return torch.as_tensor(self.layers(images))


class Largest(TorchDispatchMode):
    """The number of values of the largest tensor of images that an operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.values = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if isinstance(found, Tensor) and tuple(found.shape[-3:]) == (SIDE, SIDE, SIDE):
            self.values = max(self.values, found.numel())
        return found


@pytest.fixture
def network() -> Asked:
    return Asked().eval()


def volume() -> Image:
    return Image(np.random.default_rng(0).random((1, SIDE, SIDE, SIDE), dtype=np.float32))


def mapped(network: Asked, name: str, *images: Image, **settings: Any) -> tuple[np.ndarray, Any]:
    predictor = TorchPredictor(network, classes=["a", "b"])
    target = predictor.target("value:1")
    heats = explain(EXPLAINERS.make(name, **settings), predictor, images or [volume()], target=target, seed=3)
    return np.stack([heat.values for heat in heats]), heats[0].record


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("kernel-shap", {"samples": 80, "count": 3}),
        ("lime", {"samples": 80, "count": 3, "sparsity": 1e-5}),
        ("shapley-sampling", {"samples": 2, "count": 3}),
        ("feature-ablation", {"count": 4}),
    ],
)
def test_large_images_are_changed_a_few_at_a_time(
    network: Asked, monkeypatch: pytest.MonkeyPatch, name: str, settings: dict[str, Any]
) -> None:
    whole, _ = mapped(network, name, **settings)
    assert max(network.calls) > 20
    for most in (3, 1):
        network.calls.clear()
        monkeypatch.setattr(memory, "VOXELS", most * VOXELS)
        with Largest() as seen:
            portioned, _ = mapped(network, name, **settings)
        assert max(network.calls) <= most and seen.values <= most * VOXELS
        np.testing.assert_allclose(portioned, whole, atol=1e-5 * np.abs(whole).max())
