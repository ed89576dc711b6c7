"""Identities of the StyleGAN2 specification (arXiv 1912.04958), each by numbers."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from contrafact.core import InputError
from contrafact.generators import Discriminator, StyleGAN2, StyleGAN2Config
from contrafact.generators.discriminator import minibatch_deviation
from contrafact.generators.layers import EqualConv2d, EqualLinear, ModulatedConv2d, leaky, smooth, upsample
from contrafact.generators.losses import (
    clean_gradients,
    generator_loss,
    lazy_adam,
    path_lengths,
    path_penalty,
    r1_penalty,
)

SMALL = StyleGAN2Config(resolution=16, channel_base=128, channel_max=16, z_dim=8, w_dim=8)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("demodulate", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_scaling_form_equals_grouped_form(
    up: bool, demodulate: bool, dtype: torch.dtype, tolerance: float
) -> None:
    layer = ModulatedConv2d(6, 5, w_dim=7, up=up, demodulate=demodulate, gain=1.3).to(dtype)
    x, w = torch.randn(4, 6, 8, 8, generator=rng()).to(dtype), torch.randn(4, 7, generator=rng(1)).to(dtype)
    ours = layer(x, w)
    layer.grouped = True
    theirs = layer(x, w)
    assert ours.shape == (4, 5, 16, 16) if up else (4, 5, 8, 8)
    torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=tolerance)


def test_demodulated_output_has_unit_variance() -> None:
    layer = ModulatedConv2d(64, 64, w_dim=16)
    x = torch.randn(16, 64, 16, 16, generator=rng())
    y = layer(x, torch.randn(16, 16, generator=rng(1)))[..., 2:-2, 2:-2]
    assert float(y.detach().std()) == pytest.approx(1.0, abs=0.05)


def test_enlarging_keeps_a_constant_and_equals_bilinear_inside() -> None:
    x = torch.randn(1, 3, 8, 8, generator=rng())
    torch.testing.assert_close(upsample(torch.full((1, 1, 4, 4), 2.5)), torch.full((1, 1, 8, 8), 2.5))
    # The transposed convolution with one centre tap, then the filter, is bilinear enlarging.
    weight = torch.zeros(3, 1, 3, 3)
    weight[:, :, 1, 1] = 1
    filtered = smooth(F.conv_transpose2d(x, weight, stride=2, groups=3))
    torch.testing.assert_close(filtered[..., 2:-2, 2:-2], upsample(x)[..., 2:-2, 2:-2], atol=1e-6, rtol=1e-5)


def test_equalised_layers_scale_as_specified() -> None:
    layer = EqualLinear(16, 8, bias=0.5, rate=0.01)
    x = torch.randn(3, 16, generator=rng())
    expected = x @ (layer.weight * 0.01 / 4).t() + 0.5
    torch.testing.assert_close(layer(x), expected)
    conv = EqualConv2d(4, 2, 3, gain=2.0)
    image = torch.randn(1, 4, 5, 5, generator=rng())
    torch.testing.assert_close(conv(image), F.conv2d(image, conv.weight * 2 / 6, padding=1))


@pytest.mark.parametrize("resolution", [8, 32, 64, 128, 256, 512])
def test_number_of_style_inputs(resolution: int) -> None:
    config = StyleGAN2Config(resolution=resolution, channel_base=resolution * 2, channel_max=8)
    assert config.num_ws == 2 * int(math.log2(resolution)) - 2
    assert config.sides[-1] == resolution


def test_parameter_counts_of_the_published_sizes() -> None:
    config = StyleGAN2Config(
        resolution=256,
        channels=3,
        z_dim=512,
        w_dim=512,
        mapping_layers=8,
        channel_base=16384,
        channel_max=512,
    )
    generator = sum(p.numel() for p in StyleGAN2(config).parameters())
    discriminator = sum(p.numel() for p in Discriminator(config).parameters())
    assert generator / 1e6 == pytest.approx(24.77, abs=0.05)
    assert discriminator / 1e6 == pytest.approx(24.00, abs=0.05)


@pytest.mark.parametrize("channels", [1, 2, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_any_channels_in_any_precision(channels: int, dtype: torch.dtype) -> None:
    config = StyleGAN2Config(
        resolution=16, channels=channels, channel_base=128, channel_max=16, z_dim=8, w_dim=8
    )
    generator, discriminator = StyleGAN2(config), Discriminator(config)
    w = generator.sample(4, rng())
    images = generator.synthesis(w, dtype=dtype)
    assert images.dtype == torch.float32
    assert images.shape == (4, channels, 16, 16)
    torch.testing.assert_close(images, generator.decode(w), atol=0.15, rtol=0.1)
    assert torch.isfinite(discriminator(images, dtype=dtype)).all()


def test_noise_is_off_by_default_and_seeded_when_on() -> None:
    generator = StyleGAN2(SMALL)
    w = generator.sample(2, rng())
    assert torch.equal(generator.synthesis(w, rng=rng(1)), generator.synthesis(w, rng=rng(2)))
    noisy = StyleGAN2(StyleGAN2Config(**{**vars_of(SMALL), "noise": True}))
    for conv in noisy.synthesis.convs:
        torch.nn.init.constant_(conv.strength, 0.5)
    a, b, c = (noisy.synthesis(w, rng=rng(s)) for s in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def vars_of(config: StyleGAN2Config) -> dict[str, int | bool]:
    return {name: getattr(config, name) for name in StyleGAN2Config.__dataclass_fields__}


def test_labels_change_the_latent_and_must_be_given() -> None:
    generator = StyleGAN2(StyleGAN2Config(**{**vars_of(SMALL), "labels": 3}))
    z, labels = torch.randn(3, 8, generator=rng()), torch.eye(3)
    assert not torch.allclose(generator.mapping(z, labels), generator.mapping(z, labels.roll(1, 0)))
    with pytest.raises(InputError, match="expected labels"):
        generator.mapping(z)
    assert generator.sample(5, rng()).shape == (5, 8)
    discriminator = Discriminator(generator.config)
    images = torch.randn(3, 1, 16, 16, generator=rng())
    one = discriminator(images, labels)
    assert one.shape == (3,)
    assert not torch.allclose(one, discriminator(images, labels.roll(1, 0)))


def test_truncation_pulls_towards_the_average() -> None:
    generator = StyleGAN2(SMALL)
    for _ in range(600):
        generator.mapping(torch.randn(64, 8), track=True)
    full, half, none = (generator.sample(200, rng(), psi=p) for p in (1.0, 0.5, 0.0))
    average = generator.mapping.w_avg
    torch.testing.assert_close(half - average, (full - average) / 2, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(none, average.expand(200, -1))
    away = (full.mean(dim=0) - average).abs().mean() / full.std(dim=0).mean()
    assert float(away.detach()) < 0.2


def test_samples_are_the_same_on_every_call_with_one_seed() -> None:
    generator = StyleGAN2(SMALL)
    assert torch.equal(generator.sample(3, rng(4)), generator.sample(3, rng(4)))


def test_minibatch_deviation_of_equal_images_is_zero_and_of_two_kinds_known() -> None:
    same = torch.ones(4, 2, 3, 3)
    assert float(minibatch_deviation(same)[:, 2].max()) == pytest.approx(1e-4, abs=1e-6)
    two = torch.cat([torch.zeros(2, 2, 3, 3), torch.ones(2, 2, 3, 3)])
    torch.testing.assert_close(minibatch_deviation(two)[:, 2], torch.full((4, 3, 3), 0.5), atol=1e-4, rtol=0)
    assert minibatch_deviation(torch.randn(5, 2, 3, 3)).shape == (5, 3, 3, 3)


def test_r1_of_a_linear_critic_is_its_closed_form() -> None:
    slope = torch.randn(1, 4, 4, generator=rng())

    def critic(images: Tensor) -> Tensor:
        return (images * slope).sum(dim=(1, 2, 3))

    penalty = r1_penalty(critic, torch.randn(5, 1, 4, 4), gamma=3.0)
    assert float(penalty) == pytest.approx(1.5 * float(slope.square().sum()), rel=1e-5)


def test_path_penalty_of_a_linear_generator_vanishes_once_its_mean_is_known() -> None:
    # image pixel i = w_i: J'y has the expected length sqrt(mean over one layer of sum y_i^2 / HW).
    ws = torch.randn(2000, 1, 4, generator=rng(), requires_grad=True)
    lengths = path_lengths(lambda w: w[:, 0].reshape(-1, 1, 2, 2), ws, rng(1))
    assert float(lengths.square().mean()) == pytest.approx(1.0, rel=0.05)
    mean = torch.zeros(())
    constant = torch.full((8,), 2.0)
    for _ in range(1500):
        penalty = path_penalty(constant, mean)
    assert float(penalty) < 1e-6
    assert float(mean) == pytest.approx(2.0, abs=1e-3)


def test_lazy_adam_is_corrected_for_its_interval() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    group = lazy_adam([parameter], rate=0.002, interval=16).param_groups[0]
    assert group["lr"] == pytest.approx(0.002 * 16 / 17)
    assert group["betas"] == (0.0, pytest.approx(0.99 ** (16 / 17)))
    assert lazy_adam([parameter], rate=0.002, interval=0).param_groups[0]["lr"] == 0.002


def test_broken_gradients_are_replaced_and_counted() -> None:
    parameter = torch.nn.Parameter(torch.zeros(3))
    parameter.grad = torch.tensor([float("nan"), float("inf"), -float("inf")])
    assert clean_gradients([parameter]) == 1
    assert parameter.grad.tolist() == [0.0, 1e5, -1e5]


def test_losses_at_zero_and_the_leaky_gain() -> None:
    assert float(generator_loss(torch.zeros(3))) == pytest.approx(math.log(2))
    x = torch.randn(100_000, generator=rng())
    assert float(leaky(x).square().mean()) == pytest.approx(2 * (0.5 + 0.5 * 0.04), rel=0.02)


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"resolution": 48}, "power of two"), ({"channels": 0}, "channels must be"), ({"labels": -1}, "labels")],
)
def test_impossible_sizes_are_refused(changes: dict[str, int], words: str) -> None:
    with pytest.raises(InputError, match=words):
        StyleGAN2Config(**changes)
