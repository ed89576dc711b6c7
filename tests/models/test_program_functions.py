"""A program of torch.export is explained as the network from which it was made."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._ops import OpOverload

import contrafact as cf
from contrafact.metrics.randomisation.layers import copied
from contrafact.models.loading import load_predictor

X = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))


class Many(nn.Module):
    """Layers and functions whose operators have other arguments than torch's functions, some in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, padding="same", padding_mode="reflect")
        self.up = nn.ConvTranspose2d(8, 8, 2, stride=2)
        self.norms = nn.ModuleList([nn.InstanceNorm2d(8, affine=True), nn.LayerNorm([8, 32, 32])])
        self.groups, self.batch = nn.GroupNorm(2, 8), nn.BatchNorm2d(8)
        self.slope, self.last, self.pool = nn.PReLU(), nn.Linear(8, 2), nn.AvgPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(self.slope(self.first(x)), 3, 2, 1)
        x = self.norms[0](F.leaky_relu_(self.up(x), 0.2))
        x = self.groups(self.norms[1](x) + F.hardtanh(x, 0, 6))
        x = F.interpolate(x, scale_factor=0.5, mode="bilinear", align_corners=True)
        x = F.interpolate(x, size=(24, 24))[:, :, 2:-2, 1:21:2]
        x = F.gelu(F.silu(1.5 * F.elu(self.batch(x))), approximate="tanh")
        a, b = x.chunk(2, 1)
        x = torch.cat([a, F.relu6(b)], 1)
        x = F.adaptive_avg_pool2d(self.pool(x), 3).mean((2, 3))
        return self.last(F.dropout(x, 0.3, self.training).view(x.shape[0], -1))


def both(network: nn.Module, folder: Path) -> tuple[cf.Predictor, cf.Predictor]:
    network = network.eval()
    program = torch.export.export(network, (X,), dynamic_shapes=({0: torch.export.Dim("n")},))
    torch.export.save(program, folder / "net.pt2")
    return load_predictor(network), load_predictor(folder / "net.pt2")


@pytest.fixture
def predictors(tmp_path: Path) -> tuple[cf.Predictor, cf.Predictor]:
    torch.manual_seed(0)
    return both(Many(), tmp_path)


def test_no_operator_is_left_and_the_outputs_are_equal(predictors: tuple[cf.Predictor, cf.Predictor]) -> None:
    network, program = predictors
    called = [node.target for node in program.module.graph.nodes if node.op == "call_function"]
    assert called and not [target for target in called if isinstance(target, OpOverload)]
    assert torch.equal(network(X.numpy()), program(X.numpy()))


@pytest.mark.parametrize("method", ["gradcam", "lrp", "occlusion"])
def test_maps_are_those_of_the_network(predictors: tuple[cf.Predictor, cf.Predictor], method: str) -> None:
    first, second = (cf.explain(method, one, X[0].numpy(), target="class:1") for one in predictors)
    np.testing.assert_array_equal(first.values, second.values)


def test_a_convolution_of_a_program_is_a_layer(tmp_path: Path) -> None:
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    network, program = both(plain, tmp_path)
    maps = [cf.explain(cf.GradCAM(), one, X[0].numpy(), target="class:1").values for one in (network, program)]
    np.testing.assert_array_equal(*maps)
    named = cf.explain(cf.GradCAM(layer="conv2d#1"), program, X[0].numpy(), target="class:1")
    np.testing.assert_array_equal(named.values, maps[0])


def test_methods_and_copies_of_a_program_warn_of_nothing(predictors: tuple[cf.Predictor, cf.Predictor]) -> None:
    _, program = predictors
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        copied(program)
        cf.explain("guided-backprop", program, X[0].numpy(), target="class:1")  # follows the calls of a pass


def test_relevance_is_refused_where_a_program_keeps_an_operator(tmp_path: Path) -> None:
    class Rare(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.ops.aten.alias(x.repeat(1, 2, 1, 1)).mean((2, 3))

    _, program = both(Rare(), tmp_path)
    assert [n.target for n in program.module.graph.nodes if isinstance(n.target, OpOverload)]
    with pytest.raises(cf.UnsupportedError, match="no rule"):
        cf.explain("lrp", program, X[0].numpy(), target="class:1")


def test_a_program_that_converts_to_a_device_or_writes_at_an_index_is_run(tmp_path: Path) -> None:
    class Converts(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            x = x.to(torch.float64)
            x[:, :, torch.tensor([0])] = 0
            return x.mean((2, 3)).to(x.device).expand(-1, 2)

    network, program = both(Converts(), tmp_path)
    assert torch.equal(network(X.numpy()), program(X.numpy()))
