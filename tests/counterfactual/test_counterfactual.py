"""Directions and walks against closed forms, on a generator whose every pixel is known."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from contrafact import explain
from contrafact.core import Image, InputError, Question
from contrafact.counterfactual import (
    Anchors,
    Bundle,
    DirectionConfig,
    LatentStatistics,
    LatentWalk,
    Refinement,
    as_published,
    decision_boundary,
    fit_direction,
    invert,
    least_step,
    published_walk,
)
from contrafact.counterfactual.inversion import carry_over
from contrafact.counterfactual.latent_path import Gradients
from contrafact.counterfactual.latent_search import LatentSearch, SearchSettings
from contrafact.models import BlackBox, TorchPredictor
from four_pixels import MIX, OWN, Bowl, Exact, FourPixels, bundle, image, predictor, two_scores


def test_the_direction_of_a_linear_model_is_its_closed_form() -> None:
    made = bundle(predictor()).directions[0]
    covariance = MIX @ MIX
    alpha = torch.tensor([3.0, 0, 0, 0])
    torch.testing.assert_close(made.alpha, alpha, atol=0.02, rtol=0.02)
    expected = covariance @ alpha / (alpha @ covariance @ alpha)
    torch.testing.assert_close(made.step, expected, atol=0.03, rtol=0.05)
    assert made.deviation == pytest.approx(float((alpha @ covariance @ alpha).sqrt()), rel=0.05)
    assert made.fit["r2"] > 0.999
    assert made.fit["slope"] == pytest.approx(1, abs=0.01)
    assert made.fit["r2_interval"][0] <= made.fit["r2"] <= made.fit["r2_interval"][1]
    w = torch.randn(5, 4)
    torch.testing.assert_close(made.surrogate(w), 3 * w[:, 0], atol=0.1, rtol=0.05)


def test_r2_is_the_share_of_what_was_measured() -> None:
    from contrafact.counterfactual.direction import _quality

    measured = torch.tensor([-2.0, -1.0, 1.0, 2.0])
    found = _quality(measured / 2, measured, DirectionConfig(bootstrap=5))
    assert found["r2"] == pytest.approx(1 - 0.25)  # half of each is missing: a quarter of the squares
    assert found["slope"] == pytest.approx(2)
    assert (found["auc"], found["held_out"]) == (1.0, 4)


def test_no_other_step_of_one_logit_is_shorter() -> None:
    made = bundle(predictor())
    direction, statistics = made.directions[0], made.statistics
    ours = float(statistics.length(direction.step))
    rng = torch.Generator().manual_seed(3)
    for _ in range(200):
        other = direction.step + 0.2 * torch.randn(4, generator=rng)
        other = other / (other @ direction.alpha)
        assert float(statistics.length(other)) >= ours * 0.999


def test_what_is_held_stays_still() -> None:
    free = bundle(predictor()).directions[0].step
    held = bundle(predictor(), hold=((0.0, 1.0, 0.0, 0.0),)).directions[0]
    assert abs(float(free[1])) > 0.1  # correlated latents move along
    assert abs(float(held.step[1])) < 0.01
    assert float(held.step[0]) == pytest.approx(1 / 3, rel=0.02)
    assert held.fit["condition"] > 1
    with pytest.raises(InputError, match="keep fewer scores constant"):
        least_step(torch.ones(4, 2), torch.eye(4))


def test_a_score_of_another_direction_is_held_when_asked() -> None:
    made, model = two_scores()
    free, covariance = made.directions[0], MIX @ MIX
    held = made.holding(free, ["other/class:1"])
    probes = torch.eye(4)[:, :2] * torch.tensor([3.0, 1.0])
    torch.testing.assert_close(held.step, least_step(probes, covariance)[0], atol=0.03, rtol=0.05)
    assert held.deviation < free.deviation  # what is held makes the way longer
    for names, said in ((["nobody"], "can keep other/class:1 constant"), (["main/class:1"], "can keep other")):
        with pytest.raises(InputError, match=said):
            made.holding(free, names)
    with pytest.raises(InputError, match="keep fewer"):
        made.holding(made.direction(model, model.target("class:0")), ["main/class:1"])
    shown = image((-1.0, 0.5, 0, 0))
    for follow in (0.0, 0.5):
        ask = {"target": "class:1", "bundle": made, "steps": (0.0, 2.0), "follow": follow}
        strip = explain("latent-walk", model, shown, hold=("other/class:1",), **ask)
        loose = explain("latent-walk", model, shown, **ask)
        moved = [float(np.diff(s.frames.reshape(2, 4), axis=0)[0, 1]) / 127.5 * 8 for s in (strip, loose)]
        assert abs(moved[0]) < 0.03 < 0.2 < abs(moved[1])
        assert np.diff(strip.scores)[0] == pytest.approx(2, abs=0.15)
        assert strip.record.parameters["hold"] == ["other/class:1"]


@pytest.mark.parametrize("bends", [False, True])
@pytest.mark.parametrize("asked", [1.0, -2.0, 100.0])
def test_a_move_at_once_is_the_closed_form_within_the_budget(asked: float, bends: bool) -> None:
    model = predictor()
    made = bundle(model)
    shown = image((0.5, 0.25, 0, 0))
    question = Question(
        predictor=model, images=shown.values[None], target=model.target("class:1"), grid=shown.grid, bundle=made
    )
    latents = made.encoder(made.to_canvas(torch.as_tensor(question.images)))
    canvas = made.to_canvas(torch.as_tensor(question.images))
    for follow in (0.5, 0.0):
        walking = LatentSearch(
            SearchSettings(follow=follow), question, made, made.directions[0], canvas, latents
        )
        _, scores, lengths = walking.single_frames(asked, bends=bends)
        if asked == 100:
            assert float(lengths) == pytest.approx(5.0, abs=1e-3)
        else:
            assert float(scores) == pytest.approx(1.5 + asked, abs=0.1)
            assert float(lengths) == pytest.approx(abs(asked) / made.directions[0].deviation, rel=0.05)


def test_latents_that_are_kept_are_not_searched_again() -> None:
    model = predictor()
    made = dataclasses.replace(bundle(model), found={})
    ask = {"target": "class:1", "bundle": made, "steps": (0.0, 1.0)}
    first = explain("latent-walk", model, image((-1.0, 0.5, 0, 0)), **ask)
    again = explain("latent-walk", model, image((-1.0, 0.5, 0, 0)), **ask)
    np.testing.assert_array_equal(first.frames, again.frames)
    assert (first.record.notes, again.record.notes) == ({}, {"latents_kept": 1.0})
    assert again.record.forward_passes <= first.record.forward_passes - 37
    explain("latent-walk", model, image((-1.0, 0.6, 0, 0)), **ask)
    explain("latent-walk", model, image((-1.0, 0.5, 0, 0)), **(ask | {"target": "class:0"}))
    assert len(made.found or ()) == 3  # another image, another target


class Two(nn.Module):
    """Reads w_0 of real images, which lie where the generator never draws (w_3 = 4), else w_1."""

    def forward(self, images: Tensor) -> Tensor:
        w = images.reshape(-1, 4) * 8
        return 3 * torch.where(w[:, 3] > 2, w[:, 0], w[:, 1])


def real_ones(*, gradients: bool) -> Anchors:
    w = FourPixels().sample(1000, torch.Generator().manual_seed(7)) + torch.tensor([0, 0, 0, 4.0])
    return Anchors(images=FourPixels().decode(w), latents=w, gradients=gradients)


@pytest.mark.parametrize("gradients", [True, False])
def test_with_real_images_the_step_is_what_changes_them(gradients: bool) -> None:
    score, target = Two(), predictor().target("class:1")
    config = DirectionConfig(samples=2000, bootstrap=5, draws=600)
    there = fit_direction(
        FourPixels(), score, target=target, anchors=real_ones(gradients=gradients), config=config
    )
    covariance = MIX @ MIX
    expected = covariance[0] / (3 * covariance[0, 0])  # the shortest step of one unit of 3 w_0
    torch.testing.assert_close(there.step, expected, atol=0.02, rtol=0.05)
    assert there.deviation == pytest.approx(3 * float(covariance[0, 0].sqrt()), rel=0.05)
    assert there.fit["agreement"] > 0.95
    assert there.fit["real"]["held_out"] == 200
    elsewhere = fit_direction(FourPixels(), score, target=target, config=config)
    torch.testing.assert_close(elsewhere.step, covariance[1] / (3 * covariance[1, 1]), atol=0.02, rtol=0.05)


def test_with_real_images_the_step_is_calibrated_on_them_and_holds_still_what_it_is_told() -> None:
    def score(images: Tensor) -> Tensor:
        return 3 * torch.tanh(images.reshape(-1, 4)[:, 0] * 24)  # flatter far out

    def other(images: Tensor) -> Tensor:
        return images.reshape(-1, 4)[:, 1] * 8

    real = real_ones(gradients=True)
    made = fit_direction(
        FourPixels(),
        score,
        target=predictor().target("class:1"),
        anchors=real,
        hold=[other],
        config=DirectionConfig(samples=2000, bootstrap=5, draws=600),
    )
    assert abs(float(made.step[1])) < 0.01 * float(made.step[0])
    size = float(score(real.images).std())
    before, slopes = score(real.images), []
    for asked in (-size, -size / 2, size / 2, size):
        moved = score(FourPixels().decode(real.latents + asked * made.step))
        slopes.append(float((moved - before).mean() / asked))
    assert np.mean(slopes) == pytest.approx(1, abs=0.08)


def test_a_step_that_does_twice_what_it_asks_is_halved() -> None:
    from contrafact.counterfactual.direction import _calibrated

    def score(images: Tensor) -> Tensor:
        return 3 * images.reshape(-1, 4)[:, 0] * 8

    twice = torch.tensor([2 / 3, 0.0, 0.0, 0.0])
    step, slope = _calibrated(FourPixels(), score, real_ones(gradients=True), twice)
    assert slope == pytest.approx(2, rel=1e-4)
    torch.testing.assert_close(step, twice / 2, atol=1e-5, rtol=1e-4)


def test_a_change_keeps_what_the_generator_cannot_draw() -> None:
    x = torch.tensor([[[[-1.0, 0.5], [1.4, 0.0]]]])
    torch.testing.assert_close(carry_over(x, torch.zeros_like(x)), x)
    changed = carry_over(x, torch.full_like(x, 0.7))
    torch.testing.assert_close(changed, torch.tensor([[[[-0.3, 1.2], [1.4, 0.7]]]]))
    torch.testing.assert_close(carry_over(x, torch.full_like(x, -3.0)).min(), torch.tensor(-1.0))
    faint = x / 4  # values from -0.25 to 0.35 may become as dark and as bright as any image
    for sign in (-1.0, 1.0):
        torch.testing.assert_close(carry_over(faint, sign * torch.ones_like(x)), (faint + sign).clamp(-1, 1))
        torch.testing.assert_close(carry_over(faint, 3 * sign * torch.ones_like(x)), sign * torch.ones_like(x))
    torch.testing.assert_close(carry_over(-x, torch.full_like(x, -3.0)).min(), torch.tensor(-1.4))


def test_the_published_direction_is_logistic_and_euclidean() -> None:
    made = bundle(predictor(), published=True).directions[0]
    torch.testing.assert_close(made.alpha / made.alpha.norm(), torch.tensor([1.0, 0, 0, 0]), atol=0.05, rtol=0)
    torch.testing.assert_close(made.step, made.alpha / made.alpha.square().sum())
    assert made.fit["auc"] > 0.999


def test_a_model_that_never_answers_is_refused() -> None:
    with pytest.raises(InputError, match="scores for class:1 that differ"):
        bundle(predictor((0.0, 0.0, 0.0, 0.0)))


@pytest.mark.parametrize("start", [(-1.0, 0.2, 0.1, 0.0), (0.8, 0.0, 0.0, 0.1)])
@pytest.mark.parametrize("goal", [0.9, 0.2, 0.5])
def test_the_walk_finds_the_smallest_step_that_reaches_the_goal(start: tuple[float, ...], goal: float) -> None:
    model = predictor()
    strip = explain("latent-walk", model, image(start), target="class:1", bundle=bundle(model), goal=goal)
    wanted = math.log(goal / (1 - goal))
    if goal == 0.9 and 3 * start[0] > wanted:  # at least 0.9, and it is
        assert strip.outcome == "already"
        return
    if goal == 0.2 and 3 * start[0] < wanted:
        assert strip.outcome == "already"
        return
    assert strip.outcome == "reached"
    assert strip.goal == pytest.approx(wanted)
    assert strip.scores[-1] == pytest.approx(wanted, abs=0.02)
    assert strip.requested[-1] == pytest.approx(wanted - 3 * start[0], rel=0.03, abs=0.02)
    np.testing.assert_allclose(strip.scores - strip.scores[0], strip.requested, rtol=0.03, atol=0.02)
    assert strip.reconstruction_error < 0.2
    assert not strip.above_tolerance
    np.testing.assert_allclose(strip.image, image(start).values, atol=1e-3)


def test_without_a_goal_the_decision_is_turned_round() -> None:
    model = predictor()
    made = bundle(model)
    up, down = explain(
        "latent-walk", model, [image((-1.0, 0, 0, 0)), image((1.0, 0, 0, 0))], target="class:1", bundle=made
    )
    assert up.scores[-1] == pytest.approx(math.log(9), abs=0.02)
    assert down.scores[-1] == pytest.approx(-math.log(9), abs=0.02)


def test_class_zero_of_two_walks_the_other_way() -> None:
    model = predictor()
    strip = explain(
        "latent-walk", model, image((1.0, 0, 0, 0)), target="class:0", bundle=bundle(model), goal=0.9
    )
    assert strip.outcome == "reached"
    assert strip.frames[-1, 0, 0, 0] < strip.frames[0, 0, 0, 0]


def test_the_opposite_of_a_direction_expects_minus_its_score() -> None:
    model = predictor()
    made = bundle(model)
    one = dataclasses.replace(made.directions[0], intercept=0.75)
    made = dataclasses.replace(made, directions=(one,))
    other = made.direction(model, model.target("class:0"))
    w = FourPixels().sample(5, torch.Generator().manual_seed(0))
    torch.testing.assert_close(other.surrogate(w), -one.surrogate(w))
    torch.testing.assert_close(other.step, -one.step)
    assert (other.target, other.deviation) == ("class:0", one.deviation)


def test_a_fixed_row_of_steps_goes_both_ways_through_the_image() -> None:
    model = predictor()
    strip = explain(
        "latent-walk",
        model,
        image((0.1, 0, 0, 0)),
        target="class:1",
        bundle=bundle(model),
        steps=(-2.0, 2.0, 1.0),
    )
    np.testing.assert_allclose(strip.requested, [-2, 0, 1, 2])
    assert strip.origin == 1
    assert strip.outcome == "steps"
    np.testing.assert_allclose(strip.scores, strip.scores[1] + strip.requested, atol=0.1)


def test_levels_give_one_frame_each() -> None:
    model = predictor()
    strip = explain(
        "latent-walk",
        model,
        image((0.0, 0, 0, 0)),
        target="value:1",
        bundle=bundle_for_value(model),
        levels=(-1.0, 1.0, 2.0),
    )
    np.testing.assert_allclose(strip.scores, [-1, 0, 1, 2], atol=0.02)
    assert strip.outcome == "reached"


def bundle_for_value(model: TorchPredictor) -> Bundle:
    made = bundle(model)
    target = model.target("value:1")
    direction = fit_direction(
        made.generator,
        made.scorer(model, target),
        target=target,
        model=model.digest,
        config=DirectionConfig(samples=4000, bootstrap=5),
    )
    return dataclasses.replace(made, directions=(direction,))


def test_levels_of_a_class_are_probabilities() -> None:
    model = predictor()
    strip = explain(
        "latent-walk", model, image((0.0, 0, 0, 0)), target="class:1", bundle=bundle(model), levels=(0.1, 0.9)
    )
    np.testing.assert_allclose(strip.scores[[0, -1]], [-math.log(9), math.log(9)], atol=0.02)


def test_two_independent_findings_are_not_each_others_opposite() -> None:
    from contrafact.counterfactual.bundle_parts import opposite

    model = predictor()
    made = bundle(model).directions[0]
    assert opposite([made], "class:0") is not None
    made.fit["classes"] = 0  # what `fit` writes for sigmoid outputs
    assert opposite([made], "class:0") is None


class Fine(nn.Module):
    """Answers to the checkerboard, which a reduced image does not show."""

    def forward(self, images: Tensor) -> Tensor:
        rough = (images[..., ::2, ::2] - images[..., 1::2, ::2]).mean(dim=(1, 2, 3)) / 10
        z = 3 * (images.mean(dim=(1, 2, 3)) / 127.5 - 1) + rough
        return torch.stack([-z / 2, z / 2], dim=1)


class Bright(nn.Module):
    """Takes every image for one whose drawing scores what `Fine` says of the whole image below."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.full((len(images), 4), 8 / 3 * (10 + 3 * 25 / 127.5))


