"""Metrics of heatmaps against closed forms: a linear model whose every voxel's worth is known, maps of a few
voxels, images that their neighbours tell exactly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from contrafact.core import METRICS, Grid, InputError, Question
from contrafact.metrics import (
    AUPRC,
    IROF,
    ROAD,
    Completeness,
    Complexity,
    Deletion,
    EffectiveMass,
    FaithfulnessCorrelation,
    FaithfulnessEstimate,
    HeatmapContext,
    Infidelity,
    Insertion,
    IoU,
    Monotonicity,
    MonotonicityCorrelation,
    PixelFlipping,
    PointingGame,
    RegionPerturbation,
    RelevanceMass,
    RelevanceRank,
    Selectivity,
    SensitivityN,
    Sparseness,
    Sufficiency,
    evaluate,
)
from contrafact.metrics.faithfulness.road import impute, neighbours
from contrafact.metrics.families import finds_truth
from contrafact.models import Preprocessing, TorchPredictor
from linear_panel import Linear, linear_panel

LOCALISATION = ["pointing-game", "relevance-mass", "relevance-rank", "iou", "auprc"]


def panel_of(
    weights: NDArray[np.float64], image: NDArray[np.float64], maps: NDArray[np.float64]
) -> HeatmapContext:
    """f = sum of weights x image, of one channel (*S)."""
    predictor = TorchPredictor(
        Linear(torch.tensor(weights[None], dtype=torch.float32)),
        classes=["a", "b"],
        preprocessing=Preprocessing(window=(0, 1)),  # the values as they are
    )
    question = Question(
        predictor=predictor,
        images=image[None, None].astype(np.float32),
        target=predictor.target("value:1"),
        grid=Grid(image.shape),
    )
    return HeatmapContext(question, maps)


def shown(panel: HeatmapContext, maps: list[NDArray[np.float64]]) -> HeatmapContext:
    """The same question and mask with other maps."""
    return HeatmapContext(panel.question, np.stack(maps), mask=panel.mask)


@pytest.mark.parametrize(
    "metric", [FaithfulnessCorrelation(fill=0.0), FaithfulnessEstimate(fill=0.0), SensitivityN(fill=0.0)]
)
def test_what_a_linear_model_loses_is_what_its_worth_map_says(metric: object) -> None:
    truth, chance, opposite = metric(linear_panel())  # type: ignore[operator]
    assert truth == pytest.approx(1, abs=1e-5)
    assert opposite == pytest.approx(-1, abs=1e-5)
    assert abs(chance) < 0.8


def test_a_model_that_does_not_answer_has_no_correlation() -> None:
    panel = linear_panel()
    blind = panel_of(np.zeros((12, 12)), panel.image[0].double().numpy(), panel.maps)
    for metric in (FaithfulnessCorrelation(), FaithfulnessEstimate(), SensitivityN()):
        assert np.isnan(metric(blind)).all()
    for metric in (Insertion(), IROF(), Deletion(), Sufficiency()):
        (score, *_) = evaluate(blind, [metric], list("abc"))
        assert score.value == 0 and score.note.startswith("inverted")
    scores = list(evaluate(blind, [FaithfulnessCorrelation(), Monotonicity()], list("abc")))
    assert all(s.reason == "the metric is not defined for this map" and not s.note for s in scores)


CURVES = [
    Deletion(fill=0.0), Insertion(fill=0.0), IROF(fill=0.0, features=4), Sufficiency(fill=0.0),
    PixelFlipping(fill=0.0), RegionPerturbation(fill=0.0, features=4), Selectivity(fill=0.0, features=4),
    Monotonicity(fill=0.0),
]  # fmt: skip


@pytest.mark.parametrize("metric", CURVES, ids=lambda m: type(m).__name__)
def test_where_the_empty_image_scores_higher_the_truth_is_still_first_and_the_value_says_so(
    metric: object,
) -> None:
    for seed in range(6):
        rng = np.random.default_rng(seed)
        weights = rng.normal(size=(12, 12)) - 0.5 * seed  # the more is shown, the lower f
        image = rng.uniform(1, 2, (12, 12))
        truth = weights * image
        others = [rng.normal(size=(12, 12)), rng.permutation(truth.ravel()).reshape(12, 12), -truth]
        panel = panel_of(weights, image, np.stack([truth, *others]))
        scores = list(evaluate(panel, [metric], list("abcd")))
        sign = 1 if metric.better == "higher" else -1  # type: ignore[attr-defined]
        assert sign * scores[0].value > max(sign * s.value for s in scores[1:])
        inverted = panel.whole <= panel.score_empty(0.0)
        assert all(s.note.startswith("inverted") == inverted for s in scores)
    assert inverted  # the last ones are


@pytest.mark.parametrize("name", [n for n in METRICS.names() if METRICS.get(n).of == "heatmap"])
def test_a_metric_puts_the_truth_of_a_linear_model_first_or_is_marked(name: str) -> None:
    """Against random maps, the opposite, and the truth with its voxels shuffled; linear models of all signs."""
    behind, ahead = 0, np.zeros(2)
    for seed in range(9):
        rng = np.random.default_rng(seed)
        weights = rng.normal(size=(12, 12))
        weights = [np.abs(weights), -np.abs(weights) + 0.3, weights][seed % 3]
        image = rng.uniform(0.5, 2, (12, 12))
        truth = weights * image
        others = [*rng.normal(size=(6, 12, 12)), rng.permutation(truth.ravel()).reshape(12, 12), -truth]
        plain = panel_of(weights, image, np.stack([truth, *others]))
        mask = truth > np.percentile(truth, 80)
        panel = HeatmapContext(plain.question, plain.maps, mask=mask)
        given = {"fill": 0.0} if "fill" in METRICS.fields_of(name) else {}
        metric = METRICS.make(name, **given)
        try:
            values = metric(panel)
        except InputError:  # it explains again: nothing about places
            assert not finds_truth(metric)
            return
        values = values if metric.better == "higher" else -values
        behind += bool((values[1:] > values[0] + 1e-9).any())
        ahead += values[0] > values[-2:] + 1e-9
    assert finds_truth(metric) == (behind == 0 and bool((ahead > 4).all()))


def left_of(worth: NDArray[np.float64]) -> NDArray[np.float64]:
    """What is left of f, 1 to 0, when items of known worth go in this order."""
    return 1 - np.concatenate([[0], np.cumsum(worth)]) / worth.sum()


def test_removal_and_addition_of_a_linear_model_have_closed_forms() -> None:
    panel = linear_panel()
    left, line = left_of(np.sort(panel.maps[0].ravel())[::-1]), 0.5
    flipped = PixelFlipping(fill=0.0, steps=144)(panel)
    assert flipped[0] == pytest.approx(panel.whole * (1 - left).mean(), rel=1e-4)
    added = Insertion(fill=0.0, steps=144)(panel)
    assert added[0] == pytest.approx(panel.whole * (line - (left[1:] + left[:-1]).mean() / 2), rel=1e-4)
    # To show the best first is to hide the worst first, read backwards.
    np.testing.assert_allclose(added[[0, 2]], Deletion(fill=0.0, steps=144)(panel)[[2, 0]], rtol=1e-4)


def test_the_16_voxels_that_count_are_sufficient_and_the_others_are_not() -> None:
    panel = linear_panel()
    truth, _, opposite = Sufficiency(fill=0.0, share=1 / 9, steps=9)(panel)
    assert truth == pytest.approx(panel.whole, rel=1e-5)
    assert opposite == pytest.approx(0, abs=1e-4)
    counted = Sufficiency(fill=0.5, share=1 / 9, steps=9)(panel)[0]  # from the empty image, whatever it scores
    assert counted == pytest.approx(panel.whole - panel.score_empty(0.5), rel=1e-5)
    half = Sufficiency(fill=0.0, share=1 / 18, steps=9)(panel)[0]
    assert half == pytest.approx(panel.whole / 2, rel=1e-5)  # on the line between the first two points


def test_monotonicity_compares_the_rises_of_all_pairs_of_steps() -> None:
    panel = linear_panel()  # 16 voxels are worth something, each something else
    truth, chance, opposite = Monotonicity(fill=0.0, steps=144)(panel)
    assert (truth, opposite) == (1, -1)
    rises = panel.maps[0].ravel()[np.argsort(panel.maps[1].ravel())]  # in the order of the random map
    pairs = [np.sign(rises[b] - rises[a]) for a in range(144) for b in range(a + 1, 144)]
    assert chance == pytest.approx(np.sum(pairs) / np.count_nonzero(pairs), abs=1e-6)
    assert abs(chance) < 0.3
    # Filled with more than the image has, each voxel takes from f when it is shown: its worth is w (x - 3).
    weights, image = panel.maps[0] / panel.image[0].double().numpy(), panel.image[0].double().numpy()
    assert Monotonicity(fill=3.0, steps=144)(shown(panel, [weights * (image - 3)]))[0] == 1


def test_monotonicity_correlation_finds_the_one_box_that_counts() -> None:
    rng = np.random.default_rng(1)
    weights, image, other = np.zeros((12, 12)), rng.uniform(1, 2, (12, 12)), np.zeros((12, 12))
    weights[4:6, 2:4], other[8:10, 8:10] = 1, 1
    image[4:6, 2:4] = 1  # the least there is: whatever is drawn there lets f rise
    found = MonotonicityCorrelation(features=6)(panel_of(weights, image, np.stack([weights, -weights, other])))
    np.testing.assert_allclose(found[:2], 1)  # of either sign
    assert found[2] == pytest.approx(-1 / 35)  # one of 36 ranks high, but another one


def test_boxes_of_a_linear_model_fall_in_the_order_of_their_worth() -> None:
    panel = linear_panel()
    worth = panel.maps[0].reshape(6, 2, 6, 2).sum(axis=(1, 3)).ravel()
    left = left_of(np.sort(worth)[::-1])
    found = RegionPerturbation(features=6, steps=36, fill=0.0)(panel)[0]
    assert found == pytest.approx(panel.whole * (1 - left).mean(), rel=1e-4)
    under = Selectivity(features=6, steps=36, fill=0.0)(panel)[0]
    assert under == pytest.approx(panel.whole * (left[1:] + left[:-1]).mean() / 2, rel=1e-4)
    assert Selectivity(features=6, steps=99, fill=0.0)(panel)[0] == pytest.approx(under)  # no more than boxes


def test_noise_stays_in_the_range_of_each_channel_and_is_one_draw() -> None:
    panel, again = linear_panel(channels=3), linear_panel(channels=3)
    noise = panel.empty("noise")
    assert torch.equal(noise, again.empty("noise"))
    assert not torch.equal(noise, panel.empty("noise 1"))
    low, high = panel.image.amin(dim=(1, 2)), panel.image.amax(dim=(1, 2))
    assert (noise.amin(dim=(1, 2)) >= low).all() and (noise.amax(dim=(1, 2)) <= high).all()
    assert (noise.amax(dim=(1, 2)) - noise.amin(dim=(1, 2)) > 0.9 * (high - low)).all()


@pytest.mark.parametrize("axes", [2, 3])
def test_irof_hides_supervoxels_by_their_mean(axes: int) -> None:
    panel = linear_panel(axes=axes, side=12 if axes == 2 else 8)
    labels = panel.features("slic", 4).ravel()
    kinds, worth = int(labels.max()) + 1, panel.maps[0].ravel()
    sums, sizes = np.bincount(labels, worth), np.bincount(labels)
    order = np.argsort(-sums / sizes, kind="stable")
    left, hidden = left_of(sums[order]), np.concatenate([[0], np.cumsum(sizes[order])]) / labels.size
    found = IROF(features=4, steps=kinds, fill=0.0)(panel)[0]
    assert found == pytest.approx(panel.whole * (0.5 - np.trapezoid(left, hidden)), rel=1e-4)
    asked = {"features": 4, "kind": "slic", "by": "mean"}
    few, every = (panel.region_shares(steps=n, **asked)[0] for n in (3, kinds))
    np.testing.assert_allclose(np.sort(np.diff(every)), np.sort(sizes) / labels.size)
    np.testing.assert_allclose(few, every[np.round(np.arange(4) * kinds / 3).astype(int)])


@pytest.mark.parametrize("size", [(12, 10), (7, 8, 6)])
def test_a_ramp_is_imputed_exactly(size: tuple[int, ...]) -> None:
    ramps = np.stack([sum((k + 1) * part for k, part in enumerate(np.indices(size))), 5 - np.indices(size)[0]])
    gone = np.zeros(size, dtype=bool)
    gone[(slice(2, 5),) * len(size)] = True
    values = ramps.reshape(2, -1).astype(float)
    found = impute(np.where(gone.ravel(), 99, values), gone.ravel(), neighbours(size))
    np.testing.assert_allclose(found, values, atol=1e-4)


def test_a_single_hole_gets_the_mean_of_its_neighbours_by_the_weights_of_the_paper() -> None:
    values, gone = np.arange(9.0)[None] ** 2, np.arange(9) == 4
    expected = (values[0, [1, 3, 5, 7]].sum() / 6) + values[0, [0, 2, 6, 8]].sum() / 12
    assert impute(values, gone, neighbours((3, 3)))[0, 4] == pytest.approx(expected)


@pytest.mark.filterwarnings("ignore::contrafact.core.InputRangeWarning")
def test_road_of_a_ramp_sees_no_fall_and_noise_in_units_of_the_image() -> None:
    panel = linear_panel()
    weights = panel.question.predictor.module.weights[0].detach().double().numpy()  # type: ignore[attr-defined]
    ramp = 100 * np.add(*np.indices((12, 12))).astype(float)
    found = ROAD(shares=(16 / 144,), noise=0)(panel_of(weights, ramp, weights[None]))
    assert found[0] == pytest.approx(0, abs=0.1)  # of about 10,000
    small, large = (
        ROAD(shares=(16 / 144,), noise=0.1)(panel_of(weights, factor * ramp, weights[None]))[0]
        for factor in (1, 1000)
    )
    assert small != 0 and large == pytest.approx(1000 * small, rel=1e-2)


def test_the_shape_of_a_map_of_few_voxels() -> None:
    one, ten = np.zeros((12, 12)), np.zeros((12, 12))
    one[3, 4], ten.ravel()[5:15] = -2, 3
    two = one.copy()
    two[0, 0] = 6  # Gini of 2 and 6 among zeros: (141 x 2 + 143 x 6) / (144 x 8)
    panel = shown(linear_panel(), [one, ten, two])
    np.testing.assert_allclose(Sparseness()(panel), [1 - 1 / 144, 1 - 10 / 144, 1140 / 1152])
    np.testing.assert_allclose(
        Complexity()(panel), [0, np.log(10), -0.25 * np.log(0.25) - 0.75 * np.log(0.75)], atol=1e-12
    )
    np.testing.assert_allclose(EffectiveMass()(panel) * 144, [1, 9, 2])
    np.testing.assert_allclose(EffectiveMass(share=0.7)(panel) * 144, [1, 7, 1])


def test_completeness_of_a_linear_model() -> None:
    panel = linear_panel()
    truth = panel.maps[0]
    found = Completeness(fill=0.0)(shown(panel, [truth, 0.5 * truth, -truth]))
    np.testing.assert_allclose(found / panel.whole, [0, 0.5, 2], atol=1e-5)


def test_localisation_of_maps_that_hit_half_hit_and_miss() -> None:
    panel = linear_panel()  # the mask: 16 voxels, rows and columns 2 to 5
    half = np.zeros((12, 12))
    half[2:6, 4:8] = 1 + np.arange(16).reshape(4, 4) / 100  # the greatest lies 2 voxels beside the mask
    maps = shown(panel, [panel.maps[0], half, panel.maps[2]])
    inside = half[2:6, 4:6].sum() / half.sum()
    np.testing.assert_allclose(RelevanceMass()(maps), [1, inside, 0])
    np.testing.assert_allclose(RelevanceRank()(maps), [1, 0.5, 0])
    np.testing.assert_allclose(METRICS.make("dice")(maps), [1, 0.5, 0])
    np.testing.assert_allclose(IoU()(maps), [1, 1 / 3, 0])
    np.testing.assert_array_equal(PointingGame()(maps)[:2], [1, 0])
    np.testing.assert_array_equal(PointingGame(tolerance=1)(maps)[:2], [1, 0])
    np.testing.assert_array_equal(PointingGame(tolerance=2)(maps)[:2], [1, 1])
    last = np.mean([k / (128 + k) for k in range(1, 17)])  # the whole mask after everything else
    np.testing.assert_allclose(AUPRC()(maps)[[0, 2]], [1, last])


@pytest.mark.parametrize("name", LOCALISATION)
def test_localisation_without_a_mask_says_what_to_do(name: str) -> None:
    panel = linear_panel()
    with pytest.raises(InputError, match=f"{name} needs a mask .*; pass masks"):
        METRICS.make(name)(HeatmapContext(panel.question, panel.maps))
    with pytest.raises(InputError, match="at least one voxel; got an empty one"):
        METRICS.make(name)(HeatmapContext(panel.question, panel.maps, mask=np.zeros((12, 12), dtype=bool)))


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("faithfulness-correlation", {"samples": 1}),
        ("sensitivity-n", {"shares": (0.5, 1.0)}),
        ("sensitivity-n", {"shares": ()}),
        ("road", {"shares": (0.0,)}),
        ("sufficiency", {"share": 1.0}),
        ("effective-mass", {"share": 0.0}),
        ("monotonicity-correlation", {"draws": 0}),
        ("pointing-game", {"tolerance": -1}),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(name: str, wrong: dict[str, object]) -> None:
    with pytest.raises(InputError, match="expected .*; got"):
        METRICS.make(name, **wrong)


def test_metrics_that_can_share_ask_the_model_nothing() -> None:
    panel = linear_panel()
    metrics = [
        Deletion(), PixelFlipping(), Monotonicity(), Insertion(), Sufficiency(), Infidelity(),
        FaithfulnessCorrelation(), SensitivityN(), Selectivity(features=6),
        RegionPerturbation(features=6, fill="mean"), Sparseness(), Complexity(), EffectiveMass(), AUPRC(),
    ]  # fmt: skip
    scores = list(evaluate(panel, metrics, list("abc")))[::3]
    passes = {score.metric: score.passes for score in scores}
    assert passes == {
        "deletion": 3 * 19 + 2, "pixel-flipping": 0, "monotonicity": 0, "insertion": 3 * 19, "sufficiency": 0,
        "infidelity": 128, "faithfulness-correlation": 0, "sensitivity-n": 3 * 128, "selectivity": 3 * 19,
        "region-perturbation": 0, "sparseness": 0, "complexity": 0, "effective-mass": 0, "auprc": 0,
    }  # fmt: skip


ALONE = [n for n in METRICS.names() if METRICS.get(n).of == "heatmap" and n != "agreement"]


@pytest.mark.parametrize("name", ALONE)
def test_maps_are_judged_alike_alone_and_together(name: str) -> None:
    panel, metric = linear_panel(), METRICS.make(name)
    try:
        alone = [metric(shown(panel, [values]))[0] for values in panel.maps]
    except InputError as error:
        assert "explains again" in str(error) or name == "data-randomisation", error
        return
    np.testing.assert_allclose(metric(panel), alone, rtol=1e-4, atol=1e-5)
