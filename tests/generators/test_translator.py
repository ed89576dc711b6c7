"""The translator: its network, its training, its search, and its bundle on disk. Nothing here needs the
features of photographs: the discriminator looks at the images themselves."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image as Picture
from torch import Tensor

import contrafact as cf
from bright_half import AS_THEY_ARE, SMALL, Brighter, bright_bundle, grey
from conftest import grey_preprocessing, small_network
from contrafact.api import evaluation
from contrafact.api.case import facts_of
from contrafact.bundles import load_bundle, save_bundle
from contrafact.bundles.fitting import fit, fit_stages
from contrafact.core import Image, InputError
from contrafact.core.contents import digest_of_content
from contrafact.counterfactual import Bundle, Translation
from contrafact.generators import (
    Translator,
    TranslatorConfig,
    TranslatorTrainerConfig,
    TranslatorTraining,
    precision,
)
from contrafact.generators.projected_discriminator import _photograph_network
from contrafact.generators.translator import fold, unfold, without_comb
from contrafact.generators.translator_loop import train_translator
from contrafact.generators.translator_losses import recoloured, variation
from contrafact.generators.translator_regions import span as _span
from contrafact.io import Run, read_tensors, write_json, write_tensors
from contrafact.metrics.trust.counterfactual_card import trust_card_of_strip
from contrafact.models import TorchPredictor
from contrafact.render.text import engine_words
from contrafact.report import write_report


def translator_of(**changes: object) -> Translator:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = Translator(TranslatorConfig(**{**SMALL, **changes}))
        torch.nn.init.normal_(made.out.weight, std=0.3)
        for level in (*made.down, *made.up, made.bottom):
            torch.nn.init.normal_(level.style.weight, std=0.3)
    return made.eval().requires_grad_(False)


@pytest.mark.parametrize(("axes", "by"), [(2, 1), (2, 2), (2, 4), (3, 2)])
def test_unfolding_undoes_folding(axes: int, by: int) -> None:
    x = torch.arange(2 * 3 * 8**axes, dtype=torch.float32).view(2, 3, *(8,) * axes)
    folded = fold(x, by)
    assert folded.shape == (2, 3 * by**axes, *(8 // by,) * axes)
    assert torch.equal(unfold(folded, by, axes), x)


def test_folding_keeps_neighbours_in_one_cell() -> None:
    x = torch.arange(16.0).view(1, 1, 4, 4)
    assert fold(x, 2)[0, :, 0, 0].tolist() == [0, 1, 4, 5]


def test_no_comb_is_left_by_unfolding() -> None:
    """A bone edge drawn with every second pixel dark was seen in the first knees."""
    comb = (torch.arange(8) % 2 * 2.0 - 1).expand(1, 1, 8, 8)
    assert without_comb(comb)[..., 1:-1].abs().max() < 1e-6
    assert torch.allclose(without_comb(torch.ones(1, 2, 8, 8)), torch.ones(1, 2, 8, 8))
    made = translator_of()
    with torch.no_grad():
        made.out.bias[0::4] = 3.0  # the first pixel of every folded block alone
    images = torch.zeros(1, 1, 16, 16)
    change = (made(images, torch.zeros(1), torch.ones(1)) - images)[0, 0, 2:-2, 2:-2]
    spectrum = torch.fft.rfft2(change).abs()
    assert spectrum[0, -1] < 0.02 * spectrum[0, 0].clamp_min(1e-6) + 1e-3


@pytest.mark.parametrize("axes", [2, 3])
def test_what_may_not_change_is_the_same_number(axes: int) -> None:
    made = translator_of(axes=axes, channels=2)
    images = torch.rand(3, 2, *(16,) * axes) * 2 - 1
    region = torch.zeros(3, 1, *(16,) * axes)
    region[..., 4:9] = 1
    out = made(images, torch.zeros(3), torch.full((3,), 2.0), region=region)
    outside = region.expand_as(images) == 0
    assert torch.equal(out[outside], images[outside])
    assert (out - images).abs().max() > 1e-3


def test_frames_of_one_image_share_its_encoding() -> None:
    made = translator_of()
    images, to = torch.rand(2, 1, 16, 16) * 2 - 1, torch.tensor([-1.0, 0.5, 2.0])
    encoded = made.encode(images, torch.tensor([0.3, -0.4]))
    together = made.translate(encoded.rows(torch.tensor([1, 1, 1])), to)
    alone = torch.cat([made(images[1:], torch.tensor([-0.4]), one[None]) for one in to])
    assert torch.allclose(together, alone, atol=1e-5)
    assert not torch.allclose(together[0], together[2], atol=1e-3)


def test_a_size_that_cannot_be_halved_is_refused() -> None:
    with pytest.raises(InputError, match="multiple of 16"):
        TranslatorConfig(resolution=40)


def training_of(**changes: object) -> TranslatorTraining:
    rng = torch.Generator().manual_seed(1)
    images = (
        torch.rand(80, 1, 16, 16, generator=rng) * 60 + torch.linspace(0, 190, 80)[:, None, None, None]
    ).byte()

    def guide(x: Tensor) -> Tensor:
        return 5 * x[:, :, :8].mean(dim=(1, 2, 3))[:, None]

    config = TranslatorTrainerConfig(**{"kimg": 1.0, "features": "none", "precision": "fp32", **changes})
    return TranslatorTraining(TranslatorConfig(**SMALL), config, images, guide=guide)


def test_training_goes_on_from_a_saved_state_to_the_very_same_step() -> None:
    straight = training_of()
    for _ in range(3):
        straight.step()
    state = straight.state()
    straight.step()
    again = training_of()
    again.restore(state)
    again.step()
    for name, value in straight.state().items():
        assert torch.equal(again.state()[name], value), name


@pytest.mark.parametrize("half", [True, False])
def test_training_goes_on_in_the_precision_it_was_begun_with(
    monkeypatch: pytest.MonkeyPatch, half: bool
) -> None:
    """A second timing, by which the other precision were faster, changes nothing; nor does timing itself."""
    monkeypatch.setattr(precision, "half_is_faster", lambda step: [step(torch.bfloat16), half][1])
    fixed = training_of(precision="bf16" if half else "fp32", mirror=True)
    begun = training_of(precision="auto", mirror=True)
    for run in (fixed, begun):
        run.step()
    state = begun.state()
    assert [k for k in state if k != "about" and not torch.equal(state[k], fixed.state()[k])] == []
    monkeypatch.setattr(precision, "half_is_faster", lambda _: not half)
    again = training_of(precision="auto", mirror=True)
    again.restore(state)
    for run in (begun, again):
        run.step()
    assert [k for k, v in begun.state().items() if not torch.equal(v, again.state()[k])] == []
    with pytest.raises(InputError, match="the saved run was trained with precision"):
        training_of(precision="fp32" if half else "bf16", mirror=True).restore(state)


def test_training_learns_to_reach_the_score_asked() -> None:
    training = training_of(kimg=8.0, size=0.1, smooth=0.1, adversarial=0.05, rate=3e-3)
    missed = []
    for _ in range(250):
        training.step()
        missed.append(training.figures["missed"])
    assert np.mean(missed[-20:]) < 0.6 * np.mean(missed[:20])


def test_a_run_with_pairs_goes_on_with_the_same_pairs_and_weight_alone() -> None:
    rng = torch.Generator().manual_seed(3)
    images = (torch.rand(64, 1, 16, 16, generator=rng) * 200).byte()

    def training(given: tuple[Tensor, Tensor] | None, **settings: float) -> TranslatorTraining:
        config = TranslatorTrainerConfig(features="none", precision="fp32", **settings)  # type: ignore[arg-type]
        size = TranslatorConfig(**SMALL)
        return TranslatorTraining(
            size, config, images, guide=lambda x: x.mean(dim=(1, 2, 3))[:, None], pairs=given
        )

    pairs = images[:8], images[8:16]
    state = training(pairs).state()
    training(pairs).restore(state)
    for other in (training(None), training(pairs[::-1]), training(pairs, pairs=1.0)):
        with pytest.raises(InputError, match="pair"):
            other.restore(state)


def test_a_training_without_pairs_does_not_begin_with_them() -> None:
    config = TranslatorTrainerConfig(features="none", batch=4, pair_kimg=2.0)
    images = torch.rand(16, 1, 16, 16)
    with pytest.raises(InputError, match="expected pairs to begin with"):
        TranslatorTraining(
            TranslatorConfig(**SMALL), config, images, guide=lambda x: x.mean(dim=(1, 2, 3))[:, None]
        )


def test_the_first_full_step_is_no_leap() -> None:
    """The losses that follow the pairs have far greater gradients. With the optimiser's memory of small ones
    the first full steps were five times as long as the rate, and a nodule's removal, learned from pairs, was
    lost for good (0.87 of the choice patients before them, 0.00 after)."""
    images = (torch.rand(64, 1, 16, 16, generator=torch.Generator().manual_seed(3)) * 200).byte()
    rate, settings = 1e-3, {"features": "none", "precision": "fp32", "batch": 4, "guide": 20.0}
    training = TranslatorTraining(
        TranslatorConfig(**SMALL),
        TranslatorTrainerConfig(**settings, rate=rate, pair_kimg=0.4),  # type: ignore[arg-type]
        images,
        guide=lambda x: 10 * x.mean(dim=(1, 2, 3))[:, None],
        pairs=(images[:8], images[8:16]),
    )
    while training.seen < 400:
        training.step()
    resumed = training.state()
    before = {name: value.clone() for name, value in training.translator.state_dict().items()}
    training.step()
    moved = [(value - before[name]).abs().max() for name, value in training.translator.state_dict().items()]
    assert float(max(moved)) <= 1.01 * rate
    after = training.state()
    training.restore(resumed)
    training.step()
    assert all(torch.equal(value, after[name]) for name, value in training.state().items())


def test_a_run_of_an_earlier_version_goes_on_where_it_trains_as_that_did() -> None:
    images = (torch.rand(64, 1, 16, 16, generator=torch.Generator().manual_seed(3)) * 200).byte()

    def training(**settings: float) -> TranslatorTraining:
        config = TranslatorTrainerConfig(features="none", precision="fp32", **settings)  # type: ignore[arg-type]
        size = TranslatorConfig(**SMALL)
        return TranslatorTraining(size, config, images, guide=lambda x: x.mean(dim=(1, 2, 3))[:, None])

    state = training().state()
    about = json.loads(bytes(state["about"].numpy()))
    for name in ("pairs", "pair_kimg", "exposure"):
        del about[name]
    state["about"] = torch.frombuffer(bytearray(json.dumps(about).encode()), dtype=torch.uint8)
    training().restore(state)
    with pytest.raises(InputError, match="exposure"):
        training(exposure=0.4).restore(state)


@pytest.mark.slow
def test_pairs_teach_what_the_same_place_looks_like_without_the_finding() -> None:
    """A bright square on noise; the pairs hold the same noise below it, which no other loss knows of."""
    rng = torch.Generator().manual_seed(3)
    without = (torch.rand(64, 1, 16, 16, generator=rng) * 60 + 40).byte()
    with_finding = without.clone()
    with_finding[:, :, 4:10, 4:10] = 220

    def guide(x: Tensor) -> Tensor:
        return 4 * x[:, :, 4:10, 4:10].mean(dim=(1, 2, 3))[:, None]

    def distance(**changes: object) -> float:
        settings = {
            "kimg": 4.0,
            "features": "none",
            "precision": "fp32",
            "rate": 5e-3,
            "adversarial": 0.0,
            "guide": 0.2,
        }
        training = TranslatorTraining(
            TranslatorConfig(**SMALL),
            TranslatorTrainerConfig(**{**settings, **changes}),
            torch.cat([with_finding, without]),
            guide=guide,
            pairs=(with_finding, without),
        )
        for _ in range(150):
            training.step()
        before, after = (part.float() / 127.5 - 1 for part in (with_finding, without))
        with torch.no_grad():
            made = training.translator(before, guide(before)[:, 0], guide(after)[:, 0])
        return float((made - after)[:, :, 4:10, 4:10].abs().mean())

    without_pairs = distance(pairs=0.0)
    assert distance(pairs=20.0) < 0.7 * without_pairs
    assert distance(pairs=0.0, pair_kimg=4.0) < 0.7 * without_pairs
    with pytest.raises(InputError, match="as pairs"):
        images = torch.cat([with_finding, without])
        config = TranslatorTrainerConfig(features="none")
        TranslatorTraining(
            TranslatorConfig(**SMALL), config, images, guide=guide, pairs=(with_finding, without[:3])
        )


def test_exposure_changes_what_guide_and_discriminator_see_and_nothing_else() -> None:
    rng = torch.Generator().manual_seed(3)
    images = torch.rand(4, 3, 16, 16, generator=rng) * 2 - 1
    same = recoloured(images, torch.eye(3).expand(4, 3, 3), torch.zeros(4, 3), torch.zeros(4, 3))
    torch.testing.assert_close(same, images)
    plain, varied = training_of(), training_of(exposure=0.4)
    view = [run._perturbed(torch.zeros(64, 1, 16, 16)).mean(dim=(1, 2, 3)) for run in (plain, varied)]
    assert view[0].std() < 0.01 < 0.05 < view[1].std()
    varied.step()
    assert np.isfinite(list(varied.figures.values())).all()


def test_a_black_box_is_imitated_and_its_score_is_reached() -> None:
    """The guide gives no gradients: a student leads, and is corrected by what the model says of the changes."""
    white = training_of(kimg=8.0, size=0.1, smooth=0.1, adversarial=0.05, rate=3e-3)

    def closed(x: Tensor) -> Tensor:
        return white.guide(x.detach()).detach()

    black = TranslatorTraining(
        TranslatorConfig(**SMALL), white.config, white.images, guide=closed, black_box=True
    )
    images, low, high = white.images[::4].float() / 127.5 - 1, black.translator.low, black.translator.high

    def missed() -> float:
        to = torch.linspace(float(low), float(high), len(images))
        with torch.no_grad():
            made = black.translator(images, closed(images)[:, 0], to)
            return float((closed(made)[:, 0] - to).abs().mean())

    before = missed()
    for _ in range(250):
        black.step()
    assert missed() < 0.6 * before
    assert black.student is not None
    again = TranslatorTraining(
        TranslatorConfig(**SMALL), white.config, white.images, guide=closed, black_box=True
    )
    again.restore(black.state())
    for one in (black, again):
        one.step()
    assert all(torch.equal(value, again.state()[name]) for name, value in black.state().items())


def test_images_and_goals_are_drawn_evenly_over_the_scores() -> None:
    """One image in twenty is bright; a quarter of the draws must be."""
    images = torch.full((200, 1, 16, 16), 60, dtype=torch.uint8)
    images[:10] = 200
    images += torch.arange(200, dtype=torch.uint8)[:, None, None, None] % 20

    def guide(x: Tensor) -> Tensor:
        return x.mean(dim=(1, 2, 3))[:, None]

    config = TranslatorTrainerConfig(features="none", precision="fp32")
    training = TranslatorTraining(TranslatorConfig(**SMALL), config, images, guide=guide)
    middle = (training.translator.low + training.translator.high) / 2
    which = torch.zeros(400, dtype=torch.long)
    wanted = training.translator.high[which] * 0.99
    rows = training._rows_near(wanted, which)
    assert (training.scores[rows, 0] > middle).float().mean() > 0.1


def test_boxes_are_a_quarter_to_three_quarters_of_a_side_and_inside_it() -> None:
    spans = [_span(64, start, length) for start in np.linspace(0, 1, 9) for length in np.linspace(0, 1, 9)]
    assert {wide for _, wide in spans} == {16, 20, 24, 28, 32, 36, 40, 44, 48}
    assert min(begin for begin, _ in spans) == 0 and max(begin + wide for begin, wide in spans) == 64


def test_shifts_go_as_far_to_either_side() -> None:
    training = training_of()
    theta = training._shifts(4000, 0.2)
    assert torch.equal(theta[:, :, :2], torch.eye(2).expand(4000, 2, 2))
    shifts = theta[:, :, 2]
    assert shifts.abs().max() <= 0.1 < shifts.max() + 0.001
    assert shifts.mean().abs() < 0.005 and shifts.min() < -0.099


def test_the_distance_missed_is_one_that_sides_do_not_cancel() -> None:
    """A translator that learns nothing leaves two independent scores, a third of the range apart."""
    training = training_of(rate=1e-12, jitter=0.0, noise=0.0, regions=0.0)
    missed = []
    for _ in range(30):
        training.step()
        missed.append(training.figures["missed"])
    third = float(training.translator.high - training.translator.low) / 3
    assert np.mean(missed) == pytest.approx(third, rel=0.2)


def test_the_average_reaches_over_a_tenth_of_the_training_up_to_its_length() -> None:
    """The weight of the old average halves in every `reach` images."""
    training = training_of(ema_kimg=0.5)
    for seen, reach in ((1000, 100), (20_000, 500)):
        training.seen = seen
        with torch.no_grad():
            for parameter in training.average.parameters():
                parameter.zero_()
            for parameter in training.translator.parameters():
                parameter.fill_(1.0)
        training._move_average()
        expected = 1 - 0.5 ** (training.config.batch / reach)
        assert float(next(iter(training.average.parameters())).mean()) == pytest.approx(expected, rel=1e-4)


def test_the_discriminator_sees_real_images_with_their_own_scores() -> None:
    training, conditions = training_of(), []
    training.heads.register_forward_pre_hook(lambda _, given: conditions.append(given[1][:, 0].detach()))
    training.step()
    own = training.translator._scaled(training.scores[:, 0], torch.zeros(80, dtype=torch.long))
    known = [bool((asked[:, None] - own).abs().amin(dim=1).max() < 1e-6) for asked in conditions]
    assert known == [False, True, False]  # translated, real, translated again


def test_the_variation_of_a_change_is_summed_over_the_axes() -> None:
    ramp = 0.02 * torch.arange(8.0)
    along = ramp.view(1, 1, 8, 1).expand(1, 1, 8, 8)
    assert float(variation(along)) == pytest.approx(0.5 * 0.02**2 / 0.1, rel=1e-4)  # quadratic up to 0.1
    both = along + 3 * along.transpose(2, 3)
    assert float(variation(both)) == pytest.approx((1 + 9) * 0.5 * 0.02**2 / 0.1, rel=1e-4)
    assert float(variation(50 * along)) == pytest.approx(1 - 0.05, rel=1e-4)  # linear beyond
    volume = ramp.view(1, 1, 8, 1, 1).expand(1, 1, 8, 8, 8)
    assert float(variation(volume + volume.transpose(2, 4))) == pytest.approx(2 * 0.5 * 0.02**2 / 0.1, rel=1e-4)


def test_the_time_left_is_that_of_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that goes on after 400 of 1000 images: 100 images take two seconds."""
    clock = [50.0]
    monkeypatch.setattr("contrafact.generators.translator_loop.time.perf_counter", lambda: clock[0])
    training = SimpleNamespace(config=SimpleNamespace(kimg=1.0), seen=400, figures={"missed": 0.0})

    def step() -> None:
        training.seen += 100
        clock[0] += 2.0

    training.step = step
    reports = list(train_translator(training, report_kimg=0.2))
    assert [(report.done, report.total) for report in reports] == [(600, 1000), (800, 1000), (1000, 1000)]
    assert [report.seconds_left for report in reports] == [pytest.approx(s) for s in (8.0, 4.0, 0.0)]
    assert {report.figures["images_s"] for report in reports} == {50.0}


