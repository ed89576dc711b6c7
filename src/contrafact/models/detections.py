"""The boxes of a detector as outputs of a network, and targets of one box."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from contrafact.core import InputError, Predictor
from contrafact.models.box_score import overlaps

PARTS = {"boxes", "labels", "scores"}
BOXES = 64  # of an image: those with the greatest scores
NUMBERS = 6  # of a box: x0, y0, x1, y1, label, score
FORM = re.compile(r"box:(?P<number>[1-9]\d*)|box:(?P<label>\d+)@(?P<corners>[^,@]+(,[^,@]+){3})")


def is_detection(outputs: Any) -> bool:
    """Whether outputs are those of a detector: a table of boxes, labels and scores for each image."""
    tables = isinstance(outputs, (list, tuple)) and len(outputs) > 0
    return tables and all(isinstance(table, Mapping) and set(table) >= PARTS for table in outputs)


def rows_of(tables: Any) -> Tensor:
    """Return the boxes of a detector as outputs (N, BOXES * NUMBERS), by falling scores; absent ones are 0."""
    return torch.stack([_row(table) for table in tables])


def _row(table: Mapping[str, Tensor]) -> Tensor:
    order = torch.argsort(table["scores"], descending=True)[:BOXES]
    scores = table["scores"][order]
    labels = table["labels"][order].to(scores.dtype)
    values = torch.cat([table["boxes"][order].to(scores.dtype), labels[:, None], scores[:, None]], dim=1)
    return pad(values, (0, 0, 0, BOXES - len(values))).flatten()


def boxes_in(outputs: Tensor) -> Tensor:
    """Return the boxes (N, BOXES, NUMBERS) in the outputs of a detector."""
    return outputs.reshape(len(outputs), BOXES, NUMBERS)


@dataclass(frozen=True, slots=True)
class BoxTarget:
    """A box that stays where it is: of the boxes with its label, the greatest overlap times score, 0 to 1.

    box     x0, y0, x1, y1 in pixels of the network's input
    number  of the box that it was found as; None: it was given
    Source: Petsiuk et al. 2021 (D-RISE, arXiv 2006.03204), sec. 3.2. Differs: as `BoxScore`.
    """

    label: int
    box: tuple[float, ...]
    number: int | None = None

    def __call__(self, outputs: Tensor) -> Tensor:
        return torch.stack([self._score(row) for row in boxes_in(outputs)])

    def _score(self, row: Tensor) -> Tensor:
        shared = overlaps(row[:, :4], row.new_tensor(self.box))
        return (shared * row[:, 5] * (row[:, 4] == self.label)).max()

    @property
    def target(self) -> Any:
        """The target that it was found for, or this one."""
        return self if self.number is None else FoundBox(self.number)

    def of(self, second: Predictor, first: Predictor) -> BoxTarget:
        """Return the same box as a target of another detector."""
        return self

    def __str__(self) -> str:
        return f"box:{self.label}@{','.join(f'{edge:g}' for edge in self.box)}"


@dataclass(frozen=True, slots=True)
class FoundBox:
    """A box that a detector finds in each image, by its number: 1 has the greatest score."""

    number: int

    def __call__(self, outputs: Tensor) -> Tensor:
        return boxes_in(outputs)[:, self.number - 1, 5]

    def freeze(self, predictor: Predictor, images: Any) -> BoxTarget:
        """Return the box that is found in images (1, C, *S).

        raises  InputError where fewer boxes are found
        """
        with torch.no_grad():
            found = boxes_in(torch.as_tensor(predictor(images)))[0]
        count = int((found[:, 5] > 0).sum())
        if self.number > count:
            raise InputError(f"the detector finds {count} box(es) in this image; got box:{self.number}")
        *box, label, _ = found[self.number - 1].tolist()
        return BoxTarget(int(label), tuple(box), self.number)

    def __str__(self) -> str:
        return f"box:{self.number}"


def box_target(text: str) -> BoxTarget | FoundBox:
    """Return the target of `box:1`, the first box that is found, or of `box:LABEL@x0,y0,x1,y1`.

    raises  InputError for any other text
    """
    match = FORM.fullmatch(text)
    try:
        corners = tuple(float(part) for part in match["corners"].split(",")) if match and match["label"] else ()
    except ValueError:
        match = None
    if match is None or (corners and not (corners[2] > corners[0] and corners[3] > corners[1])):
        raise InputError(f"expected box:NUMBER, from 1, or box:LABEL@x0,y0,x1,y1 in pixels; got '{text}'")
    if corners:
        return BoxTarget(int(match["label"]), corners)
    number = int(match["number"])
    if number > BOXES:
        raise InputError(f"box must be 1 to {BOXES}; got {number}")
    return FoundBox(number)


def boxes_in_words(outputs: Tensor, names: tuple[str, ...]) -> list[str]:
    """Return the boxes of one image (1, K) as text; `names` of the labels, by their number."""
    found = [row for row in boxes_in(outputs)[0].tolist() if row[5] > 0]
    return [
        f"box {number} ({names[int(label)] if int(label) < len(names) else int(label)}) {100 * score:.0f} %"
        for number, (*_, label, score) in enumerate(found, start=1)
    ] or ["no box"]
