"""A second model confirms a counterfactual or does not, and a search follows what such a model would too."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import contrafact as cf
from contrafact.bundles import load_bundle
from contrafact.core import Counterfactual, Grid, InputError, Record
from contrafact.counterfactual.direction import Direction
from contrafact.counterfactual.latent_path import LatentPath
from contrafact.counterfactual.latent_search import check_size
from contrafact.counterfactual.latent_statistics import LatentStatistics
from contrafact.counterfactual.steady_gradient import VIEWS, steady, views_of
from contrafact.io import Run
from contrafact.metrics import trust_card_of_strip
from contrafact.models import Preprocessing, TorchPredictor
from four_pixels import bundle, image, predictor


def strip_of(scores: list[float], second: list[float] | None, target: str = "class:1") -> Counterfactual:
    count = len(scores)
    record = Record(method="latent-walk", parameters={}, target=target, model="m", image="i")
    return Counterfactual(
        frames=np.zeros((count, 1, 4, 4), np.float32),
        requested=np.arange(count, dtype=float),
        scores=np.array(scores),
        latent_distance=np.zeros(count),
        origin=0,
        reconstruction_error=0.0,
        above_tolerance=False,
        outcome="reached",
        goal=None,
        reconstruction=np.zeros((1, 4, 4), np.float32),
        grid=Grid((4, 4)),
        record=record,
        second=None if second is None else np.array(second),
    )


@pytest.mark.parametrize(
    ("scores", "second", "confirmed"),
    [
        ([-2, 2], [-1, 1], True),
        ([-2, 2], [-1, -0.5], False),  # moved, and not to the other side
        ([-2, 2], [1.5, 1.0], False),  # on that side already, and moved the other way
        ([2, -2], [1, -1], True),
        ([-2, 0.5, 3], [2, 2.05, 2.1], False),  # on that side already: it never flipped
        ([2, -2], [-1, -2], False),
        ([-2, 2], [1, -1], False),  # flips the other way
        ([-2, -1], [-1, 1], None),  # the first model's prediction does not flip
        ([-2, 2], None, None),
    ],
)
def test_a_flip_is_confirmed_by_a_second_model_that_goes_with_it(
    scores: list[float], second: list[float] | None, confirmed: bool | None
) -> None:
    assert strip_of(scores, second).confirmed is confirmed


@pytest.mark.parametrize("second", [[-1.0, 1.0], [-1.0, -0.5], None])
def test_a_saved_strip_and_one_of_a_run_keep_their_second_model(
    second: list[float] | None, tmp_path: Path
) -> None:
    from contrafact.study.scoring import stored

    made = strip_of([-2, 2], second)
    run = Run.create(tmp_path / "run", about={"title": "Test"})
    run.add("one", image((0, 0, 0, 0)), made, case="one")
    again = stored(run, run.rows()[0])
    for kept in (cf.read_result(made.save(tmp_path / "strip.npz")), again):
        assert kept.confirmed is made.confirmed
        np.testing.assert_array_equal(kept.second, made.second)


@pytest.mark.parametrize(
    ("scores", "second", "end", "confirmed"),
    [
        ([3, 1, -2], [2, 1, -1], 2, True),
        ([-2, 1, 3], [-1, 1, 2], 0, True),  # the first frame is that of the other side
        ([-2, 1, 3], [1, 1, 2], 0, False),
        ([2, 1, 3], [-1, 1, 2], 2, None),  # neither end flips
        ([-2, 1, -3], [-1, 1, 2], 2, False),
    ],
)
def test_of_a_strip_that_goes_both_ways_the_end_that_flips_answers(
    scores: list[float], second: list[float], end: int, confirmed: bool | None
) -> None:
    made = dataclasses.replace(strip_of(scores, second), origin=1)
    assert made.end == end and made.flips is (confirmed is not None) and made.confirmed is confirmed


class ByFrame:
    """A second model whose scores of the frames are known: each frame holds its own."""

    def __call__(self, images: Any) -> Tensor:
        return torch.as_tensor(images)[:, 0, 0, 0]

    def target(self, _name: str) -> Any:
        return Known()


class Known:
    def __call__(self, outputs: Tensor) -> Tensor:
        return outputs

    def score_of(self, goal: float) -> float:
        return goal


@pytest.mark.parametrize("origin", [0, 1, 2])
@pytest.mark.parametrize(
    "second", [[2, 2.05, 2.1], [-1, 0.5, 1], [-0.01, -0.01, 0.01], [-1, -0.9, 1], [3, 2, -1]]
)
@pytest.mark.parametrize("scores", [[-2, 0.5, 3], [3, 2, -1], [-3, -1, 2]])
def test_the_card_says_of_a_flip_what_the_strip_says(
    scores: list[float], second: list[float], origin: int
) -> None:
    frames = np.broadcast_to(np.array(second, np.float32)[:, None, None, None], (3, 1, 4, 4)).copy()
    made = dataclasses.replace(strip_of(scores, second), origin=origin, frames=frames)
    check = next(c for c in trust_card_of_strip(made, second_model=ByFrame()) if c.name == "second model")
    if made.flips:
        assert check.passed is made.confirmed
        already = bool(made.second[made.origin] * made.scores[made.end] > 0)
        assert ("already before the change" in check.sentence) is already
        assert ("flips on the same frames" in check.sentence) is made.confirmed


def test_only_a_decision_can_flip() -> None:
    assert not strip_of([-2, 2], [-1, 1], target="value:0").flips
    assert strip_of([-2, 2], [-1, 1], target="margin:1,0").flips


def test_a_bundles_second_model_scores_every_frame_and_stands_in_the_run(tmp_path: Path) -> None:
    first, second = predictor(), predictor((1.0, 0.0, 0.0, 0.0))
    made = dataclasses.replace(bundle(first), seconds={"main": second})
    start = image((-0.8, 0, 0, 0))
    strip = cf.explain("latent-walk", first, start, target="class:1", bundle=made, goal=0.9, frames=3)
    with torch.no_grad():
        truth = second.target("class:1")(second(strip.frames)).numpy()
    np.testing.assert_allclose(strip.second, truth, atol=1e-5)
    assert strip.confirmed is True
    run = Run.create(tmp_path / "run", about={"title": "Test"})
    run.add("one", start, strip, case="one")
    [row] = run.rows()
    assert row["confirmed"] is True and row["second"] == pytest.approx(truth.tolist(), abs=1e-5)


def test_a_second_model_that_sees_something_else_does_not_confirm() -> None:
    first, blind = predictor(), predictor((0.0, 0.0, 0.0, 3.0))
    made = dataclasses.replace(bundle(first), seconds={"main": blind})
    strip = cf.explain("latent-walk", first, image((-0.8, 0, 0, -0.5)), target="class:1", bundle=made, goal=0.9)
    assert strip.flips and strip.confirmed is False


def test_the_second_model_leads_the_card_and_belongs_to_the_digest() -> None:
    first, second = predictor(), predictor((1.0, 0.0, 0.0, 0.0))
    plain = bundle(first)
    made = dataclasses.replace(plain, seconds={"main": second})
    assert made.digest != plain.digest
    strip = cf.explain("latent-walk", first, image((-0.8, 0, 0, 0)), target="class:1", bundle=made, goal=0.9)
    names = [check.name for check in trust_card_of_strip(strip, second_model=made.second_model(first))]
    assert names[:2] == ["second model", "drift by a second model"]
    assert made.second_model(predictor((2.0, 0.0, 0.0, 0.0))) is None


@pytest.mark.parametrize("name", ["knee", "chest", "nodule", "nodule_3d", "histology", "phantom"])
def test_every_shipped_bundle_has_a_second_model_of_another_architecture(name: str) -> None:
    made = load_bundle(name)
    second = made.second_model(made.predictor)
    assert second is not None and type(second.module) is not type(made.predictor.module)
    assert second.digest not in {p.digest for p in made.predictors.values()}
    assert second.classes == made.predictor.classes and second.output == made.predictor.output


def test_explain_on_the_command_line_asks_the_bundles_second_model(tmp_path: Path) -> None:
    from contrafact.cli.arguments import plan_of, with_checks
    from contrafact.core import UNTRUSTED

    plan, _ = plan_of(None, "phantom", target="class:1", methods="latent-walk", goal=0.9, set_=[], seed=0)
    assert with_checks(plan, True, None, UNTRUSTED).second_model is plan.bundle.second_model(
        plan.bundle.predictor
    )
    assert json.loads(json.dumps(plan.bundle.card)) is not None


class Brittle(nn.Module):
    """Reads a broad disc, and much more strongly a chequerboard that no reader could see."""

    def __init__(self, brittle: float) -> None:
        super().__init__()
        rows, columns = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
        self.register_buffer("disc", (((rows - 31.5) ** 2 + (columns - 31.5) ** 2) < 100).float() / 300)
        self.register_buffer("board", brittle * (1.0 - 2.0 * ((rows + columns) % 2)) / 300)

    def forward(self, images: Tensor) -> Tensor:
        return torch.as_tensor((images[:, 0] * (self.disc + self.board)).sum(dim=(1, 2)))


class TwoPatterns:
    """Draws the disc by its first latent and the chequerboard by its second."""

    image_shape, latent_size = (1, 64, 64), 2

    def decode(self, w: Tensor) -> Tensor:
        parts = Brittle(1.0)
        shapes = torch.stack([parts.disc, parts.board]) * 286  # one logit for one unit of the disc
        return torch.einsum("nk,khw->nhw", w, shapes)[:, None]


def walker_of(brittle: float, *, steadily: bool) -> LatentPath:
    measure = Brittle(brittle)
    start = torch.zeros(1, 1, 64, 64)
    direction = Direction(
        alpha=torch.tensor([1.0, 0.0]), intercept=0.0, step=torch.tensor([1.0, 0.0]), deviation=1.0,
        target="class:1", model="m", fit={}, held=torch.zeros(0, 2),
    )  # fmt: skip
    return LatentPath(
        generator=TwoPatterns(),
        statistics=LatentStatistics(torch.zeros(2), torch.eye(2)),
        direction=direction,
        measure=measure,
        images=start,
        latents=torch.zeros(1, 2),
        reconstruction=start,
        start=torch.zeros(1),
        steady=steady(measure) if steadily else None,
    )


def way(walker: LatentPath, share: float = 0.5) -> tuple[float, float]:
    slopes = walker._gradients(torch.zeros(1, dtype=torch.long), torch.zeros(1, 2))
    there = walker._unit_offset(slopes, share)[0]
    return float(there[1].abs() / there[0].abs()), float(slopes.agreement)


def test_a_gradient_that_is_not_steady_is_not_followed() -> None:
    plain, whole = way(walker_of(20.0, steadily=False))
    steadily, agreement = way(walker_of(20.0, steadily=True))
    assert whole == 1.0 and plain > 5  # nearly all of the way is the chequerboard
    assert agreement < 0.3 and steadily < 0.1


def test_agreement_is_the_cosine_in_the_metric_of_the_latents_and_not_below_0() -> None:
    walker = dataclasses.replace(
        walker_of(0.0, steadily=True),
        statistics=LatentStatistics(torch.zeros(2), torch.diag(torch.tensor([4.0, 1.0]))),
    )
    a = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    b = torch.tensor([[3.0, 0.0], [1.0, 2.0], [-1.0, 0.5]])
    torch.testing.assert_close(walker._agreement(a, b), torch.tensor([1.0, 0.5**0.5, 0.0]))


def test_a_steady_gradient_is_followed_as_before() -> None:
    plain, _ = way(walker_of(0.0, steadily=False))
    steadily, agreement = way(walker_of(0.0, steadily=True))
    assert agreement == pytest.approx(1.0, abs=1e-3)
    assert steadily == pytest.approx(plain, abs=0.05)


def test_views_are_the_same_at_every_call_and_images_stay() -> None:
    images = torch.rand(2, 1, 64, 64)
    before = images.clone()
    first, again = views_of(images), views_of(images)
    assert len(first) == VIEWS and all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert torch.equal(images, before)
    assert len({tuple(v[0, 0, 0, :4].tolist()) for v in first}) == VIEWS
    tiny = torch.rand(1, 1, 2, 2)
    assert all((view - tiny).abs().max() < 0.6 for view in views_of(tiny))  # noise alone


def ask_walk(steadily: bool) -> Any:
    first = predictor()
    return cf.explain(
        "latent-walk", first, image((-0.8, 0.1, 0, 0)), target="class:1", bundle=bundle(first), goal=0.9,
        steady=steadily,
    )  # fmt: skip


def test_of_a_linear_model_the_walk_is_the_same_either_way() -> None:
    np.testing.assert_allclose(ask_walk(True).scores, ask_walk(False).scores, atol=0.05)


@pytest.mark.parametrize(("start", "target"), [((-0.8, 0, 0, 0), "class:1"), ((0.8, 0, 0, 0), "class:0")])
def test_a_goal_without_a_target_is_meant_for_the_class_that_is_not_predicted(
    start: tuple[float, ...], target: str
) -> None:
    first = predictor()
    strip = cf.explain("latent-walk", first, image(start), bundle=bundle(first), goal=0.9)
    assert strip.record.target == target and strip.outcome == "reached" and strip.flips


def test_a_bundle_without_a_translator_knows_no_translation_and_names_its_own_method() -> None:
    model = predictor()
    made = bundle(model)
    target = model.target("class:1")
    assert not made.knows("translations", model, target) and made.knows("directions", model, target)
    with pytest.raises(InputError, match="has no translator; use latent-walk"):
        made.translation(model, target)


@pytest.mark.parametrize("size", [(2, 2), (1, 2), (2, 3), (3, 2), (3, 3)])
def test_a_generator_must_be_as_large_as_the_model_along_every_axis(size: tuple[int, int]) -> None:
    model = predictor()
    made, prepared = bundle(model), Preprocessing(size=size, window=(0, 1))
    other = TorchPredictor(model.module, preprocessing=prepared, classes=["a", "b"])
    if max(size) == 2:
        check_size(other, made, (2, 2))
        return
    with pytest.raises(InputError, match=f"makes images of 2 x 2; .*takes {size[0]} x {size[1]}"):
        check_size(other, made, (2, 2))