def test_a_model_with_one_score_for_all_is_refused() -> None:
    images = torch.zeros(80, 1, 16, 16, dtype=torch.uint8)
    with pytest.raises(InputError, match="same score"):
        TranslatorTraining(
            TranslatorConfig(**SMALL),
            TranslatorTrainerConfig(features="none"),
            images,
            guide=lambda x: x.mean(dim=(1, 2, 3))[:, None],
        )


@pytest.mark.parametrize(("value", "goal"), [(80.0, 0.9), (180.0, 0.1), (80.0, None), (180.0, None)])
def test_the_goal_is_reached_and_not_overshot(value: float, goal: float | None) -> None:
    strip = cf.explain(
        "translate", bright_bundle().predictor, grey(value), target="class:1", bundle=bright_bundle(), goal=goal
    )
    wanted = 2.197 if value < 127 else -2.197
    assert strip.outcome == "reached"
    assert strip.flips
    assert abs(strip.scores[strip.end] - wanted) < 0.15
    assert strip.origin == 0
    assert np.array_equal(strip.frames[0], np.clip(strip.frames[0], 0, 255))
    assert np.all(np.diff(strip.scores) * np.sign(wanted) >= -1e-6)


def test_an_image_from_0_to_1_is_no_black_image() -> None:
    bundle, image = bright_bundle(), Image(grey(80.0).values / 255, window=(0.0, 1.0))
    ask = {"target": "class:1", "bundle": bundle}
    with pytest.raises(
        InputError, match=r"takes values from 0 to 255; got 0\.\d+ to 0\.\d+; use image.rescaled"
    ):
        cf.explain("translate", bundle.predictor, image, **ask)
    assert cf.explain("translate", bundle.predictor, image.rescaled(0, 255), **ask).outcome == "reached"


