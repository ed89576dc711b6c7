"""Computing again only what a box changes: the same answers as whole passes, or the plain way."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import contrafact as cf
from conftest import RANGE
from contrafact.core import BoxAnswers, Image
from contrafact.models import BlackBox, Preprocessing, TorchPredictor
from contrafact.models import local_recompute as incremental
from contrafact.models.example_networks import ResidualNetwork
from contrafact.models.local_recompute import Incremental, traced

CONV = {2: nn.Conv2d, 3: nn.Conv3d}
POOL = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
MEAN = {2: nn.AvgPool2d, 3: nn.AvgPool3d}
NORM = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
POINT = {2: nn.AdaptiveAvgPool2d, 3: nn.AdaptiveAvgPool3d}

# Toys are shown noise of any size.
pytestmark = pytest.mark.filterwarnings(RANGE)


class Mixed(nn.Module):
    """All kinds of local operations at once, and sums and concatenations of windows that differ."""

    def __init__(self, axes: int, *, stride: int = 2, dilation: int = 1, ceil: bool = False) -> None:
        super().__init__()
        conv = CONV[axes]
        self.a = conv(2, 4, 3, stride=stride, padding=dilation, dilation=dilation, bias=False)
        self.norm, self.act = NORM[axes](4), nn.ReLU(inplace=True)
        self.b = conv(4, 4, 5, padding=2, groups=2)
        self.c = conv(4, 4, 1, stride=2)  # never looks at every second voxel
        self.pool, self.mean = POOL[axes](3, 2, 1, ceil_mode=ceil), MEAN[axes](2)
        self.d = conv(8, 3, (1, 2, 3)[-axes:], padding=(0, 1, 1)[-axes:])
        self.prelu, self.over, self.head = nn.PReLU(), POINT[axes](1), nn.Linear(3, 2)

    def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
        y = self.act(self.norm(self.a(x)))
        y = y + F.gelu(self.b(y)) * 0.5
        y = self.mean(y)
        y = torch.cat([y, self.prelu(self.b(y))], 1)
        y = self.d(y)
        z: Tensor = self.head(self.over(y).flatten(1)) * scale
        return z


class Steps(nn.Module):
    """Strides that skip voxels, pooling with a padded end, a mean by method."""

    def __init__(self, axes: int, *, ceil: bool) -> None:
        super().__init__()
        conv = CONV[axes]
        self.a, self.b = conv(2, 4, 1, stride=2), conv(4, 3, 3, padding=1, stride=3)
        self.pool = POOL[axes](3, 2, 1, ceil_mode=ceil)
        self.axes = tuple(range(2, 2 + axes))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.b(self.pool(self.a(x))).mean(self.axes)
        return y


class Gated(nn.Module):
    """A gate from the whole map, shapes that are asked for, and a map that is answered in full."""

    def __init__(self, axes: int) -> None:
        super().__init__()
        self.a, self.gate = CONV[axes](2, 4, 3, padding=1), CONV[axes](4, 4, 1)
        self.over, self.head = POINT[axes](1), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> list[Tensor]:
        y = self.a(x)
        y = F.relu(y * torch.sigmoid(self.gate(self.over(y))))
        z = y.view(y.size(0), y.shape[1], -1).amax(dim=2)
        return [self.head(z), y]


def made(build: Callable[[], nn.Module]) -> nn.Module:
    """A network with random weights and random running statistics."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = build().eval()
        for part in network.modules():
            if isinstance(part, (nn.BatchNorm2d, nn.BatchNorm3d)) and part.running_var is not None:
                part.running_mean.normal_()
                part.running_var.uniform_(0.5, 2)
    return network


def pictures(axes: int, size: tuple[int, ...], channels: int = 2) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(0)
    return torch.rand(channels, *size, generator=draws), 20 * torch.randn(channels, *size, generator=draws)


def whole_passes(
    predictor: TorchPredictor, image: Tensor, other: Tensor, box: tuple[int, ...], corners: Any
) -> Tensor:
    copies = image.repeat(len(corners), *(1,) * image.ndim)
    for copy, corner in zip(copies, corners, strict=True):
        place = (slice(None), *(slice(a, a + b) for a, b in zip(corner, box, strict=True)))
        copy[place] = other[place]
    with torch.no_grad():
        return predictor(copies)


