"""Counterfactuals of a segmenter: what would have to change for a place to be segmented, or for its size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

import contrafact as cf
from bright_half import AS_THEY_ARE, bright_bundle, grey
from contrafact.api.case import Plan, trust_of
from contrafact.core import Counterfactual, Image, InputError
from contrafact.core.results import tolerance_of
from contrafact.counterfactual import Bundle, Translation
from contrafact.models import TorchPredictor
from contrafact.render.outcome import before_after, heading


class Bright(torch.nn.Module):
    """Segments what is brighter than `level`; its log-odds are a tenth of the difference."""

    def __init__(self, level: float = 127.0) -> None:
        super().__init__()
        self.level = level

    def forward(self, x: Tensor) -> Tensor:
        odds = (x[:, 0] - self.level) / 10
        return torch.stack([-odds / 2, odds / 2], dim=1)


def segmenter(level: float = 127.0) -> TorchPredictor:
    return TorchPredictor(Bright(level), preprocessing=AS_THEY_ARE, classes=["none", "bright"])


def both(first: TorchPredictor, second: TorchPredictor | None = None) -> Bundle:
    """A bundle whose translator was trained on the classifier's score alone."""
    classifier = bright_bundle().predictor
    return bright_bundle(
        predictor=classifier,
        predictors={"model": classifier, "segmenter": first},
        seconds={} if second is None else {"segmenter": second},
        translations=(
            Translation(model=classifier.digest, target="class:1"),
            Translation(model=first.digest, target="place:1", by=(classifier.digest, "class:1")),
        ),
    )


def spot(value: float, around: float = 100.0) -> Image:
    """A square of 4 x 4 pixels of another value in the upper half."""
    values = grey(around).values.copy()
    values[0, 2:6, 3:7] = value
    return Image(values, window=(0.0, 255.0))


def asked(target: str, image: Image, *, second: TorchPredictor | None = None, **more: object) -> Counterfactual:
    first = segmenter()
    strip = cf.explain(
        "counterfactual",
        first,
        image,
        target=target,
        bundle=both(first, second),
        **more,  # type: ignore[arg-type]
    )
    assert isinstance(strip, Counterfactual)
    return strip


@pytest.mark.parametrize("target", ["lesion:1", "region:1", "lesion:bright"])
def test_a_lesion_is_changed_until_it_is_not_segmented(target: str) -> None:
    strip = asked(target, spot(150.0))
    place = (slice(2, 6), slice(3, 7))
    before, after = strip.image[0][place], strip.frames[strip.end][0][place]
    assert strip.outcome == "reached" and strip.flips
    assert (before > 127).all() and (after < 127).all()
    assert strip.scores[strip.origin] == pytest.approx((before.mean() - 127) / 10, abs=1e-3)
    assert strip.scores[strip.end] == pytest.approx(np.log(0.1 / 0.9), abs=0.15)
    assert strip.scores[strip.end] == pytest.approx((after.mean() - 127) / 10, abs=1e-3)  # the frozen place


def test_a_missed_lesion_is_changed_until_it_is_segmented() -> None:
    truth = np.zeros((16, 16), dtype=bool)
    truth[2:6, 3:7] = True
    strip = asked("missed:1", spot(120.0), reference=truth)
    assert strip.outcome == "reached" and (strip.frames[strip.end][0][2:6, 3:7] > 127).mean() > 0.9


def test_a_false_positive_is_changed_until_it_is_gone() -> None:
    elsewhere = np.zeros((16, 16), dtype=bool)
    elsewhere[12:, 12:] = True
    strip = asked("false-positive:1", spot(150.0), reference=elsewhere)
    assert strip.outcome == "reached" and (strip.frames[strip.end][0][2:6, 3:7] < 127).all()


def test_a_volume_has_a_goal_in_voxels_and_none_of_its_own() -> None:
    image = spot(150.0)
    whole = asked("volume:1", image, goal=1.0).scores[0]
    strip = asked("volume:1", image, goal=float(whole) / 2)
    assert strip.outcome == "reached" and strip.scores[strip.end] == pytest.approx(whole / 2, rel=0.1)
    assert not strip.flips
    with pytest.raises(InputError, match="expected a goal for target volume:1"):
        asked("volume:1", image)


def test_a_second_segmenter_is_asked_about_the_same_place() -> None:
    same = asked("lesion:1", spot(150.0), second=segmenter(130.0))
    assert same.second is not None and same.confirmed
    np.testing.assert_allclose(same.second, same.scores - 0.3, atol=1e-3)
    other = asked("lesion:1", spot(150.0), second=segmenter(60.0))  # segments everything, before and after
    assert other.confirmed is False


def test_only_places_of_that_class_are_translated() -> None:
    first = segmenter()
    made = both(first)
    for text in ("lesion:1", "lesion:1#2", "region:1@0.3", "volume:1", "dice:1"):
        assert made.translation(first, first.target(text)) == (made.translations[1], 1)
    for text in ("lesion:0", "margin:1,0"):
        with pytest.raises(InputError, match="translates place:1; got target"):
            made.translation(first, first.target(text))


def test_the_page_says_what_became_of_the_lesion() -> None:
    strip = asked("lesion:1", spot(150.0))
    row = {
        "record": {"target": "lesion:1", "method": "translate"},
        "scores": strip.scores.tolist(),
        "requested": strip.requested.tolist(),
        "origin": strip.origin,
        "outcome": strip.outcome,
        "target_name": "lesion 1",
    }
    assert "%" in before_after(row)
    assert heading(row).startswith("The prediction flips (lesion 1: 9")