def test_the_first_frame_is_the_image_itself() -> None:
    image = grey(80.0)
    strip = cf.explain("translate", bright_bundle().predictor, image, target="class:1", bundle=bright_bundle())
    assert np.allclose(strip.image, image.values, atol=1e-4)


def test_the_other_of_two_classes_is_asked_the_other_way() -> None:
    bundle = bright_bundle()
    strip = cf.explain("translate", bundle.predictor, grey(80.0), target="class:0", bundle=bundle, goal=0.1)
    assert strip.outcome == "reached"
    assert strip.frames[-1].mean() > strip.frames[0].mean()


def test_a_score_met_already_changes_nothing() -> None:
    strip = cf.explain(
        "translate", bright_bundle().predictor, grey(230.0), target="class:1", bundle=bright_bundle(), goal=0.9
    )
    assert strip.outcome == "already"
    assert len(strip.frames) == 1


def test_a_goal_at_the_own_score_changes_nothing() -> None:
    bundle = bright_bundle()
    plain = cf.explain("translate", bundle.predictor, grey(80.0), target="class:1", bundle=bundle)
    own = 1 / (1 + np.exp(-float(plain.scores[0])))
    strip = cf.explain("translate", bundle.predictor, grey(80.0), target="class:1", bundle=bundle, goal=own)
    assert strip.outcome == "already"
    assert len(strip.frames) == 1


