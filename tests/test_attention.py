"""Attention methods: they find the patch that a transformer attends to, by whatever attention it runs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import contrafact as cf
from contrafact.attribution.attention import AttentionMode
from contrafact.core import Image, UnsupportedError
from contrafact.model import TorchPredictor

METHODS = ("attention-rollout", "gradient-attention")
PATCH, SIDE, WIDTH = 4, 16, 8


class Planted(nn.Module):
    """A class token attends to the patch with the brightest mark; the answer is what it finds there."""

    def __init__(self, axes: int = 2, how: str = "softmax", token: bool = True) -> None:
        super().__init__()
        conv = {2: nn.Conv2d, 3: nn.Conv3d}[axes]
        self.how, self.token = how, token
        self.cut = conv(1, 1, PATCH, PATCH, bias=False)
        nn.init.constant_(self.cut.weight, 1 / PATCH**axes)
        self.own = nn.MultiheadAttention(1, 1, bias=False, batch_first=True)
        for weight in (self.own.in_proj_weight, self.own.out_proj.weight):
            nn.init.constant_(weight, 1.0)
        with torch.no_grad():
            self.own.in_proj_weight[0] *= 30

    def attend(self, x: Tensor) -> Tensor:
        query, key, value = 30 * x, x, x
        if self.how == "fused":
            return F.scaled_dot_product_attention(query[:, None], key[:, None], value[:, None])[:, 0]
        if self.how == "module":
            return torch.as_tensor(self.own(x, x, x)[0])
        return (query @ key.transpose(1, 2) / math.sqrt(1)).softmax(dim=-1) @ value

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.cut(x).flatten(2).transpose(1, 2)
        if self.token:
            tokens = torch.cat([torch.ones_like(tokens[:, :1]), tokens], dim=1)
        found = self.attend(tokens)
        score = found[:, 0, 0] if self.token else found.mean(dim=(1, 2))
        return torch.stack([-score, score], dim=1)


def marked(axes: int) -> Image:
    values = np.full((1, *(SIDE,) * axes), 0.1, dtype=np.float32)
    values[(0, slice(4, 8), slice(8, 12), *(slice(0, 4),) * (axes - 2))] = 1.0
    return Image(values)


@pytest.mark.parametrize("how", ["softmax", "fused", "module"])
@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("method", METHODS)
def test_the_patch_that_is_attended_to_is_found(method: str, axes: int, how: str) -> None:
    predictor = TorchPredictor(Planted(axes, how), classes=["no", "yes"])
    heat = cf.explain(method, predictor, marked(axes), target="class:1").values
    best = np.unravel_index(heat.argmax(), heat.shape)
    assert 4 <= best[0] < 8 and 8 <= best[1] < 12
    inside = heat[(slice(4, 8), slice(8, 12), *(slice(0, 4),) * (axes - 2))]
    assert inside.mean() > 5 * heat.mean()


@pytest.mark.parametrize("method", METHODS)
def test_fused_attention_and_modules_give_the_same_map_as_the_open_form(method: str) -> None:
    maps = [
        cf.explain(
            method, TorchPredictor(Planted(2, how), classes=["a", "b"]), marked(2), target="class:1"
        ).values
        for how in ("softmax", "fused", "module")
    ]
    np.testing.assert_allclose(maps[1], maps[0], atol=1e-6)
    np.testing.assert_allclose(maps[2], maps[0], atol=1e-6)


@pytest.mark.parametrize("mask", [None, "bool", "float"])
def test_looking_at_attention_changes_no_answer(mask: str | None) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        query, key, value = torch.randn(3, 2, 3, 5, 4)
        own = nn.MultiheadAttention(12, 3)
        tokens = torch.randn(5, 2, 12, requires_grad=True)
    seen = torch.ones(5, 5, dtype=torch.bool).tril()
    given = {None: None, "bool": seen, "float": torch.where(seen, 0.0, -3.0)}[mask]
    plain = F.scaled_dot_product_attention(query, key, value, attn_mask=given)
    with AttentionMode() as mode:
        torch.testing.assert_close(F.scaled_dot_product_attention(query, key, value, attn_mask=given), plain)
    assert [m.shape for m in mode.maps] == [(2, 3, 5, 5)]
    torch.testing.assert_close(mode.maps[0].sum(dim=-1), torch.ones(2, 3, 5))
    module_mask = ~seen if mask == "bool" else given
    for wanted in (True, False):
        out, weights = own(tokens, tokens, tokens, attn_mask=module_mask, need_weights=wanted)
        with AttentionMode():
            same, again = own(tokens, tokens, tokens, attn_mask=module_mask, need_weights=wanted)
        torch.testing.assert_close(same, out)
        if wanted:
            torch.testing.assert_close(again, weights)


@pytest.mark.parametrize("method", METHODS)
def test_without_a_class_token_all_tokens_answer(method: str) -> None:
    predictor = TorchPredictor(Planted(2, "softmax", token=False), classes=["no", "yes"])
    heat = cf.explain(method, predictor, marked(2), target="class:1").values
    assert heat[4:8, 8:12].mean() > 1.5 * heat.mean()


def test_rollout_shares_out_no_more_than_all_and_a_blind_target_gives_no_gradient_map() -> None:
    predictor = TorchPredictor(Planted(), classes=["no", "yes"])
    heat = cf.explain("attention-rollout", predictor, marked(2), target="class:1").values
    assert 0 < heat.sum() <= 1.0001 and heat.min() >= 0
    predictor.module.cut.weight.data.mul_(0)
    blind = cf.explain("gradient-attention", predictor, marked(2), target="class:1").values
    assert np.abs(blind).max() < 1e-6


@pytest.mark.parametrize("method", METHODS)
def test_a_network_without_attention_or_with_windows_is_refused(method: str) -> None:
    plain = TorchPredictor(nn.Sequential(nn.Flatten(), nn.Linear(256, 2)), classes=["a", "b"])
    with pytest.raises(UnsupportedError, match="has none"):
        cf.explain(method, plain, marked(2), target="class:1")

    class Windows(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            tokens = x.reshape(len(x) * 4, 1, 64, 1)
            found = (tokens @ tokens.transpose(-1, -2)).softmax(dim=-1) @ tokens
            return found.reshape(len(x), -1)[:, :2]

    with pytest.raises(UnsupportedError, match="windows"):
        cf.explain(method, TorchPredictor(Windows(), classes=["a", "b"]), marked(2), target="class:1")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("axes", [2, 3])
def test_the_transformers_of_monai(method: str, axes: int) -> None:
    pytest.importorskip("einops", reason="MONAI's transformers need einops")
    from monai.networks.nets import UNETR

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = UNETR(
            1, 2, (32,) * axes, feature_size=4, hidden_size=12, mlp_dim=24, num_heads=2, spatial_dims=axes
        )
    image = Image(np.random.default_rng(0).normal(size=(1, *(32,) * axes)).astype(np.float32))
    predictor = TorchPredictor(network, classes=["background", "organ"])
    heat = cf.explain(method, predictor, image, target="volume:1").values
    assert heat.shape == (32,) * axes
    assert heat.min() >= 0 and heat.max() > 0


@pytest.mark.parametrize("how", ["softmax", "fused", "module"])
@pytest.mark.parametrize("rule", ["epsilon", "gamma"])
def test_relevance_goes_through_attention_and_none_is_lost(how: str, rule: str) -> None:
    predictor = TorchPredictor(Planted(2, how), classes=["no", "yes"])
    heat = cf.explain("lrp", predictor, marked(2), target="class:1", rule=rule)
    assert heat.values[4:8, 8:12].sum() > 0.95 * np.abs(heat.values).sum()
    # The class token, which is no part of the image, is as bright as the mark: half is its own.
    assert heat.record.notes["conservation"] == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("method", ["lrp", "excitation-backprop"])
@pytest.mark.parametrize("network", ["ViT", "UNETR", "SwinUNETR"])
def test_relevance_goes_through_the_transformers_of_monai(network: str, method: str) -> None:
    pytest.importorskip("einops", reason="MONAI's transformers need einops")
    from monai.networks import nets

    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = {
            "ViT": lambda: First(
                nets.ViT(1, (32, 32), (8, 8), 16, 32, 2, 2, classification=True, spatial_dims=2)
            ),
            "UNETR": lambda: nets.UNETR(1, 2, (32, 32), 4, 12, 24, 2, spatial_dims=2),
            "SwinUNETR": lambda: nets.SwinUNETR(1, 2, feature_size=12, spatial_dims=2),
        }[network]()
    side = 64 if network == "SwinUNETR" else 32
    image = Image(np.random.default_rng(0).uniform(0, 1, size=(1, side, side)).astype(np.float32))
    predictor = TorchPredictor(made, classes=["no", "yes"])
    target = "class:1" if network == "ViT" else "region:1"
    heat = cf.explain(method, predictor, image, target=target)
    assert np.abs(heat.values).max() > 0
    assert np.isfinite(heat.record.notes["conservation"])


class First(nn.Module):
    """A network without its second output."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.network(x)[0])
