"""Which layer a method looks into unless told, how its output is read, and where its cells lie."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import contrafact as cf
from contrafact.core import Image, InputError, UnsupportedError
from contrafact.models import TorchPredictor
from contrafact.models.layers import _channels


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make().eval()


def picture(side: int = 32, channels: int = 1) -> Image:
    values = np.random.default_rng(0).uniform(-1, 1, (channels, side, side))
    return Image(values.astype(np.float32))


def layer_of(module: nn.Module, image: Image, name: str | None = None, **about: Any) -> Any:
    return TorchPredictor(module, **about).feature_layer(image.values[None], name)


class Block(nn.Module):
    """Two convolutions with a residual sum and a rectifier after it, both functions."""

    def __init__(self, wide: int) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(wide, wide, 3, padding=1), nn.Conv2d(wide, wide, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.b(F.relu(self.a(x))))


class Dense(nn.Module):
    """Feature maps are concatenated: no single convolution's output is all that the head sees."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, stride=2, padding=1)
        self.grow, self.norm, self.head = nn.Conv2d(4, 2, 3, padding=1), nn.BatchNorm2d(6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        x = self.norm(torch.cat([x, self.grow(x)], dim=1))
        return torch.as_tensor(self.head(F.relu(x).mean(dim=(2, 3))))


class Segmenter(nn.Module):
    """A small UNet with instance normalisation, and a last convolution that gives scores."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.InstanceNorm2d(4), nn.ReLU())
        self.deep = nn.Sequential(nn.Conv2d(4, 8, 3, 2, 1), nn.InstanceNorm2d(8), nn.ReLU())
        self.up = nn.ConvTranspose2d(8, 4, 2, 2)
        self.last = nn.Sequential(nn.Conv2d(8, 6, 3, padding=1), nn.InstanceNorm2d(6), nn.ReLU())
        self.scores = nn.Conv2d(6, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.down(x)
        return torch.as_tensor(self.scores(self.last(torch.cat([fine, self.up(self.deep(fine))], dim=1))))


class Tokens(nn.Module):
    """A transformer with a class token: after its last block nothing reads the patches any more."""

    def __init__(self, registers: int = 0) -> None:
        super().__init__()
        self.patch = nn.Conv2d(1, 16, 8, 8)
        self.first = nn.Parameter(torch.randn(1, 1 + registers, 16))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True) for _ in range(3)
        )
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.first.expand(len(x), -1, -1), x], dim=1)
        for block in self.blocks:
            x = block(x)
        return torch.as_tensor(self.head(self.norm(x)[:, 0]))


class ChannelsLast(nn.Module):
    """A convolution's output with its channels moved last, normalised there, and averaged."""

    def __init__(self, *, last: bool) -> None:
        super().__init__()
        self.conv, self.keep, self.head = nn.Conv2d(1, 6, 3, 2, 1), nn.Identity(), nn.Linear(6, 3)
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.conv(x))
        x = self.keep(x.permute(0, 2, 3, 1) if self.last else x)
        return torch.as_tensor(self.head(x.mean(dim=(1, 2) if self.last else (2, 3))))


def residual() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        Block(4),
        Block(4),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    )


def rectified() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout(0.2)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)),
    )


@pytest.mark.parametrize(
    ("make", "name", "cells"),
    [
        (residual, "2", (32, 32)),  # after the residual sum, not its last convolution 2.b
        (Dense, "relu#2", (16, 16)),  # all channels, rectified by a function; not the last convolution's two
        (rectified, "2", (16, 16)),  # after normalisation and activation
        (Segmenter, "last.2", (32, 32)),  # features, not the scores; not before the normalisation
        (Tokens, "blocks.1.norm2", (4, 4)),  # the last whose patches are read
        (lambda: Tokens(registers=4), "blocks.1.norm2", (4, 4)),
        (lambda: ChannelsLast(last=True), "keep", (16, 16)),
    ],
)
def test_the_default_layer_is_the_last_map_that_everything_depends_on(
    make: Callable[[], nn.Module], name: str, cells: tuple[int, ...]
) -> None:
    found = layer_of(seeded(make), picture())
    assert (found.name, found.cells) == (name, cells)


