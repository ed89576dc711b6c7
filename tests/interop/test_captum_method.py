"""Our methods where captum's are expected: the same call, the same numbers, and captum's own tools."""

from __future__ import annotations

import captum.attr
import captum.metrics
import numpy as np
import pytest
import torch
from torch import nn

import contrafact as cf
from conftest import PlantedBlock, small_network
from contrafact.core import EXPLAINERS, InputError
from contrafact.core.traits import traits_of
from contrafact.interop import CaptumMethod
from contrafact.phantoms import draw_factors, knee_phantom


def inputs(channels: int = 1, *, axes: int = 2, size: int = 16) -> torch.Tensor:
    values = np.random.default_rng(0).uniform(0, 1, (2, channels, *(size,) * axes))
    return torch.from_numpy(values.astype(np.float32))


def test_a_gradient_is_that_of_captum() -> None:
    network, x = small_network(channels=3).eval(), inputs(3)
    ours = CaptumMethod("input-x-gradient", network, baseline=0.0).attribute(x, target=1)
    theirs = captum.attr.InputXGradient(network).attribute(x.clone().requires_grad_(), target=1)
    assert ours.shape == theirs.shape == x.shape
    torch.testing.assert_close(ours.sum(1), theirs.sum(1).detach(), rtol=1e-4, atol=1e-8)


def test_integrated_gradients_are_those_of_captum_for_a_target_of_each_image() -> None:
    network, x, targets = small_network().eval(), inputs(), torch.tensor([0, 1])
    ours = CaptumMethod(cf.IntegratedGradients(steps=32, baseline=0.0), network).attribute(x, target=targets)
    theirs = captum.attr.IntegratedGradients(network).attribute(x, target=targets, n_steps=32)
    torch.testing.assert_close(ours, theirs.float(), rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize(
    "target",
    [np.int64(1), [np.int64(1)] * 2, [torch.tensor(1)] * 2, torch.tensor(1), np.array([1, 1], np.int32)],
    ids=str,
)
def test_an_index_of_numpy_or_torch_is_that_of_a_raw_output_too(target: object) -> None:
    method, x = CaptumMethod("gradient", small_network()), inputs()
    torch.testing.assert_close(method.attribute(x, target=target), method.attribute(x, target=1))


@pytest.mark.parametrize("axes", [2, 3])
def test_methods_of_every_kind_find_the_planted_block(axes: int) -> None:
    x = inputs(axes=axes, size=16 if axes == 2 else 12)
    for name in ("gradcam", "occlusion", "gradient", "lrp", "rise"):
        found = CaptumMethod(name, PlantedBlock(axes, 1, x.shape[-1])).attribute(x, target=1)
        assert found.shape == x.shape
        inside = found[(..., *(slice(4, 8),) * axes)].mean()
        assert inside > found.mean(), name


def test_a_model_that_ends_in_a_softmax_is_explained_as_captum_does() -> None:
    network, x = nn.Sequential(small_network(), nn.Softmax(dim=1)).eval(), inputs()
    ours = CaptumMethod("gradient", network).attribute(x, target=1)
    theirs = captum.attr.Saliency(network).attribute(x.clone().requires_grad_(), target=1, abs=False)
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-8)


def test_a_place_in_a_segmenters_prediction_is_named_by_text() -> None:
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)  # with some weights the map is near constant, of which it warns
        network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ConvTranspose2d(2, 2, 3))
        network[1].bias.copy_(torch.tensor([-10.0, 10.0]))
    found = CaptumMethod("gradient", network).attribute(inputs(), target="region:1")
    assert found.shape == (2, 1, 16, 16)
    with pytest.raises(InputError, match="returns maps; got 1; name a place"):
        CaptumMethod("gradient", network).attribute(inputs(), target=1)


def test_the_model_is_as_it_was() -> None:
    network = small_network().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    CaptumMethod("guided-backprop", network).attribute(inputs(), target=0)
    assert network.training and all(p.grad is None and p.requires_grad for p in network.parameters())
    assert not any(module._forward_hooks for module in network.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_captums_noise_tunnel_and_metrics_take_it() -> None:
    x = inputs()
    method = CaptumMethod("gradient", small_network())
    smooth = captum.attr.NoiseTunnel(method).attribute(x, nt_samples=2, target=1)
    assert smooth.shape == x.shape
    most = captum.metrics.sensitivity_max(method.attribute, x, target=1, n_perturb_samples=2)
    assert most.shape == (2,) and bool((most >= 0).all())


def test_a_counterfactual_gives_its_change() -> None:
    bundle, rng = cf.load_bundle("phantom"), np.random.default_rng(0)
    image = knee_phantom(draw_factors(rng), rng).image
    method = CaptumMethod("latent-walk", bundle.predictor, bundle="phantom", steps=(0.0, 2.0))
    found = method.attribute(torch.from_numpy(image.values[None]), target=1)
    strip = cf.explain(method.method, bundle.predictor, image, target="class:1", bundle=bundle)
    assert np.abs(strip.change).max() > 0
    np.testing.assert_allclose(found[0].numpy(), strip.change, atol=1e-3 * np.abs(strip.change).max())


def test_one_output_needs_no_target_and_several_do() -> None:
    one = nn.Sequential(nn.Flatten(), nn.Linear(256, 1))
    found = CaptumMethod("gradient", one).attribute(inputs())
    torch.testing.assert_close(found, one[1].weight.detach().reshape(1, 1, 16, 16).expand(2, 1, 16, 16))
    with pytest.raises(InputError, match="the model returns 2 outputs"):
        CaptumMethod("gradient", small_network()).attribute(inputs())


@pytest.mark.parametrize(
    ("given", "target", "said"),
    [
        (torch.zeros(16, 16), 1, "expected a batch"),
        ([1.0], 1, "expected one tensor"),
        (inputs(), (1, 2, 3), "name a place"),
        (inputs(), [(1, 2, 3)], "name a place"),
        (inputs(), 7, "0 to 1; got 7"),
        (inputs(), [0, 1, 1], "one for each of 2 images"),
    ],
)
def test_what_cannot_be_used_is_one_line(given: object, target: object, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        CaptumMethod("gradient", small_network()).attribute(given, target=target)
    assert "\n" not in str(caught.value)


def test_a_name_that_is_no_method_gets_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'grad-cam'"):
        CaptumMethod("grad-camm", small_network())


def test_every_registered_method_can_be_made_by_name() -> None:
    network = small_network()
    for name in EXPLAINERS.names():
        if not traits_of(name).needs_bundle:
            assert isinstance(CaptumMethod(name, network), captum.attr.Attribution)
