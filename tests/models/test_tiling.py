"""A window over a volume: what it blends, and that its gradient is the gradient of the blend."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import contrafact as cf
from contrafact.core import Image, InputError, UnsupportedError
from contrafact.models import TiledPredictor, TorchPredictor


def network(axes: int, *, kernel: int = 3) -> nn.Module:
    conv = {2: nn.Conv2d, 3: nn.Conv3d}[axes]
    with torch.random.fork_rng():
        torch.manual_seed(4)
        pad = kernel // 2
        return nn.Sequential(
            conv(1, 3, kernel, padding=pad), nn.LeakyReLU(0.3), conv(3, 2, kernel, padding=pad)
        )


def tiled(axes: int, *, kernel: int = 3, patch: int = 6, **more: object) -> TiledPredictor:
    inner = TorchPredictor(network(axes, kernel=kernel), classes=["no", "yes"])
    return TiledPredictor(inner, (patch,) * axes, **more)


def images(axes: int) -> Tensor:
    return torch.rand(2, 1, *(11, 9, 8)[:axes], generator=torch.Generator().manual_seed(1))


def blended(model: TiledPredictor, x: Tensor) -> Tensor:
    """The same, written out, for autograd to differentiate."""
    maps, total = torch.zeros(len(x), 2, *x.shape[2:]), torch.zeros(x.shape[2:])
    weights = model.weights(x.shape[2:])
    for window in model.windows(x.shape[2:]):
        placed, counted = torch.zeros_like(maps), torch.zeros_like(total)
        placed[(..., *window)] = weights * model.predictor(x[(..., *window)])
        counted[window] = weights
        maps, total = maps + placed, total + counted
    return maps / total


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("blend", ["gaussian", "constant"])
def test_the_gradient_of_any_target_is_exact(blend: str, axes: int) -> None:
    model, x = tiled(axes, blend=blend, overlap=0.4), images(axes)

    def target(maps: Tensor) -> Tensor:  # not additive over patches: squares of the blended map
        return maps[:, 1].square().sum() + torch.logsumexp(maps.flatten(), 0)

    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    torch.testing.assert_close(model(a), blended(model, b), atol=1e-6, rtol=1e-5)
    (ours,) = torch.autograd.grad(target(model(a)), a)
    (truth,) = torch.autograd.grad(target(blended(model, b)), b)
    torch.testing.assert_close(ours, truth, atol=1e-5, rtol=1e-5)


@pytest.mark.filterwarnings("ignore::contrafact.core.EmptyMapWarning")
def test_a_model_that_looks_at_single_voxels_does_not_notice_the_window() -> None:
    model, x = tiled(3, kernel=1), images(3)
    torch.testing.assert_close(model(x), model.predictor(x).detach(), atol=1e-6, rtol=1e-5)
    image = Image(x[0].numpy())
    for method, more in (("gradient", {}), ("integrated-gradients", {"steps": 4}), ("occlusion", {"box": 4})):
        whole = cf.explain(method, model.predictor, image, target="region:0", **more)
        parts = cf.explain(method, model, image, target="region:0", **more)
        np.testing.assert_allclose(parts.values, whole.values, atol=1e-6)


def test_one_patch_holds_all_of_a_small_image() -> None:
    model = tiled(2, patch=16)
    x = images(2)
    assert model.windows(x.shape[2:]) == [(slice(0, 11), slice(0, 9))]
    torch.testing.assert_close(model(x), model.predictor(x).detach(), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("overlap", "starts"),
    [(0.0, [0, 6, 12]), (0.25, [0, 5, 10, 12]), (0.5, [0, 3, 6, 9, 12]), (0.75, [0, 2, 4, 6, 8, 10, 12])],
)
def test_neighbouring_patches_share_what_was_asked(overlap: float, starts: list[int]) -> None:
    assert [rows.start for rows, _ in tiled(2, overlap=overlap).windows((18, 6))] == starts


def test_out_of_memory_halves_the_batch_and_then_says_what_to_do() -> None:
    model, x = tiled(2, batch=4), images(2)
    expected = model(x)
    inner, sizes = model.predictor, []

    class Small:
        def __init__(self, most: int) -> None:
            self.most = most

        def __call__(self, parts: Tensor) -> Tensor:
            sizes.append(len(parts))
            if len(parts) > self.most:
                raise torch.OutOfMemoryError("no room")
            return inner(parts)

    model.predictor = Small(2)
    torch.testing.assert_close(model(x), expected)
    assert sizes[:3] == [8, 4, 2]
    assert model.batch == 1
    model.predictor = Small(0)
    with pytest.raises(InputError, match="use a smaller patch"):
        model(x)


def test_what_does_not_fit_is_said() -> None:
    inner = TorchPredictor(network(2), classes=["no", "yes"])
    for more, says in (
        ({"patch": (0, 4)}, "at least 1 voxel"),
        ({"patch": (4, 4), "overlap": 1.0}, "below 1"),
        ({"patch": (4, 4), "blend": "soft"}, "gaussian or constant"),
    ):
        with pytest.raises(InputError, match=says):
            TiledPredictor(inner, **more)
    with pytest.raises(InputError, match="2 spatial axes"):
        tiled(2)(images(3))
    shrinks = TorchPredictor(nn.Conv2d(1, 2, 3), classes=["no", "yes"])
    with pytest.raises(InputError, match="maps of its patch's size"):
        TiledPredictor(shrinks, (6, 6))(images(2))
    with pytest.raises(UnsupportedError, match="no layer map of the whole volume"):
        cf.explain("gradcam", tiled(2), Image(images(2)[0].numpy()), target="region:0")


@pytest.mark.parametrize(
    "method", ["layer-deeplift", "gradcam", "layer-conductance", "deeplift", "guided-gradcam"]
)
def test_a_method_of_layers_is_refused_in_words(method: str) -> None:
    image = Image(np.ones((1, 11, 9, 8), np.float32))
    with pytest.raises(UnsupportedError, match="layer"):
        cf.explain(method, tiled(3), image, target="volume:1")
