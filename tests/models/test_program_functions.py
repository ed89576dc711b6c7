"""A program of torch.export is explained as the network from which it was made."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch._ops import OpOverload

import contrafact as cf
from contrafact.metrics.randomisation.layers import copied
from contrafact.models.loading import load_predictor
from contrafact.models.program_functions import with_functions

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


A = torch.ops.aten
CALLS = [  # operators as no program of torch.export writes them, but a file may
    (A.elu.default, (), {"alpha": 1.5}),
    (A.elu.default, (), {"input_scale": 0.5}),
    (A.hardtanh.default, (), {"max_val": 0.5}),
    (A.leaky_relu.default, (), {"negative_slope": 0.3}),
    (A.layer_norm.default, (), {"normalized_shape": [32], "cudnn_enable": False, "eps": 0.1}),
    (A.slice.Tensor, (), {"dim": -2, "start": 3, "step": 2}),
    (A.slice.Tensor, (3,), {"end": 9}),
    (A.pad.default, ([1, 2],), {"value": 2.0}),
    (A.upsample_bilinear2d.vec, (), {"output_size": None, "align_corners": False, "scale_factors": [0.5, 0.5]}),
    (A.upsample_nearest2d.vec, ([8, 8],), {"scale_factors": None}),
    (A.split.Tensor, (), {"split_size": 16, "dim": -1}),
    (A.softmax.int, (-1,), {"dtype": torch.float64}),
    (A.dropout.default, (), {"p": 0.5, "train": False}),
    (A.to.dtype, (), {"dtype": torch.float64}),
    (A.to.dtype, (torch.float64, False, True, torch.channels_last), {}),
    (A.to.device, (torch.device("cpu"), torch.float64), {"memory_format": torch.channels_last}),
    (A.mean.dim, (), {"dim": None}),
]


def computed(operator: OpOverload, args: tuple[Any, ...], words: dict[str, Any]) -> tuple[Any, Any]:
    """Return what a graph of one call of an operator on `X` gives, before and after the replacement."""
    graph = fx.Graph()
    graph.output(graph.call_function(operator, (graph.placeholder("x"), *args), words))
    module = fx.GraphModule({}, graph)
    return module(X), with_functions(module)(X)


@pytest.mark.parametrize(("operator", "args", "words"), CALLS, ids=lambda one: str(one)[:40])
def test_words_of_an_operator_are_kept(operator: OpOverload, args: Any, words: Any) -> None:
    torch.testing.assert_close(*computed(operator, args, words), rtol=0, atol=0)


def decomposed(network: nn.Module, folder: Path) -> cf.Predictor:
    """Return the program of a network in core operators, such as `aten.convolution`."""
    program = torch.export.export(network.eval(), (X,), dynamic_shapes=({0: torch.export.Dim("n")},))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)  # torch's own
        torch.export.save(program.run_decompositions(), folder / "core.pt2")
    return load_predictor(folder / "core.pt2")


def test_convolutions_of_a_decomposed_program_are_layers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    up = nn.ConvTranspose2d(4, 3, 2, stride=2, output_padding=0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3, 2, groups=1), nn.ReLU(), up, nn.Conv2d(3, 2, 3), nn.Flatten(2))
    network = nn.Sequential(network, nn.AdaptiveAvgPool1d(1), nn.Flatten())
    program = decomposed(network, tmp_path)
    maps = [cf.explain("gradcam", one, X[0].numpy(), target="class:1") for one in (network, program)]
    np.testing.assert_allclose(maps[0].values, maps[1].values, atol=1e-6)


def test_relevance_of_a_decomposed_program_is_that_of_the_network_or_refused(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(3600, 2))
    with pytest.raises(cf.UnsupportedError, match="no rule for _native_batch_norm"):
        cf.explain("lrp", decomposed(network, tmp_path), X[0].numpy(), target="class:1")
