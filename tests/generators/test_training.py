"""The trainer: it resumes bit for bit, augments as promised, and names what is wrong."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from contrafact.core import ContrafactError, InputError
from contrafact.generators import (
    PRESETS,
    EncoderConfig,
    RandomFeatures,
    StyleGAN2Config,
    StyleGAN2Training,
    TrainerConfig,
    augment,
    frechet_distance,
    kernel_distance,
    kernel_distance_interval,
    precision,
    train_encoder,
    train_generator,
)
from contrafact.generators.augmentation import apply_warp, draw_warp, next_probability
from contrafact.generators.diagnostics import TrainingMonitor
from contrafact.generators.gan_run import move_average

SIZE = StyleGAN2Config(resolution=8, channel_base=64, channel_max=8, z_dim=8, w_dim=8)
BUSY = {"path_after_kimg": 0.0, "path_every": 2, "r1_every": 2, "mixing": 0.5, "mirror": True}


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(n: int = 64, seed: int = 0) -> torch.Tensor:
    """Bright squares at random places on a dark ground, uint8."""
    draw = np.random.default_rng(seed)
    out = np.full((n, 1, 8, 8), 40, np.uint8)
    for i in range(n):
        y, x = draw.integers(0, 5, 2)
        out[i, 0, y : y + 4, x : x + 4] = 200
    return torch.from_numpy(out)


def training(**changes: object) -> StyleGAN2Training:
    config = TrainerConfig(**{"kimg": 0.5, "batch": 8, **changes})
    return StyleGAN2Training(SIZE, config, images())


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_a_resumed_run_takes_the_very_same_next_steps(precision: str) -> None:
    a = training(precision=precision, augment="extremity-xray", **BUSY)
    a.augment_p = 0.5
    for _ in range(3):
        a.step()
    kept = a.state()
    for _ in range(5):
        a.step()
    b = training(precision=precision, augment="extremity-xray", **BUSY)
    b.restore(kept)
    for _ in range(5):
        b.step()
    first, second = a.state(), b.state()
    assert first.keys() == second.keys()
    assert [k for k in first if not torch.equal(first[k], second[k])] == []


def slow_half(monkeypatch: pytest.MonkeyPatch, half: bool) -> list[torch.dtype]:
    """A clock on which one of the two types takes longer than the other; gives the types that were tried."""
    tried: list[torch.dtype] = []
    seconds = {torch.float32: 2.0 if half else 1.0, torch.bfloat16: 1.0 if half else 2.0}

    def timed(step: precision.Step) -> bool:
        def noted(dtype: torch.dtype) -> None:
            tried.append(dtype)
            step(dtype)

        clock = SimpleNamespace(perf_counter=lambda: sum(seconds[one] for one in tried))
        monkeypatch.setattr(precision, "time", clock)
        return whole(noted)

    whole = precision.half_is_faster
    monkeypatch.setattr(precision, "half_is_faster", timed)
    return tried


@pytest.mark.parametrize("half", [True, False])
def test_a_processor_computes_in_the_type_that_is_faster_on_it(
    monkeypatch: pytest.MonkeyPatch, half: bool
) -> None:
    tried = slow_half(monkeypatch, half)
    runs = [training(precision=name, **BUSY) for name in ("auto", "bf16" if half else "fp32")]
    for run in runs:
        run.step()
    first, second = (run.state() for run in runs)
    assert tried == [torch.float32] * 2 + [torch.bfloat16] * 2
    assert [k for k in first if k != "about" and not torch.equal(first[k], second[k])] == []
    assert training(precision="auto").config == TrainerConfig(kimg=0.5, batch=8)  # the default
    encoders = []
    for name in ("auto", "bf16" if half else "fp32"):
        config = EncoderConfig(steps=2, batch=4, width=4, precision=name)
        *_, (_, encoder) = train_encoder(runs[0].average, images(), config, guide=lambda x: x.mean((1, 2, 3)))
        encoders.append(encoder.state_dict())
    assert [k for k in encoders[0] if not torch.equal(encoders[0][k], encoders[1][k])] == []


def test_a_run_goes_on_in_the_type_it_was_begun_with(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = slow_half(monkeypatch, half=False)
    begun = training(precision="auto")
    begun.step()
    assert len(tried) == 4
    kept = begun.state()
    monkeypatch.setattr(precision, "half_is_faster", lambda _: pytest.fail("it is timed again"))
    continued = training(precision="auto")
    continued.restore(kept)
    assert continued.precision.name == "fp32"
    continued.step()
    with pytest.raises(InputError, match='trained with precision "fp32", now "bf16"'):
        training(precision="bf16").restore(kept)
    older = training(precision="bf16").state()  # of a run whose default was bf16
    continued = training(precision="auto")
    continued.restore(older)
    assert continued.precision.name == "bf16"


def test_training_seeds_nothing_global_and_two_seeds_differ() -> None:
    state = torch.get_rng_state()
    a, b = training(seed=1), training(seed=2)
    a.step()
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.equal(a.state()["generator.synthesis.constant"], b.state()["generator.synthesis.constant"])


def test_a_state_of_another_network_is_refused() -> None:
    other = StyleGAN2Training(
        StyleGAN2Config(resolution=16, channel_base=64, channel_max=8, z_dim=8, w_dim=8),
        TrainerConfig(batch=8),
        torch.zeros(4, 1, 16, 16, dtype=torch.uint8),
    )
    with pytest.raises(InputError, match="saved state of a 8 px run"):
        training().restore(other.state())


def test_training_moves_the_samples_towards_the_data() -> None:
    run = training(kimg=6.0, batch=16, precision="fp32", gamma=0.02)
    extract = RandomFeatures(1)
    real = extract(images(256).float() / 127.5 - 1)
    reports = list(train_generator(run, report_kimg=1.0, quality_kimg=2.0, quality_images=64))
    assert run.seen >= 6000
    assert reports[-1].done == run.seen
    assert reports[-1].seconds_left == 0
    kids = [r.quality["kid"] for r in reports if r.quality]
    with torch.no_grad():
        fresh = training(seed=9).average
        untrained = kernel_distance(real, extract(fresh.decode(fresh.sample(64, rng()))))
    assert len(kids) == 3
    assert min(kids) < untrained / 2


def test_stopping_is_between_steps_and_the_last_report_is_given() -> None:
    run = training(kimg=100.0)
    calls = iter([False, False, True])
    reports = list(train_generator(run, stop=lambda: next(calls)))
    assert run.steps == 3
    assert len(reports) == 1


def test_the_average_has_its_half_life() -> None:
    run = training(ema_kimg=0.016, batch=8)  # 16 images = two steps
    run.seen = 10_000_000
    before = run.average.synthesis.constant.clone()
    run.generator.synthesis.constant.data = before + 1
    for _ in range(2):
        move_average(run)
    torch.testing.assert_close(run.average.synthesis.constant, before + 0.5)


def test_the_controller_moves_by_images_over_half_a_million() -> None:
    assert next_probability(0.2, 0.9, target=0.6, images=128) == pytest.approx(0.2 + 128 / 5e5)
    assert next_probability(0.2, 0.1, target=0.6, images=128) == pytest.approx(0.2 - 128 / 5e5)
    assert next_probability(0.0, 0.1, target=0.6, images=128) == 0


def test_augmentation_at_zero_is_the_very_same_tensor_and_identity_is_exact() -> None:
    x = torch.randn(4, 2, 8, 8, generator=rng())
    assert augment(x, PRESETS["histology"], 0.0, rng()) is x
    identity = torch.tensor([[1.0, 0, 0], [0, 1, 0]]).expand(4, 2, 3)
    assert torch.equal(apply_warp(x, identity), x)
    mirror = torch.tensor([[-1.0, 0, 0], [0, 1, 0]]).expand(4, 2, 3)
    assert torch.equal(apply_warp(x, mirror), x.flip(3))
    quarter = torch.tensor([[0.0, -1, 0], [1, 0, 0]]).expand(4, 2, 3)
    assert torch.equal(apply_warp(x, quarter), x.rot90(-1, (2, 3))) or torch.equal(
        apply_warp(x, quarter), x.rot90(1, (2, 3))
    )


def test_a_frontal_chest_is_never_flipped() -> None:
    warps = draw_warp(2000, PRESETS["frontal-xray"], 1.0, rng())
    assert (torch.det(warps[:, :, :2]) > 0).all()
    assert (torch.det(draw_warp(2000, PRESETS["extremity-xray"], 1.0, rng())[:, :, :2]) < 0).any()


def test_augmentation_has_a_second_derivative() -> None:
    x = torch.randn(2, 1, 6, 6, dtype=torch.float64, generator=rng(), requires_grad=True)
    warp = draw_warp(2, PRESETS["extremity-xray"], 1.0, rng()).double()
    assert torch.autograd.gradgradcheck(lambda v: apply_warp(v, warp).square().sum(), (x,))


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_eight_bit_and_float_images_train_alike(kind: type) -> None:
    data = images() if kind is np.uint8 else images().float() / 127.5 - 1
    run = StyleGAN2Training(SIZE, TrainerConfig(batch=8), data)
    run.step()
    assert math.isfinite(run.figures["loss_d"])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (torch.zeros(0, 1, 8, 8), "empty cohort"),
        (torch.zeros(4, 3, 8, 8), "images must be"),
        (torch.zeros(4, 1, 8, 8, dtype=torch.int32), "uint8 or float"),
    ],
)
def test_bad_training_images_are_refused(data: torch.Tensor, words: str) -> None:
    with pytest.raises(InputError, match=words):
        StyleGAN2Training(SIZE, TrainerConfig(batch=8), data)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"augment": "frontal"}, "did you mean 'frontal-xray'"),
        ({"precision": "bf15"}, "did you mean 'bf16'"),
        ({"batch": 1}, "batch must be"),
        ({"kimg": 0.0}, "kimg must be"),
        ({"mixing": 2.0}, "mixing must be"),
    ],
)
def test_bad_settings_are_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        TrainerConfig(**changes)


def test_the_monitor_sees_nan_and_goes_back_with_a_stronger_penalty() -> None:
    run = training(kimg=1.0)
    gamma = run.gamma
    step, broken = run.step, [True]

    def poisoned() -> None:
        step()
        if run.steps == 5 and broken:
            broken.clear()
            run.figures["loss_g"] = float("nan")
            run.generator.synthesis.constant.data.fill_(float("nan"))

    run.step = poisoned  # type: ignore[method-assign]
    reports = list(train_generator(run, report_kimg=0.5))
    said = " ".join(f for r in reports for f in r.findings)
    assert "NaN: loss_g" in said
    assert "rolled back to 0.0 kimg" in said
    assert run.gamma == 2 * gamma
    assert run.seen >= 1000
    assert all(torch.isfinite(v).all() for v in run.state().values() if v.is_floating_point())


def test_one_broken_penalty_does_not_end_the_run() -> None:
    """A penalty that is only computed every few steps must not be read again after the return."""
    run = training(kimg=1.0, r1_every=50)
    step, broken = run.step, [True]

    def poisoned() -> None:
        step()
        if run.steps == 7 and broken:
            broken.clear()
            run.figures["r1"] = float("nan")

    run.step = poisoned  # type: ignore[method-assign]
    list(train_generator(run))
    assert run.seen >= 1000


def test_quality_is_measured_against_all_of_a_sorted_cohort() -> None:
    data = torch.cat([torch.zeros(900, 1, 8, 8), torch.full((300, 1, 8, 8), 255.0)]).byte()
    run = StyleGAN2Training(SIZE, TrainerConfig(kimg=0.03, batch=8), data)
    seen: list[float] = []

    def extractor(x: torch.Tensor) -> torch.Tensor:
        seen.append(float(x.mean()))
        noise = torch.randn(len(x), 4, generator=rng(len(seen)))
        return noise + x.mean(dim=(1, 2, 3))[:, None]

    next(iter(train_generator(run, extractor=extractor, quality_images=200)))
    assert -0.9 < np.mean(seen[:2]) < 0.0, "three quarters dark, one quarter bright"


def test_the_monitor_gives_up_after_three_returns() -> None:
    run = training(kimg=1.0)
    step = run.step

    def poisoned() -> None:
        step()
        run.figures["loss_d"] = float("nan")

    run.step = poisoned  # type: ignore[method-assign]
    with pytest.raises(ContrafactError, match="failed three times"):
        list(train_generator(run))


def test_the_monitor_names_collapse_and_overfitting() -> None:
    run, monitor = training(), TrainingMonitor()
    run.seen = 50_000
    for conv in run.average.synthesis.to_image:
        torch.nn.init.zeros_(conv.conv.weight)
    assert any("collapse" in line for line in monitor.report(run))
    assert monitor.must_roll_back
    run.figures["real_sign"] = 0.99
    said = [line for _ in range(5) for line in monitor.report(run)]
    assert any("overfitting" in line and "set `augment`" in line for line in said)


def test_kernel_distance_is_unbiased_and_frechet_has_its_closed_form() -> None:
    same = [
        kernel_distance(torch.randn(200, 4, generator=rng(s)), torch.randn(200, 4, generator=rng(s + 99)))
        for s in range(30)
    ]
    assert abs(np.mean(same)) < 3 * np.std(same) / math.sqrt(30) + 1e-3
    a = torch.randn(4000, 2, generator=rng())
    assert kernel_distance(a[:500], a[500:1000] + 1) > 10 * max(map(abs, same))
    assert frechet_distance(a, a + torch.tensor([3.0, 4.0])) == pytest.approx(25, rel=1e-3)
    centred = a - a.mean(dim=0)
    assert frechet_distance(centred, 3 * centred) == pytest.approx(
        4 * float(a.double().var(dim=0).sum()), rel=1e-6
    )
    few = a[:2]  # of one direction: both covariances are singular
    assert frechet_distance(few, few) == pytest.approx(0, abs=1e-6)
    estimate = kernel_distance_interval(a[:500], a[500:1000] + 1, rng=np.random.default_rng(0), rounds=20)
    assert estimate.low < estimate.value < estimate.high
    with pytest.raises(InputError, match="at least 2"):
        kernel_distance(a[:1], a)


def test_an_encoder_learns_to_find_the_latent() -> None:
    run = training()
    generator = run.average
    for published in (True, False):
        config = EncoderConfig(steps=150, batch=16, width=8, published=published, rate=3e-3)
        figures = [p.figures["latent"] for p, _ in train_encoder(generator, images(), config)]
        assert figures[-1] < 0.75, f"published={published}: {figures}"


def test_the_published_encoder_is_a_resnet50() -> None:
    from contrafact.generators import ResNetEncoder

    encoder = ResNetEncoder(1, 8, kind="resnet50")
    assert sum(p.numel() for p in encoder.parameters()) > 23e6
    with pytest.raises(InputError, match="did you mean 'resnet50'"):
        EncoderConfig(kind="resnet5")


def test_the_guide_takes_part_in_the_encoder_loss() -> None:
    generator = training().average
    config = EncoderConfig(steps=50, batch=8, width=8)
    seen = []

    def guide(x: torch.Tensor) -> torch.Tensor:
        seen.append(x.requires_grad)
        return x.mean(dim=(1, 2, 3))

    progress, encoder = next(iter(train_encoder(generator, images(), config, guide=guide)))
    assert "guide" in progress.figures
    assert any(seen)
    assert encoder(torch.zeros(2, 1, 8, 8)).shape == (2, 8)


def test_two_processes_with_halves_of_the_batch_agree_on_their_weights() -> None:
    class Pair:
        """Stands for one of two processes that see the same numbers."""

        world_size, global_rank = 2, 0

        def all_reduce(self, data: torch.Tensor, *, reduce_op: str) -> torch.Tensor:
            assert reduce_op == "mean"
            return data

    config = TrainerConfig(batch=16)
    run = StyleGAN2Training(SIZE, config, images(), team=Pair())
    run.step()
    assert run.local_batch == 8
    assert run.seen == 16
    with pytest.raises(InputError, match="multiple of 2"):
        StyleGAN2Training(SIZE, TrainerConfig(batch=15), images(), team=Pair())
