"""Attention methods: they find the patch that a transformer attends to, by whatever attention it runs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import contrafact as cf
from contrafact.attribution.attention.attention_windows import carried
from contrafact.attribution.attention.weights import AttentionMode
from contrafact.core import Image, UnsupportedError
from contrafact.models import Preprocessing, TorchPredictor

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


@pytest.mark.filterwarnings("ignore::contrafact.core.EmptyMapWarning")
def test_attention_that_lowers_the_target_is_left_out() -> None:
    """All that the token finds raises the second class and lowers the first."""
    predictor = TorchPredictor(Planted(), classes=["no", "yes"])
    up, down = (
        cf.explain("gradient-attention", predictor, marked(2), target=t).values for t in ("class:1", "class:0")
    )
    assert up.min() >= 0 and up[4:8, 8:12].min() > 0
    assert not down.any()


@pytest.mark.parametrize("method", METHODS)
def test_without_a_class_token_all_tokens_answer(method: str) -> None:
    predictor = TorchPredictor(Planted(2, "softmax", token=False), classes=["no", "yes"])
    heat = cf.explain(method, predictor, marked(2), target="class:1").values
    assert heat[4:8, 8:12].mean() > 1.5 * heat.mean()


@pytest.mark.filterwarnings("ignore::contrafact.core.EmptyMapWarning")
def test_rollout_shares_out_no_more_than_all_and_a_blind_target_gives_no_gradient_map() -> None:
    predictor = TorchPredictor(Planted(), classes=["no", "yes"])
    heat = cf.explain("attention-rollout", predictor, marked(2), target="class:1").values
    assert 0 < heat.sum() <= 1.0001 and heat.min() >= 0
    predictor.module.cut.weight.data.mul_(0)
    blind = cf.explain("gradient-attention", predictor, marked(2), target="class:1").values
    assert np.abs(blind).max() < 1e-6


@pytest.mark.parametrize("method", METHODS)
def test_a_network_without_attention_is_refused(method: str) -> None:
    plain = TorchPredictor(nn.Sequential(nn.Flatten(), nn.Linear(256, 2)), classes=["a", "b"])
    with pytest.raises(UnsupportedError, match="has none"):
        cf.explain(method, plain, marked(2), target="class:1")


class Block(nn.Module):
    """Attention of tokens (N, *grid, C) within windows of 4 a side, `shift`ed; how "dense": of all tokens
    with all, where those of other windows are hidden, which is the same by another way."""

    def __init__(self, shift: int, how: str) -> None:
        super().__init__()
        self.shift, self.how, self.norm, self.moved = shift, how, nn.LayerNorm(WIDTH), nn.Identity()
        self.ask = nn.Linear(WIDTH, WIDTH, bias=False)
        self.own = nn.MultiheadAttention(WIDTH, 1, bias=False, batch_first=True)
        with torch.no_grad():
            self.ask.weight.mul_(4)
            parts = self.own.in_proj_weight.view(3, WIDTH, WIDTH)
            parts[0], parts[1], parts[2] = self.ask.weight, torch.eye(WIDTH), torch.eye(WIDTH)
            self.own.out_proj.weight.copy_(torch.eye(WIDTH))

    def attend(self, x: Tensor, hidden: Tensor | None = None) -> Tensor:
        if self.how == "module":
            return torch.as_tensor(self.own(x, x, x)[0])
        query = self.ask(x)
        if self.how == "fused":
            return F.scaled_dot_product_attention(query[:, None], x[:, None], x[:, None])[:, 0]
        logits = query @ x.transpose(1, 2) / math.sqrt(WIDTH)
        if hidden is not None:
            logits = logits.masked_fill(hidden, -math.inf)
        return logits.softmax(dim=-1) @ x

    def forward(self, x: Tensor) -> Tensor:
        tokens, grid, axes = self.norm(x), x.shape[1:-1], tuple(range(1, x.ndim - 1))
        if self.how == "dense":
            at = [(torch.arange(side) - self.shift) % side // 4 for side in grid]
            window = torch.stack(torch.meshgrid(*at, indexing="ij"), dim=-1).flatten(0, -2)
            hidden = (window[:, None] != window[None]).any(dim=-1)
            return x + self.attend(tokens.flatten(1, -2), hidden).reshape(x.shape)
        if self.how == "mixing":
            tokens = tokens + tokens.roll(1, dims=1)
        if self.how == "channels":
            tokens = torch.cat([tokens[..., :1], tokens[..., 1:].roll(1, dims=1)], dim=-1)
        if self.how == "twice":
            tokens = torch.cat([tokens[:, :4], tokens[:, :-4]], dim=1)
        tokens = tokens.roll((-self.shift,) * len(axes), dims=axes)
        for axis in axes:
            tokens = tokens.unflatten(2 * axis - 1, (-1, 4))
        order = [0, *range(1, 2 * len(axes), 2), *range(2, 2 * len(axes) + 1, 2), 2 * len(axes) + 1]
        cut = tokens.permute(order)
        windows = cut.reshape(len(x), -1, 4 ** len(axes), WIDTH)
        if self.how == "softmax":
            windows = self.moved(windows)  # in 2D it has as many axes as a grid
        found = self.attend(windows.flatten(0, 1)).reshape(cut.shape)
        found = found.permute([order.index(axis) for axis in range(len(order))]).reshape(x.shape)
        return x + found.roll((self.shift,) * len(axes), dims=axes)


class Windowed(nn.Module):
    """Every pixel a token; a block for each of `shifts`; then halved, and one block more, when asked. Class 0
    is what all tokens say, class 1 what those in the first corner do, class 2 looks at none of them."""

    def __init__(self, how: str = "softmax", shifts: tuple[int, ...] = (0, 2), halved: bool = False) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.cut, self.head = nn.Linear(1, WIDTH), nn.Linear(WIDTH, 1)
            self.blocks = nn.ModuleList([Block(shift, how) for shift in shifts])
            self.coarse = Block(0, how) if halved else None

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.cut(x.movedim(1, -1))
        for block in self.blocks:
            tokens = block(tokens)
        if self.coarse is not None:
            pool = {2: F.avg_pool2d, 3: F.avg_pool3d}[x.ndim - 2]
            tokens = self.coarse(pool(tokens.movedim(-1, 1), 2).movedim(1, -1))
        said = self.head(tokens)[..., 0]
        first = said[(slice(None), *(slice(4),) * (said.ndim - 1))]
        return torch.stack([y.flatten(1).mean(dim=1) for y in (said, first, x)], dim=1)


def noise(axes: int, side: int, count: int = 2) -> list[Image]:
    rng = np.random.default_rng(3)
    return [Image(rng.normal(size=(1, *(side,) * axes)).astype(np.float32)) for _ in range(count)]


@pytest.mark.parametrize("how", ["softmax", "fused", "module"])
@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("method", METHODS)
def test_windows_are_all_attention_with_the_other_windows_hidden(method: str, axes: int, how: str) -> None:
    found, known = (
        cf.explain(
            method, TorchPredictor(Windowed(h), classes=["a", "b", "c"]), noise(axes, 8), target="class:0"
        )
        for h in (how, "dense")
    )
    for ours, truth in zip(found, known, strict=True):
        assert ours.record.notes["windows"] == 2
        assert "windows" not in truth.record.notes
        np.testing.assert_allclose(ours.values, truth.values, rtol=1e-4, atol=1e-7 * truth.values.max())


@pytest.mark.parametrize("shift", [0, 1])
def test_relevance_stays_within_its_window(shift: int) -> None:
    predictor = TorchPredictor(Windowed(shifts=(shift,)), output="regression")

    def by_window(values: np.ndarray) -> np.ndarray:
        return np.roll(values, -shift, axis=(0, 1)).reshape(3, 4, 3, 4).sum(axis=(1, 3))

    (heat,) = cf.explain("attention-rollout", predictor, noise(2, 12, 1), target="value:1")
    np.testing.assert_allclose(by_window(heat.values), 1 / 9, rtol=1e-5)
    (heat,) = cf.explain("gradient-attention", predictor, noise(2, 12, 1), target="value:1")
    asked = np.zeros((12, 12))
    asked[:4, :4] = 1
    np.testing.assert_array_equal(by_window(heat.values) > 0, by_window(asked) > 0)
    assert (by_window(asked) > 0).sum() == (4 if shift else 1)


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("method", METHODS)
def test_between_stages_a_coarse_token_is_shared_and_the_fine_ones_still_differ(method: str, axes: int) -> None:
    predictor = TorchPredictor(Windowed(halved=True), classes=["all", "first", "none"])
    for heat in cf.explain(method, predictor, noise(axes, 16), target="class:0"):
        values = heat.values
        assert heat.record.notes["windows"] == 3
        assert values.min() >= 0
        assert method != "attention-rollout" or values.sum() == pytest.approx(1, abs=1e-4)
        for axis in range(axes):  # an up-sampled coarse map has the same value in both halves of a cell
            even, odd = np.take(values, range(0, 16, 2), axis), np.take(values, range(1, 16, 2), axis)
            assert np.abs(even - odd).mean() > 0.05 * values.mean()
    only = TorchPredictor(Windowed(shifts=(), halved=True), classes=["all", "first", "none"])
    for heat in cf.explain(method, only, noise(axes, 16), target="class:0"):
        assert (np.ptp(heat.values.reshape((8, 2) * axes), axis=tuple(range(1, 2 * axes, 2))) == 0).all()


@pytest.mark.filterwarnings("ignore::contrafact.core.EmptyMapWarning")
def test_windows_of_a_resized_image_and_a_target_that_no_window_serves() -> None:
    sized = TorchPredictor(Windowed(), output="regression", preprocessing=Preprocessing(size=(8, 8)))
    (heat,) = cf.explain("attention-rollout", sized, noise(2, 16, 1), target="value:0")
    assert heat.values.shape == (16, 16)
    assert heat.values.sum() == pytest.approx(1, abs=1e-4)
    (blind,) = cf.explain("gradient-attention", sized, noise(2, 16, 1), target="value:2")
    assert (blind.values == 0).all()

    class Aside(Windowed):
        def forward(self, x: Tensor) -> Tensor:
            super().forward(x)
            return x.flatten(1)[:, :2]

    with pytest.raises(UnsupportedError, match="does not depend on"):
        aside = TorchPredictor(Aside(), output="regression")
        cf.explain("gradient-attention", aside, noise(2, 8, 1), target="value:0")


def test_odd_grids_nest_as_padding_does_and_others_are_refused() -> None:
    share = torch.tensor([[8.0, 4.0, 2.0, 6.0, 3.0, 1.0]])  # 2 x 3 tokens, of 3 x 5
    fine = carried(share, (2, 3), (3, 5), "rollout")
    known = [[2, 2, 1, 1, 1], [2, 2, 1, 1, 1], [3, 3, 1.5, 1.5, 1]]
    torch.testing.assert_close(fine.reshape(3, 5), torch.tensor(known))
    torch.testing.assert_close(carried(fine, (3, 5), (2, 3), "rollout"), share)
    with pytest.raises(UnsupportedError, match="cannot map"):
        carried(fine, (3, 5), (2, 4), "rollout")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("how", ["mixing", "twice", "channels"])
def test_tokens_that_cannot_be_followed_into_windows_are_refused(method: str, how: str) -> None:
    predictor = TorchPredictor(Windowed(how), classes=["a", "b", "c"])
    with pytest.raises(UnsupportedError, match="windows; use lrp or gradcam"):
        cf.explain(method, predictor, noise(2, 8), target="class:0")
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in predictor.module.modules())

    class Unseen(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            tokens = x.reshape(len(x) * 4, 1, 64, 1)
            found = (tokens @ tokens.transpose(-1, -2)).softmax(dim=-1) @ tokens
            return found.reshape(len(x), -1)[:, :2]

    with pytest.raises(UnsupportedError, match="windows; use lrp or gradcam"):
        cf.explain(method, TorchPredictor(Unseen(), classes=["a", "b"]), marked(2), target="class:1")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [(96, 64), (64, 32, 32)])
def test_the_shifted_windows_of_monai(method: str, size: tuple[int, ...]) -> None:
    pytest.importorskip("einops", reason="MONAI's transformers need einops")
    from monai.networks.nets import SwinUNETR

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = SwinUNETR(1, 2, feature_size=12, window_size=(7, 3)[len(size) - 2], spatial_dims=len(size))
    images = [Image(np.random.default_rng(i).normal(size=(1, *size)).astype(np.float32)) for i in (0, 1)]
    predictor = TorchPredictor(network, classes=["background", "organ"])
    together = cf.explain(method, predictor, images, target="volume:1")
    for heat in together:
        assert heat.values.shape == size
        assert heat.values.min() >= 0 and heat.values.max() > 0
        assert heat.record.notes["windows"] == 8
        assert method != "attention-rollout" or 0.1 < heat.values.sum() <= 1.0001
    alone = cf.explain(method, predictor, images[1], target="volume:1").values
    np.testing.assert_allclose(alone, together[1].values, rtol=1e-3, atol=1e-3 * alone.max())
    assert np.abs(together[0].values - together[1].values).max() > 1e-3 * alone.max()


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
