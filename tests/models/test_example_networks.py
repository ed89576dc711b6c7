"""The example networks, for images and for volumes."""

from __future__ import annotations

import pytest
import torch

from contrafact.core import InputError
from contrafact.models.example_networks import PlainNetwork, ResidualNetwork


@pytest.mark.parametrize("network", [ResidualNetwork, PlainNetwork])
def test_volumes_are_classified_as_images_are(network: type[torch.nn.Module]) -> None:
    made = network(channels=1, outputs=3, axes=3).eval()
    assert made(torch.zeros(2, 1, 16, 16, 16)).shape == (2, 3)
    assert network(channels=1, outputs=3).eval()(torch.zeros(2, 1, 16, 16)).shape == (2, 3)
    with pytest.raises(InputError, match="axes must be 2 or 3"):
        network(axes=1)


def test_a_volume_that_is_the_same_in_every_slice_has_the_features_of_its_weights_sum() -> None:
    """A 3D network whose kernels are 0 but for their middle slice sees a volume as a stack of images."""
    torch.manual_seed(0)
    flat, deep = ResidualNetwork(width=4, stages=2).eval(), ResidualNetwork(width=4, stages=2, axes=3).eval()
    for one, other in zip(flat.state_dict().items(), deep.state_dict().items(), strict=True):
        (name, weights), (same, into) = one, other
        assert name == same
        if weights.ndim == 4:
            into.zero_()
            into[:, :, into.shape[2] // 2] = weights
        else:
            into.copy_(weights)
    image = torch.rand(1, 1, 16, 16)
    volume = image[:, :, None].expand(1, 1, 16, 16, 16)
    assert torch.allclose(flat(image), deep(volume), atol=1e-5)


@pytest.mark.parametrize("network", [ResidualNetwork, PlainNetwork])
def test_a_grey_network_cannot_tell_colours_apart(network: type[torch.nn.Module]) -> None:
    torch.manual_seed(0)
    made = network(channels=3, outputs=2, grey=True).eval()
    colours = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(made(colours), made(colours[:, [2, 0, 1]]))
    assert not torch.allclose(made(colours), made(colours.flip(2)))
    coloured = network(channels=3, outputs=2).eval()
    assert not torch.allclose(coloured(colours), coloured(colours[:, [2, 0, 1]]))
