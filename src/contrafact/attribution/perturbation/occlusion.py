from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor

from contrafact.core import EXPLAINERS, InputError, Question
from contrafact.perturbation.fill import fill_values
from contrafact.perturbation.memory import portions

Corners = NDArray[np.int64]


@EXPLAINERS.register("occlusion")
@dataclass(frozen=True, slots=True, kw_only=True)
class Occlusion:
    """Show how much the output falls when each part of the image is hidden by a box.

    images  float32 (N, C, *S), any units
    gives   float32 (N, *S), target units; positive = hiding the voxel lowers the target. The mean over all
            boxes that hide the voxel
    cost    prod(ceil((S - box) / stride) + 1) + 1 forward passes per image, fewer with a region of
            interest; no gradients. For a convolutional network (`TorchPredictor.replacing`) all but three
            passes compute only the activations that a box changes; the record counts each as one pass
    raises  InputError for a box larger than the image, or a stride larger than the box
    Source: Zeiler & Fergus 2014 (arXiv 1311.2901), sec. 4.2. Differs: boxes reach every edge; they are
    written into reusable copies of the image and evaluated in batches; a box shows the blurred image,
    because a uniform box can itself look like a finding (docs/decisions/0013).

    box, stride  voxels along each axis; a single number applies to all axes. None: an eighth of the side,
                 and half a box
    fill         "blur", "mean", "min" or a number in image units
    batch        hidden images per forward pass at most, fewer for large volumes
    """

    live: ClassVar[bool] = True
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
        device = question.predictor.device
        images = torch.as_tensor(question.images).to(device)
        hidden = fill_values(images, self.fill)
        starts = _starts(size, box, stride)
        corners = np.stack([axis.ravel() for axis in np.meshgrid(*starts, indexing="ij")], axis=1)
        wanted = np.ones(len(corners), dtype=bool)
        if question.region is not None:
            inside = sliding_window_view(question.region, box)
            wanted = inside[tuple(corners.T)].any(axis=tuple(range(1, 1 + len(size))))
        maps = []
        with torch.no_grad():
            outputs = question.predictor(images)
            question.outputs.extend(outputs)
            whole = question.target(outputs).tolist()
            for image, empty, score in zip(images, hidden, whole, strict=True):
                falls = np.zeros((len(corners), 2))
                falls[wanted, 0] = score - self._scores(question, image, empty, corners[wanted], box)
                falls[wanted, 1] = 1
                total, count = _spread(falls.reshape(*map(len, starts), 2), starts, box, size)
                maps.append((total / np.maximum(count, 1)).astype(np.float32))
        return np.stack(maps)

    def _scores(
        self, question: Question, image: Tensor, hidden: Tensor, corners: Corners, box: tuple[int, ...]
    ) -> NDArray[np.float64]:
        """Return the target (K,) with each of K boxes hidden."""
        values = np.empty(len(corners))
        local = question.predictor.replacing(image, hidden, box, corners[len(corners) // 2])
        if local is not None and local.share < 0.7:  # above, the bookkeeping costs more than it saves
            answers = local.answers

            def partly(part: slice) -> None:
                values[part] = question.target(answers(corners[part])).tolist()

            fit = max(local.memory, 1e-4)
            portions(len(corners), round(self.batch / fit), round(image.numel() * fit), partly)
            return values
        del local  # frees the activations of the whole image
        buffer: list[Tensor] = []  # reusable copies of the image; each box is restored after its pass
        boxes, empty = _boxes(image[None], box), _boxes(hidden[None], box)
        positions = torch.from_numpy(corners).to(image.device).unbind(1)
        first = torch.zeros_like(positions[0])

        def wholly(part: slice) -> None:
            count = part.stop - part.start
            if not buffer or len(buffer[0]) < count:
                buffer[:] = [image.repeat(count, *(1,) * image.ndim)]
            copies, corner = buffer[0][:count], [axis[part] for axis in positions]
            source: Any = (first[part], slice(None), *corner)
            destination: Any = (torch.arange(count, device=image.device), slice(None), *corner)
            views = _boxes(copies, box)
            views[destination] = empty[source]
            values[part] = question.target(question.predictor(copies)).tolist()
            views[destination] = boxes[source]

        portions(len(corners), self.batch, image.numel(), wholly)
        return values


def _boxes(images: Tensor, box: tuple[int, ...]) -> Tensor:
    """Return a view of every box of images (N, C, *S): (N, C, *corners, *box)."""
    for axis, side in enumerate(box, start=2):
        images = images.unfold(axis, side, 1)
    return images


def _per_axis(value: int | tuple[int, ...] | None, default: tuple[int, ...], name: str) -> tuple[int, ...]:
    """Return a size for each axis from one number, one per axis, or None for the default.

    raises  InputError for another number of sizes, or a size below 1
    """
    if value is None:
        return default
    sizes = (value,) * len(default) if isinstance(value, int) else tuple(value)
    if len(sizes) != len(default) or min(sizes) < 1:
        raise InputError(f"{name} must be {len(default)} sizes of at least 1 voxel; got {value}")
    return sizes


def _starts(size: tuple[int, ...], box: tuple[int, ...], stride: tuple[int, ...]) -> list[Corners]:
    """Return the starts of the boxes along each axis; they cover every voxel, and the last ends at the edge.

    raises  InputError for a stride larger than the box
    """
    starts = [sorted({*range(0, n - b, s), n - b}) for n, b, s in zip(size, box, stride, strict=True)]
    # A larger stride would leave voxels that no box hides.
    if any(max(np.diff(s), default=0) > b for s, b in zip(starts, box, strict=True)):
        raise InputError(f"stride must be at most the box {box}; got {stride}")
    return [np.asarray(s, dtype=np.int64) for s in starts]


def _spread(
    values: NDArray[np.float64], starts: list[Corners], box: tuple[int, ...], size: tuple[int, ...]
) -> NDArray[np.float64]:
    """Return at every voxel the sum (K, *S) of the values (*corners, K) of all boxes that contain it."""
    for first, side, n in zip(starts, box, size, strict=True):
        past = np.arange(n) - first[:, None]
        values = np.tensordot(values, ((past >= 0) & (past < side)).astype(np.float64), axes=(0, 0))
    return values