def test_the_metrics_ask_the_second_segmenter_about_the_same_place() -> None:
    first, second = segmenter(), segmenter(130.0)
    bundle, image = both(first, second), spot(150.0)
    strip = cf.explain("counterfactual", first, image, target="lesion:1", bundle=bundle)
    scores = cf.evaluate(
        strip, first, image, ["oracle-agreement", "validity"], target="lesion:1", bundle=bundle
    )
    assert [score.reason for score in scores] == ["", ""]
    assert [score.value for score in scores] == pytest.approx([1.0, 1.0])


def test_the_checks_of_a_run_ask_the_second_segmenter_too() -> None:
    first, second = segmenter(), segmenter(130.0)
    plan = Plan(
        predictor=first, methods=["counterfactual"], second_model=second, bundle=both(first, second), trust=True
    )
    image = spot(150.0)
    strip = cf.explain("counterfactual", first, image, target="lesion:1", bundle=plan.bundle)
    rows = {row["name"]: row for row in trust_of(strip, image, None, plan, first.target("lesion:1"))}
    assert rows["second model"]["passed"] and "flips" in rows["second model"]["sentence"]
    assert rows["drift by a second model"]["passed"]


class OneChannel(torch.nn.Module):
    """The same segmentation as one channel of log-odds."""

    def forward(self, x: Tensor) -> Tensor:
        return (x[:, :1] - 127) / 10


def test_a_second_segmenter_of_other_outputs_is_asked_by_the_name_of_the_class_or_not_at_all() -> None:
    swapped = TorchPredictor(_Swapped(), preprocessing=AS_THEY_ARE, classes=["bright", "none"])
    same = asked("lesion:1", spot(150.0), second=swapped)
    assert same.second is not None and np.allclose(same.second, same.scores, atol=1e-3)
    other = TorchPredictor(OneChannel(), preprocessing=AS_THEY_ARE, classes=["bright"], output="sigmoid")
    assert np.allclose(asked("lesion:1", spot(150.0), second=other).second, same.scores, atol=1e-3)
    nameless = TorchPredictor(OneChannel(), preprocessing=AS_THEY_ARE, output="sigmoid")
    assert asked("lesion:1", spot(150.0), second=nameless).second is None  # it has no class 1
    wrong = TorchPredictor(Bright(), preprocessing=AS_THEY_ARE, classes=["lung", "heart"])
    plan = Plan(
        predictor=segmenter(),
        methods=["counterfactual"],
        second_model=wrong,
        bundle=both(segmenter()),
        trust=True,
    )
    strip = asked("lesion:1", spot(150.0))
    rows = trust_of(strip, spot(150.0), None, plan, segmenter().target("lesion:1"))
    assert rows[0]["sentence"].startswith("Not checked: the second model has no class 'bright'")


class _Swapped(Bright):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).flip(1)


class Several(torch.nn.Module):
    """Four classes; class 1 is the most probable where bright, with less than half of the probability."""

    def forward(self, x: Tensor) -> Tensor:
        odds = (x[:, 0] - 127) / 60
        return torch.stack([-odds, odds, torch.zeros_like(odds), torch.zeros_like(odds)], dim=1)


def test_a_lesion_of_several_classes_is_asked_to_go_also_where_its_probability_is_below_one_half() -> None:
    first = TorchPredictor(Several(), preprocessing=AS_THEY_ARE, classes=["none", "a", "b", "c"])
    strip = cf.explain("counterfactual", first, spot(150.0), target="lesion:1", bundle=both(first))
    assert strip.scores[strip.origin] < 0 and strip.scores[strip.end] < strip.scores[strip.origin]


@pytest.mark.parametrize("target", ["boundary:1", "lesion:1@0.3", "region:1,sum"])
def test_places_without_a_decision_at_one_half_need_a_goal_and_never_flip(target: str) -> None:
    with pytest.raises(InputError, match="expected a goal for target"):
        asked(target, spot(150.0))
    assert not asked(target, spot(150.0), goal=-3.0).flips


def test_an_error_of_some_voxels_is_no_fault_of_a_large_volume() -> None:
    assert tolerance_of("volume:1", 1.0, 800.0) == 80.0
    assert tolerance_of("lesion:1", 1.0, 800.0) == tolerance_of("class:1", 1.0, 800.0) == 1.0
    assert tolerance_of("region:1,sum", 1.0, -30.0) == 3.0


def test_reversibility_goes_back_to_the_same_place() -> None:
    first = segmenter()
    bundle, image = both(first), spot(150.0)
    strip = cf.explain("counterfactual", first, image, target="lesion:1", bundle=bundle)
    [score] = cf.evaluate(strip, first, image, ["reversibility"], target="lesion:1", bundle=bundle)
    assert score.reason == "" and score.value == pytest.approx(0.0, abs=0.02)


def test_a_place_of_a_larger_image_is_found_on_the_generators_canvas() -> None:
    large = Image(np.kron(spot(150.0).values[0], np.ones((2, 2)))[None].astype(np.float32), window=(0.0, 255.0))
    strip = asked("lesion:1", large)
    assert strip.frames.shape[-1] == 16 and strip.outcome == "reached"
    assert (strip.frames[strip.end][0][2:6, 3:7] < 127).all()