def test_no_requested_change_is_minus_nothing() -> None:
    bundle = bright_bundle()
    strip = cf.explain("translate", bundle.predictor, grey(180.0), target="class:1", bundle=bundle, goal=0.1)
    assert not np.signbit(strip.requested[0])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"steps": (1.0, float("nan"))}, "steps must be a list of finite numbers"),
        ({"steps": 3}, "steps must be a list"),
        ({"steps": ("a",)}, "steps must be a list"),
        ({"levels": 0.5}, "levels must be a list"),
        ({"levels": ()}, "levels must be a list"),
        ({"frames": 2.5}, "frames must be at least 2, a whole number"),
    ],
)
@pytest.mark.parametrize("method", ["translate", "latent-walk"])
def test_requests_that_are_no_numbers_are_refused(method: str, settings: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        cf.explain(
            method, bright_bundle().predictor, grey(80.0), target="class:1", bundle=bright_bundle(), **settings
        )


def test_a_goal_out_of_reach_is_said() -> None:
    bundle = bright_bundle()
    bundle.translator.low.fill_(-0.2)
    bundle.translator.high.fill_(0.2)
    strip = cf.explain("translate", bundle.predictor, grey(80.0), target="class:1", bundle=bundle, goal=0.9)
    assert strip.outcome == "search"
    assert strip.scores[-1] < 1.5


def test_levels_give_one_frame_each_in_order() -> None:
    bundle = bright_bundle()
    strip = cf.explain(
        "translate", bundle.predictor, grey(100.0), target="class:1", bundle=bundle, levels=(0.2, 0.5, 0.8)
    )
    probabilities = 1 / (1 + np.exp(-strip.scores))
    for level in (0.2, 0.5, 0.8):
        assert np.abs(probabilities - level).min() < 0.03
    assert strip.outcome == "reached"


def test_a_score_conditioned_by_another_one_is_searched_in_its_own_units() -> None:
    """The grade (a multiple of the log-odds) is reached by a translator that knows only the log-odds."""

    class Grade(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 2 + 10 * (x[:, :, :8] / 127.5 - 1).mean(dim=(1, 2, 3))[:, None]

    bundle = bright_bundle()
    grade = TorchPredictor(Grade(), preprocessing=AS_THEY_ARE, classes=["grade"], output="regression")
    both = bright_bundle(
        predictors={"model": bundle.predictor, "grade": grade},
        predictor=bundle.predictor,
        translations=(
            Translation(model=grade.digest, target="value:0", by=(bundle.predictor.digest, "class:1")),
        ),
    )
    strip = cf.explain("translate", grade, grey(110.0), target="value:0", bundle=both, goal=3.0)
    assert abs(strip.scores[-1] - 3.0) < 0.2
    with pytest.raises(InputError, match="expected a goal or levels for target value:0"):
        cf.explain("translate", grade, grey(110.0), target="value:0", bundle=both, steps=(1.0,))


@pytest.mark.parametrize("method", ["translate", "counterfactual"])
def test_a_region_is_kept_exactly(method: str) -> None:
    bundle, image = bright_bundle(), grey(80.0)
    region = np.zeros((16, 16), dtype=bool)
    region[2:7, 3:12] = True
    strip = cf.explain(
        method,
        bundle.predictor,
        image,
        target="class:1",
        bundle=bundle,
        region=Image(region[None].astype(np.float32)),
    )
    changed = np.abs(strip.frames - strip.image[None]).max(axis=(0, 1)) > 1e-4
    assert changed.any()
    assert not (changed & ~region).any()


def test_a_region_of_a_finer_image_is_kept_to_whole_pixels_of_the_canvas() -> None:
    bundle = bright_bundle()
    region = np.zeros((1, 32, 32), dtype=np.float32)
    region[0, 3:12, 6:19] = 1  # rows 2 to 5 and columns 3 to 8 of 16 lie wholly inside
    strip = cf.explain(
        "translate",
        bundle.predictor,
        grey(80.0, side=32),
        target="class:1",
        bundle=bundle,
        goal=0.9,
        region=Image(region),
    )
    changed = np.abs(strip.frames - strip.image[None]).max(axis=(0, 1)) > 1e-4
    expected = np.zeros((16, 16), dtype=bool)
    expected[2:6, 3:9] = True
    np.testing.assert_array_equal(changed, expected)


def test_the_reconstruction_error_includes_the_effect_of_reducing_the_image() -> None:
    """The model reads the upper eight rows: half of the canvas, but only a quarter of the original."""
    values = np.full((1, 32, 32), 51.0, dtype=np.float32)
    values[0, :8] = 102.0
    bundle = bright_bundle()
    whole, canvas = 5 * (102 / 127.5 - 1), 5 * (76.5 / 127.5 - 1)

    class Compensating(Brighter):
        """Draws the image at its own score as bright as the original is to the model."""

        def translate(self, encoded: object, to: Tensor) -> Tensor:
            return super().translate(encoded, to + whole - canvas)

    for kind in (Brighter, Compensating):
        made = kind(TranslatorConfig(**SMALL))
        made.low.fill_(-3.0)
        made.high.fill_(3.0)
        strip = cf.explain(
            "translate",
            bundle.predictor,
            Image(values, window=(0.0, 255.0)),
            target="class:1",
            bundle=bright_bundle(translator=made.eval()),
        )
        assert strip.reconstruction_error == pytest.approx(whole - canvas, rel=0.05)


def test_a_goal_out_of_reach_ends_at_the_closest_score() -> None:
    """Where asking for more does less, the last of what was tried is not the best."""

    class Turning(Brighter):
        def translate(self, encoded: object, to: Tensor) -> Tensor:
            asked = to - self.back(encoded)
            return super().translate(encoded, self.back(encoded) + 1 - (asked - 1).abs())

    made = Turning(TranslatorConfig(**SMALL))
    made.low.fill_(-3.0)
    made.high.fill_(3.0)
    bundle = bright_bundle(translator=made.eval())
    strip = cf.explain("translate", bundle.predictor, grey(80.0), target="class:1", bundle=bundle, goal=0.9)
    assert strip.outcome == "search"
    assert 0.7 < strip.scores[-1] - strip.scores[0] <= 1.05


def test_the_engine_of_a_bundle_answers_to_the_common_name() -> None:
    bundle = bright_bundle()
    strip = cf.explain("counterfactual", bundle.predictor, grey(80.0), target="class:1", bundle=bundle)
    assert strip.record.details["engine"] == "translate"
    assert strip.flips


def test_no_page_tells_a_latent_distance_of_an_engine_without_latents(tmp_path: Path) -> None:
    bundle = bright_bundle()
    strip = cf.explain("translate", bundle.predictor, grey(80.0), target="class:1", bundle=bundle)
    check = next(one for one in trust_card_of_strip(strip) if one.name == "length")
    assert check.passed is None and "no latent space" in check.sentence
    run = Run.create(tmp_path / "run", about={})
    run.add("case", grey(80.0), strip)
    text = write_report(run).read_text(encoding="utf-8")
    assert "Largest latent distance" not in text.split("<script", maxsplit=1)[0]
    assert "Engine: translate" in text


def test_an_engine_without_latents_is_named_and_its_failure_speaks_of_no_latent_path(tmp_path: Path) -> None:
    bundle = bright_bundle()
    bundle.translator.low.fill_(-0.2)
    bundle.translator.high.fill_(0.2)
    strip = cf.explain("counterfactual", bundle.predictor, grey(80.0), target="class:1", bundle=bundle)
    assert strip.outcome == "search"
    goal = next(one for one in trust_card_of_strip(strip) if one.name == "goal")
    assert "latent" not in goal.sentence
    run = Run.create(tmp_path / "run", about={})
    run.add("case", grey(80.0), strip)
    text = write_report(run).read_text(encoding="utf-8")
    assert "latent path" not in text.split("<script", maxsplit=1)[0]
    assert "Engine: translate." in text
    assert "Engine: translate." in strip._repr_html_()
    assert (
        engine_words({"record": {"method": "counterfactual", "details": {"engine": "translate"}}})
        == "translate"
    )
    assert engine_words({"record": {"method": "latent-walk"}, "label": "mine"}) == "mine"


@pytest.mark.parametrize("method", ["translate", "counterfactual"])
def test_metrics_of_an_engine_without_latents(method: str) -> None:
    """A distance of 0 in no space was the best of all ranks; the common name could not be asked again."""
    bundle, image = bright_bundle(), grey(80.0)
    strip = cf.explain(method, bundle.predictor, image, target="class:1", bundle=bundle)
    names = ["latent-length", "composition", "reversibility", "validity"]
    scores = {one.metric: one for one in cf.evaluate(strip, bundle.predictor, image, names, bundle=bundle)}
    assert np.isnan(scores["latent-length"].value)
    assert "latent space" in scores["latent-length"].reason
    assert scores["composition"].value < 0.01
    assert scores["reversibility"].value < 0.02
    assert scores["validity"].value == 1


def test_the_record_names_the_network_that_made_the_frames() -> None:
    """The knee bundle has two: DICOM files named the StyleGAN2 for frames of the translator."""
    bundle = load_bundle("knee")
    strip = cf.explain(
        "counterfactual", bundle.predictor, grey(80.0, side=128), target="class:1", bundle=bundle, frames=2
    )
    assert strip.record.generator == digest_of_content(bundle.translator)
    assert facts_of(strip, bundle.predictor, bundle)["generator_name"] == "knee (Translator)"
    assert bundle.network_of("latent-walk") is bundle.generator


def test_a_latent_space_of_smaller_images_has_a_model_of_its_own() -> None:
    bundle = load_bundle("knee")
    own = bundle.for_latent_space()
    assert own.predictor is bundle.predictors["classifier_64"]
    assert own.direction(own.predictor, own.predictor.target("class:1")).target == "class:1"
    assert bright_bundle().for_latent_space().predictor.classes == ("dark", "bright")


def test_a_bundle_without_latent_space_says_what_to_use() -> None:
    bundle = bright_bundle()
    with pytest.raises(InputError, match="translat"):
        cf.explain("latent-walk", bundle.predictor, grey(80.0), target="class:1", bundle=bundle)


def test_an_unknown_target_is_answered_with_those_that_are_known() -> None:
    bundle = bright_bundle()
    other = TorchPredictor(small_network(), classes=["a", "b"], preprocessing=grey_preprocessing())
    with pytest.raises(InputError, match="fitted to other models"):
        cf.explain("translate", other, grey(80.0), target="class:1", bundle=bundle)


@pytest.mark.parametrize(
    ("method", "name", "target", "words"),
    [
        ("latent-walk", "classifier", "class:1", "expects its predictor classifier_64; .* use translate for"),
        (
            "translate",
            "classifier_64",
            "class:1",
            "expects its predictor classifier, grade; .* use latent-walk",
        ),
        ("latent-shift", "classifier", "class:1", "makes images of 64 x 64; .* 128 x 128: .* classifier_64"),
        ("counterfactual", "classifier", "margin:1,0", "translates class:1; got target 'margin:1,0'"),
        ("counterfactual", "grade", "class:3", "translates grade; got target 'class:3'"),
        ("counterfactual", "classifier_64", "margin:1,0", "has directions for class:1; got target"),
    ],
)
def test_a_bundle_names_the_model_and_the_targets_of_each_of_its_engines(
    method: str, name: str, target: str, words: str
) -> None:
    bundle = load_bundle("knee")
    with pytest.raises(InputError, match=words) as caught:
        cf.explain(method, bundle.predictors[name], grey(80.0, side=128), target=target, bundle=bundle)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("bundle", "words"), [(None, "got none"), (3, "got int")])
def test_no_bundle_is_told_from_something_else(bundle: object, words: str) -> None:
    with pytest.raises(InputError, match=f"translate needs a bundle.*{words}"):
        cf.explain("translate", bright_bundle().predictor, grey(80.0), target="class:1", bundle=bundle)


def test_smaller_images_are_enlarged_where_the_bundle_says_so() -> None:
    bundle, small = bright_bundle(least=12), grey(80.0, side=12)
    strip = cf.explain("translate", bundle.predictor, small, target="class:1", bundle=bundle)
    assert strip.frames.shape[1:] == (1, 16, 16)
    assert strip.grid.shape == (16, 16)
    with pytest.raises(InputError, match="expects at least"):
        cf.explain("translate", bundle.predictor, grey(80.0, side=11), target="class:1", bundle=bundle)
    with pytest.raises(InputError, match="expects at least"):
        cf.explain("translate", bundle.predictor, small, target="class:1", bundle=bright_bundle())


def test_the_digest_follows_the_translator() -> None:
    bundle = bright_bundle()
    before = bundle.digest
    with torch.no_grad():
        bundle.translator.out.bias[0] += 1
    assert bundle.digest != before


def written_model(folder: Path) -> TorchPredictor:
    """A small network on disk with its description, as `fit` takes it."""
    write_tensors(folder / "model.safetensors", dict(_network().state_dict().items()))
    about = {
        "factory": "contrafact.models.example_networks:PlainNetwork",
        "arguments": {"widths": [4, 4]},
        "weights": "model.safetensors",
        "classes": ["no", "yes"],
        "output": "logits",
        "preprocessing": {"size": [16, 16], "channels": 1, "window": [0, 255], "mean": [0.5], "std": [0.5]},
    }
    write_json(folder / "model.json", about)
    return cf.load_predictor(folder / "model.json")


def _network() -> torch.nn.Module:
    from contrafact.models.example_networks import PlainNetwork

    with torch.random.fork_rng():
        torch.manual_seed(5)
        network = PlainNetwork(widths=(4, 4))
    with torch.no_grad():
        network.head.weight.mul_(20)
    return network


def test_a_bundle_with_only_a_translator_is_written_and_read(tmp_path: Path) -> None:
    predictor, made = written_model(tmp_path), translator_of()
    bundle = Bundle(
        name="small",
        window=(0.0, 255.0),
        translator=made,
        translations=(Translation(model=predictor.digest, target="class:1"),),
        engine="translate",
        predictor=predictor,
        predictors={"model": predictor},
    )
    save_bundle(tmp_path, bundle, descriptions={"model": "model.json"}, main="model")
    again = load_bundle(tmp_path)
    assert again.generator is None
    assert again.translations == bundle.translations
    assert again.engine == "translate"
    x = torch.rand(2, 1, 16, 16) * 2 - 1
    a, b = (one(x, torch.zeros(2), torch.ones(2)) for one in (made, again.translator))
    assert torch.allclose(a, b, atol=5e-3)  # stored in half precision


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"translator": {"resolution": 40}}, "resolution"),
        ({"translator": {"resolution": "big"}}, "translator"),
        ({"translator": []}, "translator"),
        ({"translations": [{"predictor": "nobody", "target": "class:1", "number": 0}]}, "nobody"),
        ({"translations": [{"predictor": "model", "target": "class:1"}]}, "number"),
        ({"translations": [{"predictor": "model", "target": "class:1", "number": 1}]}, "from 0 to 0; got 1"),
        ({"translations": [{"predictor": "model", "target": "class:1", "number": -1}]}, "from 0 to 0; got -1"),
        ({"translations": [{"predictor": "model", "target": "class:1", "number": 0.5}]}, "whole number"),
        ({"translations": [{"predictor": "model", "target": "class:1", "number": 0, "by": 3}]}, "by"),
        ({"engine": 3}, "engine"),
    ],
)
def test_a_damaged_description_is_one_line(tmp_path: Path, change: dict[str, object], words: str) -> None:
    import json

    test_a_bundle_with_only_a_translator_is_written_and_read(tmp_path)
    about = json.loads((tmp_path / "bundle.json").read_text())
    (tmp_path / "bundle.json").write_text(json.dumps({**about, **change}))
    with pytest.raises(InputError, match=words) as caught:
        load_bundle(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("out.bias", float("nan"), "finite weights in 'translator.safetensors'"),
        ("low", 9.0, "'low' below 'high'"),
    ],
)
def test_damaged_weights_are_one_line(tmp_path: Path, name: str, value: float, words: str) -> None:
    test_a_bundle_with_only_a_translator_is_written_and_read(tmp_path)
    tensors = read_tensors(tmp_path / "translator.safetensors")
    write_tensors(tmp_path / "translator.safetensors", {**tensors, name: torch.full_like(tensors[name], value)})
    with pytest.raises(InputError, match=words):
        load_bundle(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [("kimg", float("inf")), ("rate", -1.0), ("rate", 0.0), ("noise", -1.0), ("guide", float("nan"))],
)
def test_a_training_setting_out_of_range_is_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"{name} must be"):
        TranslatorTrainerConfig(**{name: value})


