"""One box of a detector as the output of a network: its score, with gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from contrafact.core import Image, InputError


class BoxScore(nn.Module):
    """Score of one box of a detector, (N, 1): of the boxes with its label, the greatest overlap times score.

    detector  list of images (C, H, W) -> a table for each: `boxes` (M, 4) as x0, y0, x1, y1 in pixels, `labels`
              (M,) and `scores` (M,), as torchvision's detectors answer in evaluation mode
    box       x0, y0, x1, y1 of the box that is explained, which stays where it is
    label     its label
    gives     0 where no box with the label overlaps it, up to 1
    Source: Petsiuk et al. 2021 (D-RISE, arXiv 2006.03204), sec. 3.2. Differs: the label is exact, and their
    cosine of class probabilities is the score, since detectors give one label for a box.
    """

    def __init__(self, detector: nn.Module, box: Sequence[float], label: int) -> None:
        super().__init__()
        corners = torch.as_tensor(list(box), dtype=torch.float32)
        if corners.shape != (4,) or not bool((corners[2:] > corners[:2]).all()):
            raise InputError(f"box must be x0, y0, x1, y1 with x0 < x1 and y0 < y1; got {tuple(box)}")
        self.detector, self.label = detector, int(label)
        self.register_buffer("box", corners)

    @classmethod
    def of(cls, detector: nn.Module, image: Image | Any, *, number: int = 1) -> BoxScore:
        """Return the score of a box that the detector finds in an image, 1 = the one with the greatest score.

        raises  InputError where it finds fewer boxes
        """
        values = torch.as_tensor(image.values if isinstance(image, Image) else image, dtype=torch.float32)
        mode = detector.training
        try:
            with torch.no_grad():
                found = _table(detector.eval()([values]), 1)[0]
        finally:
            detector.train(mode)
        order = torch.argsort(found["scores"], descending=True)
        if not 1 <= number <= len(order):
            raise InputError(f"the detector finds {len(order)} box(es) in this image; got number {number}")
        at = order[number - 1]
        return cls(detector, found["boxes"][at].tolist(), int(found["labels"][at]))

    def forward(self, images: Tensor) -> Tensor:
        tables = _table(self.detector(list(images)), len(images))
        return torch.stack([self._score(table) for table in tables])[:, None]

    def _score(self, table: Mapping[str, Tensor]) -> Tensor:
        """Return the greatest overlap times score of the boxes with the label; 0 without one."""
        same = table["labels"] == self.label
        boxes, scores = table["boxes"][same], table["scores"][same]
        if not len(scores):
            return table["scores"].sum() * 0
        return (overlaps(boxes, self.get_buffer("box")) * scores).max()


def overlaps(boxes: Tensor, box: Tensor) -> Tensor:
    """Return the intersection over union (M,) of boxes (M, 4) with one box (4,)."""
    low, high = torch.maximum(boxes[:, :2], box[:2]), torch.minimum(boxes[:, 2:], box[2:])
    shared = (high - low).clamp_min(0).prod(dim=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).clamp_min(0).prod(dim=1) + (box[2:] - box[:2]).prod()
    return shared / (areas - shared).clamp_min(1e-9)


def _table(found: Any, count: int) -> list[Mapping[str, Tensor]]:
    """Return the answers of a detector; raise InputError for anything else."""
    fits = isinstance(found, (list, tuple)) and len(found) == count
    if not fits or not all(isinstance(t, Mapping) and {"boxes", "labels", "scores"} <= set(t) for t in found):
        raise InputError(
            "a detector must answer with a table of boxes, labels and scores for each image, as those of "
            f"torchvision in evaluation mode; got {type(found).__name__}"
        )
    return list(found)
