"""Names for what the Python functions take: images, masks, targets, models, bundles, methods and metrics."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypedDict, TypeVar

import numpy as np
from numpy.typing import NDArray

from contrafact.bundles import Bundle
from contrafact.core import Counterfactual, Heatmap, Question, Target
from contrafact.io.arrays import ArrayLike, ImageLike, OneImage, TensorLike
from contrafact.metrics import CounterfactualContext, HeatmapContext
from contrafact.models.loading import Estimator, ModelLike

__all__ = [
    "ArrayLike",
    "BundleLike",
    "CounterfactualMethod",
    "CounterfactualMetric",
    "Estimator",
    "ExplainOptions",
    "HeatmapMethod",
    "HeatmapMetric",
    "ImageLike",
    "ImagesLike",
    "MaskLike",
    "MetricLike",
    "ModelLike",
    "OneImage",
    "OneTarget",
    "Result",
    "TargetLike",
    "TensorLike",
]

Result: TypeAlias = Heatmap | Counterfactual
AnyImage = TypeVar("AnyImage", bound=ImageLike)
ImagesLike: TypeAlias = ImageLike | Sequence[ImageLike]
MaskLike: TypeAlias = ImageLike
OneTarget: TypeAlias = str | int | Target
TargetLike: TypeAlias = OneTarget | Sequence[OneTarget] | ArrayLike
BundleLike: TypeAlias = Bundle | str | Path


class HeatmapMethod(Protocol):
    """A method that gives maps (N, *S): `GradCAM()`, `Occlusion(box=8)`."""

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.floating[Any]]: ...


class CounterfactualMethod(Protocol):
    """A method that gives changed images: `LatentWalk(goal=0.9)`, `Translate()`."""

    def __call__(self, question: Question, rng: np.random.Generator) -> Sequence[Counterfactual]: ...


class HeatmapMetric(Protocol):
    """A metric of heatmaps: all maps of an image at once."""

    def __call__(self, panel: HeatmapContext, /) -> NDArray[np.floating[Any]]: ...


class CounterfactualMetric(Protocol):
    """A metric of one counterfactual."""

    def __call__(self, walked: CounterfactualContext, /) -> float: ...


MetricLike: TypeAlias = str | HeatmapMetric | CounterfactualMetric


class ExplainOptions(TypedDict, total=False):
    """What `explain` takes beside the method, the model and the images."""

    target: TargetLike | None
    reference: MaskLike | None
    bundle: BundleLike | None
    background: ImagesLike
    region: MaskLike | None
    keep: MaskLike | None
    seed: int