def fit_file(tmp_path: Path, name: str = "model") -> Path:
    """The configuration of a small fit, with its images and its model of that name."""
    written_model(tmp_path)
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for number in range(70):
        values = np.clip(rng.uniform(0, 60, (16, 16)) + 3 * number, 0, 255).astype(np.uint8)
        Picture.fromarray(values).save(tmp_path / "images" / f"{number:03}.png")
    path = tmp_path / "fit.toml"
    path.write_text(
        f"""
name = "small"
out = "run"
[data]
path = "images"
[models.{name}]
path = "model.json"
targets = ["class:1"]
[generator]
family = "translator"
resolution = 16
widths = [4, 8]
[training]
kimg = 0.064
features = "none"
"""
    )
    return path


def test_fit_makes_a_translator_from_a_folder_and_goes_on_where_it_was(tmp_path: Path) -> None:
    path = fit_file(tmp_path)
    bundle = fit(path)
    assert bundle is not None
    assert bundle.engine == "translate"
    strip = cf.explain(
        "counterfactual", bundle.predictor, tmp_path / "images" / "010.png", target="class:1", bundle=bundle
    )
    assert strip.frames.shape[1:] == (1, 16, 16)
    shown = np.asarray(Picture.open(tmp_path / "run" / "samples.png"))
    assert shown.shape == (32, 8 * 16)  # eight images of the training, above the same images changed
    stored = [np.asarray(Picture.open(file)) for file in sorted((tmp_path / "images").iterdir())]
    columns = shown.reshape(2, 16, 8, 16).transpose(0, 2, 1, 3)
    places = [next(k for k, one in enumerate(stored) if np.array_equal(one, column)) for column in columns[0]]
    outputs = bundle.predictor(
        torch.from_numpy(np.stack([stored[k] for k in places])[:, None].astype(np.float32))
    )
    rises = (outputs[:, 1] - outputs[:, 0]).diff()
    assert len(set(places)) == 8 and bool((rises > 0).all())  # from one end of the scores to the other
    assert all(not np.array_equal(*pair) for pair in zip(*columns, strict=True))
    again = fit(path, stage="generator")  # the only one
    assert again is not None and again.digest == bundle.digest
    assert [name for name, _ in fit_stages(path)] == ["generator"]  # a finished run says so


