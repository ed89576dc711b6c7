"""Truths of each method: closed forms, identities, and an independent library."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.attr import LayerGradCam
from torch import nn

from conftest import noise_image, small_network
from contrafact import explain
from contrafact.attribution import RISE
from contrafact.core import Image, InputError, Question, UnsupportedError
from contrafact.models import TorchPredictor
from contrafact.perturbation.fill import fill_values


def linear(weights: torch.Tensor) -> TorchPredictor:
    layer = nn.Linear(weights.numel(), 1, bias=False)
    layer.weight.data = weights.reshape(1, -1)
    return TorchPredictor(nn.Sequential(nn.Flatten(), layer), classes=["value"], output="regression")


def test_integrated_gradients_of_a_linear_model_is_weight_times_difference() -> None:
    weights = torch.randn(1, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    image = noise_image(2, 1, size=6)
    heat = explain("ig", linear(weights), image, target="value:0", baseline=0.25, steps=4)
    np.testing.assert_allclose(heat.values, weights[0, 0].numpy() * (image.values[0] - 0.25), atol=1e-5)


@pytest.mark.parametrize("baseline", ["mean", "min", "blur", 0.1])
def test_integrated_gradients_is_complete(baseline: str | float) -> None:
    predictor = TorchPredictor(small_network().eval(), classes=["a", "b"])
    image = noise_image(2, 1)
    heat = explain("ig", predictor, image, target="class:1", baseline=baseline, steps=256)
    from contrafact.perturbation.fill import fill_values

    x = torch.from_numpy(image.values)[None]
    target = predictor.target("class:1")
    with torch.no_grad():
        gap = target(predictor(x)) - target(predictor(fill_values(x, baseline)))
    assert heat.values.sum() == pytest.approx(float(gap), rel=1e-2, abs=1e-5)


def test_gradcam_agrees_with_captum() -> None:
    module = small_network(channels=3).eval()
    image = noise_image(2, 3)
    ours = explain("gradcam", module, image, target="value:1", layer="3").values
    theirs = LayerGradCam(module, module[3]).attribute(
        torch.from_numpy(image.values)[None].requires_grad_(), target=1
    )
    np.testing.assert_allclose(ours, theirs[0, 0].detach().numpy(), atol=1e-6)
    assert (ours < 0).any(), "the map is signed"


def test_gradcam_names_the_nearest_layer() -> None:
    with pytest.raises(InputError, match="did you mean"):
        explain("gradcam", small_network(), noise_image(2, 1), target="value:0", layer="33")


def test_gradcam_needs_a_spatial_layer() -> None:
    with pytest.raises(UnsupportedError, match="feature map; '7' has none"):
        explain("gradcam", small_network(), noise_image(2, 1), target="value:0", layer="7")
    no_convolution = nn.Sequential(nn.Flatten(), nn.Linear(256, 2))
    with pytest.raises(UnsupportedError, match="name a layer"):
        explain("gradcam", no_convolution, noise_image(2, 1), target="value:0")


def test_occlusion_of_a_linear_model_is_the_mass_under_the_box() -> None:
    weights = torch.ones(1, 1, 8, 8)
    image = noise_image(2, 1, size=8)
    heat = explain("occlusion", linear(weights), image, target="value:0", box=2, stride=2, fill=0.0)
    boxes = image.values[0].reshape(4, 2, 4, 2).sum(axis=(1, 3))
    np.testing.assert_allclose(heat.values, np.kron(boxes, np.ones((2, 2))), rtol=1e-5)
    assert heat.record.forward_passes == 17


def test_by_default_a_box_is_an_eighth_of_each_side_and_the_next_half_a_box_further() -> None:
    weights = torch.rand(1, 1, 32, 16, generator=torch.Generator().manual_seed(0))
    image = Image(np.random.default_rng(0).uniform(0, 1, (1, 32, 16)).astype(np.float32))
    heat = explain("occlusion", linear(weights), image, target="value:0", fill=0.0)
    same = explain("occlusion", linear(weights), image, target="value:0", fill=0.0, box=(4, 2), stride=(2, 1))
    np.testing.assert_array_equal(heat.values, same.values)
    assert heat.record.forward_passes == 15 * 15 + 1


def test_occlusion_hides_under_a_blur_so_that_a_box_is_no_finding() -> None:
    """A model that looks for edges is told more by a flat box than by the image."""

    class Edges(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.diff(dim=-1).abs().amax(dim=(1, 2, 3, 4))[:, None]

    values = np.zeros((1, 4, 32, 32), dtype=np.float32)
    values[..., :] = np.linspace(0, 10, 32)
    values[:, 1:3, 14:17, 14:17] += 3
    blind = TorchPredictor(Edges(), output="regression")
    flat, blurred = (
        explain("occlusion", blind, Image(values), target="value:0", box=(4, 4, 4), **more).values
        for more in ({"fill": "mean"}, {})
    )
    assert flat.min() < -1
    assert blurred.min() > -0.1 and blurred.max() == blurred[:, 14:17, 14:17].max() > 0.5


def test_an_image_is_filled_channel_by_channel() -> None:
    images = torch.rand(2, 3, 5, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor(
        [1.0, 10, 100]
    ).view(3, 1, 1)
    for fill, value in (("mean", images.mean(dim=(2, 3))), ("min", images.amin(dim=(2, 3)))):
        torch.testing.assert_close(fill_values(images, fill), value[:, :, None, None].expand_as(images))


def test_a_slab_of_one_slice_again_and_again_is_blurred_as_the_slice() -> None:
    slices = torch.rand(1, 1, 32, 24, generator=torch.Generator().manual_seed(0))
    slab = slices[:, :, None].expand(-1, -1, 4, -1, -1)
    torch.testing.assert_close(fill_values(slab, "blur")[:, :, 2], fill_values(slices, "blur"))


def test_occlusion_covers_every_voxel_and_refuses_gaps_and_large_boxes() -> None:
    image = noise_image(2, 1, size=9)
    heat = explain(
        "occlusion", linear(torch.ones(1, 1, 9, 9)), image, target="value:0", box=4, stride=3, fill=0
    )
    assert (heat.values > 0).all()
    with pytest.raises(InputError, match="box must be at most"):
        explain("occlusion", linear(torch.ones(1, 1, 9, 9)), image, target="value:0", box=99)
    with pytest.raises(InputError, match="stride must be at most"):
        explain("occlusion", linear(torch.ones(1, 1, 9, 9)), image, target="value:0", box=2, stride=4)
    with pytest.raises(InputError, match="did you mean 'blur'"):
        explain("occlusion", linear(torch.ones(1, 1, 9, 9)), image, target="value:0", fill="blurr")


def test_occlusion_on_a_model_that_takes_another_size() -> None:
    from contrafact.models import Preprocessing

    predictor = TorchPredictor(small_network(), classes=["a", "b"], preprocessing=Preprocessing(size=(8, 8)))
    heat = explain("occlusion", predictor, noise_image(2, 1, size=20), target="class:0")
    assert heat.values.shape == (20, 20)


def test_a_list_gives_a_list_and_a_name_is_answered_with_the_nearest() -> None:
    images = [noise_image(2, 1, seed=s) for s in range(3)]
    assert len(explain("occlusion", small_network(), images, target="value:0")) == 3
    with pytest.raises(InputError, match="did you mean 'gradcam'"):
        explain("gradcamm", small_network(), images)
    with pytest.raises(InputError, match="class index must be 0 to 1; got 7"):
        explain("gradcam", small_network(), images, target="class:7")
    with pytest.raises(InputError, match="expected an Image"):
        explain("gradcam", small_network(), [{"no": "image"}], target="class:1")


@pytest.mark.filterwarnings("ignore::contrafact.core.EmptyMapWarning")  # its weights are zero
def test_without_a_target_the_preferred_class_is_explained() -> None:
    image = Image(np.full((1, 6, 6), 2.0))
    module = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    module[1].weight.data.zero_()
    module[1].bias.data = torch.tensor([0.0, 0.0, 5.0])
    heat = explain("occlusion", module, image)
    assert heat.record.target == "class:2"


@pytest.mark.parametrize("size", [(20, 17), (9, 8, 7)])
def test_the_masks_of_rise_go_in_pairs_and_are_the_same_for_any_batch(size: tuple[int, ...]) -> None:
    image, found, maps = Image(np.ones((1, *size), dtype=np.float32)), [], []
    for batch in (1, 3, 64):
        shown: list[torch.Tensor] = []

        def seen(x: torch.Tensor, kept: list[torch.Tensor] = shown) -> torch.Tensor:
            kept.append(x[:, 0].clone())
            return x.flatten(1)[:, :2] - 5  # below 0: outputs from 0 to 1 would be looked at once more

        predictor = TorchPredictor(small_network())
        predictor.module.forward = seen  # type: ignore[method-assign]
        question = Question(
            predictor=predictor, images=image.values[None], target=lambda y: y[:, 0], grid=image.grid
        )
        rise = RISE(masks=70, cells=4, fill=0.0, batch=batch)
        maps.append(rise(question, np.random.default_rng(3)))
        found.append(torch.cat(shown))
    torch.testing.assert_close(found[0][::2] + found[0][1::2], torch.ones(35, *size))
    assert float((found[0][0] - found[0][2]).abs().max()) > 0.1
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
    np.testing.assert_allclose(maps[0], maps[2], atol=1e-5)


def test_one_feature_is_too_few_for_a_weighted_fit() -> None:
    """Captum's own error told of tensors of size 0."""
    with pytest.raises(InputError, match="at least 2 features of the image; got 1; set a greater count"):
        explain("kernel-shap", small_network(), Image(np.ones((1, 16, 16))), target="class:1", count=1)


@pytest.mark.parametrize("method", ["gradcam", "layercam", "xgradcam"])
def test_a_layer_that_the_target_does_not_depend_on_is_told_by_its_name(method: str) -> None:
    class TwoBranches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(1, 2, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.second(x)  # an auxiliary head, of which the output makes no use
            return self.first(x).mean(dim=(2, 3))

    predictor = TorchPredictor(TwoBranches().eval(), classes=["a", "b"], output="regression")
    with pytest.raises(UnsupportedError, match="the target value:0 does not depend on layer 'second'"):
        explain(method, predictor, noise_image(2, 1), target="value:0", layer="second")
