"""Targets of segmenters, against places known by construction."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

import contrafact as cf
from contrafact.core import Grid, Image, InputError, UnsupportedError
from contrafact.models import BlackBox, TorchPredictor
from contrafact.models.region_targets import class_sizes, predicted
from two_spots import segmenter, two_spots


def gradient(text: str, image: Image, model: TorchPredictor | None = None, **more: object) -> np.ndarray:
    axes = len(image.grid.shape)
    heat = cf.explain("integrated-gradients", model or segmenter(axes), image, target=text, steps=4, **more)
    return heat.values


@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("region:1", [(1, 4), (7, 9)]),
        ("region:bright", [(1, 4), (7, 9)]),
        ("lesion:1#1", [(1, 4)]),
        ("lesion:1", [(1, 4)]),
        ("lesion:1#2", [(7, 9)]),
        ("region:1@0.9", [(1, 4), (7, 9)]),
    ],
)
def test_a_target_speaks_of_its_place_alone(text: str, places: list[tuple[int, int]], axes: int) -> None:
    values = gradient(text, two_spots(axes))
    inside = np.zeros(values.shape, dtype=bool)
    for low, high in places:
        inside[(slice(low, high),) * axes] = True
    np.testing.assert_array_equal(np.abs(values) > 1e-6, inside)
    # Mean log-odds are 8 (v - 0.5); from the darkest value to 0.9 they change by 8 * 0.8.
    assert values.sum() == pytest.approx(6.4, rel=1e-3)


def test_the_sum_counts_every_voxel_and_the_mean_does_not() -> None:
    image = two_spots()
    np.testing.assert_allclose(gradient("region:1,sum", image), 13 * gradient("region:1", image), rtol=1e-4)


def test_the_place_is_frozen_before_the_image_is_changed() -> None:
    # Hiding a spot empties it: a region found anew would be the other spot, as bright as before.
    heat = cf.explain("occlusion", segmenter(), two_spots(), target="region:1", box=3, stride=1, fill=0.1)
    assert heat.values[2, 2] > 1
    assert abs(heat.values[11, 2]) < 1e-6


def test_the_band_lies_on_both_sides_of_the_edge() -> None:
    values = np.full((1, 12, 12), 0.1, dtype=np.float32)
    values[0, 3:9, 3:9] = 0.9
    values[0, 5, 5] = 0.8  # the map of the baseline must not be flat
    model = segmenter()
    target = model.target("boundary:1")
    frozen = cf.models.RegionTarget(index=1, place="boundary", width=1).freeze(model, values[None])
    expected = np.zeros((12, 12), dtype=bool)
    expected[2:10, 2:10] = True
    expected[[2, 2, 9, 9], [2, 9, 2, 9]] = False  # corners touch by an edge only
    expected[4:8, 4:8] = False
    np.testing.assert_array_equal(frozen.places[0].numpy(), expected)
    assert str(target) == "boundary:1"


def test_errors_against_a_reference_are_places_too() -> None:
    image, mask = two_spots(), np.zeros((1, 12, 12), dtype=np.float32)
    mask[0, 1:4, 1:4] = 1  # the large spot is right, the small one is false, a third one is missed
    mask[0, 10:12, 1:3] = 1
    reference = Image(mask)
    found = {
        text: np.argwhere(np.abs(gradient(text, image, reference=reference)) > 1e-6).min(axis=0).tolist()
        for text in ("mask:1", "false-positive:1")
    }
    assert found == {"mask:1": [1, 1], "false-positive:1": [7, 7]}
    for text in ("missed:1", "missed:1#1"):
        heat = cf.explain("occlusion", segmenter(), image, target=text, reference=reference, box=1, stride=1,
                          fill=1.0)  # fmt: skip
        assert (heat.values < -1e-3).sum() == 4
        assert heat.values[11, 2] < -1e-3
    with pytest.raises(InputError, match="needs a reference mask"):
        cf.explain("occlusion", segmenter(), image, target="missed:1")
    moved = Image(mask, grid=Grid(shape=(12, 12), spacing_mm=(2.0, 2.0)))
    with pytest.raises(InputError, match="another grid"):
        cf.explain("occlusion", segmenter(), image, target="missed:1", reference=moved)
    with pytest.raises(InputError, match="expected a target that compares with a reference"):
        cf.explain("occlusion", segmenter(), image, target="class:1", reference=reference)


def test_soft_volume_and_dice_are_their_formulas() -> None:
    image, model = two_spots(), segmenter()
    share = torch.sigmoid(torch.tensor(8 * (image.values[0] - 0.5)))
    outputs = model(image.values[None]).detach()
    volume = model.target("volume:1").freeze(model, image.values[None])
    assert float(volume(outputs)) == pytest.approx(float(share.sum()), rel=1e-5)
    dice = model.target("dice:1").freeze(model, image.values[None])
    place = torch.tensor(image.values[0] > 0.5)
    expected = 2 * float(share[place].sum()) / (float(share.sum()) + 13)
    assert float(dice(outputs)) == pytest.approx(expected, rel=1e-5)


def test_dice_is_taken_against_the_reference_where_there_is_one() -> None:
    image, model = two_spots(), segmenter()
    share = torch.sigmoid(torch.tensor(8 * (image.values[0] - 0.5)))
    reference = np.zeros((12, 12), dtype=bool)
    reference[2:4, 2:11] = True
    target = dataclasses.replace(model.target("dice:1"), reference=reference)
    expected = 2 * float(share[reference].sum()) / (float(share.sum()) + 18)
    frozen = target.freeze(model, image.values[None])
    assert float(frozen(model(image.values[None]).detach())) == pytest.approx(expected, rel=1e-5)


def test_over_several_thresholds_the_score_is_the_mean_of_theirs() -> None:
    logits = np.array([-2.0, 0.5, 1.0, 3.0], np.float32).reshape(1, 1, 2, 2)
    model = BlackBox(lambda _: logits, classes=["lesion"], output="sigmoid")
    image = torch.zeros(1, 1, 2, 2)
    for text, score in (("0.6", 1.5), ("0.9", 3.0), ("0.6+0.9", 2.25)):
        frozen = model.target(f"region:0@{text}").freeze(model, image)
        assert float(frozen(model(image))[0]) == pytest.approx(score)


@pytest.mark.parametrize(("wrap", "head"), [("list", None), ("list", 0), ("dict", None), ("dict", "out")])
def test_one_of_several_outputs_counts(wrap: str, head: object) -> None:
    image = two_spots()
    plain = gradient("region:1", image)
    np.testing.assert_allclose(gradient("region:1", image, segmenter(wrap=wrap, head=head)), plain, atol=1e-6)
    with pytest.raises(InputError, match=r"outputs (are out, aux|0 to 1); got head 'deep'"):
        gradient("region:1", image, segmenter(wrap=wrap, head="deep"))


def test_without_a_target_the_largest_class_that_is_not_the_background() -> None:
    heat = cf.explain("occlusion", segmenter(), two_spots(), box=3, stride=3)
    assert heat.record.target == "region:1"
    with pytest.raises(InputError, match="without a predicted region"):
        cf.explain("occlusion", segmenter(), Image(np.zeros((1, 12, 12))), box=3, stride=3)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("class:1", "is for a classifier; this model returns maps"),
        ("region:2", "class index must be 0 to 1; got 2"),
        ("region:brigth", "bright"),
        ("lesion:1#3", "expected a part from 1 to 2; got 3"),
        ("region:1#1", "belongs to lesion or missed"),
        ("region:1@1.5", "thresholds are probabilities"),
        ("region:1@0.9999", "is empty: no such voxel in this prediction; it contains class"),
        ("regoin:1", "region"),
    ],
)
def test_what_cannot_be_asked_is_answered_in_a_line(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        cf.explain("occlusion", segmenter(), two_spots(), target=text)


@pytest.mark.parametrize("text", ["region:1", "lesion:1", "lesion:1#2"])
def test_a_prediction_without_the_class_says_what_is_there(text: str) -> None:
    with pytest.raises(InputError, match=rf"^target {text} is empty: .*it contains class\(es\) 0$"):
        cf.explain("occlusion", segmenter(), Image(np.zeros((1, 12, 12))), target=text)


def test_a_score_without_a_gradient_is_refused_by_methods_that_need_one() -> None:
    model = segmenter(steps=True)
    with pytest.raises(UnsupportedError, match="zero everywhere"):
        gradient("region:1", two_spots(), model)
    for name in (
        "input-x-gradient",
        "integrated-gradients",
        "gradient-shap",
        "blur-integrated-gradients",
        "smooth",
        "lrp",
    ):
        with pytest.raises(UnsupportedError, match="zero everywhere"):
            cf.explain(name, model, two_spots(), target="region:1")
    heat = cf.explain("occlusion", model, two_spots(), target="region:1", box=1, stride=1, fill=0.1)
    assert heat.values[2, 2] > 0


@pytest.mark.parametrize(
    ("name", "passes"), [("gradient", 2), ("input-x-gradient", 2), ("smooth", 17), ("hirescam", 2)]
)
def test_a_good_map_costs_no_pass_to_see_that_there_is_a_gradient(name: str, passes: int) -> None:
    heat = cf.explain(name, segmenter(), two_spots(), target="region:1")
    assert heat.record.forward_passes == passes  # one of them finds the region


def test_noisy_copies_go_through_the_model_together_and_the_map_is_that_of_one_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from contrafact.attribution.gradient import smooth

    model, calls = segmenter(), list[int]()
    model.module.register_forward_hook(lambda module, inputs, output: calls.append(len(inputs[0])))  # noqa: ARG005
    together = cf.explain("smooth", model, two_spots(), target="region:1", samples=8)
    assert max(calls) == 8 and len(calls) <= 3
    monkeypatch.setattr(smooth, "BATCH", 1)
    alone = cf.explain("smooth", model, two_spots(), target="region:1", samples=8)
    assert max(calls[-8:]) == 1
    np.testing.assert_allclose(together.values, alone.values, rtol=1e-4, atol=1e-7)


def test_a_classifier_has_no_regions() -> None:
    model = TorchPredictor(nn.Sequential(nn.Flatten(), nn.Linear(144, 2)), classes=["a", "b"])
    with pytest.raises(InputError, match="needs a segmenter"):
        cf.explain("occlusion", model, two_spots(), target="region:1")


@pytest.mark.parametrize("width", [1, 2, 3])
def test_a_boundary_band_is_as_wide_inside_as_outside(width: int) -> None:
    from contrafact.models.region_targets import band

    mask = torch.zeros(19, 19, dtype=torch.bool)
    mask[5:14, 5:14] = True
    found = band(mask, width)
    core = torch.zeros_like(mask)
    core[5 + width : 14 - width, 5 + width : 14 - width] = True
    assert torch.equal(found & mask, mask & ~core)  # `width` voxels deep on every side
    outside = torch.nonzero((found & ~mask)[9])[:, 0].tolist()
    assert outside == [*range(5 - width, 5), *range(14, 14 + width)]


@pytest.mark.parametrize("classes", [1, 2, 5])
@pytest.mark.parametrize("kind", ["plain", "ties", "infinite", "nan"])
def test_where_a_class_is_predicted_is_where_it_is_the_first_of_the_largest(kind: str, classes: int) -> None:
    outputs = torch.randn(2, classes, 9, 8, 7, generator=torch.Generator().manual_seed(classes))
    if kind == "ties":
        outputs = outputs.round()
    if kind == "infinite":
        outputs[0, -1, 3], outputs[1, :, 2], outputs[1, 0, 5] = torch.inf, -torch.inf, -torch.inf
    if kind == "nan":
        outputs[0, -1, 3] = outputs[1, :, 2] = torch.nan
    wanted = outputs.numpy().argmax(axis=1)
    for index in range(classes):
        np.testing.assert_array_equal(predicted(outputs, "logits", index, None).numpy(), wanted == index)
    assert class_sizes(outputs, "logits") == np.bincount(wanted.ravel(), minlength=classes).tolist()
    with torch.autograd.profiler.profile() as seen:
        predicted(outputs, "logits", 0, None), class_sizes(outputs, "logits")
    assert any("argmax" in event.key for event in seen.key_averages()) == (kind == "nan")  # 20 times as slow
