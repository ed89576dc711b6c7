from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from contrafact.attribution.background import others
from contrafact.attribution.perturbation.features import asked_about
from contrafact.core import EXPLAINERS, InputError, Question
from contrafact.perturbation.features import feature_labels
from contrafact.perturbation.memory import portions


@EXPLAINERS.register("feature-permutation", aliases=("feature_permutation",))
@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturePermutation:
    """Put another patient's pixels in the place of one feature at a time; note how far the target falls.

    images    float32 (N, C, *S), any units; the question's background holds the other images
    gives     float32 (N, *S), target units: mean fall over `samples` other images; a feature's value is
              spread evenly over its voxels
    cost      `samples` forward passes per feature and image; no gradients
    raises    InputError without a background, for no sample, or for features that do not fit the image
    Source: Breiman 2001 (doi 10.1023/A:1010933404324), sec. 10, for one image instead of a test set: the
    feature takes its values in other images, so that it stays within what the model knows.

    features  "grid" or "slic" (supervoxels that keep to edges)
    batch     changed images per forward pass at most
    count     of features along each axis
    samples   other images whose pixels are taken
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
        found = others(question, "feature-permutation")
        picks = rng.permutation(len(found))[: self.samples]
        device = getattr(question.predictor, "device", "cpu")
        images, pool = torch.as_tensor(question.images).to(device), torch.as_tensor(found[picks]).to(device)
        with torch.no_grad():
            return np.stack([self._one(question, image, pool) for image in images])

    def _one(self, question: Question, image: Tensor, pool: Tensor) -> NDArray[np.float32]:
        found = feature_labels(image.cpu().numpy(), self.features, self.count)
        count = int(found.max()) + 1
        if question.region is not None:
            found = asked_about(found, question.region)
            count = len(np.unique(found[question.region]))
        labels = torch.as_tensor(found, device=image.device)
        whole = float(question.target(question.predictor(image[None]))[0])
        falls = torch.zeros(count * len(pool))

        def work(part: slice) -> None:
            rows = range(part.start, part.stop)
            changed = [torch.where(labels == r // len(pool), pool[r % len(pool)], image) for r in rows]
            falls[part] = whole - question.target(question.predictor(torch.stack(changed))).cpu().float()

        portions(len(falls), self.batch, image.numel(), work)
        values = falls.reshape(count, len(pool)).mean(dim=1).numpy()
        sizes = np.bincount(found.ravel(), minlength=count)[:count]
        spread = np.append(values / sizes, 0.0)
        return np.asarray(spread[found], dtype=np.float32)
