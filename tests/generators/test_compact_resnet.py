"""The encoder's network is MONAI's: the same names, first weights and values."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets.resnet import ResNet

from contrafact.generators.compact_resnet import CompactResNet


@pytest.mark.parametrize("axes", [2, 3])
def test_names_first_weights_and_values_are_those_of_monai(axes: int) -> None:
    planes = [6, 8, 8, 16]
    with torch.random.fork_rng():
        torch.manual_seed(3)
        ours = CompactResNet(2, 5, planes=planes, blocks=[1, 2, 2, 1], axes=axes)
        torch.manual_seed(3)
        theirs = ResNet(
            "basic", [1, 2, 2, 1], planes, spatial_dims=axes, n_input_channels=2, conv1_t_size=5,
            conv1_t_stride=2, no_max_pool=True, num_classes=5,
        )  # fmt: skip
        images = torch.randn(3, 2, *(25, 18, 17)[:axes])
    mine, other = ours.state_dict(), theirs.state_dict()
    assert list(mine) == list(other)
    assert all(torch.equal(mine[name], other[name]) for name in mine)
    for train in (True, False):
        found, wanted = ours.train(train)(images), theirs.train(train)(images)
        assert torch.equal(found, wanted)
    gradients = [torch.autograd.grad(values.square().sum(), network.conv1.weight)
                 for values, network in ((found, ours), (wanted, theirs))]  # fmt: skip
    torch.testing.assert_close(*(one for (one,) in gradients))