@pytest.mark.parametrize("encoder", [Exact(), Bright()])
def test_drift_counts_what_reducing_the_image_does_to_the_model(encoder: nn.Module) -> None:
    model = predictor()
    fine = TorchPredictor(Fine(), classes=["no", "yes"], preprocessing=OWN)
    fine.digest = model.digest
    values = np.full((1, 8, 8), 127.5)
    values[0, ::2, ::2] = 227.5
    strip = explain(
        "latent-walk",
        fine,
        Image(values, window=(0, 255)),
        target="class:1",
        bundle=dataclasses.replace(bundle(model), encoder=encoder),
        steps=(1.0,),
        refinement=Refinement(steps=0),
    )
    assert strip.reconstruction_error == pytest.approx(10, abs=0.5)
    assert strip.above_tolerance


def poor_direction(model: TorchPredictor, *, held: Tensor | None = None) -> Bundle:
    """A cohort's direction that points mostly along w_2."""
    made = bundle(model)
    step = torch.tensor([0.1, 0.0, 0.5, 0.0])
    direction = dataclasses.replace(
        made.directions[0],
        step=step,
        deviation=float(1 / made.statistics.length(step)),
        held=torch.zeros(0, 4) if held is None else held,
    )
    return dataclasses.replace(made, directions=(direction,))