def every_corner(size: tuple[int, ...], box: tuple[int, ...], step: int) -> Any:
    """All alignments along each axis in turn, and both edges."""
    starts = [sorted({*range(0, n - b, step), n - b}) for n, b in zip(size, box, strict=True)]
    return np.array(list(itertools.product(*starts)))


NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "mixed": lambda axes: Mixed(axes),
    "mixed, stride 1, dilated": lambda axes: Mixed(axes, stride=1, dilation=2),
    "mixed, stride 3": lambda axes: Mixed(axes, stride=3),
    "steps": lambda axes: Steps(axes, ceil=False),
    "steps, padded end": lambda axes: Steps(axes, ceil=True),
    "gated": Gated,
}


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_answers_are_those_of_whole_passes(name: str, axes: int) -> None:
    size, box = ((33, 38), (5, 4)) if axes == 2 else ((19, 22, 17), (3, 5, 4))
    predictor = TorchPredictor(made(lambda: NETWORKS[name](axes)))
    image, other = pictures(axes, size)
    corners = every_corner(size, box, 1 if axes == 2 else 4)
    found = predictor.replacing(image, other, box, corners[len(corners) // 2])
    assert found is not None
    assert found.share < 1
    truth = whole_passes(predictor, image, other, box, corners)
    ours = found.answers(corners)
    torch.testing.assert_close(ours, truth, rtol=1e-5, atol=1e-5 * float(truth.abs().max()))
    assert float((truth - truth[0]).abs().max()) > 1e-3 * float(truth.abs().max())  # boxes do matter


def test_published_networks_answer_as_by_whole_passes() -> None:
    from monai.networks.nets import DenseNet, UNet, resnet10

    cases: list[tuple[Callable[[], nn.Module], tuple[int, ...]]] = [
        (lambda: ResidualNetwork(channels=2, width=4, stages=3, blocks=2), (48, 40)),
        (lambda: resnet10(spatial_dims=3, n_input_channels=2, num_classes=2, conv1_t_stride=2), (32, 32, 24)),
        (lambda: DenseNet(3, 2, 2, init_features=4, growth_rate=4, block_config=(2, 2)), (32, 24, 32)),
        (lambda: UNet(2, 2, 2, (4, 8), (2,), norm=("batch", {"affine": True})), (32, 32)),
    ]
    for build, size in cases:
        box = (4,) * len(size)
        predictor = TorchPredictor(made(build))
        image, other = pictures(len(size), size)
        corners = every_corner(size, box, 13)
        found = predictor.replacing(image, other, box, corners[len(corners) // 2])
        assert found is not None
        assert found.share < 0.9
        truth = whole_passes(predictor, image, other, box, corners)
        torch.testing.assert_close(
            found.answers(corners), truth, rtol=1e-5, atol=1e-5 * float(truth.abs().max())
        )


def test_occlusion_is_the_same_map_and_counts_every_box_and_what_it_takes_to_begin() -> None:
    network = made(lambda: ResidualNetwork(width=4, stages=2))
    quick, image = TorchPredictor(network, classes=["a", "b"]), Image(30 * pictures(2, (40, 36), 1)[0].numpy())
    plain = TorchPredictor(network, classes=["a", "b"])
    plain.replacing = lambda *_: None  # type: ignore[method-assign]
    region = Image((image.values > 27).astype(np.float32))
    for more in ({}, {"region": region}, {"fill": 0.0, "box": (7, 5), "stride": 3}):
        ours, theirs = (cf.explain("occlusion", p, image, target="class:1", **more) for p in (quick, plain))
        assert np.abs(ours.values - theirs.values).max() < 1e-6 < 1e-3 * np.abs(theirs.values).max()
        assert ours.record.forward_passes == theirs.record.forward_passes + 2
    several = cf.explain("occlusion", quick, [image, Image(image.values * 2)], target="class:1")
    np.testing.assert_array_equal(
        several[0].values, cf.explain("occlusion", quick, image, target="class:1").values
    )


def test_preprocessing_and_half_precision_are_as_in_whole_passes() -> None:
    network = made(lambda: ResidualNetwork(channels=3, width=4, stages=2))
    prepared = Preprocessing(channels=3, size=(32, 32), window=(0, 2), mean=(0.1, 0.2, 0.3), std=(1, 2, 3))
    image, other = pictures(2, (32, 32), 1)
    corners = every_corner((32, 32), (4, 4), 9)
    predictor = TorchPredictor(network, preprocessing=prepared)
    found = predictor.replacing(image, other, (4, 4), corners[3])
    assert found is not None
    truth = whole_passes(predictor, image, other, (4, 4), corners)
    torch.testing.assert_close(found.answers(corners), truth, rtol=1e-5, atol=1e-6)
    assert predictor.replacing(*pictures(2, (40, 40), 1), (4, 4), corners[3]) is None  # would be resized
    half = TorchPredictor(made(lambda: ResidualNetwork(width=4, stages=2)).to(torch.bfloat16))
    found = half.replacing(image, other, (4, 4), corners[3])
    assert found is not None
    truth = whole_passes(half, image, other, (4, 4), corners)
    torch.testing.assert_close(found.answers(corners), truth, rtol=0, atol=0.05 * float(truth.abs().max()))


def test_maps_beyond_the_limit_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    network, box = made(lambda: ResidualNetwork(channels=2, width=4, stages=2)), (4, 4)
    image, other = pictures(2, (32, 32))
    shares = []
    for limit in (2**31, 3 * 4 * 4 * 32 * 32):  # of all, and of three of the first maps
        monkeypatch.setattr(incremental, "KEPT", limit)
        found = TorchPredictor(network).replacing(image, other, box, np.array([9, 9]))
        assert found is not None
        shares.append(found.share)
    assert shares[0] < shares[1] == 1


def test_where_nothing_is_saved_no_maps_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [nn.Conv2d(1, 2, 3), nn.InstanceNorm2d(2), nn.Conv2d(2, 8, 3), nn.Flatten()]
    norm = nn.Sequential(*parts).eval()

    held: list[weakref.ref[Any]] = []
    begin, run = Incremental.__init__, TorchPredictor.__call__

    def beginning(self: Incremental, *args: Any) -> None:
        begin(self, *args)
        held.append(weakref.ref(self))

    monkeypatch.setattr(Incremental, "__init__", beginning)
    alive: list[int] = []

    def passing(self: TorchPredictor, images: Any) -> Tensor:
        alive.append(sum(ref() is not None for ref in held))
        return run(self, images)

    monkeypatch.setattr(TorchPredictor, "__call__", passing)
    image = Image(pictures(2, (16, 16), 1)[0].numpy())
    cf.explain("occlusion", TorchPredictor(norm), image, target="value:1", box=4, stride=4)
    assert len(held) == 1
    assert alive[-1] == 0


class Noting(nn.Module):
    """Keeps what it saw, counts, and makes a constant on the way."""

    steps: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.a, self.calls, self.last = nn.Conv2d(1, 2, 3), 0, torch.zeros(1)
        self.seen: list[Any] = []
        self.register_buffer("steps", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.calls, self.last, self.found = self.calls + 1, x, x
        self.seen.append(x)
        self.steps += 1
        y: Tensor = (self.a(x) * torch.tensor(2.0) + torch.tensor([[[1.0]], [[3.0]]])).mean((2, 3))
        return y


def test_following_a_network_leaves_it_as_it_was() -> None:
    network = made(lambda: nn.Sequential(Noting(), nn.Identity()))
    before = [dict(vars(part)) for part in network.modules()]
    operations = traced(network)
    assert operations is not None
    assert len(operations[1]) == 2
    after = [vars(part) for part in network.modules()]
    assert all(
        a.keys() == b.keys() and all(a[k] is b[k] for k in a) for a, b in zip(before, after, strict=True)
    )
    assert (network[0].seen, network[0].calls, float(network[0].steps)) == ([], 0, 0)
    predictor, (image, other) = TorchPredictor(network), pictures(2, (16, 16), 1)
    corners = every_corner((16, 16), (4, 4), 5)
    found = predictor.replacing(image, other, (4, 4), corners[3])
    assert found is not None
    assert found.share < 1
    truth = whole_passes(predictor, image, other, (4, 4), corners)
    torch.testing.assert_close(found.answers(corners), truth, rtol=1e-5, atol=1e-5 * float(truth.abs().max()))


class Branching(nn.Module):
    """Goes another way for bright images: torch.fx cannot follow."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(1, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.a(x if x.max() < 9 else -x).mean((2, 3))
        return y


class Aliased(nn.Module):
    """Changes a map in place that it uses again: as separate operations the answer would be another."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(1, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        z = F.relu(y, inplace=True)
        out: Tensor = (y + z).mean((2, 3))
        return out


class Named(nn.Module):
    """Calls whose arguments have names, or none where there could be."""

    def __init__(self, call: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.a, self.call = nn.Conv2d(1, 2, 3), call

    def forward(self, x: Tensor) -> Tensor:
        return self.call(self.a(x)).flatten(1)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: torch.cat(tensors=[x, x], dim=1),
        lambda x: x + x.mean(dim=None),
        lambda x: F.avg_pool2d(input=x, kernel_size=2),
    ],
)
def test_calls_in_an_unknown_form_go_the_plain_way(call: Callable[[Tensor], Tensor]) -> None:
    image, other = pictures(2, (16, 16), 1)
    corners, box = every_corner((16, 16), (4, 4), 5), (4, 4)
    predictor = TorchPredictor(made(lambda: Named(call)))
    found = predictor.replacing(image, other, box, corners[3])
    assert found is not None
    assert found.share == 1


def test_what_cannot_be_followed_goes_the_plain_way() -> None:
    image, other = pictures(2, (16, 16), 1)
    corner, box = np.array([4, 4]), (4, 4)

    def asked(network: nn.Module) -> BoxAnswers | None:
        return TorchPredictor(network).replacing(image, other, box, corner)

    assert asked(Branching().eval()) is None
    aliased = asked(made(Aliased))
    assert aliased is not None
    assert aliased.share == 1
    network = made(lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    assert asked(network) is not None
    assert asked(network.train()) is None
    with TorchPredictor(network.eval()).watch("0"):
        assert asked(network) is None
    assert asked(torch.jit.script(network)) is None  # type: ignore[no-untyped-call]
    wide = asked(made(lambda: nn.Sequential(nn.Conv2d(1, 2, 15, padding=7), nn.Flatten(), nn.Linear(512, 2))))
    assert wide is not None
    assert wide.share == 1
    assert BlackBox(lambda x: x.mean((2, 3))).replacing(image, other, box, corner) is None


def test_weights_and_parts_may_change_between_calls() -> None:
    network = made(lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    predictor, (image, other) = TorchPredictor(network), pictures(2, (16, 16), 1)
    corners, box = np.array([[4, 4], [0, 9]]), (4, 4)
    assert predictor.replacing(image, other, box, corners[0]) is not None
    for change in (
        lambda: network[0].weight.data.mul_(3),
        lambda: network.__setitem__(0, nn.Conv2d(1, 2, 5).eval()),
    ):
        change()
        found = predictor.replacing(image, other, box, corners[0])
        assert found is not None
        assert found.share < 1
        truth = whole_passes(predictor, image, other, box, corners)
        torch.testing.assert_close(found.answers(corners), truth, rtol=1e-5, atol=1e-6)


def plus(x: Tensor) -> Tensor:
    x += 1
    return x


def minus(x: Tensor) -> Tensor:
    x -= 1
    return x


def times(x: Tensor) -> Tensor:
    x *= 2
    return x


@pytest.mark.parametrize("change", [plus, minus, times, lambda x: x.relu_(), lambda x: F.relu(x, inplace=True)])
def test_a_map_that_is_changed_in_place_is_followed(change: Callable[[Tensor], Tensor]) -> None:
    """What a box does not change is taken from the map as it was before the change."""
    image, other = pictures(2, (16, 16), 1)
    corners, box = every_corner((16, 16), (4, 4), 5), (4, 4)
    predictor = TorchPredictor(made(lambda: Named(lambda x: change(x).mean((2, 3)))))
    found = predictor.replacing(image, other, box, corners[3])
    assert found is not None
    assert found.share < 1
    assert torch.allclose(
        found.answers(corners), whole_passes(predictor, image, other, box, corners), atol=1e-5
    )
