from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from contrafact.attribution.cam.class_activation import cam_map, grad_cam
from contrafact.attribution.gradients import needs_gradients
from contrafact.core import EXPLAINERS, InputError, Question, UnsupportedError
from contrafact.core.target_kinds import class_of, compared_class


@dataclass(frozen=True, slots=True)
class _Finer:
    """Target: the output of one class minus a share of the mean output of its rival classes."""

    index: int
    against: tuple[int, ...]
    share: float

    def __call__(self, outputs: Tensor) -> Tensor:
        rivals = outputs[:, list(self.against)].mean(dim=1)
        return outputs[:, self.index] - self.share * rivals


@EXPLAINERS.register("finer-cam", aliases=("finercam",))
@dataclass(frozen=True, slots=True, kw_only=True)
class FinerCAM:
    """Show which regions distinguish the class from the classes most similar to it, by Grad-CAM.

    images  float32 (N, C, *S), any units
    gives   float32 (N, *S), linearly interpolated from the layer; signed, in logits
    cost    two forward passes, and a backward pass that stops at the layer
    raises  UnsupportedError without gradients, without a layer with a spatial map, or for a target that
            is not one class of a classifier; InputError for a share below 0, or fewer than 1 rival
    Source: Zhang et al. 2025 (arXiv 2501.11309), eq. 4. Differs: signed, any number of axes.

    layer   name of the layer; None: the last feature map through which all of the output passes
    rivals  number of rival classes: the other classes with the highest output for the image
    share   share of the rivals' mean output that is subtracted
    """

    needs_gradients: ClassVar[bool] = True
    needs_layers: ClassVar[bool] = True
    layer: str | None = None
    rivals: int = 3
    share: float = 0.6

    def __post_init__(self) -> None:
        if self.rivals < 1 or self.share < 0:
            raise InputError(
                f"expected at least 1 rival and a share of 0 or more; got {self.rivals}, {self.share}"
            )

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        predictor = needs_gradients(question, "finer-cam")
        target = question.target
        index = None if compared_class(target) is not None else class_of(target)  # a margin compares already
        with torch.no_grad():
            outputs = predictor(question.images)
        if index is None or outputs.ndim != 2 or outputs.shape[1] < 2:
            raise UnsupportedError(
                f"finer-cam compares one class of a classifier with others; got target {question.target} and "
                f"outputs {tuple(outputs.shape)}; use gradcam"
            )
        outputs[:, index] = -torch.inf
        maps = []
        for i, row in enumerate(outputs):
            count = min(self.rivals, len(row) - 1)
            against = tuple(sorted(row.topk(count).indices.tolist()))
            target = _Finer(index, against, self.share)
            single = dataclasses.replace(question, images=question.images[i : i + 1], target=target)
            maps.append(cam_map(single, self.layer, "finer-cam", grad_cam)[0])
        return np.stack(maps)