def test_the_walk_follows_the_model_where_a_straight_line_goes_wrong() -> None:
    model = TorchPredictor(Bowl(), classes=["no", "yes"], preprocessing=OWN)
    made, start = poor_direction(model), image((0.5, 0.0, 0.1, 0.0))
    ask = {"target": "class:1", "bundle": made}
    strip = explain("latent-walk", model, start, **ask, goal=0.1)
    assert strip.outcome == "reached"
    assert strip.goal - 0.05 < strip.scores[-1] <= strip.goal
    np.testing.assert_allclose(strip.scores - strip.scores[0], strip.requested, atol=0.1)
    row = explain("latent-walk", model, start, **ask, steps=(-2.0, -1.0, 1.0, 2.0))
    np.testing.assert_allclose(row.scores - row.scores[2], [-2, -1, 0, 1, 2], atol=0.1)
    line = explain("latent-walk", model, start, **ask, goal=0.1, follow=0.0)
    assert line.outcome == "no_change"
    assert line.scores[-1] > line.scores[0]


def test_following_keeps_still_what_is_held() -> None:
    model = TorchPredictor(Bowl(), classes=["no", "yes"], preprocessing=OWN)
    ask = {"target": "class:1", "goal": 0.1}
    start = image((0.5, 0.0, 0.1, 0.0))
    other = {}
    for name, held in (("free", None), ("held", torch.tensor([[0.0, 1.0, 0.0, 0.0]]))):
        strip = explain("latent-walk", model, start, bundle=poor_direction(model, held=held), **ask)
        assert strip.outcome == "reached"
        other[name] = abs(float(strip.frames[-1, 0, 0, 1] - strip.frames[0, 0, 0, 1]))
    assert other["free"] > 1  # w_1 moves along with w_0, and speaks for the class itself
    assert other["held"] < 0.02 * other["free"]


