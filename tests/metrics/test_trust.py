"""The trust card: every check passes where it must and fails where a fault is planted."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from test_randomisation import Dice, Edges, panel_of, plain_network, predictor_of, shapes
from torch import Tensor, nn

from contrafact.api.case import Plan, solve
from contrafact.attribution import GradCAM, Gradient, InputXGradient, IntegratedGradients, Occlusion
from contrafact.core import Counterfactual, Grid, Heatmap, Image, Question, Record, explain
from contrafact.metrics import Check, HeatmapContext, Thresholds, card_as_json, trust_card, trust_card_of_strip
from contrafact.metrics.trust import card as trust
from contrafact.models import BlackBox, TorchPredictor
from linear_panel import linear_panel
from two_spots import segmenter, two_spots


def named(checks: tuple[Check, ...]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def record(**changes: Any) -> Record:
    return Record(method="m", parameters={}, target="class:1", model="x", image="i", **changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Brittle:
    """Another map for every image, however alike they are."""

    needs_gradients: ClassVar[bool] = True

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        return np.sin(1e6 * question.images[:, 0]).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opposite:
    needs_gradients: ClassVar[bool] = True

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        return -InputXGradient(baseline=0.0)(question, rng)


class Spot(nn.Module):
    """Class 1 is how bright the corner block is."""

    def __init__(self, axes: int = 2, side: int = 16) -> None:
        super().__init__()
        weights = torch.rand(1, *(side,) * axes, generator=torch.Generator().manual_seed(0)) * 0.01
        weights[(0, *(slice(2, 8),) * axes)] += 1
        self.weights = nn.Parameter(weights / weights.sum())

    def forward(self, x: Tensor) -> Tensor:
        score = (x * self.weights).flatten(1).sum(1)
        return torch.stack([-score, score], dim=1)


def spot_panel(explainer: Any, axes: int = 2) -> HeatmapContext:
    image = np.random.default_rng(0).uniform(0.5, 1, (1, 1, *(16,) * axes)).astype(np.float32)
    image[(0, 0, *(slice(2, 8),) * axes)] += 1
    return panel_of([explainer], TorchPredictor(Spot(axes), classes=["no", "yes"]), image)


@pytest.mark.parametrize("axes", [2, 3])
def test_an_honest_map_of_an_honest_model_passes_everything(axes: int) -> None:
    checks = named(trust_card(spot_panel(InputXGradient(baseline=0.0), axes), 0))
    assert list(checks) == ["random weights", "small noise", "other seeds", "removal test"]
    assert all(check.passed for check in checks.values()), checks
    hidden = named(trust_card(spot_panel(Occlusion(box=4, stride=4), axes), 0))
    assert hidden["removal test"].passed and hidden["small noise"].passed


@pytest.mark.parametrize(
    ("explainer", "name", "words"),
    [
        (Edges(), "random weights", "does not show what this model learned"),
        (Brittle(), "small noise", "do not interpret its details"),
        (Dice(), "other seeds", "other random seeds"),
        (Opposite(), "removal test", "may highlight the wrong region"),
    ],
)
def test_each_planted_fault_is_found_by_its_check_and_said_in_words(
    explainer: Any, name: str, words: str
) -> None:
    check = named(trust_card(spot_panel(explainer), 0))[name]
    assert check.passed is False
    assert words in check.sentence
    assert check.value is not None and check.threshold is not None


def test_a_map_that_points_nowhere_is_one_failing_check() -> None:
    panel = linear_panel(more=np.zeros((1, 12, 12)))
    (check,) = trust_card(panel, 3)
    assert check.passed is False and check.sentence.startswith("The map has the same value everywhere")


@pytest.mark.parametrize(
    ("notes", "passed"),
    [
        ({"completeness": 0.01}, True),
        ({"completeness": 0.2}, False),
        ({"conservation": 0.98}, True),
        ({"conservation": 0.6}, False),
        ({"completeness_gap": 1e-4}, True),
        ({"completeness_gap": 99.0}, False),
    ],
)
def test_what_the_method_promised_to_add_up_to_is_checked(notes: dict[str, float], passed: bool) -> None:
    check = named(trust_card(linear_panel(), 0, record=record(notes=notes)))["adds up"]
    assert check.passed is passed
    assert ("%" in check.sentence) is not passed


def test_a_gap_is_a_share_of_all_evidence_for_and_against() -> None:
    panel = linear_panel()
    panel.maps[0] -= panel.maps[0].mean()  # as much for as against
    size = float(np.abs(panel.maps[0]).sum())
    (check,) = trust._complete(panel, 0, {"completeness_gap": -0.02 * size}, trust.Thresholds())
    assert check.value == pytest.approx(0.02) and check.passed


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """The right map at a wrong place: it depends on the weights and stays under noise."""

    how: str
    needs_gradients: ClassVar[bool] = True

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        found = InputXGradient(baseline=0.0)(question, rng)
        axes = tuple(range(1, found.ndim))
        if self.how == "shifted":
            return np.roll(found, [7] * len(axes), axes)
        if self.how == "mirrored":
            return np.flip(found, axes).copy()
        order = np.random.default_rng(0).permutation(found[0].size)
        return found.reshape(len(found), -1)[:, order].reshape(found.shape)


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("how", ["shifted", "mirrored", "permuted"])
def test_a_wrong_place_passes_every_check_but_the_removal_test(how: str, axes: int) -> None:
    checks = named(trust_card(spot_panel(Elsewhere(how=how), axes), 0))
    assert checks["random weights"].passed and checks["small noise"].passed
    assert checks["removal test"].passed is False


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.84, "84 %"),
        (0.9396, "93.96 %"),
        (0.938, "93.8 %"),
        (0.94, "94 %"),
        (0.9412, "94.1 %"),
        (1.0, "100 %"),
    ],
)
def test_the_removal_test_says_its_number_as_it_is(
    value: float, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust, "removal_test", lambda _panel, _which: {"mean": value, "blur": 0.0})
    check = trust._removal(spot_panel(InputXGradient(baseline=0.0)), 0, trust.Thresholds())
    assert check.passed is (value >= 0.94) and check.value == value
    assert f"lowers the prediction more than hiding {said} of other equally large regions" in check.sentence
    assert "correct maps reach 94 %" in check.sentence
    assert ("may highlight the wrong region" in check.sentence) is not check.passed
    assert "not lower" not in check.sentence


@pytest.mark.parametrize(
    ("value", "limit", "form", "said"),
    [
        (1.004, 1.0, ".2f", "1.004"),
        (0.996, 1.0, ".2f", "0.996"),
        (4.02, 4.0, ".1f", "4.02"),
        (4.0, 4.0, ".1f", "4.0"),
        (0.2, 1.0, ".2f", "0.20"),
        (0.703, 0.7, ".0%", "70.3 %"),
        (0.85, 0.7, ".0%", "85 %"),
    ],
)
def test_a_number_can_be_told_from_its_limit(value: float, limit: float, form: str, said: str) -> None:
    assert trust.number_text(value, limit, form) == said


def test_the_removal_test_compares_with_other_places_of_the_same_size_inside_the_region() -> None:
    from contrafact.metrics.trust import removal_test as rt

    panel = spot_panel(InputXGradient(baseline=0.0))
    places = [rt.top(panel, panel.maps[0]), *rt._others(panel, 0)]
    assert {int(place.sum()) for place in places} == {round(0.05 * 256)}
    assert len(places) == 1 + rt.SHIFTED + 2 + rt.RANDOM
    assert places[0][2:8, 2:8].sum() == places[0].sum()  # where the model looks
    assert set(rt.removal_test(panel, 0)) == {"blur", "mean", "min"}
    before = panel.passes
    assert rt.removal_test(panel, 0) and panel.passes == before  # asked once
    region = np.zeros((16, 16), dtype=bool)
    region[8:, :] = True
    inside = panel_of([InputXGradient()], panel.question.predictor, panel.question.images)
    inside.question = dataclasses.replace(inside.question, region=region)
    for place in (rt.top(inside, panel.maps[0]), *rt._others(inside, 0)):
        assert place.sum() == round(0.05 * 128) and not place[:8].any()


def test_what_cannot_be_had_is_said_and_the_rest_goes_on() -> None:
    black = BlackBox(lambda x: np.stack([-x.mean((1, 2, 3)), x.mean((1, 2, 3))], axis=1), classes=["a", "b"])
    checks = named(trust_card(panel_of([Occlusion()], black, shapes()), 0))
    assert checks["random weights"].passed is None and "black box" in checks["random weights"].sentence
    assert checks["removal test"].passed is True  # it asks for answers alone
    assert checks["small noise"].passed is True
    alone = linear_panel()
    checks = named(trust_card(HeatmapContext(alone.question, alone.maps[:1]), 0))
    assert checks["small noise"].passed is None and checks["removal test"].passed is not None
    slow = named(trust_card(spot_panel(Gradient()), 0, record=record(seconds=60.0, forward_passes=1)))
    assert slow["small noise"].passed is None and "takes 60 s" in slow["small noise"].sentence
    assert slow["removal test"].passed is not None


def test_thresholds_stand_in_one_place_with_a_reason_for_each() -> None:
    for field in dataclasses.fields(Thresholds):
        assert f"\n    {field.name} " in (Thresholds.__doc__ or ""), field.name
    strict = named(trust_card(spot_panel(Gradient()), 0, thresholds=Thresholds(removal=1.1)))
    assert strict["removal test"].passed is False


@pytest.mark.parametrize("axes", [2, 3])
def test_a_segmenters_target_is_frozen_once_and_the_model_left_alone(axes: int) -> None:
    predictor, image = segmenter(axes), two_spots(axes)
    before = {name: value.clone() for name, value in predictor.module.state_dict().items()}
    plan = Plan(predictor=predictor, methods=(), target="region:1", trust=True)
    result, extra = solve("case", image, InputXGradient(baseline=0.0), plan)
    assert isinstance(result, Heatmap)
    found = {row["name"]: row for row in extra["trust"]}
    assert found["small noise"]["passed"] and found["removal test"]["passed"]
    assert found["random weights"]["value"] is not None
    json.dumps(extra)
    assert all(torch.equal(before[name], value) for name, value in predictor.module.state_dict().items())
    assert "trust" not in solve("case", image, Gradient(), dataclasses.replace(plan, trust=False))[1]


def test_only_the_region_of_interest_is_compared() -> None:
    region = np.zeros((1, 16, 16), np.float32)
    region[0, 4:12, 4:12] = 1
    image = Image(shapes(2, 16)[0])
    predictor = predictor_of(plain_network(2, 16))
    plan = Plan(predictor=predictor, methods=(), target="class:1", trust=True, region=Image(region))
    found = {row["name"]: row for row in solve("case", image, Gradient(), plan)[1]["trust"]}
    assert found["random weights"]["passed"] and abs(found["random weights"]["value"]) < 0.3


def test_the_card_of_a_small_image_takes_few_passes() -> None:
    predictor = predictor_of(plain_network(2, 64))
    image = Image(shapes(2, 64)[0])
    heat = explain(GradCAM(), predictor, [image], target=predictor.target("class:1"))[0]
    question = Question(
        predictor=predictor,
        images=image.values[None],
        target=predictor.target("class:1"),
        grid=Grid((64, 64)),
    )
    with predictor.frozen():
        panel = HeatmapContext(question, heat.values[None], explainers=[GradCAM()])  # type: ignore[union-attr]
        trust_card(panel, 0, record=heat.record)
    assert panel.passes < 150


def test_a_card_is_json_without_numbers_that_are_none() -> None:
    rows = card_as_json((Check("a", float("nan"), 1.0, None, "s"), Check("b", 1 / 3, 1.0, True, "s")))
    assert [row["value"] for row in rows] == [None, 0.3333]
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows


def bright_strip(**changes: object) -> Counterfactual:
    """The corner block becomes brighter; `Spot` answers by exactly what was asked."""
    frames = np.full((3, 1, 16, 16), 0.5, np.float32)
    frames[:, 0, 2:8, 2:8] += np.array([-1.5, 0, 1.5], np.float32)[:, None, None]
    found = Spot()(torch.from_numpy(frames))[:, 1].detach().double().numpy()
    scores = 2 * found - 0  # log-odds of two classes with opposite outputs
    values: dict[str, object] = {
        "frames": frames[1:] if changes.get("origin") == 0 else frames,
        "requested": scores - scores[0],
        "scores": scores,
        "latent_distance": np.array([0.0, 1.0, 2.0]),
        "origin": 0,
        "reconstruction_error": 0.2,
        "above_tolerance": False,
        "outcome": "reached",
        "goal": 1.0,
        "reconstruction": frames[0],
        "grid": Grid((16, 16)),
        "record": record(),
    }
    return Counterfactual(**{**values, **changes})  # type: ignore[arg-type]


def test_a_good_strip_passes_and_each_fault_is_said() -> None:
    model = TorchPredictor(Spot(), classes=["no", "yes"])
    good = named(trust_card_of_strip(bright_strip(), second_model=model))
    assert list(good) == ["second model", "drift by a second model", "image error", "drift", "goal", "length"]
    assert good["second model"].value == pytest.approx(1, abs=1e-5)
    # What the model says that steered the search is told, and is no check that was passed.
    own = {name for name, check in good.items() if check.passed is None}
    assert own == {"drift", "goal"} and all(c.passed for n, c in good.items() if n not in own), good
    assert "no evidence" in good["drift"].sentence and "no evidence" in good["goal"].sentence
    assert (
        good["image error"].value == pytest.approx(1)
        and "not show that such an image" in good["length"].sentence
    )
    faults: list[tuple[str, dict[str, object], str]] = [
        ("drift", {"reconstruction_error": 4.0, "above_tolerance": True}, "do not rely on this counterfactual"),
        ("goal", {"outcome": "budget"}, "no counterfactual"),
        ("goal", {"outcome": "no_change"}, "does not respond"),
        (
            "image error",
            {"reconstruction": np.zeros((1, 16, 16), np.float32)},
            "reconstructs this image poorly",
        ),
        ("length", {"latent_distance": np.array([0.0, 2.0, 4.9])}, "distance of the change is 4.9 SD"),
    ]
    for name, changes, words in faults:
        check = named(trust_card_of_strip(bright_strip(**changes)))[name]
        assert check.passed is False and words in check.sentence, check
    steps = named(trust_card_of_strip(bright_strip(outcome="steps")))
    assert steps["goal"].passed is None
    tolerant = dataclasses.replace(record(), parameters={"tolerance": 5.0})
    assert (
        named(trust_card_of_strip(bright_strip(reconstruction_error=4.0, record=tolerant)))["drift"].threshold
        == 5.0
    )


@pytest.mark.parametrize("lengths", [(0.0, 2.0, 4.9), (4.9, 2.0, 0.0), (4.9, 0.0, 1.0)])
def test_the_length_of_a_strip_is_its_greatest_whichever_way_it_goes(lengths: tuple[float, ...]) -> None:
    check = named(trust_card_of_strip(bright_strip(latent_distance=np.array(lengths))))["length"]
    assert (check.value, check.passed) == (4.9, False)


def test_drift_is_measured_by_the_model_that_no_search_has_seen_and_the_picture_in_grey_levels() -> None:
    model = TorchPredictor(Spot(), classes=["no", "yes"])
    off = bright_strip().image.copy()
    off[:, 2:8, 2:8] += 1.0
    with torch.no_grad():
        ends = torch.from_numpy(np.stack([bright_strip().image, off]))
        moved = float(np.diff(model.target("class:1")(model(ends)))[0])
    card = named(
        trust_card_of_strip(bright_strip(reconstruction=off, reconstruction_error=0.0), second_model=model)
    )
    assert card["drift"].passed is None  # fitted away, in the eyes of the model it was fitted to
    assert card["drift by a second model"].value == pytest.approx(moved, rel=1e-5)
    assert card["drift by a second model"].passed is False and moved > 1
    span = np.ptp(bright_strip().image)
    assert (
        f"mean error {36 / 256:.3g} grey levels, {36 / 256 / span:.1%} of the range"
        in card["image error"].sentence
    )
    flat = np.full((3, 1, 16, 16), 0.5, np.float32)
    assert named(trust_card_of_strip(bright_strip(frames=flat)))["image error"].passed is None


def test_a_second_model_that_looks_elsewhere_does_not_follow() -> None:
    elsewhere, weak = Spot(), Spot()
    with torch.no_grad():
        elsewhere.weights.copy_(elsewhere.weights.flip(1, 2))
        elsewhere.weights[:, 2:8, 2:8] = 0
    check = named(
        trust_card_of_strip(bright_strip(), second_model=TorchPredictor(elsewhere, classes=["no", "yes"]))
    )["second model"]
    assert check.passed is False and "may deceive the first model" in check.sentence

    class Sure(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.spot = weak

        def forward(self, x: Tensor) -> Tensor:
            return self.spot(x) + torch.tensor([-9.0, 9.0])

    check = named(trust_card_of_strip(bright_strip(), second_model=TorchPredictor(Sure(), classes=["n", "y"])))[
        "second model"
    ]
    assert check.passed is False and "its prediction does not flip" in check.sentence
    numbers = TorchPredictor(Spot(), classes=["a", "b"], output="regression")
    why = named(trust_card_of_strip(bright_strip(), second_model=numbers))["second model"]
    assert why.passed is None and "regression" in why.sentence


def test_integrated_gradients_bring_their_own_account() -> None:
    panel = spot_panel(IntegratedGradients(baseline=0.0))
    image = Image(panel.question.images[0])
    heat = explain(
        IntegratedGradients(baseline=0.0), panel.question.predictor, [image], target=panel.question.target
    )[0]
    assert named(trust_card(panel, 0, record=heat.record))["adds up"].passed


@pytest.mark.parametrize(
    ("likenesses", "value", "passed", "asked"),
    [
        ((0.9, 0.5, 0.8, 0.7), 0.5, False, 4),  # the least of four, neither the first nor the last
        ((0.9, 0.8, 0.7, 0.1), 0.1, True, 4),  # one network that gives another map is enough
        ((0.2, 0.9, 0.9, 0.9), 0.2, True, 1),  # and no further one is asked
    ],
)
def test_up_to_four_random_networks_are_asked_and_the_least_likeness_counts(
    likenesses: tuple[float, ...], value: float, passed: bool, asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from contrafact.metrics.trust import card as trust

    draws: list[int] = []

    def random_map(panel: HeatmapContext, which: int, draw: int = 0) -> NDArray[np.float64]:
        draws.append(draw)
        return np.full(panel.size, float(draw))

    monkeypatch.setattr(trust, "random_map", random_map)
    monkeypatch.setattr(trust, "spearman", lambda *maps: likenesses[int(maps[1].flat[0])])
    check = trust._random_weights(linear_panel(), 0, Thresholds())
    assert (check.value, check.passed, draws) == (value, passed, list(range(asked)))


def test_the_way_of_hiding_that_speaks_most_for_a_map_counts_and_ties_count_half(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from contrafact.metrics.trust import card as trust
    from contrafact.metrics.trust.removal_test import removal_test

    deaf = linear_panel()
    with torch.no_grad():
        deaf.question.predictor.module.weights.zero_()  # type: ignore[attr-defined]
    assert removal_test(deaf, 0) == {"blur": 0.5, "mean": 0.5, "min": 0.5}
    monkeypatch.setattr(trust, "removal_test", lambda *_: {"blur": 0.2, "mean": 1.0, "min": 0.5})
    check = trust._removal(linear_panel(), 0, Thresholds())
    assert (check.value, check.passed) == (1.0, True)


def test_what_a_translator_holds_by_training_is_no_check_that_was_passed() -> None:
    of = record()
    for by in (replace(of, method="translate"), replace(of, details={**of.details, "engine": "translate"})):
        check = named(trust_card_of_strip(bright_strip(record=by)))["image error"]
        assert check.passed is None and "leaves the image as it is" in check.sentence
    poor = bright_strip(record=by, reconstruction=np.zeros((1, 16, 16), np.float32))
    assert named(trust_card_of_strip(poor))["image error"].passed is False
