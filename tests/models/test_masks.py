"""Masks and label maps: of a label map the class counts that the target names, everywhere."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import contrafact as cf
from conftest import noise_image, planted_predictor
from contrafact.api.case import Plan, describe
from contrafact.core import Image, InputError, labels_in, mask_of
from contrafact.models import RegionTarget, TorchPredictor

# Toys that hardly look at their image give maps that tell nothing.
pytestmark = pytest.mark.filterwarnings("ignore::contrafact.core.EmptyMapWarning")
LABELS = np.zeros((16, 16), np.float32)
LABELS[2:5, 2:5], LABELS[6:10, 6:10], LABELS[11:16, 11:16] = 1, 2, 3


class Perfect(nn.Module):
    """Four classes, predicted where LABELS has them, whatever the image."""

    def __init__(self) -> None:
        super().__init__()
        truth = torch.stack([torch.as_tensor(k == LABELS) for k in range(4)]).float()
        self.register_buffer("logits", 20 * truth[None])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.logits + 0 * x.mean(1, keepdim=True)


def segmenter() -> TorchPredictor:
    return TorchPredictor(Perfect(), classes=["none", "one", "two", "three"])


def of_three_classes() -> TorchPredictor:
    """Classes 1 and 2 both grow with the mean of the block of `planted_predictor`."""
    last = nn.Linear(2, 3, bias=False)
    with torch.no_grad():
        last.weight.copy_(torch.tensor([[0.0, -2.0], [0.0, 1.0], [0.0, 1.0]]))
    return TorchPredictor(nn.Sequential(planted_predictor(2, 1).module, last), classes=["a", "b", "c"])


@pytest.mark.parametrize("index", [1, 2, 3])
def test_the_dice_of_a_perfect_prediction_against_its_label_map_is_one(index: int) -> None:
    image, predictor = noise_image(2, 1), segmenter()
    target: Any = RegionTarget(index=index, place="dice", reference=LABELS)
    frozen = target.freeze(predictor, torch.as_tensor(image.values[None]))
    assert float(frozen(predictor(image.values[None]))[0]) == pytest.approx(1.0, abs=1e-4)
    with pytest.raises(InputError, match="is empty"):  # nothing is missed
        cf.explain("gradient", predictor, image, target=f"missed:{index}", reference=Image(LABELS[None]))


@pytest.mark.parametrize(
    "values",
    [LABELS == 2, (LABELS == 2).astype(np.float32), 255.0 * (LABELS == 2), (LABELS == 2) * 1.0001, LABELS],
)
def test_masks_of_every_kind_name_the_same_voxels(values: Any) -> None:
    np.testing.assert_array_equal(mask_of(values, label=2, classes=4), LABELS == 2)


@pytest.mark.parametrize(
    ("values", "label", "said"),
    [
        (LABELS + 0.5, 2, "got values from 0.5 to 3.5 with fractions"),
        (LABELS - 1, 2, "got values from -1 to 2"),
        (LABELS, None, "got labels 0, 1, 2, 3, and the target has no class"),
        (LABELS * 2, 2, "expected labels from 0 to 3, as the model has 4 classes; got 0, 2, 4, 6"),
    ],
)
def test_what_is_neither_a_mask_nor_labels_is_refused_in_one_line(values: Any, label: Any, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)) as caught:
        mask_of(values, label=label, classes=4)
    assert "\n" not in str(caught.value)


def test_a_class_that_the_reference_lacks_is_said() -> None:
    image, predictor = noise_image(2, 1), segmenter()
    without = Image(np.where(LABELS == 2, 0, LABELS)[None])
    with pytest.raises(
        InputError, match="expected voxels of class 2 in the reference for target mask:2; got none"
    ):
        cf.explain("gradient", predictor, image, target="mask:2", reference=without)
    heat = cf.explain("occlusion", predictor, image, target="false-positive:2", reference=without)
    assert heat.record.target == "false-positive:2"


def test_a_region_from_a_label_map_is_the_class_of_the_target() -> None:
    image, predictor = noise_image(2, 1), planted_predictor(2, 1)
    ones = np.ones((16, 16), np.float32)
    ones[4:8, 4:8] = 0  # the voxels that the model looks at
    with pytest.raises(InputError, match="expected labels from 0 to 1, as the model has 2 classes"):
        cf.explain("gradient", predictor, image, target="class:1", region=Image(2 * ones[None] + 1))
    labels = np.where(ones > 0, 2, 1).astype(np.float32)
    three = of_three_classes()
    inside, outside = (
        cf.explain("gradient", three, image, target=f"class:{k}", region=Image(labels[None])) for k in (1, 2)
    )
    assert inside.values[ones == 0].any() and not inside.values[ones > 0].any()
    assert not outside.values.any()


def test_metrics_take_the_class_of_the_target_from_a_label_map() -> None:
    image = noise_image(2, 1)
    three = of_three_classes()
    labels = np.full((16, 16), 2, np.float32)
    labels[4:8, 4:8] = 1
    shares = []
    for k in (1, 2):
        heat = cf.explain("gradient", three, image, target=f"class:{k}")
        (score,) = cf.evaluate(heat, three, image, ["relevance-mass"], mask=Image(labels[None]))
        shares.append(score.value)
    assert shares == pytest.approx([1.0, 0.0])


def test_labels_for_words_are_whole() -> None:
    image, predictor = noise_image(2, 1), planted_predictor(2, 1)
    heat = cf.explain("gradient", predictor, image, target="class:1")
    plan = Plan(predictor=predictor, methods=(), labels=Image(LABELS[None] + 0.4), names={2: "lesion"})
    with pytest.raises(InputError, match="with fractions"):
        assert plan.labels is not None
        describe(heat, image, plan, plan.labels, "yes")


def test_a_mask_in_colour_is_refused() -> None:
    image, predictor = noise_image(2, 1), planted_predictor(2, 1)
    colour = Image(np.zeros((3, 16, 16), np.float32))
    with pytest.raises(InputError, match="expected a mask of one channel; got 3"):
        cf.explain("gradient", predictor, image, target="class:1", region=colour)


def test_labels_of_a_scaled_file_are_rounded() -> None:
    assert labels_in(np.array([0.0, 0.9999999, 2.0000002])).tolist() == [0, 1, 2]


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_no_labels(odd: float) -> None:
    with pytest.raises(InputError, match="1 NaN or infinite value.s."):
        mask_of(np.array([0.0, 1.0, odd]), label=1)


def test_a_label_map_of_0_and_1_alone_is_one_where_it_is_said() -> None:
    values = np.array([0, 1, 0])
    assert mask_of(values, label=2, classes=4).tolist() == [False, True, False]
    assert not mask_of(values, label=2, classes=4, label_map=True).any()
    assert mask_of(values, label=1, classes=4, label_map=True).tolist() == [False, True, False]


def test_labels_end_one_below_the_number_of_classes() -> None:
    labels = np.array([0, 1, 2])
    assert mask_of(labels, label=2, classes=3).tolist() == [False, False, True]
    with pytest.raises(InputError, match="labels from 0 to 1, as the model has 2 classes; got 0, 1, 2"):
        mask_of(labels, label=1, classes=2)