def test_a_model_without_gradients_goes_straight() -> None:
    model = predictor()
    made = bundle(model)
    box = BlackBox(lambda x: model(x).detach().numpy(), classes=["no", "yes"], digest=model.digest)
    ask = {"target": "class:1", "bundle": made, "goal": 0.9, "refinement": Refinement(steps=0)}
    start = image((-1.0, 0.2, 0.1, 0.0))
    asked = explain("latent-walk", box, start, **ask)
    line = explain("latent-walk", model, start, **ask, follow=0.0)
    np.testing.assert_allclose(asked.frames, line.frames, atol=1e-4)
    with pytest.raises(InputError, match="follow must be from 0 to 1"):
        LatentWalk(follow=1.5)


@pytest.mark.parametrize("follow", [0.0, 0.5, 1.0])
def test_no_move_is_longer_than_the_budget(follow: float) -> None:
    model = TorchPredictor(Bowl(), classes=["no", "yes"], preprocessing=OWN)
    strip = explain(
        "latent-walk",
        model,
        image((0.5, 0.0, 0.1, 0.0)),
        target="class:1",
        bundle=poor_direction(model),
        goal=0.0001,
        budget=0.7,
        follow=follow,
    )
    assert strip.outcome in ("budget", "no_change")
    assert strip.latent_distance.max() == pytest.approx(0.7, rel=0.02)
    assert strip.scores[-1] > strip.goal