class Shared(nn.Module):
    """The same network with its rectifiers as modules, as one module used twice, or as functions."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 6, 3, 2, 1), nn.Conv2d(6, 6, 3, padding=1)
        self.head = nn.Linear(6, 3)
        self.one, self.two = (nn.ReLU(), nn.ReLU()) if how == "modules" else (nn.Identity(), nn.Identity())
        self.r = nn.ReLU() if how == "shared" else nn.Identity()
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        last = F.relu if self.how == "functions" else self.two
        first = F.relu if self.how == "functions" else self.one
        shared = self.r if self.how == "shared" else (lambda x: x)
        x = shared(first(self.a(x)))
        return torch.as_tensor(self.head(shared(last(self.b(x))).mean(dim=(2, 3))))


@pytest.mark.parametrize("method", ["gradcam", "hirescam", "ablation-cam", "score-cam", "layer-activation"])
def test_functions_and_shared_modules_are_looked_into_as_modules_are(method: str) -> None:
    maps, names = [], []
    for how in ("modules", "shared", "functions"):
        model = TorchPredictor(seeded(lambda how=how: Shared(how)), classes=["a", "b", "c"])
        heat = cf.explain(method, model, picture(), target="class:1")
        maps.append(heat.values)
        names.append(heat.record.details["layer"])
    assert names == ["two", "r", "relu#2"]
    assert np.abs(maps[0]).max() > 0
    np.testing.assert_allclose(maps[1], maps[0], atol=1e-7)
    np.testing.assert_allclose(maps[2], maps[0], atol=1e-7)
    named = TorchPredictor(seeded(lambda: Shared("functions")), classes=["a", "b", "c"])
    again = cf.explain(method, named, picture(), target="class:1", layer="relu#2")
    np.testing.assert_array_equal(again.values, maps[2])


def test_residual_sums_by_functions_are_followed() -> None:
    class Sums(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.a, self.b = (nn.Conv2d(k, 4, 3, padding=1) for k in (1, 4, 4))
            self.head = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = F.relu(self.stem(x))
            x = F.relu(x + self.a(x))
            x = F.relu(x + self.b(x))
            return torch.as_tensor(self.head(x.mean(dim=(2, 3))))

    assert layer_of(seeded(Sums), picture()).name == "relu#3"


def test_a_network_that_draws_at_random_is_told_so() -> None:
    class Drops(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return torch.as_tensor(self.head(F.dropout(self.conv(x), 0.5, training=True).mean(dim=(2, 3))))

    with pytest.raises(UnsupportedError, match="got others in a second pass"):
        layer_of(seeded(Drops), picture())


def test_the_default_layer_stands_in_the_record_and_is_sought_once() -> None:
    model = TorchPredictor(seeded(residual), classes=["a", "b", "c"])
    calls: list[int] = []
    model.module.register_forward_hook(lambda *_: calls.append(1))
    heat = cf.explain("gradcam", model, picture(), target="class:1")
    assert heat.record.details == {"layer": "2", "cells": [32, 32]}
    before = len(calls)
    cf.explain("gradcam", model, picture(), target="class:1")
    assert len(calls) - before == 1


@pytest.mark.filterwarnings("ignore::contrafact.core.EmptyMapWarning")
def test_a_network_that_answers_alike_to_all_images_still_has_a_layer() -> None:
    module = seeded(residual)
    nn.init.zeros_(module[5].weight)
    heat = cf.explain("gradcam", TorchPredictor(module, classes=["a", "b", "c"]), picture(), target="class:1")
    assert not heat.values.any()


@pytest.mark.parametrize("method", ["gradcam", "xgradcam"])
def test_weights_that_a_normalisation_cancels_are_refused(method: str) -> None:
    model = TorchPredictor(seeded(Segmenter), classes=["a", "b", "c"])
    with pytest.raises(UnsupportedError, match=r"cancels at layer 'last\.0' .*after the normalisation"):
        cf.explain(method, model, picture(), target="volume:1", layer="last.0")
    heat = cf.explain(method, model, picture(), target="volume:1")
    assert np.abs(heat.values).max() > 1e-4


def test_gradcam_plus_plus_refuses_activations_that_turn_its_weights_round() -> None:
    module = seeded(lambda: ChannelsLast(last=False))
    with torch.no_grad():
        module.conv.bias.sub_(3.0)  # gelu of it is slightly negative nearly everywhere
        module.head.weight.mul_(1e5)
    model = TorchPredictor(module, classes=["a", "b", "c"])
    with pytest.raises(UnsupportedError, match=r"must not be negative, and at layer 'keep' [\d.]+% of its"):
        cf.explain("gradcam++", model, picture(), target="value:1", layer="keep")
    module.conv.bias.data.add_(6.0)
    assert cf.explain("gradcam++", model, picture(), target="value:1", layer="keep").values.any()


def test_a_layer_before_an_operation_in_place_is_explained_as_it_was() -> None:
    def network(inplace: bool) -> nn.Module:
        return nn.Sequential(
            *(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(inplace=inplace), nn.MaxPool2d(2)),
            *(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(inplace=inplace)),
            *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 3)),
        )

    for method in ("gradcam", "xgradcam", "hirescam", "layercam", "layer-activation", "layer-conductance"):
        maps = []
        for inplace in (False, True):
            model = TorchPredictor(seeded(lambda inplace=inplace: network(inplace)), classes=["a", "b", "c"])
            maps.append(cf.explain(method, model, picture(), target="class:1", layer="3").values)
        assert np.abs(maps[0]).max() > 0
        np.testing.assert_allclose(maps[1], maps[0], atol=1e-7, err_msg=method)


CAMS = ("gradcam", "gradcam++", "xgradcam", "hirescam", "layercam", "eigencam", "score-cam", "ablation-cam")


@pytest.mark.parametrize("method", CAMS)
def test_channels_last_are_read_as_channels(method: str) -> None:
    maps = []
    for last in (False, True):
        model = TorchPredictor(seeded(lambda last=last: ChannelsLast(last=last)), classes=["a", "b", "c"])
        maps.append(cf.explain(method, model, picture(), target="class:1", layer="keep").values)
    assert np.abs(maps[0]).max() > 0
    np.testing.assert_allclose(maps[1], maps[0], atol=2e-6)


def test_gradcam_of_tokens_is_that_of_their_grid() -> None:
    module = seeded(lambda: Tokens(registers=2))
    model, image = TorchPredictor(module, classes=["a", "b", "c"]), picture()
    heat = cf.explain("gradcam", model, image, target="value:1", layer="blocks.0")
    kept: list[Tensor] = []
    handle = module.blocks[0].register_forward_hook(lambda _m, _i, out: kept.append(out))
    x = torch.from_numpy(image.values[None]).requires_grad_()
    value = module(x)[0, 1]
    (slopes,) = torch.autograd.grad(value, kept[-1])
    handle.remove()
    cells = (kept[-1][0, 3:] * slopes[0, 3:].mean(dim=0)).sum(dim=1).reshape(1, 1, 4, 4)
    truth = F.interpolate(cells, (32, 32), mode="bilinear")[0, 0].detach().numpy()
    np.testing.assert_allclose(heat.values, truth, atol=1e-5)


def test_a_declared_layout_of_tokens_is_used_and_an_impossible_one_refused() -> None:
    module = seeded(lambda: Tokens(registers=1))
    assert layer_of(module, picture(), "blocks.0", tokens=(2, 2, 8)).cells == (2, 8)
    assert layer_of(module, picture(), "blocks.0").cells == (4, 4)
    with pytest.raises(InputError, match=r"tokens must be .*\(1, 14, 14\); got \(1,\)"):
        layer_of(module, picture(), tokens=(1,))


def test_a_description_may_declare_the_layout_of_tokens(tmp_path: Any) -> None:
    from safetensors.torch import save_file

    settings = {"in_channels": 1, "img_size": [32, 32], "patch_size": [8, 8], "hidden_size": 24, "mlp_dim": 48}
    more = {"num_layers": 2, "num_heads": 2, "classification": True, "num_classes": 3, "spatial_dims": 2}
    from monai.networks.nets import ViT

    save_file(seeded(lambda: ViT(**settings, **more)).state_dict(), tmp_path / "vit.safetensors")
    about: dict[str, Any] = {
        "factory": "monai.networks.nets:ViT",
        "arguments": {**settings, **more},
        "weights": "vit.safetensors",
        "tokens": [1, 2, 8],
    }
    (tmp_path / "vit.json").write_text(json.dumps(about))
    model = cf.load_predictor(tmp_path / "vit.json", head=0)
    assert model.feature_layer(picture().values[None], "blocks.0").cells == (2, 8)
    again = cf.load_predictor(tmp_path / "vit.json", head=0, tokens=(1, 8, 2))
    assert again.feature_layer(picture().values[None], "blocks.0").cells == (8, 2)
    assert again.digest != model.digest


def test_a_layer_without_a_map_is_refused_with_those_that_have_one() -> None:
    with pytest.raises(UnsupportedError, match="'head' has none; the last layers with one: .*norm, relu#2"):
        layer_of(seeded(Dense), picture(), "head")
    with pytest.raises(InputError, match="expected a layer of the model; got 'nrom'.*norm"):
        layer_of(seeded(Dense), picture(), "nrom")


def cell_centres(module: nn.Module, name: str, cell: tuple[int, ...]) -> tuple[Any, Any]:
    """Where a cell of a layer is said to lie, and the middle of what it depends on, (row, column)."""
    found = layer_of(nn.Sequential(module, nn.Flatten()), picture(48), f"0.{name}")
    kept: list[Tensor] = []
    handle = dict(module.named_modules())[name].register_forward_hook(lambda _m, _i, out: kept.append(out))
    x = torch.ones(1, 1, 48, 48, requires_grad=True)
    module(x)
    handle.remove()
    (slopes,) = torch.autograd.grad(found.read(kept[-1])[(0, slice(None), *cell)].sum(), x)
    rows, columns = np.nonzero(slopes[0, 0].numpy())
    told = [axis.offset + axis.step * i for axis, i in zip(found.axes, cell, strict=True)]
    return told, [(rows.min() + rows.max()) / 2, (columns.min() + columns.max()) / 2]


MOVES: dict[str, Callable[[Tensor], Tensor]] = {
    "movedim": lambda x: x.movedim(1, -1),
    "moveaxis": lambda x: torch.moveaxis(x, 1, 3),
    "swapdims": lambda x: x.swapdims(1, 2).swapdims(2, 3),
    "chunk": lambda x: x.chunk(3, dim=3)[2],
    "split": lambda x: x.split([4, 8], dim=2)[1],
    "narrow": lambda x: x.narrow(3, 4, 8),
    "index and new axis": lambda x: x[:, 0][:, None][..., 4:],
    "flip": lambda x: x.flip(-1),
}


class Moved(nn.Module):
    def __init__(self, how: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.how, self.end = nn.Conv2d(1, 5, 4, 4), how, nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.end(self.how(self.conv(x))))


@pytest.mark.parametrize("how", MOVES)
def test_cells_that_were_moved_or_cut_keep_their_places(how: str) -> None:
    for cell in ((1, 1), (2, 3)):
        told, truth = cell_centres(seeded(lambda: Moved(MOVES[how])), "end", cell)
        assert told == pytest.approx(truth)


@pytest.mark.parametrize("last", [False, True])
def test_a_class_token_may_stand_at_either_end(last: bool) -> None:
    class Ends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patch, self.keep, self.head = nn.Conv2d(1, 8, 8, 8), nn.Identity(), nn.Linear(8, 3)
            self.token = nn.Parameter(torch.randn(1, 1, 8))

        def forward(self, x: Tensor) -> Tensor:
            x = self.patch(x).flatten(2).transpose(1, 2)
            token = self.token.expand(len(x), -1, -1)
            x = self.keep(torch.cat([x, token] if last else [token, x], dim=1))
            return torch.as_tensor(self.head(x.mean(dim=1)))

    module = seeded(Ends)
    found = layer_of(module, picture(), "keep")
    kept: list[Tensor] = []
    module.keep.register_forward_hook(lambda _m, _i, out: kept.append(out))
    x = torch.from_numpy(picture().values[None])
    module(x)
    torch.testing.assert_close(found.read(kept[0]), module.patch(x))


def test_hirescam_refuses_terms_that_a_normalisation_of_tokens_cancels() -> None:
    class PreNorm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patch, self.keep, self.norm = nn.Conv2d(1, 16, 8, 8), nn.Identity(), nn.LayerNorm(16)
            self.head = nn.Linear(16, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.keep(self.patch(x).flatten(2).transpose(1, 2))
            return torch.as_tensor(self.head(F.gelu(self.norm(x)).mean(dim=1)))

    model = TorchPredictor(seeded(PreNorm), classes=["a", "b", "c"])
    model.module.norm.eps = 1e-9
    with pytest.raises(UnsupportedError, match=r"cancels at layer 'keep' \(a normalisation of tokens follows"):
        cf.explain("hirescam", model, picture(), target="class:1", layer="keep")
    assert cf.explain("gradcam", model, picture(), target="class:1", layer="keep").values.any()
    assert cf.explain("hirescam", model, picture(), target="class:1", layer="norm").values.any()


class Wandering(nn.Module):
    """Operations that move places: padding apart from the convolution, a crop, a permutation."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.end = nn.Conv2d(1, 1, 3, 2), nn.Conv2d(1, 1, 3), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(F.pad(x, (3, 0, 1, 2)))
        x = self.b(x[:, :, 2:, 1:-1]).permute(0, 2, 3, 1)
        return self.end(x.permute(0, 3, 1, 2))


