"""What users get wrong when they ask: one clear line, and the model as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import contrafact as cf
from conftest import planted_predictor, small_network
from contrafact.core import EXPLAINERS, Grid, Image, InputError
from contrafact.models import TorchPredictor


def image(size: int = 16) -> Image:
    return Image(np.random.default_rng(0).uniform(0, 1, (1, size, size)).astype(np.float32))


def state(module: nn.Module) -> dict[str, Any]:
    """All that a failed explanation could leave changed."""
    found: dict[str, Any] = {k: v.clone() for k, v in module.state_dict().items()}
    found |= {f"{n}.training": m.training for n, m in module.named_modules()}
    found |= {
        f"{n}.hooks": (len(m._forward_hooks), len(m._forward_pre_hooks)) for n, m in module.named_modules()
    }
    found |= {f"{n}.forward": "forward" in vars(m) for n, m in module.named_modules()}
    return found | {f"{n}.wants": (p.requires_grad, p.grad is None) for n, p in module.named_parameters()}


def same(before: dict[str, Any], after: dict[str, Any]) -> bool:
    return before.keys() == after.keys() and all(
        torch.equal(v, after[k]) if isinstance(v, Tensor) else v == after[k] for k, v in before.items()
    )


def test_a_layer_that_does_not_exist_is_answered_with_the_nearest() -> None:
    predictor = TorchPredictor(nn.Sequential(small_network()), classes=["a", "b"])
    with pytest.raises(InputError, match=r"expected a layer.*did you mean '0.3'"):
        cf.explain("gradcam", predictor, image(), target="class:1", layer="0.33")


def test_a_target_outside_the_prediction_is_empty_and_says_what_is_there() -> None:
    class Nothing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([x + 5, x - 5, x - 6], dim=1)

    predictor = TorchPredictor(Nothing(), classes=["background", "organ", "tumour"])
    with pytest.raises(InputError, match=r"region:2 is empty.*contains class\(es\) 0"):
        cf.explain("gradient", predictor, image(), target="region:tumour")


def test_a_box_larger_than_the_image() -> None:
    with pytest.raises(InputError, match=r"box must be at most \(16, 16\).*got \(99, 99\)"):
        cf.explain("occlusion", planted_predictor(2, 1), image(), target="class:1", box=99)


def test_a_mask_on_another_grid() -> None:
    moved = Image(np.ones((1, 16, 16)), Grid((16, 16), spacing_mm=(2, 2)))
    for word in ("region", "reference"):
        with pytest.raises(InputError, match="another grid"):
            target = "class:1" if word == "region" else "mask:1"
            cf.explain("gradient", segmenter(), image(), target=target, **{word: moved})


def segmenter() -> TorchPredictor:
    return TorchPredictor(nn.Sequential(nn.Conv2d(1, 2, 3, padding=1)), classes=["no", "yes"])


class Broken(nn.Module):
    """Answers a few times, then does what it was told: an exception, NaN; it also counts in a buffer."""

    def __init__(self, how: str, after: int) -> None:
        super().__init__()
        self.inner, self.how, self.after, self.calls = small_network(), how, after, 0
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.count += 1
        out = self.inner(x)
        if self.calls > self.after and self.how == "raise":
            raise ValueError("the network fell over")
        return out * torch.nan if self.calls > self.after and self.how == "nan" else out


SPECIAL = ("picture", "needs_attention", "needs_background", "needs_bundle")
METHODS = [
    n for n in EXPLAINERS.names()
    if not any(getattr(EXPLAINERS.get(n), kind, False) for kind in SPECIAL)
]  # fmt: skip
SMALL = {"samples": 2, "masks": 8, "count": 2, "iterations": 2}


def small(name: str) -> Any:
    return EXPLAINERS.make(name, **{k: v for k, v in SMALL.items() if k in EXPLAINERS.fields_of(name)})


@pytest.mark.filterwarnings("ignore::contrafact.core.EmptyMapWarning")
@pytest.mark.parametrize("name", METHODS)
def test_an_exception_in_the_middle_leaves_the_model_bit_for_bit(name: str) -> None:
    for after in (0, 1):
        network = Broken("raise", after).train()
        predictor = TorchPredictor(network, classes=["a", "b"])
        before = state(network)
        try:
            cf.explain(small(name), predictor, image(), target="class:1")
        except Exception as error:
            assert "fell over" in str(error) or isinstance(error, cf.core.ContrafactError)
        assert same(before, state(network)), name


@pytest.mark.filterwarnings("ignore::contrafact.core.EmptyMapWarning")
@pytest.mark.parametrize("name", METHODS)
def test_a_model_that_changes_its_own_buffers_finds_them_as_they_were(name: str) -> None:
    network = Broken("no", 10**9).train()
    before = state(network)
    cf.explain(small(name), TorchPredictor(network, classes=["a", "b"]), image(), target="class:1")
    assert same(before, state(network))


@pytest.mark.parametrize("name", ["gradient", "occlusion", "rise", "gradcam", "integrated-gradients", "lime"])
def test_a_model_that_gives_nan_is_named(name: str) -> None:
    predictor = TorchPredictor(Broken("nan", 0), classes=["a", "b"])
    with pytest.raises(InputError, match="NaN"):
        cf.explain(small(name), predictor, image(), target="class:1")