def test_no_counterfactual_within_the_budget_is_an_answer() -> None:
    model = predictor()
    strip = explain(
        "latent-walk",
        model,
        image((-1.0, 0, 0, 0)),
        target="class:1",
        bundle=bundle(model),
        goal=0.999,
        budget=0.5,
    )
    assert strip.outcome == "budget"
    assert strip.latent_distance[-1] == pytest.approx(0.5, rel=0.01)
    assert strip.scores[-1] < strip.goal


def test_a_model_that_stops_answering_is_said() -> None:
    model = predictor()
    made = bundle(model)

    class Deaf(BlackBox):
        pass

    deaf = Deaf(lambda x: np.zeros((len(x), 2), np.float32), classes=["no", "yes"], digest=model.digest)
    strip = explain("latent-walk", deaf, image((-1.0, 0, 0, 0)), target="class:1", bundle=made, goal=0.9)
    assert strip.outcome == "no_change"


def test_an_image_that_meets_the_goal_is_left_alone() -> None:
    model = predictor()
    goal = 1 / (1 + math.exp(-1.5))
    strip = explain(
        "latent-walk", model, image((0.5, 0, 0, 0)), target="class:1", bundle=bundle(model), goal=goal
    )
    assert strip.outcome == "already"
    np.testing.assert_allclose(strip.frames, np.repeat(strip.frames[:1], len(strip.frames), axis=0), atol=1e-3)


