from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from contrafact.attribution.background import others
from contrafact.attribution.perturbation.features import labels_in_region
from contrafact.core import EXPLAINERS, InputError, Question
from contrafact.perturbation.features import feature_labels
from contrafact.perturbation.memory import portions


@EXPLAINERS.register("feature-permutation", aliases=("feature_permutation",))
@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturePermutation:
    """Show how much the output falls when each box or supervoxel is replaced by other patients' pixels.

    images    float32 (N, C, *S), any units; the question's background holds the other images
    gives     float32 (N, *S), target units: mean fall over `samples` other images; a feature's value is
              spread evenly over its voxels
    cost      `samples` forward passes per feature and image; no gradients
    raises    InputError without a background, for fewer than 1 sample, or for features that do not fit the
              image
    Source: Breiman 2001 (doi 10.1023/A:1010933404324), sec. 10. Differs: for one image instead of a test
    set; the replacement comes from real images, so that it resembles the training data.

    features  "grid" or "slic" (supervoxels that keep to edges)
    batch     changed images per forward pass at most
    count     features along each axis
    samples   other images whose pixels replace a feature
    """

    needs_background: ClassVar[bool] = True
    sampled: ClassVar[bool] = True
    features: str = "grid"
    count: int = 8
    samples: int = 8
    batch: int = 64

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise InputError(f"samples must be at least 1; got {self.samples}")

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        background = others(question, "feature-permutation")
        picks = rng.permutation(len(background))[: self.samples]
        device = question.predictor.device
        images = torch.as_tensor(question.images).to(device)
        pool = torch.as_tensor(background[picks]).to(device)
        with torch.no_grad():
            return np.stack([self._one(question, image, pool) for image in images])

    def _one(self, question: Question, image: Tensor, pool: Tensor) -> NDArray[np.float32]:
        numbers = feature_labels(image.cpu().numpy(), self.features, self.count)
        count = int(numbers.max()) + 1
        if question.region is not None:
            numbers = labels_in_region(numbers, question.region)
            count = len(np.unique(numbers[question.region]))
        labels = torch.as_tensor(numbers, device=image.device)
        whole = float(question.target(question.predictor(image[None]))[0])
        falls = torch.zeros(count * len(pool))

        def work(part: slice) -> None:
            rows = range(part.start, part.stop)
            changed = [torch.where(labels == r // len(pool), pool[r % len(pool)], image) for r in rows]
            falls[part] = whole - question.target(question.predictor(torch.stack(changed))).cpu().float()

        portions(len(falls), self.batch, image.numel(), work)
        values = falls.reshape(count, len(pool)).mean(dim=1).numpy()
        sizes = np.bincount(numbers.ravel(), minlength=count)[:count]
        spread = np.append(values / sizes, 0.0)
        return np.asarray(spread[numbers], dtype=np.float32)