def conv(*args: Any, **more: Any) -> nn.Module:
    return nn.Conv2d(1, 1, *args, **more)


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Sequential(conv(3), conv(5)),  # nothing padded
        lambda: nn.Sequential(conv(7, 2, 3), nn.MaxPool2d(3, 2, 1), conv(3, 2, 1)),  # a ResNet's start
        lambda: nn.Sequential(conv(3, padding=2, dilation=2), nn.AvgPool2d(2)),
        lambda: nn.Sequential(conv(3, 2, 1), conv(3, 2, 1), nn.ConvTranspose2d(1, 1, 3, 2, 1)),
        lambda: nn.Sequential(conv((5, 3), padding="same", dilation=(1, 3)), nn.MaxPool2d(2, 2)),
        lambda: nn.Sequential(conv(3, 2), nn.Upsample(scale_factor=2, mode="nearest")),
        Wandering,
    ],
)
def test_cells_lie_at_the_centres_of_their_receptive_fields(make: Callable[[], nn.Module]) -> None:
    module = make().eval()
    for part in module.modules():
        if isinstance(part, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.ones_(part.weight)
            nn.init.zeros_(part.bias)
    names = [name for name, _ in module.named_children()]
    found = layer_of(nn.Sequential(module, nn.Flatten()), picture(128), f"0.{names[-1]}")
    for cell in itertools.product((7, 8), (6, 9)):
        x = torch.ones(1, 1, 128, 128, requires_grad=True)
        (slopes,) = torch.autograd.grad(smoothed(module, x)[(0, 0, *cell)], x)
        rows, columns = np.nonzero(slopes[0, 0].numpy())
        middle = ((rows.min() + rows.max()) / 2, (columns.min() + columns.max()) / 2)
        told = [axis.offset + axis.step * i for axis, i in zip(found.axes, cell, strict=True)]
        if any(isinstance(p, (nn.Upsample, nn.ConvTranspose2d)) for p in module.modules()):
            assert np.abs(np.subtract(told, middle)).max() <= 1.0  # between cells: neighbours share a field
        else:
            assert told == pytest.approx(middle)


@pytest.mark.parametrize("corners", [True, False])
def test_cells_of_an_enlarged_map_run_from_corner_to_corner_or_from_edge_to_edge(corners: bool) -> None:
    grown = nn.Upsample(size=(31, 46), mode="bilinear", align_corners=corners)
    module = nn.Sequential(grown, nn.Conv2d(1, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    rows, columns = layer_of(module, picture(16), "1").axes
    ends = [(a.offset, a.offset + a.step * (n - 1)) for a, n in ((rows, 31), (columns, 46))]
    edges = [(-0.5 + 8 / n, 15.5 - 8 / n) for n in (31, 46)]
    np.testing.assert_allclose(ends, [(0, 15), (0, 15)] if corners else edges, atol=1e-9)


def smoothed(module: nn.Module, x: Tensor) -> Tensor:
    """The module with maxima replaced by means, so that every input of a window counts."""
    if isinstance(module, nn.Sequential):
        for part in module:
            if isinstance(part, nn.MaxPool2d):
                x = F.avg_pool2d(x, part.kernel_size, part.stride, part.padding)
            else:
                x = part(x)
        return x
    return torch.as_tensor(module(x))


def test_maps_are_not_moved_on_average() -> None:
    # Strides of a ResNet: spread evenly, the maps would lie 7.5 pixels too far down and right.
    parts = [nn.Conv2d(1, 1, 3, 2, 1) for _ in range(4)]
    for part in parts:
        nn.init.constant_(part.weight, 1 / 9)
        nn.init.zeros_(part.bias)
    module = nn.Sequential(*parts, nn.Flatten(), nn.Linear(64, 1))
    nn.init.ones_(module[5].weight)
    model = TorchPredictor(module, classes=["finding"], output="sigmoid")
    moved = []
    for spot in range(48, 80):  # two cells long
        values = np.zeros((1, 128, 128), np.float32)
        values[0, spot - 4 : spot + 5, 140 - spot - 4 : 140 - spot + 5] = 1
        heat = cf.explain("gradcam", model, Image(values), target="class:0", layer="3")
        for axis, truth in enumerate((spot, 140 - spot)):
            profile = heat.values.sum(axis=1 - axis)
            moved.append(float(profile @ np.arange(128) / profile.sum()) - truth)
    assert abs(float(np.mean(moved))) <= 0.5


def test_an_image_reduced_for_the_network_has_its_own_places() -> None:
    how = cf.models.Preprocessing(size=(32, 32))
    module = nn.Sequential(nn.Conv2d(1, 2, 4, 4), nn.Flatten(), nn.Linear(128, 2))
    found = layer_of(seeded(lambda: module), picture(64), "0", preprocessing=how)
    assert [(axis.offset, axis.step) for axis in found.axes] == [(3.5, 8.0)] * 2


class Hidden(nn.Module):
    """One rectifier, written in several ways."""

    def __init__(self, how: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.head, self.how = nn.Conv2d(1, 4, 3), nn.Linear(4, 2), how

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.head(self.how(self.conv(x)).mean(dim=(2, 3))))


class Own(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, slopes: Tensor) -> Tensor:
        return slopes * (ctx.saved_tensors[0] > 0)


def zero(x: Tensor) -> Tensor:
    return torch.zeros_like(x)


def written(x: Tensor, mask: Tensor) -> Tensor:
    x = x.clone()
    x[mask] = 0
    return x


def in_place(x: Tensor) -> Tensor:
    x = x.clone()
    x[:, :2].relu_()
    return x


def in_place_by_mask(x: Tensor) -> Tensor:
    x = x.clone()
    x[:, :2].masked_fill_(x[:, :2] < 0, 0)
    return x


def stored_by_mask(x: Tensor) -> Tensor:
    x = x.clone()
    x[:, :2][x[:, :2] < 0] = 0
    return x


def beside_zeros(x: Tensor) -> Tensor:
    both = torch.zeros(*x.shape, 2)
    both[..., 0] = x
    return both.amax(-1)


def mask_written_late(x: Tensor) -> Tensor:
    mask = torch.zeros(x.shape, dtype=torch.bool)
    mask[x < 0] = True
    return x.masked_fill(mask, 0)


def mask_by_number(x: Tensor) -> Tensor:
    """Through Python, place by place."""
    places = [i for i, value in enumerate(x.flatten().tolist()) if value < 0]
    mask = torch.zeros(x.numel(), dtype=torch.bool)
    for place in places[:3]:
        mask[place] = True
    return x.masked_fill(mask.view(x.shape), 0)


def mask_under_another_name(x: Tensor) -> Tensor:
    mask = torch.zeros(x.shape, dtype=torch.bool)
    seen = mask.numpy()
    seen[:] = (x < 0).numpy()
    return x.masked_fill(mask, 0)


def through_numpy(x: Tensor) -> Tensor:
    return torch.from_numpy((x.detach().numpy() > 0).astype(np.float32))


def scripted(x: Tensor) -> Tensor:
    return x * (x > 0)


FOLLOWED: dict[str, Callable[[Tensor], Tensor]] = {
    "clamp": lambda x: x.clamp(min=0),
    "clamp_min": lambda x: torch.clamp_min(x, 0),
    "relu6": F.relu6,
    "maximum": lambda x: torch.maximum(x, zero(x)),
    "maximum turned round": lambda x: torch.maximum(zero(x), x),
    "threshold": lambda x: F.threshold(x, 0.0, 0.0),
    "leaky without a slope": lambda x: F.leaky_relu(x, 0.0),
    "prelu without a slope": lambda x: F.prelu(x, torch.zeros(1)),
    "rrelu without a slope": lambda x: F.rrelu(x, 0.0, 0.0),
    "elu without a tail": lambda x: F.elu(x, alpha=0.0),
}
REFUSED: dict[str, Callable[[Tensor], Tensor]] = {
    "where": lambda x: torch.where(x > 0, x, zero(x)),
    "where of itself": lambda x: torch.where(x > 0, x, x * 0),
    "mask": lambda x: x * (x > 0),
    "numbers as a mask": lambda x: x * (x > 0).float(),
    "mask of detached": lambda x: x * (x.detach() > 0),
    "mask all of ones": lambda x: (x + 100) * ((x + 100).detach() > 0).float(),
    "mask through numpy": lambda x: x * through_numpy(x),
    "mask of halves": lambda x: x * ((x.detach() > 0).float() / 2),
    "division by a mask": lambda x: x / (1 / (x.detach() > 0).float()),
    "einsum with a mask": lambda x: torch.einsum("bcij,bcij->bcij", x, (x.detach() > 0).float()),
    "matrix of a mask": lambda x: (x.view(1, -1) @ torch.diag((x.detach().view(-1) > 0).float())).view(x.shape),
    "heaviside": lambda x: x * torch.heaviside(x, zero(x)),
    "modulus": lambda x: (x + x.abs()) / 2,
    "root of a square": lambda x: (x + torch.sqrt(x * x)) / 2,
    "half power of a square": lambda x: (x + (x**2 + 1e-12) ** 0.5) / 2,
    "hypot": lambda x: (x + torch.hypot(x, zero(x))) / 2,
    "length of one": lambda x: (x + torch.linalg.vector_norm(x[..., None], dim=-1)) / 2,
    "copysign": lambda x: (x + torch.copysign(x, torch.ones_like(x))) / 2,
    "own function": Own.apply,
    "masked_fill": lambda x: x.masked_fill(x < 0, 0),
    "written over": lambda x: written(x, x < 0),
    "masked_scatter": lambda x: x.masked_scatter(x < 0, zero(x)),
    "minimum turned round": lambda x: -torch.minimum(-x, zero(x)),
    "clamp turned round": lambda x: -(-x).clamp(max=0),
    "clamp at a tensor": lambda x: x.clamp(min=zero(x)),
    "maximum of a stack": lambda x: torch.stack([x, zero(x)]).max(dim=0).values,
    "amax of a stack": lambda x: torch.stack([x, zero(x)]).amax(dim=0),
    "sort": lambda x: torch.stack([x, zero(x)]).sort(dim=0).values[1],
    "gather": lambda x: torch.stack([x, zero(x)]).gather(0, (x <= 0).long()[None])[0],
    "pool of a stack": lambda x: F.max_pool3d(torch.stack([x, zero(x)], dim=2), (2, 1, 1))[:, :, 0],
    "pool of a row": lambda x: F.max_pool3d(torch.cat([x[:, :, None], zero(x)[:, :, None]], 2), (2, 1, 1))[
        :, :, 0
    ],
    "pool of a pad": lambda x: F.max_pool3d(F.pad(x[:, :, None], (0, 0, 0, 0, 0, 1)), (2, 1, 1))[:, :, 0],
    "lerp": lambda x: torch.lerp(zero(x), x, (x > 0).float()),
    "addcmul": lambda x: torch.addcmul(zero(x), x, (x > 0).float()),
    "rounded sigmoid": lambda x: x * torch.round(torch.sigmoid(x)),
    "sign": lambda x: x * torch.sgn(x).clamp(min=0),
    "hardshrink": F.hardshrink,
    "softshrink": F.softshrink,
    "glu": lambda x: F.glu(torch.cat([x, x], 1), 1),
    "threshold above zero": lambda x: F.threshold(x, 0.1, 0.0),
    "window": lambda x: F.hardtanh(x, 0.0, 1.0),
    "clip": lambda x: x.clip(0, 1),
    "prelu with some slopes": lambda x: F.prelu(x, torch.tensor([0.0, 0.2, 0.2, 0.2])),
    "part in place by a mask": in_place_by_mask,
    "part stored by a mask": stored_by_mask,
    "beside zeros": beside_zeros,
    "mask written late": mask_written_late,
    "mask by number": mask_by_number,
    "mask under another name": mask_under_another_name,
    "amax of a pad": lambda x: F.pad(x[..., None], (0, 1)).amax(-1),
    "amax of a fixed mask": lambda x: (
        x[..., None].expand(*x.shape, 2).masked_fill(torch.tensor([0, 1]).bool(), 0).amax(-1)
    ),
    "larger of two by the difference": lambda x: x - (x - F.pad(x[..., None], (0, 1)).amax(-1)).exp().log(),
    "script": torch.jit.script(scripted),
}
PASSED: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "leaky": (F.leaky_relu, "LeakyReLU"),
    "prelu": (lambda x: F.prelu(x, torch.full((4,), 0.2)), "PReLU"),
    "elu": (F.elu, "ELU"),
    "celu": (F.celu, "CELU"),
    "gelu": (F.gelu, "GELU"),
    "silu by hand": (lambda x: x * torch.sigmoid(x), "Sigmoid"),
    "hardswish": (F.hardswish, "Hardswish"),
    "softplus": (F.softplus, "Softplus"),
    "hardtanh": (F.hardtanh, "Hardtanh"),
    "nothing": (lambda x: x * 2 + 1, ""),
    "scales": (lambda x: x * torch.linspace(0.5, 2, 4)[:, None, None], ""),
    "normalised": (lambda x: F.normalize(x, dim=1), ""),
    "by hand": (lambda x: (x - x.mean((2, 3), True)) / (x.var((2, 3), keepdim=True) + 1e-5).sqrt(), ""),
    "root mean square": (lambda x: x * torch.rsqrt((x**2).mean(1, keepdim=True) + 1e-6), ""),
    "pools": (lambda x: F.max_pool2d(F.pad(x, (1, 1, 1, 1)), 2), ""),
    "attention": (lambda x: F.scaled_dot_product_attention(x, x, x), ""),
}


@pytest.mark.filterwarnings("ignore::contrafact.core.EmptyMapWarning")
@pytest.mark.parametrize("method", ["guided-backprop", "deconvolution", "guided-gradcam"])
@pytest.mark.parametrize("how", FOLLOWED)
def test_a_rectifier_is_followed_however_it_is_written(method: str, how: str) -> None:
    maps = []
    for function in (F.relu, FOLLOWED[how]):
        model = TorchPredictor(seeded(lambda function=function: Hidden(function)), classes=["a", "b"])
        more = {"layer": "conv"} if method == "guided-gradcam" else {}
        heat = cf.explain(method, model, picture(), target="class:1", **more)
        assert heat.record.details["rectifiers"] == 1
        maps.append(heat.values)
    np.testing.assert_allclose(maps[1], maps[0], atol=1e-7)
    plain = cf.explain("gradient", model, picture(), target="class:1").values
    assert np.abs(maps[0] - plain).max() > 1e-4


class Beside(Hidden):
    """A plain ReLU as well, so that there is one to change."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.how(F.conv2d(F.relu(self.conv(x)), self.conv.weight.transpose(0, 1)).repeat(1, 4, 1, 1) - 0.01)
        return torch.as_tensor(self.head(y.mean(dim=(2, 3))))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("how", REFUSED)
def test_what_may_be_a_rectifier_and_cannot_be_told_is_refused(how: str) -> None:
    model = TorchPredictor(seeded(lambda: Beside(REFUSED[how])), classes=["a", "b"])
    for method in ("guided-backprop", "deconvolution"):
        with pytest.raises(UnsupportedError, match="may be a rectifier: write it as a ReLU"):
            cf.explain(method, model, picture(), target="class:1")


@pytest.mark.parametrize("how", ["where", "masked_fill", "heaviside"])
def test_check_says_that_such_a_network_is_not_followed(how: str) -> None:
    from contrafact.api.compatibility import check_methods

    model = TorchPredictor(seeded(lambda: Beside(REFUSED[how])), classes=["a", "b"])
    rows = {row["name"]: row for row in check_methods(model, picture(16))}
    for name in ("guided-backprop", "deconvolution", "guided-gradcam", "filter-guided-backprop"):
        assert rows[name]["status"] == "unsupported", rows[name]


@pytest.mark.filterwarnings("ignore::contrafact.core.EmptyMapWarning")
@pytest.mark.parametrize("how", PASSED)
def test_what_is_no_rectifier_is_left_as_it_is_and_named(how: str) -> None:
    from contrafact.api.compatibility import _verdict

    function, name = PASSED[how]
    model = TorchPredictor(seeded(lambda: Beside(function)), classes=["a", "b"])
    record = cf.explain("guided-backprop", model, picture(), target="class:1").record
    assert record.details["rectifiers"] == 1 and record.details["unchanged"] == ({name: 1} if name else {})
    assert _verdict("guided-backprop", record)[0] == ("approximate" if name else "exact")


def test_a_fixed_mask_that_the_network_holds_is_no_rectifier() -> None:
    model = seeded(lambda: Beside(lambda x: x * model.fixed))
    model.register_buffer("fixed", torch.eye(28))
    held = TorchPredictor(model, classes=["a", "b"])
    assert cf.explain("guided-backprop", held, picture(), target="class:1").record.details["rectifiers"] == 1


def by_hand(x: Tensor) -> Tensor:
    """Attention with a causal mask and a softmax that subtracts its maximum."""
    q = x.flatten(2).transpose(1, 2)
    ahead = torch.ones(q.shape[1], q.shape[1]).triu(1) == 1
    scores = (q @ q.transpose(1, 2)).masked_fill(ahead, float("-inf"))
    powers = (scores - scores.amax(dim=-1, keepdim=True)).exp()
    return ((powers / powers.sum(dim=-1, keepdim=True)) @ q).transpose(1, 2).reshape(x.shape)


def softmaxed(x: Tensor) -> Tensor:
    q = x.flatten(2).transpose(1, 2)
    ahead = torch.ones(q.shape[1], q.shape[1]).triu(1) == 1
    shares = (q @ q.transpose(1, 2) + torch.zeros(ahead.shape).masked_fill(ahead, -1e30)).softmax(-1)
    return (shares @ q).transpose(1, 2).reshape(x.shape)


def in_parts(x: Tensor) -> Tensor:
    """In place on parts of a tensor that is read again as a whole."""
    x = x.clone()
    F.relu(x[:, :2], inplace=True)
    x[:, 2:].relu_()
    x[:, 1:3] += 1
    x[:, :1] = x[:, :1] * 2
    x[:, 3:, 0] = 0
    return x


def apart(x: Tensor) -> Tensor:
    x = F.relu(x)
    a, b, c, d = x[:, :1], x[:, 1:2], x[:, 2:3], x[:, 3:]
    return torch.cat([a * 2, b + 1, c + 1, d * torch.arange(x.shape[2]).clamp(max=1)[:, None]], dim=1)


ALIKE: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "in place after an instance normalisation": (
        lambda x: F.relu(F.instance_norm(x), inplace=True) + F.relu(x),
        lambda x: F.relu(F.instance_norm(x)) + F.relu(x),
    ),
    "leaky and in place": (
        lambda x: F.relu(F.leaky_relu(F.instance_norm(x), 0.01, inplace=True)),
        lambda x: F.relu(F.leaky_relu(F.instance_norm(x), 0.01)),
    ),
    "parts in place": (in_parts, apart),
    "attention by hand": (by_hand, softmaxed),
    "largest of a layer": (
        lambda x: F.relu(x).amax((2, 3), True),
        lambda x: F.adaptive_max_pool2d(F.relu(x), 1),
    ),
}


@pytest.mark.filterwarnings("ignore::contrafact.core.EmptyMapWarning")
@pytest.mark.parametrize("method", ["guided-backprop", "deconvolution"])
@pytest.mark.parametrize("how", ALIKE)
def test_a_network_in_place_is_followed_as_one_that_is_not(method: str, how: str) -> None:
    maps, counts = [], []
    for function in ALIKE[how]:
        model = TorchPredictor(seeded(lambda function=function: Beside(function)), classes=["a", "b"])
        heat = cf.explain(method, model, picture(16), target="class:1")
        maps.append(heat.values)
        counts.append(heat.record.details["unchanged"])
    np.testing.assert_allclose(maps[0], maps[1], atol=1e-6 * np.abs(maps[1]).max())
    assert maps[1].any() and counts[0] == counts[1]


def plain_guided(network: nn.Module, image: Tensor, *, deconvolution: bool = False) -> Tensor:
    """Guided backpropagation of the volume of class 1, by hooks on the modules."""

    def rule(_: nn.Module, inner: tuple[Tensor], outer: tuple[Tensor]) -> tuple[Tensor]:
        return ((outer if deconvolution else inner)[0].clamp_min(0),)

    handles = [m.register_full_backward_hook(rule) for m in network.modules() if isinstance(m, nn.ReLU)]
    image = image.clone().requires_grad_()
    network(image).softmax(dim=1)[:, 1].sum().backward()
    for handle in handles:
        handle.remove()
    assert image.grad is not None
    return image.grad.sum(dim=1)


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("act", ["relu", "leakyrelu"])
def test_networks_of_the_kind_of_nnu_net_are_followed(axes: int, act: str) -> None:
    """Convolution, instance normalisation, an activation in place; a leaky one is no ReLU."""
    from monai.networks.nets import DynUNet

    name = (act, {"inplace": True} | ({"negative_slope": 0.01} if act == "leakyrelu" else {}))
    sizes: Any = {"kernel_size": [3, 3, 3], "strides": [1, 2, 2], "upsample_kernel_size": [2, 2]}
    sizes |= {"filters": [4, 8, 8], "res_block": False, "norm_name": "instance"}
    network = seeded(lambda: DynUNet(axes, 1, 2, act_name=name, **sizes)).eval()
    image = picture(16) if axes == 2 else Image(np.random.default_rng(0).random((1, 16, 16, 16), np.float32))
    model = TorchPredictor(network, classes=["a", "b"])
    if act == "leakyrelu":
        with pytest.raises(UnsupportedError, match="this network has none"):
            cf.explain("guided-backprop", model, image, target="volume:1")
        return
    plain = copy.deepcopy(network)
    for module in plain.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False
    for method in ("guided-backprop", "deconvolution"):
        heat = cf.explain(method, model, image, target="volume:1")
        wanted = plain_guided(
            plain, torch.as_tensor(image.values[None]), deconvolution=method == "deconvolution"
        )
        modules = sum(isinstance(m, nn.ReLU) for m in plain.modules())
        assert heat.record.details["rectifiers"] == 2 * modules > 8  # each is called twice
        np.testing.assert_allclose(heat.values, wanted[0], atol=1e-5 * float(wanted.abs().max()))


def test_common_networks_are_followed() -> None:
    from monai.networks.nets import DenseNet, SegResNet, UNet, resnet10

    several: dict[str, tuple[Callable[[], nn.Module], str]] = {
        "resnet": (lambda: resnet10(spatial_dims=2, n_input_channels=1, num_classes=2), "class:1"),
        "densenet": (lambda: DenseNet(2, 1, 2, init_features=8, growth_rate=4, block_config=(2, 2)), "class:1"),
        "segresnet": (lambda: SegResNet(2, 8, 1, 2), "region:1"),
        "u-net": (lambda: UNet(2, 1, 2, (4, 8, 8), (2, 2), act="RELU", norm="INSTANCE"), "region:1"),
    }
    for name, (make, target) in several.items():
        model = TorchPredictor(seeded(make), classes=["a", "b"])
        modules = sum(isinstance(module, nn.ReLU) for module in model.module.modules())
        record = cf.explain("guided-backprop", model, picture(), target=target).record
        assert record.details["rectifiers"] >= modules > 3, name
        assert not record.details["unchanged"], name


def test_report_and_notebook_name_the_layer_and_its_cells(tmp_path: Any) -> None:
    from contrafact.io import Run
    from contrafact.report.page import write_report

    model = TorchPredictor(seeded(rectified), classes=["a", "b", "c"])
    image = picture()
    heat = cf.explain("gradcam", model, image, target="class:1")
    run = Run.create(tmp_path / "run", about={"title": "Test"})
    run.add("one", image, heat, case="one")
    words = "layer 2, 16 × 16 cells"
    assert words in write_report(run).read_text()
    assert words in str(heat._repr_html_())


def test_the_default_layer_and_the_maps_measure_a_mean_gradient_alike() -> None:
    """By one function, so that a layer that is chosen is never one that a map refuses for its mean."""
    from contrafact.attribution.cam import class_activation as cam
    from contrafact.core import intervals as shares
    from contrafact.models import default_layer

    assert cam.mean_share is default_layer.mean_share is shares.mean_share
    assert cam.LEAST_MEAN is default_layer.LEAST_MEAN
    slopes = torch.tensor([[[[1.0, -1.0], [0.0, 0.0]], [[1.0, 1.0], [1.0, -1.0]], [[2.0, 1.0], [1.0, 0.0]]]])
    for same in (slopes, slopes.numpy()):
        assert shares.mean_share(same) == pytest.approx((0 + 2 + 4) / (2 + 4 + 4))
        assert shares.mean_share(0 * same) == 0


def test_cells_whose_strides_differ_by_a_factor_of_two_at_most_are_a_map_of_the_image() -> None:
    found = _channels(torch.zeros(1, 40, 8, 4), (16, 16))
    assert found is not None and (found.cells, found.last) == ((8, 4), False)
    found = _channels(torch.zeros(1, 4, 8, 40), (16, 16))
    assert found is not None and (found.cells, found.last) == ((4, 8), True)
    assert _channels(torch.zeros(1, 40, 9, 4), (16, 16)) is None