def test_a_black_box_gets_a_walk_too() -> None:
    model = predictor()
    made = bundle(model)

    def function(x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return model.module(torch.from_numpy(x)).numpy()

    black_box = BlackBox(function, classes=["no", "yes"], digest=model.digest)
    strip = explain("latent-walk", black_box, image((-1.0, 0, 0, 0)), target="class:1", bundle=made, goal=0.9)
    assert strip.outcome == "reached"


def test_what_the_generator_cannot_draw_is_carried_over() -> None:
    model = predictor()

    class Poor(Exact):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images) * torch.tensor([1.0, 1.0, 1.0, 0.0])

    made = bundle(model)
    poor = dataclasses.replace(made, encoder=Poor())
    shown = image((-1.0, 0.0, 0.0, 3.0))  # pixel 3: a device that the encoder does not see
    strip = explain(
        LatentWalk(goal=0.9, refinement=Refinement(steps=0)), model, shown, target="class:1", bundle=poor
    )
    assert abs(strip.reconstruction[0, 1, 1] - shown.values[0, 1, 1]) > 40
    np.testing.assert_allclose(strip.frames[:, 0, 1, 1], shown.values[0, 1, 1], atol=2)


def test_drift_above_the_tolerance_flags_the_strip() -> None:
    model = predictor()

    class Wrong(Exact):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images) + torch.tensor([1.0, 0, 0, 0])

    made = bundle(model)
    wrong = dataclasses.replace(made, encoder=Wrong())
    walk = LatentWalk(goal=0.9, refinement=Refinement(steps=0))
    strip = explain(walk, model, image((-1.0, 0, 0, 0)), target="class:1", bundle=wrong)
    assert strip.reconstruction_error == pytest.approx(3.0, abs=0.05)
    assert strip.above_tolerance


