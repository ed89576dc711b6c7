"""The generator of anatomy and findings: exact where it must be, and trained on phantoms."""

from __future__ import annotations

import dataclasses
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from torch import Tensor, nn

from contrafact.bundles import load_bundle, save_bundle
from contrafact.bundles.fit_config import guided
from contrafact.bundles.fitting import fit, fit_stages, read_config, training_images
from contrafact.cli.arguments import possible_methods
from contrafact.core import ContrafactError, Grid, Image, InputError, Question, UnsupportedError, explain
from contrafact.counterfactual import (
    Bundle,
    LatentIntegratedGradients,
    LatentStatistics,
    MedXGANCounterfactual,
    Refinement,
    decision_boundary,
    invert,
    spread,
)
from contrafact.generators import (
    LEGACY,
    EncoderConfig,
    LegacyConfig,
    LegacyDiscriminator,
    LegacyMedXGAN,
    LegacyTrainerConfig,
    LegacyTraining,
    MedXGAN,
    MedXGANConfig,
    MedXGANTrainerConfig,
    MedXGANTraining,
    ResNetEncoder,
    train_encoder,
    train_generator,
)
from contrafact.generators.augmentation import signed
from contrafact.generators.losses import total_variation
from contrafact.generators.seeding import seeded
from contrafact.io import read_cohort, read_tensors
from contrafact.metrics import trust_card_of_strip
from contrafact.models import BlackBox, TorchPredictor
from contrafact.phantoms import lesion_phantom
from two_findings import AS_THEY_ARE, TwoFindings, four, two_findings

SIZE = MedXGANConfig(resolution=16, anatomy=16, pathology=4, channel_base=128, channel_max=16)
TINY = {"resolution": 8, "anatomy": 6, "pathology": 3, "channel_base": 64, "channel_max": 8}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def phantoms(n: int = 128, *, axes: int = 2, side: int = 16, channels: int = 1) -> Tensor:
    """Every second one has a lesion."""
    draw = np.random.default_rng(0)
    found = [
        lesion_phantom(draw, side=side, radius=side * 0.2 * (i % 2), contrast=80, axes=axes).image.values
        for i in range(n)
    ]
    return torch.from_numpy(np.stack(found)).round().byte().repeat_interleave(channels, dim=1)


class BrightSpot(nn.Module):
    """Logit 12 (brightest spot - limit), of images in [-1, 1]: the spot is a soft maximum of means of 3
    pixels a side, the limit half way between phantoms with and without a lesion."""

    limits = {(2, 64): 0.55, (2, 16): 0.30, (2, 8): 0.18, (3, 8): 0.22}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(12.0))

    def forward(self, x: Tensor) -> Tensor:
        pool = F.avg_pool2d if x.ndim == 4 else F.avg_pool3d
        spots = pool(x.mean(dim=1, keepdim=True), 3, 1).flatten(1)
        limit = self.limits.get((x.ndim - 2, x.shape[-1]), 0.3)
        logit = self.weight * (0.05 * torch.logsumexp(spots / 0.05, dim=1) - limit)
        return torch.stack([-logit, logit], dim=1) / 2


def guide(x: Tensor) -> Tensor:
    """The log-odds (N, 1) of a lesion."""
    return BrightSpot().requires_grad_(False)(x).diff(dim=1)


def training(size: MedXGANConfig = SIZE, images: Tensor | None = None, **changes: Any) -> MedXGANTraining:
    config = MedXGANTrainerConfig(**{"batch": 8, "precision": "fp32", "kimg": 0.1, **changes})
    images = (
        phantoms(side=size.resolution, axes=size.axes, channels=size.channels) if images is None else images
    )
    return MedXGANTraining(size, config, images, guide=guide)


@pytest.fixture(scope="module")
def trained() -> MedXGANTraining:
    run = training(batch=8, gamma=0.02, kimg=10, guide=5.0)
    for _ in range(350):
        run.step()
    return run