def test_no_model_has_the_name_of_a_part_of_the_bundle(tmp_path: Path) -> None:
    """The weights of a model named translator were overwritten by those of the translator."""
    with pytest.raises(InputError, match="got 'translator'; rename it"):
        fit(fit_file(tmp_path, "translator"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("table", ["encoder", "direction"])
def test_a_translator_has_no_latent_space_to_configure(tmp_path: Path, table: str) -> None:
    path = fit_file(tmp_path)
    path.write_text(path.read_text() + f"[{table}]\nseed = 3\n")
    with pytest.raises(InputError, match=rf"expected no \[{table}\] for a translator"):
        fit(path)


def test_a_run_of_another_size_is_not_continued(tmp_path: Path) -> None:
    path = fit_file(tmp_path)
    fit(path)
    path.write_text(path.read_text().replace("widths = [4, 8]", "widths = [4, 12]"))
    with pytest.raises(InputError, match="trained with size .*now"):
        fit(path)


def test_models_of_the_same_finding_are_no_side_effect() -> None:
    """The bundle of knees holds its classifier for two sizes, and its grade by the classifier's score."""
    bundle = cf.load_bundle("knee")
    assert evaluation._others(bundle, bundle.predictor) == {}
    phantom = cf.load_bundle("phantom")
    assert list(evaluation._others(phantom, phantom.predictors["honest"])) == ["cheat class:1"]


def test_features_of_photographs_print_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    _photograph_network()
    assert capsys.readouterr().out == ""


def test_the_statistics_of_the_photograph_network_are_those_it_came_with() -> None:
    pytest.importorskip(
        "efficientnet_lite_pytorch", reason="needs its features: pip install 'contrafact[translator]'"
    )
    from contrafact.generators import projected_discriminator as module

    plain = module._photograph_network().state_dict()
    used = module.ProjectedFeatures(1, 64).network.state_dict()
    assert [name for name in plain if not torch.equal(plain[name], used[name])] == []