def test_refinement_brings_a_bad_start_home_and_leaves_the_generator_alone() -> None:
    generator = FourPixels()
    statistics = LatentStatistics.of(generator, torch.Generator().manual_seed(0))
    truth = generator.sample(6, torch.Generator().manual_seed(5))
    images = generator.decode(truth)

    def encoder(x: Tensor) -> Tensor:
        return x.reshape(-1, 4) * 8 + 0.5

    found = invert(
        generator,
        encoder,
        images,
        statistics=statistics,
        refinement=Refinement(steps=300, prior=0.0),
    )
    assert float((found - truth).abs().max()) < 0.1
    drawn_to_mean = invert(
        generator,
        encoder,
        images,
        statistics=statistics,
        refinement=Refinement(steps=300, prior=100.0),
    )
    assert float(statistics.length(drawn_to_mean - statistics.mean).max()) < 0.1


def test_the_prior_of_an_inversion_draws_to_the_mean_of_the_latents() -> None:
    generator, mean = FourPixels(), torch.tensor([3.0, -2.0, 1.0, 0.5])
    statistics = LatentStatistics(mean, MIX @ MIX)
    images = generator.decode(mean + generator.sample(3, torch.Generator().manual_seed(5)))
    strong = Refinement(steps=400, prior=100.0)
    found = invert(generator, Exact(), images, statistics=statistics, refinement=strong)
    assert float(statistics.length(found - mean).max()) < 0.1


def test_mahalanobis_lengths_of_samples_are_those_of_a_chi() -> None:
    generator = FourPixels()
    statistics = LatentStatistics.of(generator, torch.Generator().manual_seed(0))
    w = generator.sample(4000, torch.Generator().manual_seed(1))
    lengths = statistics.length(w - statistics.mean)
    assert float(lengths.square().mean()) == pytest.approx(4.0, rel=0.05)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bundle": None}, "needs a bundle"),
        ({"image": Image(np.full((1, 2, 2), 4000.0))}, "image.rescaled"),
        ({"image": Image(np.zeros((1, 1, 1)), window=(0, 255))}, "at least 2 x 2 pixels; got 1 x 1"),
        ({"image": Image(np.zeros((3, 2, 2)), window=(0, 255))}, "expects 1-channel"),
        ({"goal": 1.0}, "above 0 and below 1"),
        ({"goal": 0.9, "steps": (1.0,)}, "one of goal, steps and levels"),
        ({"frames": 1}, "frames must be"),
        ({"budget": 0.0}, "budget must be"),
        ({"target": "probability:1"}, "has directions for class:1"),
        ({"model": predictor((1.0, 2.0, 0.0, 0.0))}, "fitted to other models"),
    ],
)
def test_what_cannot_be_walked_is_refused_in_one_line(change: dict[str, Any], words: str) -> None:
    model = predictor()
    asked: dict[str, Any] = {
        "model": model,
        "image": image((0, 0, 0, 0)),
        "target": "class:1",
        "bundle": bundle(model),
    }
    asked |= change
    with pytest.raises(InputError, match=words) as caught:
        explain("latent-walk", asked.pop("model"), asked.pop("image"), **asked)
    assert "\n" not in str(caught.value)


