"""A box of a detector is explained by its score: where the detector looks for it, and nowhere else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import contrafact as cf
from contrafact.core import InputError
from contrafact.models import load_predictor
from contrafact.models.box_score import BoxScore, overlaps


class Detector(nn.Module):
    """Two fixed boxes: the score of label 1 is the mean of the left place, that of label 2 of the right."""

    boxes: Any

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("boxes", torch.tensor([[2.0, 4, 6, 8], [10, 4, 14, 8]]))

    def forward(self, images: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
        tables = []
        for image in images:
            scores = torch.stack([image[0, 4:8, 2:6].mean(), image[0, 4:8, 10:14].mean()])
            kept = scores > 0.05
            tables.append(
                {"boxes": self.boxes[kept], "labels": torch.tensor([1, 2])[kept], "scores": scores[kept]}
            )
        return tables


def picture() -> np.ndarray[Any, Any]:
    image = np.full((1, 16, 16), 0.2, np.float32)
    image[0, 4:8, 2:6], image[0, 4:8, 10:14] = 0.9, 0.6
    return image


def test_the_map_lies_in_the_box_alone() -> None:
    for number, columns in ((1, slice(2, 6)), (2, slice(10, 14))):
        score = BoxScore.of(Detector(), picture(), number=number)
        model = load_predictor(score, output="regression")
        assert float(model(picture()[None])[0, 0]) == pytest.approx(0.9 if number == 1 else 0.6)
        maps = [cf.explain("gradient", model, picture())]
        maps.append(cf.explain("occlusion", model, picture(), box=2, stride=2, fill=0))
        inside = np.zeros((16, 16), bool)
        inside[4:8, columns] = True
        for heat in maps:
            assert (heat.values[inside] > 0).all() and not heat.values[~inside].any()


def test_a_box_that_vanishes_scores_0() -> None:
    score = BoxScore.of(Detector(), picture())
    assert score(torch.zeros(2, 1, 16, 16)).tolist() == [[0], [0]]
    moved = BoxScore(Detector(), (4, 4, 8, 8), 1)  # half beside it: 8 of 24
    assert float(moved(torch.as_tensor(picture())[None])) == pytest.approx(0.9 / 3)


def test_overlaps_are_shares_of_the_union() -> None:
    boxes = torch.tensor([[0.0, 0, 2, 2], [1, 0, 3, 2], [2, 2, 4, 4], [-1, -1, 3, 3]])
    expected = [1, 1 / 3, 0, 4 / 16]
    torch.testing.assert_close(overlaps(boxes, torch.tensor([0.0, 0, 2, 2])), torch.tensor(expected))


def test_what_is_no_detector_and_no_box_is_refused() -> None:
    with pytest.raises(InputError, match=r"finds 2 box\(es\) in this image; got number 3"):
        BoxScore.of(Detector(), picture(), number=3)
    with pytest.raises(InputError, match="x0 < x1"):
        BoxScore(Detector(), (4, 4, 2, 8), 1)
    with pytest.raises(InputError, match="must answer with a table of boxes"):
        BoxScore.of(nn.Identity(), picture())


def test_the_mode_of_the_detector_is_restored() -> None:
    detector = Detector().train()
    BoxScore.of(detector, picture())
    assert detector.training
