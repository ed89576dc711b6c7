from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from contrafact.core import EXPLAINERS, InputError, Question
from contrafact.perturbation.fill import fill_values
from contrafact.perturbation.memory import portions

Box = tuple[slice, ...]


@EXPLAINERS.register("occlusion")
@dataclass(frozen=True, slots=True, kw_only=True)
class Occlusion:
    """Hide one box at a time and note how far the target falls.

    images  float32 (N, C, *S), any units
    gives   float32 (N, *S), target units; positive = hiding the voxel lowers the target. Where
            boxes overlap, the mean over the boxes that hide the voxel
    cost    prod(ceil((S - box) / stride) + 1) + 1 forward passes per image, fewer with a region of
            interest; no gradients
    raises  InputError when the box is larger than the image
    Source: Zeiler & Fergus 2014 (arXiv 1311.2901), sec. 4.2. Differs: boxes reach every edge; they
    are cut into copies of the image that are made once, and go through the model in batches; what
    hides is the image blurred, since a flat box can itself look like a finding (docs/decisions/0013).

    box, stride  voxels along each axis; one number serves all. None: an eighth of the side, and
                 half a box
    fill         "blur", "mean", "min" or a number in image units
    batch        hidden images per forward pass at most, fewer for large volumes
    """

    box: int | tuple[int, ...] | None = None
    stride: int | tuple[int, ...] | None = None
    fill: str | float = "blur"
    batch: int = 64

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        size = question.images.shape[2:]
        box = _per_axis(self.box, tuple(math.ceil(n / 8) for n in size), "box")
        stride = _per_axis(self.stride, tuple(max(1, b // 2) for b in box), "stride")
        if any(b > n for b, n in zip(box, size, strict=True)):
            raise InputError(f"box must be at most {size} voxels for this image; got {box}")
        device = getattr(question.predictor, "device", "cpu")
        images = torch.as_tensor(question.images).to(device)
        hidden = fill_values(images, self.fill)
        boxes = _boxes(size, box, stride)
        if question.region is not None:
            boxes = [where for where in boxes if question.region[where].any()]
        with torch.no_grad():
            whole = question.target(question.predictor(images)).tolist()
            maps = [self._one(question, *one, boxes) for one in zip(images, hidden, whole, strict=True)]
        return np.stack(maps)

    def _one(
        self, question: Question, image: Tensor, hidden: Tensor, whole: float, boxes: list[Box]
    ) -> NDArray[np.float32]:
        total = np.zeros(image.shape[1:], dtype=np.float64)
        count = np.zeros(image.shape[1:], dtype=np.float64)
        buffer: list[Tensor] = []  # copies of the image, made once; boxes are cut in and mended

        def work(part: slice) -> None:
            some = boxes[part]
            if not buffer or len(buffer[0]) < len(some):
                buffer[:] = [image.repeat(len(some), *(1,) * image.ndim)]
            copies = buffer[0][: len(some)]
            for copy, where in zip(copies, some, strict=True):
                copy[(slice(None), *where)] = hidden[(slice(None), *where)]
            values = question.target(question.predictor(copies)).tolist()
            for copy, where, value in zip(copies, some, values, strict=True):
                copy[(slice(None), *where)] = image[(slice(None), *where)]
                total[where] += whole - value
                count[where] += 1

        portions(len(boxes), self.batch, image.numel(), work)
        return np.asarray(total / np.maximum(count, 1), dtype=np.float32)


def _per_axis(value: int | tuple[int, ...] | None, default: tuple[int, ...], name: str) -> tuple[int, ...]:
    if value is None:
        return default
    sizes = (value,) * len(default) if isinstance(value, int) else tuple(value)
    if len(sizes) != len(default) or min(sizes) < 1:
        raise InputError(f"{name} must be {len(default)} sizes of at least 1 voxel; got {value}")
    return sizes


def _boxes(size: tuple[int, ...], box: tuple[int, ...], stride: tuple[int, ...]) -> list[Box]:
    """Boxes that cover every voxel; the last along an axis ends at the edge."""
    starts = [sorted({*range(0, n - b, s), n - b}) for n, b, s in zip(size, box, stride, strict=True)]
    # A stride wider than the box would leave gaps that no box hides.
    if any(max(np.diff(s), default=0) > b for s, b in zip(starts, box, strict=True)):
        raise InputError(f"stride must be at most the box {box}; got {stride}")
    return [
        tuple(slice(at, at + b) for at, b in zip(corner, box, strict=True))
        for corner in itertools.product(*starts)
    ]
