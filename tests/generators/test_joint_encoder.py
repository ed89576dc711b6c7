"""A generator trained together with an encoder, a spatial code in its latents, a projected discriminator."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from contrafact.core import ContrafactError, InputError
from contrafact.counterfactual import mean_curvature
from contrafact.generators import (
    EncoderConfig,
    ResNetEncoder,
    StyleGAN2,
    StyleGAN2Config,
    StyleGAN2Training,
    TrainerConfig,
    train_encoder,
)

SIZE = {"resolution": 32, "channel_base": 128, "channel_max": 8, "z_dim": 8, "w_dim": 8}
PLAIN, SPATIAL = StyleGAN2Config(**SIZE), StyleGAN2Config(**SIZE, spatial=2)
ENCODER = EncoderConfig(width=4, batch=8)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(n: int = 32) -> torch.Tensor:
    """Bright squares at random places on a dark ground, uint8."""
    draw = np.random.default_rng(0)
    out = np.full((n, 1, 32, 32), 40, np.uint8)
    for one in out:
        y, x = draw.integers(0, 20, 2)
        one[0, y : y + 12, x : x + 12] = 200
    return torch.from_numpy(out)


def bright(x: torch.Tensor) -> torch.Tensor:
    return 4 * x.mean(dim=(1, 2, 3))[:, None]


def run(size: StyleGAN2Config = SPATIAL, *, guide: object = bright, **changes: object) -> StyleGAN2Training:
    settings = {"kimg": 0.5, "batch": 8, "joint": 1.0, "path_after_kimg": 0.0, "path_every": 2, **changes}
    return StyleGAN2Training(size, TrainerConfig(**settings), images(), encoder=ENCODER, guide=guide)


def test_a_spatial_code_is_a_part_of_the_latent_and_says_where() -> None:
    torch.manual_seed(0)
    generator = StyleGAN2(SPATIAL)
    assert generator.latent_size == 8 + 2 * 4 * 4
    latents = generator.sample(500, rng()).detach()
    assert latents.shape == (500, 40)
    w, code = generator.split(latents)
    assert w.shape == (500, 8) and code is not None and code.shape == (500, 2, 4, 4)
    assert abs(float(code.mean())) < 0.05
    assert float(code.std()) == pytest.approx(1, abs=0.05)
    torch.nn.init.ones_(generator.synthesis.from_code.weight)  # type: ignore[union-attr]
    changed = latents[:1].clone()
    changed[0, 8] += 5  # the cell at the top left of the first channel
    with torch.no_grad():
        where = (generator.decode(changed) - generator.decode(latents[:1])).abs()[0, 0]
    assert float(where[:16, :16].sum()) > 3 * float(where[16:, 16:].sum())


def test_without_its_code_a_generator_draws_what_it_drew_before_it_had_one() -> None:
    torch.manual_seed(0)
    old, new = StyleGAN2(PLAIN), StyleGAN2(SPATIAL)
    new.load_state_dict(old.state_dict(), strict=False)
    latents = new.sample(4, rng())
    alone = torch.cat([latents[:, :8], torch.zeros(4, 32)], dim=1)
    assert torch.equal(new.decode(alone), old.decode(latents[:, :8]))
    assert not torch.equal(new.decode(latents), new.decode(alone))


def test_truncation_shortens_w_and_code() -> None:
    generator = StyleGAN2(SPATIAL)
    whole, half = generator.sample(4, rng()), generator.sample(4, rng(), psi=0.5)
    middle = torch.cat([generator.mapping.w_avg, torch.zeros(32)])
    assert torch.allclose(half - middle, 0.5 * (whole - middle), atol=1e-6)


@pytest.mark.parametrize(("changes", "told"), [({"spatial": -1}, "spatial"), ({"resolution": 16}, "below 32")])
def test_a_code_that_has_no_place_is_refused(changes: dict[str, int], told: str) -> None:
    with pytest.raises(InputError, match=told):
        StyleGAN2Config(**{**SIZE, "spatial": 2, **changes})


def test_an_encoder_gives_w_and_code_of_the_generator() -> None:
    encoder = ResNetEncoder.of(StyleGAN2(SPATIAL), width=4)
    assert encoder(torch.zeros(3, 1, 32, 32)).shape == (3, 40)
    with pytest.raises(InputError, match="compact"):
        ResNetEncoder.of(StyleGAN2(SPATIAL), kind="resnet50")


def test_the_curvature_is_measured_in_every_dimension() -> None:
    torch.manual_seed(0)
    generator = StyleGAN2(SPATIAL)
    torch.nn.init.ones_(generator.synthesis.from_code.weight)  # type: ignore[union-attr]
    curvature = mean_curvature(generator, rng())
    assert curvature.shape == (40, 40)
    assert bool((curvature.diagonal() > 0).all())


@pytest.mark.parametrize("size", [PLAIN, SPATIAL])
def test_a_run_with_an_encoder_resumes_bit_for_bit(size: StyleGAN2Config) -> None:
    a, b = run(size), run(size)
    for _ in range(2):
        a.step()
    b.restore(a.state())
    for one in (a, b):
        for _ in range(2):
            one.step()
    first, second = a.state(), b.state()
    assert first.keys() == second.keys()
    assert [k for k in first if not torch.equal(first[k], second[k])] == []
    assert any(k.startswith("adam_joint") for k in first)


def test_generator_and_encoder_learn_to_draw_real_images() -> None:
    made = run(rate=0.005)

    def error() -> float:
        real = images().float() / 127.5 - 1
        with torch.no_grad():
            return float((made.generator.decode(made.joint.encoder(real)) - real).abs().mean())  # type: ignore[union-attr]

    before = error()
    for _ in range(60):
        made.step()
    assert error() < 0.6 * before
    code = made.generator.synthesis.from_code
    assert code is not None
    assert bool(code.weight.any())


def test_the_models_score_takes_part_and_may_be_missing() -> None:
    with_score, without = run(), run(guide=None)
    for one in (with_score, without):
        one.step()
    assert with_score.figures["joint_score"] >= 0
    assert "joint_score" not in without.figures


def test_the_latents_loss_does_not_train_the_generator() -> None:
    made = run(guide=None)
    joint, latents = made.joint, made.generator.sample(4, rng())
    assert joint is not None
    fakes = made.generator.decode(latents.requires_grad_())
    real = images(4).float() / 127.5 - 1
    encoded = joint.encoder(real)
    loss, _ = joint.loss(real, real.clone(), encoded, latents, fakes)
    loss.backward()
    assert all(p.grad is None for p in made.generator.parameters())
    assert any(p.grad is not None and bool(p.grad.any()) for p in joint.encoder.parameters())


def test_a_loss_that_is_not_finite_is_told_before_it_changes_a_weight() -> None:
    made = run(guide=lambda x: x.mean(dim=(1, 2, 3))[:, None] * float("nan"))
    before = made.joint.encoder.state_dict()["w_avg"].clone()  # type: ignore[union-attr]
    weights = [p.detach().clone() for p in made.generator.parameters()]
    with pytest.raises(ContrafactError, match="not a finite number"):
        made.step()
    assert torch.equal(before, made.joint.encoder.w_avg)  # type: ignore[union-attr]
    assert all(torch.equal(a, b) for a, b in zip(weights, made.generator.parameters(), strict=True))


def test_a_run_begins_with_a_trained_generator_and_its_encoder() -> None:
    torch.manual_seed(1)
    old = StyleGAN2(PLAIN)
    encoder = ResNetEncoder.of(old, width=4)
    made = run()
    made.begin_with(old.state_dict(), encoder.state_dict())
    latents = made.generator.sample(3, rng()).detach()
    latents[:, 8:] = 0
    for network in (made.generator, made.average):
        assert torch.equal(network.decode(latents), old.decode(latents[:, :8]))
    joint = made.joint
    assert joint is not None
    assert torch.equal(joint.encoder.network.conv1.weight, encoder.network.conv1.weight)
    assert torch.allclose(
        joint.encoder.w_avg[:8], made.generator.sample(4096, rng())[:, :8].mean(dim=0), atol=0.05
    )
    with pytest.raises(InputError, match="other weights|size mismatch|same configuration|this configuration"):
        made.begin_with({**old.state_dict(), "other": torch.zeros(1)})


def test_mixing_two_latents_in_one_image_does_not_go_with_an_encoder() -> None:
    with pytest.raises(InputError, match="mixing must be 0 with joint"):
        TrainerConfig(joint=1.0, mixing=0.5)


def test_an_encoder_goes_on_from_the_one_of_the_joint_training() -> None:
    made = run()
    for _ in range(3):
        made.step()
    joint = made.joint
    assert joint is not None
    config = EncoderConfig(width=4, batch=4, steps=1, rate=1e-9)
    start = {k: v.clone() for k, v in joint.encoder.state_dict().items()}
    _, encoder = next(iter(train_encoder(made.average, images(), config, start=start)))
    assert torch.allclose(encoder.network.conv1.weight, start["network.conv1.weight"], atol=1e-6)


def test_a_projected_discriminator_trains_beside_the_own_one() -> None:
    pytest.importorskip(
        "efficientnet_lite_pytorch", reason="needs its features: pip install 'contrafact[translator]'"
    )
    a, b = (run(projected=0.2) for _ in range(2))
    a.step()
    assert a.figures["loss_p"] > 0
    assert a.figures["joint_features"] > 0
    b.restore(a.state())
    for one in (a, b):
        one.step()
    first, second = a.state(), b.state()
    assert [k for k in first if not torch.equal(first[k], second[k])] == []
