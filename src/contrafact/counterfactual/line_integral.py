"""The line integral of a model's gradient along a path of images.

It equals the change of the model's score between both ends, for every path. The score is known at both ends of
each segment, so the integration error of each segment is known too; the segments with the largest errors are
halved until the sum is accurate enough.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from contrafact.core import Generator, UnsupportedError
from contrafact.counterfactual.inversion import carry_over

Measure = Callable[[Tensor], Tensor]
MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


class ImagePath:
    """A path of images in [-1, 1], on the image's own grid: from its negative counterpart (0) to the image (1).

    knots   latents (K, d); the path is linear between neighbours, and all segments have equal shares of it
    image   (C, *S), at least the generator's size
    anchor  add the residual of the reconstruction to every image, so that the path ends in the image itself;
            False: the path ends in the enlarged reconstruction
    """

    def __init__(self, generator: Generator, knots: Tensor, image: Tensor, *, anchor: bool) -> None:
        self.generator, self.knots, self.image, self.anchor = generator, knots, image, anchor
        with torch.no_grad():
            self.last = generator.decode(knots[-1:])

    def __call__(self, points: Sequence[float]) -> Tensor:
        """Return the images (M, C, *S) at points from 0 to 1."""
        at = torch.tensor(points, dtype=self.knots.dtype, device=self.knots.device) * (len(self.knots) - 1)
        before = at.floor().long().clamp_max(len(self.knots) - 2)
        share = (at - before)[:, None]
        latents = (1 - share) * self.knots[before] + share * self.knots[before + 1]
        with torch.no_grad():
            generated = self.generator.decode(latents)
        if not self.anchor:
            return self._enlarged(generated.clamp(-1, 1))
        copies = self.image.expand(len(points), *self.image.shape)
        return carry_over(copies, self._enlarged(generated - self.last))

    def _enlarged(self, generated: Tensor) -> Tensor:
        """Return generated images interpolated to the size of the image."""
        size = self.image.shape[1:]
        same = generated.shape[2:] == size
        return generated if same else F.interpolate(generated, size, mode=MODES[len(size)])


class LineIntegral:
    """The adaptive integration of a score's gradient along a path of images.

    images  function of points from 0 to 1 to images (M, C, *S)
    score   function of images to scores (M,), with gradients unless there are `groups`
    groups  number of boxes along each axis, for a score without gradients: in each segment every box is
            changed alone, forward from the start and backward from the end, and the scores are differenced
    """

    def __init__(
        self, images: Callable[[Sequence[float]], Tensor], score: Measure, *, groups: int | None = None
    ) -> None:
        self.images, self.score, self.groups = images, score, groups
        self.scores: dict[float, float] = {}
        self.parts: dict[tuple[float, float], Tensor] = {}
        self._seen: dict[float, tuple[Tensor, Tensor | None]] = {}

    def run(self, *, gap: float, most: int) -> None:
        """Add points until the error of the sum is at most `gap` of the change, or there are `most` points."""
        self._visit([i / 8 for i in range(9)] if self.groups is None else [i / 4 for i in range(5)])
        while len(self.scores) < most:
            errors = self.errors()
            # Errors of opposite signs can cancel while those of the segments are still large.
            each = sum(abs(error) for error in errors.values()) / self._size
            if max(self.gap, each / 10) <= gap:
                return
            worst = sorted(errors, key=lambda segment: -abs(errors[segment]))[: min(8, most - len(self.scores))]
            self._visit([(a + b) / 2 for a, b in worst])
            for segment in worst:
                del self.parts[segment]

    @property
    def change(self) -> float:
        """Return the change of the score from the first image to the last."""
        return self.scores[1.0] - self.scores[0.0]

    @property
    def gap(self) -> float:
        """Return the error of the sum, as a share of the change."""
        return abs(sum(self.errors().values())) / self._size

    def errors(self) -> dict[tuple[float, float], float]:
        """Return the error of each segment: the sum of its values minus the change of the score."""
        return {
            (a, b): float(part.double().sum()) - (self.scores[b] - self.scores[a])
            for (a, b), part in self.parts.items()
        }

    def total(self) -> Tensor:
        """Return the integral at every voxel (*S), summed over channels."""
        return torch.stack(list(self.parts.values())).sum(dim=0)

    @property
    def _size(self) -> float:
        return max(abs(self.change), 1e-6)

    def _visit(self, points: list[float]) -> None:
        """Score the images at new points, and integrate the segments that end or start there."""
        images = self.images(points)
        if self.groups is None:
            values, gradients = gradients_of(self.score, images)
            self._seen |= dict(zip(points, zip(images, gradients, strict=True), strict=True))
        else:
            values = scores_of(self.score, images)
            self._seen |= {point: (image, None) for point, image in zip(points, images, strict=True)}
        self.scores |= dict(zip(points, values.double().tolist(), strict=True))
        for a, b in itertools.pairwise(sorted(self.scores)):
            if (a, b) not in self.parts and (a in points or b in points):
                self.parts[a, b] = self._part(a, b)

    def _part(self, a: float, b: float) -> Tensor:
        """Return the contribution of each voxel (*S) between two points: by the trapezium rule, or for a score
        without gradients by differences of boxes."""
        (start, first), (end, last) = self._seen[a], self._seen[b]
        if first is not None and last is not None:
            return ((first + last) / 2 * (end - start)).sum(dim=0)
        step = end - start
        labels = boxes(step.shape[1:], self.groups or 1).to(step.device)
        energy = step.square().sum(dim=0)
        box_energy = torch.zeros(int(labels.max()) + 1).to(energy).index_add(0, labels.ravel(), energy.ravel())
        changing = box_energy.nonzero()[:, 0]
        effects = torch.zeros_like(box_energy)
        for selected in changing.split(64):
            change = step * (labels == selected.reshape(-1, *(1,) * labels.ndim))[:, None]
            forward = scores_of(self.score, start + change) - self.scores[a]
            backward = self.scores[b] - scores_of(self.score, end - change)
            effects[selected] = ((forward + backward) / 2).to(effects)
        # Within a box the difference is distributed by the smallest gradient that explains it, which is
        # parallel to the step.
        return (effects / box_energy.clamp_min(1e-30))[labels] * energy


def boxes(size: Sequence[int], count: int) -> Tensor:
    """Return the labels (*size) of boxes that divide an image, at most `count` along every axis."""
    cells = [torch.arange(side) * min(count, side) // side for side in size]
    labels = torch.zeros(tuple(size), dtype=torch.long)
    for axis, cell in enumerate(cells):
        labels = labels * min(count, size[axis]) + cell.reshape(-1, *(1,) * (len(size) - axis - 1))
    return labels


def scores_of(score: Measure, images: Tensor) -> Tensor:
    """Return the scores (M,) of images (M, C, *S), without gradients."""
    with torch.no_grad():
        return torch.cat([score(part) for part in images.split(64)])


def gradients_of(score: Measure, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the scores (M,) of images and their gradients (M, C, *S) by the pixels.

    raises  UnsupportedError for a score without gradients
    """
    results = []
    for part in images.split(16):
        part = part.detach().requires_grad_(True)
        with torch.enable_grad():
            values = score(part)
            if not values.requires_grad:
                raise UnsupportedError("the target has no gradient for this model; use a target on logits")
            results.append((values.detach(), torch.autograd.grad(values.sum(), part)[0]))
    return torch.cat([v for v, _ in results]), torch.cat([g for _, g in results])


def mean_gradient(images: Tensor, score: Measure) -> Tensor:
    """Return (*S): (last - first image) x mean gradient, as published. On a curved path it is not the line
    integral."""
    return ((images[-1] - images[0]) * gradients_of(score, images)[1].mean(dim=0)).sum(dim=0)