class ForgetsTheLastPixel(Exact):
    """An encoder with an error: what it forgets, the generator cannot draw."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) * torch.tensor([1.0, 1.0, 1.0, 0.0])


def test_as_published_a_frame_is_a_drawing_and_else_the_image_that_changed() -> None:
    model = predictor()
    target = model.target("class:1")
    made = dataclasses.replace(bundle(model), encoder=ForgetsTheLastPixel())
    theirs = as_published(made, model, target, samples=5000)
    start = image((-0.5, 0.2, 0.1, 1.0))
    drawn = explain(published_walk(), model, [start], target="class:1", bundle=theirs)[0]
    kept = explain(LatentWalk(), model, [start], target="class:1", bundle=made)[0]
    assert drawn.outcome == kept.outcome == "reached"
    last = 127.5  # pixel i is w_i / 8: what was forgotten is drawn as 0
    step = theirs.directions[0].step * float(drawn.requested[-1]) * 127.5 / 8
    np.testing.assert_allclose(drawn.image.ravel()[:3], start.values.ravel()[:3], atol=1e-3)
    assert drawn.image.ravel()[3] == pytest.approx(last, abs=1e-3)
    np.testing.assert_allclose(drawn.frames[-1].ravel(), drawn.image.ravel() + step.numpy(), atol=1e-2)
    np.testing.assert_allclose(kept.image, start.values, atol=1e-3)
    assert kept.frames[-1].ravel()[3] == pytest.approx(start.values.ravel()[3], abs=1)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_share_of_the_way_is_the_images_own_and_the_cohort_has_the_rest(share: float) -> None:
    from contrafact.counterfactual.latent_path import LatentPath

    made = bundle(predictor())
    w = torch.zeros(1, 4)
    drawn = made.generator.decode(w)
    walker = LatentPath(
        generator=made.generator,
        statistics=made.statistics,
        direction=made.directions[0],
        measure=lambda images: images.flatten(1).sum(dim=1),
        images=drawn,
        latents=w,
        reconstruction=drawn,
        start=torch.zeros(1),
    )
    own, step = torch.tensor([[0.0, 0.0, 5.0, 1.0]]), made.directions[0].step
    common = torch.linalg.solve(made.statistics.covariance, step)  # what the score does, by its shortest step
    expected = share * own + (1 - share) * common / (common @ step)
    torch.testing.assert_close(
        walker._mixed_gradient(Gradients(own[:, 0], own, own, torch.ones(len(own))), share),
        expected,
        rtol=1e-3,
        atol=1e-3,
    )


def test_real_images_have_three_quarters_of_the_say_in_the_surrogate() -> None:
    """Of synthetic images the score reads w_1, of real ones w_0: least squares with weights, from many more."""
    config = DirectionConfig(samples=2000, bootstrap=5, draws=64)
    made = fit_direction(
        FourPixels(),
        Two(),
        target=predictor().target("class:1"),
        anchors=real_ones(gradients=True),
        config=config,
    )
    drawn = FourPixels().sample(40_000, torch.Generator().manual_seed(5))
    real = FourPixels().sample(40_000, torch.Generator().manual_seed(6)) + torch.tensor([0, 0, 0, 4.0])
    rows = torch.cat([real, drawn]).double().numpy()
    values = Two()(torch.cat([FourPixels().decode(real), FourPixels().decode(drawn)])).double().numpy()
    weights = np.sqrt(np.repeat([0.75, 0.25], 40_000))
    design = np.c_[rows, np.ones(len(rows))]
    expected = np.linalg.lstsq(design * weights[:, None], values * weights, rcond=None)[0]
    np.testing.assert_allclose(made.alpha.numpy(), expected[:4], atol=0.25)
    assert made.alpha[0] > 2 * made.alpha[1]  # with equal weights it is the other way round


def test_an_inversion_weighs_what_is_coarse_beside_what_is_fine() -> None:
    from contrafact.counterfactual.inversion import _residuals

    def _distance(generated: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        return _residuals(generated - images).square().sum(dim=1)

    blank = torch.zeros(1, 1, 16, 16)
    board = (torch.arange(16)[:, None] + torch.arange(16)) % 2 * 2.0 - 1
    assert float(_distance(blank + 0.1, blank)) == pytest.approx(4 * (0.01 + 0.01), rel=1e-5)
    assert float(_distance(blank + 0.1 * board, blank)) == pytest.approx(4 * 0.01, rel=1e-5)  # its means are 0
    volume = torch.zeros(2, 1, 8, 8, 8)
    assert _distance(volume + 0.1, volume).tolist() == pytest.approx([0.08, 0.08], rel=1e-5)


def test_an_image_on_the_boundary_lies_where_score_and_prior_weigh_the_same() -> None:
    generator, weights = FourPixels(), torch.tensor([0.5, 0.0, 0.0, 0.0])
    statistics = LatentStatistics(torch.zeros(4), MIX @ MIX)
    spread = float(weights @ MIX @ MIX @ weights)
    start = generator.sample(8, torch.Generator().manual_seed(2)) @ weights
    near = start.abs() < 1  # where the loss is a square
    assert near.sum() > 4
    for prior in (0.01, spread, 4 * spread):
        latents = decision_boundary(
            generator,
            lambda images: images.reshape(-1, 4) @ (8 * weights),
            8,
            torch.Generator().manual_seed(2),
            statistics=statistics,
            steps=600,
            prior=prior,
        )
        # The least of s^2 / 2 + prior / 4 x Mahalanobis length^2.
        left = prior / 2 / (prior / 2 + spread)
        torch.testing.assert_close((latents @ weights)[near], left * start[near], atol=0.01, rtol=0.02)