@pytest.mark.parametrize(("axes", "channels", "classes"), [(2, 1, 1), (2, 3, 2), (3, 1, 1), (3, 3, 2)])
def test_no_finding_is_exactly_the_anatomy_alone(axes: int, channels: int, classes: int) -> None:
    generator = MedXGAN(MedXGANConfig(**TINY, axes=axes, channels=channels, classes=classes)).eval()
    latents = generator.sample(6, rng())
    a, p = generator.split(latents)
    assert generator.image_shape == (channels, *(8,) * axes)
    assert latents.shape == (6, generator.latent_size)
    negative = generator.negative(latents)
    assert torch.equal(generator.decode(negative), generator.synthesis(a + 0)), "p = 0 leaves no trace"
    assert torch.equal(generator.decode(negative), generator.decode(torch.cat([a, 0 * p], dim=1)))
    assert torch.equal(generator.strength(negative), torch.zeros(6, classes))
    style = generator.pathology(p)
    torch.testing.assert_close(generator.pathology(2.5 * p), 2.5 * style, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(generator.pathology(-p), -style), "no finding is the opposite of another"
    half = generator.decode(latents, dtype=torch.bfloat16)
    torch.testing.assert_close(half, generator.decode(latents), atol=0.2, rtol=0.2)


def test_strengths_are_drawn_from_0_to_1_one_finding_at_a_time() -> None:
    generator = MedXGAN(MedXGANConfig(**TINY, classes=3))
    codes = generator.draw_pathology(3000, rng())
    strength = generator.strength(torch.cat([torch.zeros(3000, 6), codes], dim=1))
    assert ((strength > 0).sum(dim=1) == 1).all()
    s = strength.sum(dim=1)
    assert float((s > 0.999).float().mean()) == pytest.approx(0.5, abs=0.03)
    assert float(s[s < 0.999].mean()) == pytest.approx(0.5, abs=0.03)
    absent = generator.strength(generator.sample(3000, rng())).sum(dim=1) == 0
    assert float(absent.float().mean()) == pytest.approx(0.5, abs=0.03)
    generator.levels.copy_(torch.tensor([[-2.0, 4.0], [0.0, 1.0], [-1.0, 1.0]]))
    torch.testing.assert_close(generator.expected(torch.full((1, 3), 0.5)), torch.tensor([[1.0, 0.5, 0.0]]))


def test_total_variation_of_a_step_is_its_height_over_the_side() -> None:
    image = torch.zeros(1, 1, 8, 8)
    image[..., 4:] = 3.0
    assert float(total_variation(image)) == pytest.approx(3.0 / 7)
    assert float(total_variation(torch.full((1, 1, 4, 4, 4), 2.0))) == 0.0


@pytest.mark.parametrize(("axes", "channels", "precision"), [(2, 1, "bf16"), (2, 3, "fp32"), (3, 1, "fp32")])
def test_a_resumed_run_takes_the_very_same_next_steps(axes: int, channels: int, precision: str) -> None:
    size = MedXGANConfig(**TINY, axes=axes, channels=channels)
    augment = "symmetric-slice" if axes == 2 else "none"
    how = {"precision": precision, "augment": augment, "mirror": True, "r1_every": 2}
    a = training(size, **how)
    a.augment_p = 0.5
    for _ in range(3):
        a.step()
    kept = a.state()
    for _ in range(3):
        a.step()
    b = training(size, **how)
    b.restore(kept)
    for _ in range(3):
        b.step()
    first, second = a.state(), b.state()
    assert first.keys() == second.keys()
    assert [k for k in first if not torch.equal(first[k], second[k])] == []
    with pytest.raises(InputError, match="saved state of a 16 px medxgan run"):
        training().restore(kept)


@pytest.mark.slow
def test_the_logit_rises_with_the_strength_and_the_negative_is_negative(trained: MedXGANTraining) -> None:
    generator = trained.average
    with torch.no_grad():
        a, _ = generator.split(generator.sample(64, rng(5)))
        u = generator.draw_code(64, rng(6))
        logits = [float(guide(generator.decode(torch.cat([a, s * u], dim=1))).mean()) for s in (0, 0.5, 1)]
    low, high = generator.levels[0].tolist()
    assert low < 0 < high
    assert logits[0] < logits[1] < logits[2]
    assert logits[2] - logits[0] > 0.5 * (high - low), logits
    assert logits[0] < 0 < logits[2], logits


@pytest.mark.parametrize("axes", [2, 3])
def test_the_discriminator_may_judge_at_a_smaller_side(axes: int) -> None:
    config = MedXGANTrainerConfig(kimg=0.1, batch=4, precision="fp32", judged=8)
    size = dataclasses.replace(SIZE, axes=axes)
    images = phantoms(16, axes=axes)

    def bright(x: Tensor) -> Tensor:
        return x.flatten(1).amax(dim=1) - 0.2

    run = MedXGANTraining(size, config, images, guide=bright)
    run.step()
    whole = MedXGANTraining(size, dataclasses.replace(config, judged=None), images, guide=bright)
    counts = [len(list(r.discriminator.blocks)) for r in (run, whole)]
    assert counts == [1, 2]
    x = torch.rand(2, 1, *(16,) * axes)
    grain = torch.tensor([1.0, -1.0]).repeat(8)  # finer than what is judged
    np.testing.assert_allclose(
        run.discriminator(run._augment(x + grain)).detach(),
        run.discriminator(run._augment(x)).detach(),
        atol=1e-5,
    )
    with pytest.raises(InputError, match="judged must be at most the resolution, 16; got 32"):
        MedXGANTraining(size, dataclasses.replace(config, judged=32), images, guide=bright)
    for wrong in (0, 4, 12):
        with pytest.raises(InputError, match="judged must be a power of two from 8, or None; got"):
            dataclasses.replace(config, judged=wrong)


def test_noise_that_the_guide_answers_to_is_taken_back() -> None:
    images = phantoms(16)

    def bright(x: Tensor) -> Tensor:
        return 12 * (F.avg_pool2d(x, 3, 1).flatten(1).amax(dim=1) - 0.3)

    clean = signed(images).flatten(1)

    def grained(x: Tensor, how: float) -> Tensor:
        """The higher, the farther from every training image: by the noise's variance."""
        return bright(x) + how * torch.cdist(x.flatten(1), clean).amin(dim=1).square() / clean.shape[1]

    config = MedXGANTrainerConfig(kimg=0.1, batch=4, precision="fp32")
    low, high = MedXGANTraining(SIZE, config, images, guide=bright).generator.levels[0].tolist()
    some = 0.1 * (high - low) / 0.035**2  # a tenth of the gap by noise of 0.035: 0.05 is too much, 0.025 is not
    guides = (bright, lambda x: grained(x, some), lambda x: grained(x, 1e9))
    found = [MedXGANTraining(SIZE, config, images, guide=guide).noise for guide in guides]
    assert found == [0.05, 0.025, 0.0]
    rare = images[[*range(0, 16, 2), 1, 3]]  # two of ten have it: their answers count as well

    def shy(x: Tensor) -> Tensor:
        y = bright(x)
        return torch.where(y > 0, grained(x, -some), y)

    assert MedXGANTraining(SIZE, config, rare, guide=shy).noise == 0.025
    half = images.repeat(16, 1, 1, 1)  # 256 in turn, and answers that noise alone would not call logits
    assert MedXGANTraining(SIZE, config, half, guide=lambda x: bright(x).sign() / 2).noise == 0.05
    run = MedXGANTraining(SIZE, config, images, guide=bright)
    run.step()
    assert run.figures["noise"] == 0.05


def test_the_runner_of_generators_runs_it() -> None:
    run = training(MedXGANConfig(**TINY), kimg=0.05)
    reports = list(train_generator(run, report_kimg=0.03, quality_images=16))
    assert reports[-1].done == run.seen >= 50
    assert {"loss_g", "loss_d", "guide", "change", "identity"} <= set(reports[-1].figures)
    assert "kid" in reports[-1].quality


def test_what_cannot_be_trained_is_refused() -> None:
    images = phantoms()
    with pytest.raises(InputError, match=r"images must be \(N, 1, 16, 16\); got \(4, 1, 8, 8\)"):
        training(images=torch.zeros(4, 1, 8, 8))
    with pytest.raises(InputError, match="every one of 64 lacks it"):
        training(images=images[::2])
    with pytest.raises(InputError, match="every one of 64 has it"):
        training(images=images[1::2])

    def probability(x: Tensor) -> Tensor:
        return torch.sigmoid(guide(x))

    config = MedXGANTrainerConfig(batch=8, precision="fp32")
    with pytest.raises(InputError, match="set probabilities = true"):
        MedXGANTraining(SIZE, config, images, guide=probability)
    declared = dataclasses.replace(config, probabilities=True)
    run = MedXGANTraining(SIZE, declared, images, guide=probability)
    torch.testing.assert_close(run.generator.levels, training().generator.levels, atol=1e-3, rtol=1e-3)
    with pytest.raises(InputError, match=r"guide must give \(64, 1\) logits; got \(64, 2\)"):
        MedXGANTraining(SIZE, config, images, guide=lambda x: guide(x).repeat(1, 2))
    with pytest.raises(InputError, match="NaN or infinite"):
        MedXGANTraining(SIZE, config, images, guide=lambda x: guide(x) * torch.nan)
    with pytest.raises(InputError, match="augment must be 'none' for volumes"):
        training(MedXGANConfig(**TINY, axes=3), augment="slice")
    for wrong in ({"batch": 6}, {"guide": -1.0}, {"kimg": 0.0}, {"precision": "fp8"}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            MedXGANTrainerConfig(**wrong)
    for bad in ({"axes": 4}, {"classes": 0}, {"resolution": 48}):
        with pytest.raises(InputError, match=next(iter(bad))):
            MedXGANConfig(**bad)


def test_a_loss_that_is_no_number_stops_the_run_before_it_does_harm() -> None:
    run = training()
    run.step()
    inner = run.guide.guide
    run.guide.guide = lambda x: inner(x) * torch.nan
    before = {k: v.clone() for k, v in run.generator.state_dict().items() if "w_avg" not in k}
    with pytest.raises(ContrafactError, match="guide is not a finite number at 0.0 kimg") as error:
        run.step()
    assert "\n" not in str(error.value)
    assert all(torch.equal(before[k], run.generator.state_dict()[k]) for k in before)
    run.guide.guide = inner
    run.step()
    assert all(torch.isfinite(v).all() for v in run.state().values() if v.is_floating_point())


def encoded(generator: MedXGAN, steps: int = 100) -> ResNetEncoder:
    config = EncoderConfig(steps=steps, batch=16, width=8, rate=3e-3)
    images = phantoms(axes=generator.config.axes, side=generator.config.resolution)
    *_, (_, encoder) = train_encoder(generator, images, config, guide=guide)
    return encoder.eval().requires_grad_(False)


def bundle_of(generator: MedXGAN, encoder: ResNetEncoder, predictor: TorchPredictor) -> Bundle:
    return Bundle(
        name="lesions",
        generator=generator,
        encoder=encoder,
        statistics=LatentStatistics.of(generator, rng(), samples=2000),
        window=(0.0, 255.0),
        directions=(),
        findings=((predictor.digest, "class:1"),),
        predictor=predictor,
        predictors={"spot": predictor},
    )


class InUnits(nn.Module):
    """The same network for images from 0 to 255."""

    def __init__(self) -> None:
        super().__init__()
        self.network = BrightSpot()

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.network(x / 127.5 - 1)
        return found


@pytest.fixture(scope="module")
def bundle(trained: MedXGANTraining) -> Bundle:
    predictor = TorchPredictor(InUnits(), preprocessing=AS_THEY_ARE, classes=["healthy", "lesion"])
    return bundle_of(trained.average, encoded(trained.average), predictor)


@pytest.mark.slow
def test_findings_are_removed_and_added_to_the_image_itself(bundle: Bundle) -> None:
    before = {k: v.clone() for k, v in bundle.generator.state_dict().items()}
    images = [Image(x.float().numpy()) for x in phantoms(12)]
    target = bundle.predictor.target("class:1")
    path = MedXGANCounterfactual(goal=None, several=2)
    strips = explain(path, bundle.predictor, images, target=target, bundle=bundle)
    assert all(torch.equal(before[k], v) for k, v in bundle.generator.state_dict().items()), "bit-identical"
    added, removed = strips[::2], strips[1::2]
    assert np.median([s.reconstruction_error for s in strips]) < 0.5
    assert [s.outcome for s in added].count("reached") >= 3, [s.outcome for s in added]
    assert sum(s.scores[0] < 0 < s.scores[-1] for s in added) >= 5, [s.scores for s in added]
    assert sum(s.scores[0] > 0 > s.scores[-1] for s in removed) >= 5, [s.scores for s in removed]
    for strip, image in zip(strips, images, strict=True):
        np.testing.assert_array_equal(strip.image, image.values)
        assert strip.record is not None
        assert strip.record.method == "medxgan"
        assert {"spread", "counterfactuals"} <= set(strip.record.notes)
        with bundle.predictor.frozen(), torch.no_grad():
            again = target(bundle.predictor(strip.frames))
        np.testing.assert_allclose(strip.scores, again, atol=1e-2)  # what is printed is what is shown
        assert spearmanr(strip.requested, strip.scores).statistic > 0.85
        up = strip.goal is not None and strip.goal > strip.scores[0]
        if strip.outcome == "reached":
            assert (strip.scores[-1] >= strip.goal - 1e-3) if up else (strip.scores[-1] <= strip.goal + 1e-3)
    assert all(s.goal is not None and s.goal < 0 for s in removed)
    alone = explain(path, bundle.predictor, images[3:4], target=target, bundle=bundle)[0]
    # The rounding of a batch differs from that of one image, and many steps through two networks amplify it: on
    # some processors the frames between the ends differ by more than 0.25.
    np.testing.assert_allclose(alone.scores, strips[3].scores, atol=0.5)
    np.testing.assert_allclose(alone.scores[[0, -1]], strips[3].scores[[0, -1]], atol=0.02)


@pytest.mark.slow
def test_the_other_class_is_the_same_finding_the_other_way(bundle: Bundle) -> None:
    image, path = [Image(phantoms(2)[1].float().numpy())], MedXGANCounterfactual(several=2)
    ask = {"bundle": bundle}
    one, other = (
        explain(path, bundle.predictor, image, target=bundle.predictor.target(t), **ask)[0]
        for t in ("class:1", "class:0")
    )
    np.testing.assert_allclose(one.scores, -other.scores, atol=1e-2)
    with pytest.raises(InputError, match="has findings for class:1; got target 'value:0'"):
        explain(path, bundle.predictor, image, target=bundle.predictor.target("value:0"), **ask)
    stranger = TorchPredictor(nn.Sequential(InUnits()), preprocessing=AS_THEY_ARE, classes=["a", "b"])
    with pytest.raises(InputError, match="was fitted to other models"):
        explain(path, stranger, image, target=stranger.target("class:1"), **ask)
    with pytest.raises(InputError, match="medxgan needs a bundle"):
        explain(path, bundle.predictor, image, target=bundle.predictor.target("class:1"))
    for wrong in ({"several": 0}, {"frames": 1}, {"budget": 0.0}, {"anatomy": -1.0}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            MedXGANCounterfactual(**wrong)


@pytest.mark.slow
def test_several_counterfactuals_and_where_they_differ(bundle: Bundle) -> None:
    values = phantoms(4)[::2].float().numpy()
    target = bundle.predictor.target("class:1")
    question = Question(
        predictor=bundle.predictor, images=values, target=target, grid=Grid((16, 16)), bundle=bundle
    )
    with bundle.predictor.frozen():
        several = MedXGANCounterfactual(several=6, goal=0.6).counterfactuals(question, np.random.default_rng(0))
    assert len(several) == 2
    assert max(map(len, several)) > 1
    for found, image in zip(several, values, strict=True):
        sizes = [np.abs(f - image).mean() for f in found]
        assert sizes == sorted(sizes)
    most = max(several, key=len)
    assert spread(most).shape == (16, 16)
    assert spread(most).max() > 0
    assert not spread(most[:1]).any()


@pytest.mark.slow
def test_samples_lie_on_the_decision_boundary(bundle: Bundle) -> None:
    latents = decision_boundary(bundle.generator, lambda x: guide(x)[:, 0], 8, rng())
    with torch.no_grad():
        logits = guide(bundle.generator.decode(latents))
    assert logits.abs().max() < 0.3, logits
    assert float(bundle.statistics.length(latents - bundle.statistics.mean).max()) < 15
    with pytest.raises(InputError, match="at least 1"):
        decision_boundary(bundle.generator, lambda x: guide(x)[:, 0], 0, rng())
    with pytest.raises(InputError, match="differentiable"):
        decision_boundary(bundle.generator, lambda x: torch.zeros(len(x)), 2, rng())


def test_volumes_are_trained_inverted_and_explained() -> None:
    size = MedXGANConfig(resolution=8, axes=3, anatomy=8, pathology=3, channel_base=64, channel_max=8)
    run = training(size, phantoms(32, axes=3, side=8), batch=4, precision="bf16", kimg=0.02)
    *_, last = train_generator(run, quality_images=8)
    assert "kid" in last.quality
    generator = run.average
    made = bundle_of(
        generator,
        encoded(generator, 10),
        TorchPredictor(InUnits(), preprocessing=AS_THEY_ARE, classes=["healthy", "lesion"]),
    )
    images = phantoms(2, axes=3, side=8)
    path = MedXGANCounterfactual(several=1, refinement=Refinement(steps=3), frames=3)
    ask = {"target": made.predictor.target("class:1"), "bundle": made}
    strips = explain(path, made.predictor, [Image(x.float().numpy()) for x in images], **ask)
    assert strips[0].frames.shape[1:] == (1, 8, 8, 8)
    found = invert(
        generator,
        made.encoder,
        images.float() / 127.5 - 1,
        statistics=made.statistics,
        refinement=Refinement(steps=2),
    )
    assert found.shape == (2, generator.latent_size)
    large = images.float().repeat_interleave(2, 2).repeat_interleave(2, 3).repeat_interleave(2, 4)
    torch.testing.assert_close(made.to_canvas(large), images.float() / 127.5 - 1)
    heat, wide = (
        explain(
            LatentIntegratedGradients(refinement=Refinement(steps=2)), made.predictor, [Image(x.numpy())], **ask
        )[0]
        for x in (images[1].float(), large[1])
    )
    assert heat.values.shape == (8, 8, 8)
    assert wide.values.shape == (16, 16, 16)
    strip = explain(
        path, made.predictor, [Image(large[0].numpy(), Grid((16,) * 3, spacing_mm=(1, 1, 2)))], **ask
    )[0]
    assert strip.grid.shape == (8, 8, 8)
    np.testing.assert_allclose(strip.grid.spacing_mm, (2, 2, 4))
    with pytest.raises(InputError, match="expects at least 8 x 8 x 8 pixels; got 4 x 8 x 8"):
        made.to_canvas(torch.zeros(1, 1, 4, 8, 8))
    with pytest.raises(InputError, match="expects 1-channel 3D images"):
        made.to_canvas(torch.zeros(1, 1, 8, 8))


def test_a_bundle_of_this_family_is_read_as_it_was_written(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("contrafact.bundles.store.load_predictor", lambda *_, **__: bundle.predictor)
    size = {"kind": "compact", "width": 8}
    save_bundle(tmp_path, bundle, descriptions={"spot": "spot.json"}, main="spot", encoder_size=size)
    read = load_bundle(tmp_path)
    assert isinstance(read.generator, MedXGAN)
    assert read.generator.config == bundle.generator.config
    assert read.findings == bundle.findings
    w = bundle.generator.sample(2, rng())
    torch.testing.assert_close(read.generator.decode(w), bundle.generator.decode(w), atol=0.05, rtol=0.05)
    text = (tmp_path / "bundle.json").read_text()
    (tmp_path / "bundle.json").write_text(text.replace('"family": "medxgan"', '"family": "medxgam"'))
    with pytest.raises(InputError, match="did you mean 'medxgan'"):
        load_bundle(tmp_path)


def test_the_published_networks_have_their_sizes() -> None:
    for name, weights in (("brain", 11_943_296), ("chest", 11_465_728)):
        config = LEGACY[name]
        generator = LegacyMedXGAN(config).eval()
        assert sum(p.numel() for p in generator.parameters()) == weights
        latents = generator.sample(4, rng())
        assert generator.decode(latents).shape == (4, *generator.image_shape)
        assert torch.equal(generator.negative(latents)[:, config.anatomy :], torch.zeros(4, config.pathology))
        assert torch.isfinite(LegacyDiscriminator(config).eval()(generator.decode(latents))).all()
    assert sum(p.numel() for p in LegacyDiscriminator(LEGACY["brain"]).parameters()) == 1_586_545
    weight = LegacyMedXGAN(LEGACY["brain"]).layers[0].weight
    assert float(weight.detach().std()) == pytest.approx(0.02, rel=0.02)
    with pytest.raises(InputError, match="64 or 128"):
        LegacyConfig(resolution=32)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.slow
def test_the_published_training_resumes_and_refuses(precision: str) -> None:
    size, config = (
        LegacyConfig(channels=1, anatomy=5, pathology=3),
        LegacyTrainerConfig(batch=2, precision=precision),
    )
    images = phantoms(4, side=64)
    state = torch.get_rng_state()
    a = LegacyTraining(size, config, images, guide=guide)
    a.step()
    kept = a.state()
    a.average.decode(a.average.sample(1, rng()))  # looking at it moves nothing
    a.step()
    b = LegacyTraining(size, config, images, guide=guide)
    b.restore(kept)
    b.step()
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(v, b.state()[k]) for k, v in a.state().items())
    if precision == "bf16":
        return
    with pytest.raises(InputError, match="every one of 2 lacks it"):
        LegacyTraining(size, config, images[::2], guide=guide)
    with pytest.raises(InputError, match="images must be"):
        LegacyTraining(size, config, images[:, :, :32], guide=guide)
    with pytest.raises(InputError, match="as probabilities do"):
        LegacyTraining(size, config, images, guide=lambda x: torch.sigmoid(guide(x)))
    broken = LegacyTraining(size, config, images, guide=guide)
    broken.guide.guide = lambda x: guide(x) * torch.nan
    with pytest.raises(ContrafactError, match="loss_g is not a finite number"):
        broken.step()
    with pytest.raises(InputError, match="kimg must be above 0"):
        LegacyTrainerConfig(kimg=0)


def fit_file(folder: Path, generator: str, *, side: int = 16) -> Path:
    """A fit of a few steps, on files, against a scripted model."""
    from PIL import Image as Picture

    path = fit_of(folder, Spot(BrightSpot.limits[2, side]), generator)
    for number, image in enumerate(phantoms(16, side=side)):
        Picture.fromarray(image[0].numpy()).save(folder / "images" / f"{number}.png")
    return path


def fit_of(folder: Path, model: nn.Module, generator: str) -> Path:
    """The same, for files that are still to come."""
    (folder / "images").mkdir()
    torch.jit.script(model).save(folder / "spot.pt")
    (folder / "spot.json").write_text(
        '{"model": "spot.pt", "classes": ["healthy", "lesion"], "preprocessing": {"window": [0, 255]}}'
    )
    (folder / "fit.toml").write_text(
        'name = "toy"\nout = "out"\n[data]\npath = "images"\n'
        '[models.spot]\npath = "spot.json"\ntargets = ["class:1"]\n'
        f"[generator]\n{generator}\n[training]\nkimg = 0.016\nbatch = 8\n"
        "[encoder]\nsteps = 2\nbatch = 4\nwidth = 4\n"
    )
    return folder / "fit.toml"


def test_fit_makes_a_bundle_of_this_family(tmp_path: Path) -> None:
    size = "resolution = 16\nanatomy = 6\npathology = 3\nchannel_base = 64\nchannel_max = 8"
    path = fit_file(tmp_path, f'family = "medxgan"\n{size}')
    made = fit(path, trust=True)
    assert made is not None
    assert isinstance(made.generator, MedXGAN)
    assert made.directions == ()
    possible = possible_methods(made.predictor, made)
    assert "medxgan" in possible
    assert "latent-walk" not in possible
    assert made.findings == ((made.predictor.digest, "class:1"),)
    strip = explain(
        MedXGANCounterfactual(several=1, refinement=Refinement(steps=1)),
        made.predictor,
        [Image(phantoms(1)[0].float().numpy())],
        target=made.predictor.target("class:1"),
        bundle=made,
    )[0]
    way = np.sign(strip.goal - strip.scores[0])
    assert way * (strip.scores[-1] - strip.scores[0]) >= 0, "it never goes the wrong way"
    assert strip.outcome == "already" or np.abs(strip.change).max() > 0
    text = path.read_text()
    path.write_text(text.replace('"medxgan"', '"medxgn"'))
    with pytest.raises(InputError, match="did you mean 'medxgan'"):
        fit(path, trust=True)
    path.write_text(text.replace("[generator]", "[generator]\nclasses = 2"))
    with pytest.raises(InputError, match="2 classes for 1 targets"):
        fit(path, trust=True)


class Brightest(nn.Module):
    """Logits of the brightest mean of 27 voxels, of volumes in 0..1."""

    def forward(self, x: Tensor) -> Tensor:
        spot = F.avg_pool3d(x * 2 - 1, 3, 1).flatten(1).max(1)[0]
        return torch.stack([-6.0 * (spot - 0.05), 6.0 * (spot - 0.05)], dim=1)


def test_fit_reads_volumes(tmp_path: Path) -> None:
    import nibabel

    size = "axes = 3\nresolution = 8\nanatomy = 6\npathology = 3\nchannel_base = 64\nchannel_max = 8"
    path = fit_of(tmp_path, Brightest(), f'family = "medxgan"\n{size}')
    volumes = phantoms(16, axes=3, side=16)
    for number, volume in enumerate(volumes):
        scan = nibabel.Nifti1Image(volume[0].numpy(), np.diag([2.0, 2.0, 2.0, 1.0]))
        nibabel.save(scan, tmp_path / "images" / f"{number}.nii.gz")
    made = fit(path, trust=True)
    assert made is not None
    assert made.generator.image_shape == (1, 8, 8, 8)
    assert (tmp_path / "out" / "samples.png").exists()
    strip = explain(
        MedXGANCounterfactual(several=1, refinement=Refinement(steps=1)),
        made.predictor,
        [Image(volumes[1].float().numpy(), window=(0.0, 255.0))],
        target=made.predictor.target("class:1"),
        bundle=made,
    )[0]
    assert strip.frames.shape[1:] == (1, 8, 8, 8)
    text = path.read_text()
    for file in (tmp_path / "images").iterdir():  # 8 bits a voxel, and a scale
        scan = nibabel.Nifti1Image(np.asarray(nibabel.load(file).dataobj) / 4.0, np.eye(4))
        scan.set_data_dtype(np.uint8)
        nibabel.save(scan, file)
    found = training_images(read_cohort(tmp_path / "images"), read_config(path)[0])
    assert found.dtype == torch.float32
    assert len(found.unique()) > 100
    path.write_text(text.replace("[training]", "[training]\nmirror = true").replace('"out"', '"mirrored"'))
    with pytest.raises(InputError, match="mirror must be false for volumes"):
        fit(path, trust=True)
    path.write_text(text.replace("axes = 3", "axes = 2").replace('out = "out"', 'out = "flat"'))
    with pytest.raises(InputError, match="expected 2D images of 1 channel"):
        fit(path, trust=True)


@pytest.mark.slow
def test_fit_makes_a_bundle_of_the_published_networks(tmp_path: Path) -> None:
    size = "channels = 1\nanatomy = 6\npathology = 3"
    path = fit_file(tmp_path, f'family = "medxgan-legacy"\n{size}', side=64)
    made = fit(path, trust=True)
    assert made is not None
    assert isinstance(made.generator, LegacyMedXGAN)
    assert made.generator.image_shape == (1, 64, 64)
    assert made.findings == ((made.predictor.digest, "class:1"),)
    assert not made.generator.training, "batch normalisation stands still"
    asked = {"target": made.predictor.target("class:1"), "bundle": made}
    image = [Image(phantoms(2, side=64)[1].float().numpy())]
    strip = explain(
        MedXGANCounterfactual(several=1, refinement=Refinement(steps=2)), made.predictor, image, **asked
    )[0]
    assert strip.frames.shape[1:] == (1, 64, 64)
    heat = explain(LatentIntegratedGradients(refinement=Refinement(steps=2)), made.predictor, image, **asked)[0]
    assert np.isfinite(heat.values).all()
    text = path.read_text()
    path.write_text(text.replace('["class:1"]', '["class:0", "class:1"]'))
    with pytest.raises(InputError, match="1 classes for 2 targets"):
        fit(path, trust=True)
    path.write_text(text.replace("channels = 1", "resolution = 32"))
    with pytest.raises(InputError, match="64 or 128"):
        fit(path, trust=True)


class Shares(nn.Module):
    """A network that ends in a softmax."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x).softmax(dim=1)


def test_a_model_that_ends_in_a_softmax_is_refused_or_where_it_says_so_converted() -> None:
    images = phantoms(32).float()
    logits = TorchPredictor(InUnits(), preprocessing=AS_THEY_ARE, classes=["healthy", "lesion"])
    said = TorchPredictor(
        Shares(InUnits()), preprocessing=AS_THEY_ARE, classes=["healthy", "lesion"], output="probabilities"
    )
    silent = TorchPredictor(Shares(InUnits()), preprocessing=AS_THEY_ARE, classes=["healthy", "lesion"])
    found = []
    for predictor in (logits, said):
        with guided(predictor, [predictor.target("class:1")], (0.0, 255.0)) as asked:
            found.append(MedXGANTraining(SIZE, MedXGANTrainerConfig(batch=8), images / 127.5 - 1, guide=asked))
    assert torch.isfinite(found[1].generator.levels).all()
    torch.testing.assert_close(found[1].generator.levels, found[0].generator.levels, atol=1e-2, rtol=1e-2)
    with (
        guided(silent, [silent.target("class:1")], (0.0, 255.0)) as asked,
        pytest.raises(InputError, match='"output": "probabilities"'),
    ):
        MedXGANTraining(SIZE, MedXGANTrainerConfig(batch=8), images / 127.5 - 1, guide=asked)


def test_a_fit_that_was_stopped_goes_on_at_the_very_same_step(tmp_path: Path) -> None:
    size = "resolution = 16\nanatomy = 6\npathology = 3\nchannel_base = 64\nchannel_max = 8"
    ends = []
    for name, stops in (("whole", [False] * 9), ("stopped", [True, *[False] * 9])):
        (tmp_path / name).mkdir()
        path = fit_file(tmp_path / name, f'family = "medxgan"\n{size}')
        # The precision that a timing chooses may differ between two runs on a busy machine.
        fixed = path.read_text().replace("kimg = 0.016\n", 'kimg = 0.016\nprecision = "fp32"\n')
        path.write_text(fixed)
        left = iter(stops)
        while True:
            *_, (_, progress) = fit_stages(
                path, trust=True, stage="generator", stop=lambda left=left: next(left)
            )
            if progress.done == progress.total:
                break
        ends.append(read_tensors(tmp_path / name / "out" / "checkpoint.safetensors"))
    assert next(left) is False, "it was stopped once"
    assert ends[0].keys() == ends[1].keys()
    assert [k for k in ends[0] if not torch.equal(ends[0][k], ends[1][k])] == []


def test_seeding_restores_the_random_numbers_of_the_device_too(monkeypatch: pytest.MonkeyPatch) -> None:
    forked: list[list[torch.device]] = []
    fork = torch.random.fork_rng

    def noted(devices: list[torch.device]) -> Any:
        forked.append(devices)
        return fork(devices=[])

    monkeypatch.setattr(torch.random, "fork_rng", noted)
    state = torch.get_rng_state()
    for name in ("cuda:0", "cpu"):
        with seeded(3, torch.device(name)):
            torch.rand(2)
    assert forked == [[torch.device("cuda:0")], []]
    assert torch.equal(state, torch.get_rng_state())


def test_two_findings_are_trained_each_in_its_own_code() -> None:
    def two(x: Tensor) -> Tensor:
        return torch.cat([guide(x[..., :8, :8]), guide(x[..., :8, 8:])], dim=1)

    some = phantoms(32, side=8)
    images = torch.cat([some, some[torch.arange(32) // 2]], dim=3).repeat(1, 1, 2, 1)  # none, either, both
    size = MedXGANConfig(**{**TINY, "resolution": 16}, classes=2)
    run = MedXGANTraining(size, MedXGANTrainerConfig(batch=8, precision="fp32"), images, guide=two)
    for _ in range(3):
        run.step()
    assert all(torch.isfinite(v).all() for v in run.state().values() if v.is_floating_point())
    assert run.generator.levels.shape == (2, 2)
    assert (run.generator.levels.diff(dim=1) > 0).all()
    with pytest.raises(InputError, match="every one of .* lacks it"):
        MedXGANTraining(
            size,
            MedXGANTrainerConfig(batch=8),
            images,
            guide=lambda x: torch.cat([two(x)[:, :1], two(x)[:, :1] * 0 - 5], dim=1),
        )


class Spot(nn.Module):
    """`BrightSpot`, as TorchScript takes it."""

    def __init__(self, limit: float) -> None:
        super().__init__()
        self.limit = limit

    def forward(self, x: Tensor) -> Tensor:
        spots = F.avg_pool2d(x * 2 - 1, 3, 1).flatten(1)
        logit = 12.0 * (0.05 * torch.logsumexp(spots / 0.05, dim=1) - self.limit)
        return torch.stack([-logit, logit], dim=1) / 2


@pytest.mark.parametrize("finding", [0, 1])
def test_the_smallest_strength_is_its_closed_form_and_touches_one_finding_only(finding: int) -> None:
    made = two_findings()
    target = made.predictor.target(f"class:{finding}")
    ask = {"target": target, "bundle": made}
    path = MedXGANCounterfactual(refinement=Refinement(steps=0), budget=2.0)
    goal = float(np.log(9))
    removed = explain(path, made.predictor, [four(0.9, 0.9, 0.3, -0.2)], **ask)[0]
    assert removed.outcome == "reached"
    assert -goal - 0.03 <= removed.scores[-1] <= -goal  # 3 (s - 1), s from 1.9 to 0.27, halved 8 times
    np.testing.assert_allclose(removed.latent_distance[-1], 1.9 - (1 - goal / 3), atol=0.01)
    added = explain(path, made.predictor, [four(-1, -1, 0.3, -0.2)], **ask)[0]
    assert added.outcome == "reached"
    assert goal <= added.scores[-1] <= goal + 0.03
    assert added.record.notes["counterfactuals"] == 4
    assert added.record.notes["spread"] == pytest.approx(0, abs=0.1), "every code of a strength looks the same"
    for strip in (removed, added):
        changed = np.abs(strip.change.reshape(4)) > 1e-3
        assert changed.tolist() == [k == finding for k in range(4)]
        np.testing.assert_allclose(np.diff(strip.scores, 2), 0, atol=1e-3)  # equal strengths, equal steps
        np.testing.assert_allclose(strip.requested, np.linspace(0, strip.goal - strip.scores[0], 9), atol=1e-5)


class Emptied(TwoFindings):
    """Its codes can be taken away."""

    def negative(self, latents: Tensor) -> Tensor:
        return F.pad(latents[:, :4], (0, 4))


def test_an_image_beyond_the_goal_has_no_counterfactuals() -> None:
    made = two_findings()
    values = np.stack([four(strength, 0, 0, 0).values for strength in (0.9, -0.9)])
    question = Question(
        predictor=made.predictor,
        images=values,
        target=made.predictor.target("class:0"),
        grid=Grid((2, 2)),
        bundle=made,
    )
    path = MedXGANCounterfactual(goal=0.9, refinement=Refinement(steps=0))
    with made.predictor.frozen():
        beyond, other = path.counterfactuals(question, np.random.default_rng(0))
    assert len(beyond) == 0
    assert len(other) > 0


def test_no_code_answers_to_some_targets() -> None:
    made = dataclasses.replace(two_findings(), generator=Emptied())
    made = dataclasses.replace(made, findings=made.findings[:1])
    one, two = (made.predictor.target(f"class:{k}") for k in range(2))
    above = made.excess(made.predictor, one)
    assert above is not None
    # An anatomy of 1 alone: a log-odds of 3, which is 5.2 above -2.2, of a gap of 4.4.
    assert above(F.one_hot(torch.tensor([0]), 8).float()).tolist() == pytest.approx([5.2 / 4.4], abs=1e-5)
    assert made.excess(made.predictor, two) is None


def test_kept_latents_are_those_of_their_own_bundle() -> None:
    found: dict[str, Tensor] = {}
    one = dataclasses.replace(two_findings(), found=found)
    other = dataclasses.replace(one, generator=OneWay())
    image, path = [four(0.9, 0, 0, 0)], MedXGANCounterfactual(refinement=Refinement(steps=0), follow=False)
    kept = [
        explain(path, b.predictor, image, target=b.predictor.target("class:0"), bundle=b)[0].record.notes
        for b in (one, other, one)
    ]
    assert ["latents_kept" in notes for notes in kept] == [False, False, True]
    assert len(found) == 2


class Narrow(TwoFindings):
    """It has learned pixels up to 1 / 4."""

    def decode(self, w: Tensor) -> Tensor:
        return super().decode(w).clamp(-0.25, 0.25)


def test_an_image_far_from_the_training_data_is_flagged_and_one_out_of_range_refused() -> None:
    made = dataclasses.replace(two_findings(), generator=Narrow())
    ask = {"target": made.predictor.target("class:0"), "bundle": made}
    path = MedXGANCounterfactual(refinement=Refinement(steps=0))
    near, far = explain(path, made.predictor, [four(0.9, 0.3, 0.3, -0.2), four(6.0, 0.3, 0.3, -0.2)], **ask)
    assert not near.above_tolerance
    assert far.above_tolerance
    assert far.reconstruction_error == pytest.approx(
        3 * (6 - 2), abs=1e-2
    )  # logits 3 w, of which it draws w = 2 at most
    [drift] = [check for check in trust_card_of_strip(far) if check.name == "drift"]
    assert "do not rely on this counterfactual" in drift.sentence
    with pytest.raises(InputError, match="takes values from 0 to 255"):
        explain(path, made.predictor, [four(90.0, 0.3, 0.3, -0.2)], **ask)


@pytest.mark.parametrize(
    ("w", "settings", "most", "why"),
    [
        ((-1.0, -1.0, 0.0, 0.0), {}, 9.0, "budget"),  # a strength of 1.73 is asked, 1.25 allowed
        ((0.9, 0.0, 0.0, 0.0), {}, 1.0, "search"),  # the code holds a part of the finding only
        ((0.9, 0.0, 0.0, 0.0), {}, 0.01, "no_change"),
        ((0.9, 0.0, 0.0, 0.0), {"goal": 0.8}, 9.0, "already"),
    ],
)
def test_it_says_why_it_stopped(
    w: tuple[float, ...], settings: dict[str, float], most: float, why: str
) -> None:
    made = two_findings(most)
    path = MedXGANCounterfactual(refinement=Refinement(steps=0), anatomy=None, **settings)
    ask = {"target": made.predictor.target("class:0"), "bundle": made}
    strip = explain(path, made.predictor, [four(*w)], **ask)[0]
    assert strip.outcome == why
    assert not strip.above_tolerance
    assert len(strip.frames) == (1 if why == "already" else 9)
    assert strip.record.notes["counterfactuals"] == 0


class OneWay(TwoFindings):
    """Finding k brightens pixel k by the first number of its code: most drawn codes point elsewhere."""

    def decode(self, w: Tensor) -> Tensor:
        p = w[:, 4:].unflatten(1, (2, 2))[:, :, 0]
        return ((w[:, :4] + F.pad(p, (0, 2))) / 8).reshape(-1, 1, 2, 2)


def test_the_code_is_turned_by_the_model_until_the_goal_is_reached() -> None:
    made = dataclasses.replace(two_findings(), generator=OneWay())
    ask = {"target": made.predictor.target("class:0"), "bundle": made}
    settings = {"refinement": Refinement(steps=0), "budget": 2.0, "several": 4, "goal": 0.9, "anatomy": None}
    images = [four(-1, -1, 0.3, -0.2), four(-1, -1, 0.1, 0.4)]
    drawn = explain(MedXGANCounterfactual(**settings, follow=False), made.predictor, images, **ask)
    led = explain(MedXGANCounterfactual(**settings), made.predictor, images, **ask)
    assert any(s.outcome != "reached" for s in drawn), "else there is nothing to lead"
    goal = float(np.log(9))
    for strip, straight in zip(led, drawn, strict=True):
        assert strip.outcome == "reached"
        assert goal <= strip.scores[-1] <= goal + 0.2
        np.testing.assert_allclose(strip.change.reshape(4)[0] / 127.5 * 8, 1 + goal / 3, atol=0.07)
        np.testing.assert_allclose(strip.change.reshape(4)[1:], 0, atol=1e-3)
        assert strip.latent_distance[-1] <= 2.0 + 1e-4, "the code stays within the budget"
        assert strip.record.notes["anatomy"] == 0
        if straight.outcome == "reached":
            np.testing.assert_array_equal(strip.frames, straight.frames)
    alone = explain(MedXGANCounterfactual(**settings), made.predictor, images[1:], **ask)[0]
    np.testing.assert_allclose(alone.scores, led[1].scores, atol=1e-3)


class Long(OneWay):
    """Codes ten times as long, as the published networks have them."""

    def decode(self, w: Tensor) -> Tensor:
        return super().decode(torch.cat([w[:, :4], w[:, 4:] / 10], dim=1))

    def draw_code(self, n: int, rng: torch.Generator) -> Tensor:
        return 10 * super().draw_code(n, rng)

    def strength(self, latents: Tensor) -> Tensor:
        return super().strength(latents) / 10


def test_the_budget_is_a_strength_whatever_the_length_of_a_code() -> None:
    found = []
    for generator in (OneWay(), Long()):
        made = dataclasses.replace(two_findings(), generator=generator)
        path = MedXGANCounterfactual(refinement=Refinement(steps=0), several=2, anatomy=None)
        ask = {"target": made.predictor.target("class:0"), "bundle": made}
        found.append(explain(path, made.predictor, [four(-1, -1, 0.3, -0.2)], **ask)[0])
    short, long = found
    assert short.outcome == long.outcome == "budget"  # a strength of 1.73 is asked
    assert long.latent_distance[-1] == pytest.approx(
        12.5, abs=1e-3
    )  # the whole of 1.25, in standard deviations
    np.testing.assert_allclose(long.scores, short.scores, atol=1e-2)


def test_the_anatomy_moves_only_where_the_code_is_not_enough_and_its_price_holds_it() -> None:
    made = two_findings()
    ask = {"target": made.predictor.target("class:0"), "bundle": made}
    image = [four(-1, -1, 0.3, -0.2)]
    moved = {}
    for price in (0.0, 0.3, 100.0):
        path = MedXGANCounterfactual(refinement=Refinement(steps=0), several=1, budget=1.25, anatomy=price)
        strip = explain(path, made.predictor, image, **ask)[0]
        moved[price] = strip.record.notes["anatomy"]
        assert (np.abs(strip.change.reshape(4)[1:]) < 1e-3).all(), "no other pixel, no other finding"
        assert strip.outcome == ("reached" if price < 1 else "budget")
    need = 1 + float(np.log(9)) / 3 - 1.25  # one pixel of four: half of it as root mean square
    assert moved[0.3] == pytest.approx(need / 2, abs=0.1)
    assert moved[100.0] < 0.2 * moved[0.3]
    enough = MedXGANCounterfactual(refinement=Refinement(steps=0), several=1, budget=2.0)
    assert explain(enough, made.predictor, image, **ask)[0].record.notes["anatomy"] == 0


def test_a_black_box_keeps_the_drawn_ways() -> None:
    made = two_findings()
    asked = made.predictor

    def ask(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        with torch.no_grad():
            return asked(torch.from_numpy(values)).numpy()

    box = BlackBox(ask, classes=["one", "two"], output="sigmoid", digest=asked.digest)
    path = MedXGANCounterfactual(refinement=Refinement(steps=0), several=2, budget=1.25)
    image, target = [four(-1, -1, 0.3, -0.2)], box.target("class:0")
    one = explain(path, box, image, target=target, bundle=made)[0]
    other = explain(dataclasses.replace(path, follow=False), box, image, target=target, bundle=made)[0]
    assert one.outcome == "budget"
    np.testing.assert_array_equal(one.frames, other.frames)


class Hills:
    """One number w is drawn as its height sin(3 w) + w / 2 in every pixel: the nearest dent is not the best."""

    image_shape = (1, 2, 2)
    latent_size = 1

    def decode(self, w: Tensor) -> Tensor:
        return ((3 * w).sin() + w / 2)[:, :, None, None].expand(-1, 1, 2, 2) / 2

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        return torch.randn(n, 1, generator=rng)


class Wrong(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return torch.zeros(len(images), 1)


class Double(LatentStatistics):
    """Its factor is of another kind than latents are, as on another device."""

    @cached_property
    def factor(self) -> Tensor:
        return torch.linalg.cholesky(self.covariance.double())


def test_a_restart_is_kept_where_it_ends_better_image_by_image() -> None:
    hills, statistics = Hills(), LatentStatistics(torch.zeros(1), 16 * torch.eye(1))
    wanted = torch.tensor([[0.3], [2.6], [-2.6]])
    images = hills.decode(wanted)

    def error(restarts: int, rows: slice = slice(None)) -> Tensor:
        how = Refinement(prior=0.0, restarts=restarts)
        w = invert(hills, Wrong(), images[rows], statistics=statistics, refinement=how)
        return (hills.decode(w) - images[rows]).square().mean(dim=(1, 2, 3))

    one, several = error(0), error(8)
    assert float(one[0]) < 1e-4
    assert float(one.max()) > 2e-3, "from the encoder's latent alone one of them is not found"
    assert float(several.max()) < 1e-3
    torch.testing.assert_close(error(8, slice(1, 2)), several[1:2], atol=1e-6, rtol=1e-4)
    double = Double(statistics.mean, statistics.covariance)
    how = Refinement(prior=0.0, restarts=1, steps=1)
    ours, same = (invert(hills, Wrong(), images, statistics=s, refinement=how) for s in (double, statistics))
    torch.testing.assert_close(ours.float(), same)
    for wrong in ({"restarts": -1}, {"feature": -0.1}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            Refinement(**wrong)


def test_features_of_the_model_are_part_of_the_refinement() -> None:
    hills, statistics = Hills(), LatentStatistics(torch.zeros(1), torch.eye(1))
    images = hills.decode(torch.tensor([[0.3]]))
    looked: list[int] = []

    def mirrored(x: Tensor) -> Tensor:
        looked.append(len(x))
        return x if len(looked) == 1 else -x  # what the model makes of a drawing is its negative

    how = Refinement(prior=0.0, feature=100.0)
    w = invert(hills, Wrong(), images, statistics=statistics, refinement=how, features=mirrored)
    torch.testing.assert_close(hills.decode(w), -images, atol=0.02, rtol=0.1)
    asked = len(looked)
    assert asked == 1 + 3 * how.steps + 1  # three times the steps without a known curvature
    invert(hills, Wrong(), images, statistics=statistics, refinement=Refinement(), features=mirrored)
    assert len(looked) == asked, "at weight 0 nobody asks"
    made = two_findings()
    ask = {"target": made.predictor.target("class:0"), "bundle": made}
    with pytest.raises(UnsupportedError, match="feature map"):
        explain(MedXGANCounterfactual(refinement=how), made.predictor, [four(0, 0, 0, 0)], **ask)


class Blocks(TwoFindings):
    """Finding 0 brightens four blocks of 4 x 4: by its strength the first, by a fifth of it the others."""

    image_shape = (1, 32, 32)

    def decode(self, w: Tensor) -> Tensor:
        p = w[:, 4:6].norm(dim=1)[:, None, None, None]
        image = torch.zeros(len(w), 1, 32, 32)
        for number, (row, column) in enumerate([(6, 6), (6, 24), (24, 6), (24, 24)]):
            image[:, :, row : row + 4, column : column + 4] = p / 8 / (5 if number else 1)
        return image - 0.1


class FirstBlock(nn.Module):
    """Logits of the first block's mean: -3 without the finding, 3 at strength 2; it sees the second block
    `second` times as well."""

    def __init__(self, second: float = 0.0) -> None:
        super().__init__()
        self.second = nn.Parameter(torch.tensor(second))

    def forward(self, images: Tensor) -> Tensor:
        w = ((images / 127.5 - 1) + 0.1) * 8
        first, other = w[:, :, 6:10, 6:10].mean(dim=(1, 2, 3)), w[:, :, 6:10, 24:28].mean(dim=(1, 2, 3))
        score = 3 * (first + self.second * other) - 3
        return torch.stack([score, -score], dim=1)


class Healthy(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.new_zeros(len(images), 8)


def blocks(second: float = 0.0) -> Bundle:
    predictor = TorchPredictor(
        FirstBlock(second), preprocessing=AS_THEY_ARE, classes=["one", "two"], output="sigmoid"
    )
    made = two_findings()
    return dataclasses.replace(
        made,
        generator=Blocks(),
        encoder=Healthy(),
        findings=((predictor.digest, "class:0"),),
        predictor=predictor,
    )


@pytest.mark.parametrize("follow", [True, False])
def test_only_the_part_that_changes_the_answer_is_changed(follow: bool) -> None:
    made, image = blocks(), Image(np.full((1, 32, 32), 0.9 * 127.5, np.float32), window=(0, 255))
    ask = {"target": made.predictor.target("class:0"), "bundle": made}
    settings = {"refinement": Refinement(steps=0), "budget": 2.5, "several": 1, "follow": follow}
    whole = explain(MedXGANCounterfactual(**settings, keep=None), made.predictor, [image], **ask)[0]
    part = explain(MedXGANCounterfactual(**settings), made.predictor, [image], **ask)[0]
    for strip, area in ((whole, 1.0), (part, 0.08)):
        assert strip.outcome == "reached"
        assert strip.scores[-1] == pytest.approx(np.log(9), abs=0.1)
        assert strip.record.notes["area"] == pytest.approx(area, abs=0.03)
        np.testing.assert_allclose(np.diff(strip.scores, 2), 0, atol=1e-3)
    size = np.abs(part.change[0])
    assert size[6:10, 6:10].min() > 0.8 * np.abs(whole.change[0])[6:10, 6:10].min()
    size[4:12, 4:12] = 0  # with a soft edge
    assert not size.any()
    assert np.abs(whole.change[0])[24:28, 24:28].min() > 5


class Sided(Blocks):
    """Its finding lies in the first block, or in the last one where the anatomy says so."""

    def decode(self, w: Tensor) -> Tensor:
        image = super().decode(w)
        return torch.where((w[:, 0] > 0)[:, None, None, None], image.flip(2, 3).roll((2, 2), (2, 3)), image)


class Side(nn.Module):
    """Bright images have it in the last block."""

    def forward(self, images: Tensor) -> Tensor:
        return F.pad(images.mean(dim=(1, 2, 3))[:, None] + 0.2, (0, 7))


class BothBlocks(nn.Module):
    """The first block or the last, whichever is brighter."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(3.0))

    def forward(self, images: Tensor) -> Tensor:
        level = images.flatten(1).median(dim=1).values[:, None, None, None]
        w = ((images - level) / 127.5 * 8).relu()
        first, last = (w[:, :, k : k + 4, k : k + 4].mean(dim=(1, 2, 3)) for k in (6, 24))
        score = self.gain * torch.maximum(first, last) - 3
        return torch.stack([score, -score], dim=1)


def test_each_image_of_a_batch_has_its_own_part() -> None:
    predictor = TorchPredictor(
        BothBlocks(), preprocessing=AS_THEY_ARE, classes=["one", "two"], output="sigmoid"
    )
    made = dataclasses.replace(
        blocks(),
        generator=Sided(),
        encoder=Side(),
        findings=((predictor.digest, "class:0"),),
        predictor=predictor,
    )
    images = [Image(np.full((1, 32, 32), v * 127.5, np.float32), window=(0, 255)) for v in (0.7, 0.9)]
    ask = {"target": predictor.target("class:0"), "bundle": made}
    path = MedXGANCounterfactual(refinement=Refinement(steps=0), budget=2.5, several=2)
    together = explain(path, predictor, images, **ask)
    for image, strip, place in zip(images, together, (slice(4, 12), slice(22, 30)), strict=True):
        assert strip.outcome == "reached"
        size = np.abs(strip.change[0])
        assert size[place, place].max() > 5
        size[place, place] = 0
        assert not size.any()
        np.testing.assert_allclose(explain(path, predictor, [image], **ask)[0].frames, strip.frames, atol=1e-3)


class Turned(Blocks):
    """Only the first number of the code is seen: a drawn one must be turned."""

    def decode(self, w: Tensor) -> Tensor:
        return super().decode(F.pad(w[:, 4:5], (4, 3)))


def test_code_is_led_on_within_the_part() -> None:
    made = dataclasses.replace(blocks(second=0.5), generator=Turned())
    image = Image(np.full((1, 32, 32), 0.9 * 127.5, np.float32), window=(0, 255))
    ask = {"target": made.predictor.target("class:0"), "bundle": made}
    settings = {"refinement": Refinement(steps=0), "several": 1, "goal": 0.9, "budget": 2.2, "anatomy": None}
    drawn = explain(MedXGANCounterfactual(**settings, follow=False), made.predictor, [image], **ask)[0]
    assert drawn.outcome != "reached", "else there is nothing to lead on"
    strip = explain(MedXGANCounterfactual(**settings), made.predictor, [image], **ask)[0]
    assert strip.outcome == "reached"
    size = np.abs(strip.change[0])
    size[4:12, 4:12] = 0
    assert not size.any()


def test_a_part_that_changes_as_much_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    made, image = blocks(), Image(np.full((1, 32, 32), 0.9 * 127.5, np.float32), window=(0, 255))
    ask = {"target": made.predictor.target("class:0"), "bundle": made}
    settings = {"refinement": Refinement(steps=0), "several": 1, "budget": 2.0}
    whole = explain(MedXGANCounterfactual(**settings, keep=None), made.predictor, [image], **ask)[0]
    twice = lambda walker, rows, *_, **__: 2 * torch.ones_like(walker.images[rows])  # noqa: E731
    monkeypatch.setattr("contrafact.counterfactual.medxgan.change_mask", twice)
    same = explain(MedXGANCounterfactual(**settings), made.predictor, [image], **ask)[0]
    np.testing.assert_array_equal(same.frames, whole.frames)
    assert same.record.notes["area"] == 1.0


def test_the_model_is_followed_within_the_part_where_it_alone_is_not_enough() -> None:
    made, image = blocks(second=0.5), Image(np.full((1, 32, 32), 0.9 * 127.5, np.float32), window=(0, 255))
    ask = {"target": made.predictor.target("class:0"), "bundle": made}
    # 0.9 of the whole is not enough for a goal that the whole just reaches: the first block by itself is
    # 0.91 of it, so a stronger code within the budget is looked for, or a larger part.
    settings = {"refinement": Refinement(steps=0), "several": 1, "goal": 0.5}
    starts = {}
    for budget in (0.92, 1.25):
        strip = explain(MedXGANCounterfactual(**settings, budget=budget), made.predictor, [image], **ask)[0]
        starts[budget] = strip
        assert strip.outcome == "reached"
        assert strip.scores[-1] == pytest.approx(0, abs=0.1)
    size = np.abs(starts[1.25].change[0])
    size[4:12, 4:12] = 0
    assert not size.any(), "there is room for the code to grow within the first block"
    assert starts[0.92].record.notes["area"] < 0.3, "no room: the larger part that reaches the goal by itself"


def test_what_is_beyond_the_goal_already_has_no_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("contrafact.counterfactual.medxgan.change_mask", lambda *_, **__: pytest.fail("asked"))
    made, image = blocks(), Image(np.full((1, 32, 32), 0.9 * 127.5, np.float32), window=(0, 255))
    ask = {"target": made.predictor.target("class:0"), "bundle": made}
    path = MedXGANCounterfactual(refinement=Refinement(steps=0), goal=0.06)
    strip = explain(path, made.predictor, [image], **ask)[0]  # 0.047 as it is
    assert (strip.outcome, strip.record.notes["area"]) == ("already", 0.0)


def test_a_part_that_the_answer_needs_stays_and_a_change_that_all_counts_stays_whole() -> None:
    made, image = blocks(second=2.0), Image(np.full((1, 32, 32), 0.9 * 127.5, np.float32), window=(0, 255))
    ask = {"target": made.predictor.target("class:0"), "bundle": made}
    settings = {"refinement": Refinement(steps=0), "budget": 2.5, "several": 1}
    part = explain(MedXGANCounterfactual(**settings), made.predictor, [image], **ask)[0]
    size = np.abs(part.change[0])
    assert size[7:9, 25:27].min() > 3, "it counts, though it changes least"
    two = two_findings()
    ask = {"target": two.predictor.target("class:0"), "bundle": two}
    settings = {"refinement": Refinement(steps=0), "budget": 2.0, "several": 1}
    ends = [
        explain(MedXGANCounterfactual(**settings, keep=keep), two.predictor, [four(-1, -1, 0.3, -0.2)], **ask)[
            0
        ]
        for keep in (None, 0.9)
    ]
    np.testing.assert_array_equal(ends[0].frames, ends[1].frames)  # of one pixel nothing can be left out
    assert ends[1].record.notes["area"] == 1.0


def test_the_share_to_keep_is_checked() -> None:
    for wrong in (0.0, -0.5, 1.5):
        with pytest.raises(InputError, match="keep must be above 0 and at most 1, or None"):
            MedXGANCounterfactual(keep=wrong)


def test_the_sign_of_the_discriminator_is_a_mean_over_the_batch() -> None:
    run = training(batch=8)
    for steps in (1, 2, 3):
        run.step()
        assert run.signs[1] == steps and abs(run.signs[0]) <= steps


def test_a_guide_sees_images_in_their_units() -> None:
    class Mean(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1).mean(dim=1, keepdim=True)

    model = TorchPredictor(Mean(), preprocessing=AS_THEY_ARE, classes=["grey"], output="regression")
    levels = torch.tensor([-1.0, 0.0, 0.5, 1.0]).reshape(4, 1, 1, 1).expand(4, 1, 3, 3)
    with guided(model, [model.target("value:0")] * 2, (-200.0, 600.0)) as asked:
        assert asked(levels).tolist() == [[-200.0] * 2, [200.0] * 2, [400.0] * 2, [600.0] * 2]
