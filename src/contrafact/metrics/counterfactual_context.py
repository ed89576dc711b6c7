"""One counterfactual with everything its metrics need, and the values that these metrics share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from contrafact.core import Counterfactual, InputError, Question, adapted
from contrafact.metrics.cache import ModelCache

_T = TypeVar("_T")
Values = NDArray[np.float64]
Frames = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """A planted factor of a phantom, and the function that measures its size in any image.

    read   function of an image (C, *S) that returns the size, in the factor's own units
    span   greatest minus least planted size, so that factors can be compared
    """

    read: Callable[[NDArray[np.floating[Any]]], float]
    span: float


@dataclass(slots=True, eq=False, kw_only=True)
class CounterfactualContext(ModelCache):
    """A counterfactual and its question, with a cache of the model outputs that its metrics need.

    strip     the counterfactual, as the explainer returns it
    question  question about **one** image; its target and predictor are frozen
    image     (C, *S) the image with which frames are compared; None: the question's image, or the
              counterfactual's own if that has another size
    window    (low, high) grey levels of the whole range; None: least and greatest value of the image

    The others are optional; a metric without a value it needs raises an error:

    oracle    predictor and target of a second model, trained independently of the first
    others    further targets by name: predictor and target, or a target of the same predictor
    mask      bool (*S): the region of the finding, or of the planted cause
    shortcut  bool (*S): a region that must not influence the model
    factors   planted factors by name; `cause` is the name of the one that the target measures
    again     function of an image (C, *S) and a score to reach; returns a new counterfactual
    control   function of a latent distance and a random generator; returns frames (K, C, *S) along a random
              direction over that distance, the start first
    layers    function of images (N, C, *S); returns the features (N, F, ...) of each layer of a network
    """

    strip: Counterfactual
    question: Question
    image: Frames | None = None
    window: tuple[float, float] | None = None
    oracle: tuple[Any, Any] | None = None
    others: Mapping[str, Any] = field(default_factory=dict)
    mask: NDArray[np.bool_] | None = None
    shortcut: NDArray[np.bool_] | None = None
    factors: Mapping[str, Factor] = field(default_factory=dict)
    cause: str = ""
    again: Callable[[Frames, float], Counterfactual] | None = None
    control: Callable[[float, np.random.Generator], Frames] | None = None
    layers: Callable[[Any], Any] | None = None
    seed: int = 0
    batch: int = 64
    passes: int = field(default=0, init=False)
    _cache: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        images, size = self.question.images, self.strip.frames.shape[1:]
        if len(images) != 1:
            raise InputError(f"expected a question about one image; got {len(images)} images")
        if self.start.shape != size:
            raise InputError(f"image must be {size}, like the frames; got {self.start.shape}")
        for name in ("mask", "shortcut"):
            mask = getattr(self, name)
            if mask is not None and (mask.shape != size[1:] or mask.dtype != bool or not mask.any()):
                raise InputError(f"{name} must be bool {size[1:]} with at least 1 voxel; got {mask.shape}")
        if self.factors and self.cause not in self.factors:
            raise InputError(f"cause must be one of {', '.join(self.factors)}; got '{self.cause}'")

    def score(self, images: NDArray[np.floating[Any]], *, by: Any = None) -> Values:
        """Return target values (N,) of images (N, C, *S); `by`: another predictor and target."""
        predictor, target = (self.question.predictor, self.question.target) if by is None else by
        tensor = torch.as_tensor(np.asarray(images, dtype=np.float32))
        tensor = tensor.to(adapted(predictor).device)
        return self._score_batches(len(images), lambda part: tensor[part], tensor[0].numel(), predictor, target)

    def walk(self, image: Frames, score: float, *, metric: str) -> Frames:
        """Return the last frame (C, *S) of a new counterfactual from `image` to a score.

        raises  InputError without `again`
        """
        again = needed(self.again, metric, "to explain again (`again`)")
        strip = again(image, score)
        self.passes += round(strip.record.forward_passes) if strip.record else 0
        return strip.frames[end_of(strip)]

    @property
    def end(self) -> int:
        """Return the number of the frame that is the counterfactual."""
        return end_of(self.strip)

    @property
    def goal(self) -> Frames:
        """Return the counterfactual frame (C, *S)."""
        return self.strip.frames[self.end]

    @property
    def start(self) -> Frames:
        """Return the image (C, *S) with which frames are compared."""
        if self.image is not None:
            return self.image
        first = self.question.images[0]
        return first if first.shape == self.strip.frames.shape[1:] else self.strip.image

    @property
    def span(self) -> float:
        """Return the width of the window, in image units."""
        low, high = self.window or (float(self.start.min()), float(self.start.max()))
        if not low < high:
            raise InputError(f"window must be (low, high) with low < high; got ({low:g}, {high:g})")
        return high - low

    @property
    def whole(self) -> float:
        """Return the model's output for the image, computed anew."""
        return self.once("whole", lambda: float(self.score(self.start[None])[0]))

    @property
    def measured(self) -> Values:
        """Return the model's outputs (K,) for the frames, computed anew."""
        return self.once("measured", lambda: self.score(self.strip.frames))

    def answers(self, name: str, by: Any) -> Values:
        """Return the outputs (K,) of another model, or another target, for the frames."""
        pair = by if isinstance(by, tuple) else (self.question.predictor, by)
        return self.once(("answers", name), lambda: self.score(self.strip.frames, by=pair))

    def changed(self) -> Values:
        """Return the absolute change (*S) of each voxel, as a share of the range, in the channel with the
        greatest change."""
        gap = np.abs(self.goal.astype(np.float64) - self.start).max(axis=0) / self.span
        return np.asarray(gap)

    def similarity(self, image: Frames) -> Values:
        """Return the structural similarity (*S) (Wang et al. 2004) of another image (C, *S) to the image.

        raises  InputError for fewer than 3 voxels along an axis
        """
        from skimage.metrics import structural_similarity

        side = min(7, (min(image.shape[1:]) - 1) // 2 * 2 + 1)
        if side < 3:
            raise InputError(f"structural similarity needs 3 voxels along each axis; got {image.shape[1:]}")
        parts = [
            structural_similarity(a, b, win_size=side, data_range=self.span, full=True)[1]
            for a, b in zip(self.start.astype(np.float64), image.astype(np.float64), strict=True)
        ]
        return np.asarray(np.mean(parts, axis=0))

    def read(self, name: str) -> Values:
        """Return the size (K,) of a planted factor in every frame, as a share of its span."""
        factor = self.factors[name]
        return self.once(
            ("read", name), lambda: np.array([factor.read(f) for f in self.strip.frames]) / factor.span
        )


def end_of(strip: Counterfactual) -> int:
    """Return the number of the frame that is the counterfactual."""
    return strip.end


def needed(value: _T | None, metric: str, what: str) -> _T:
    """Return a value that a metric requires.

    raises  InputError for None or an empty mapping
    """
    if value is None or (isinstance(value, Mapping) and not value):
        raise InputError(f"{metric} needs {what}; got none")
    return value


def distance(walked: CounterfactualContext, image: Frames) -> float:
    """Return the mean absolute difference of another image (C, *S) from the image, as a share of the range."""
    return float(np.abs(image.astype(np.float64) - walked.start).mean() / walked.span)


def slope(across: Values, up: Values, metric: str) -> float:
    """Return the slope of the least-squares line of `up` over `across`.

    raises  InputError if `across` is constant
    """
    gaps = across - across.mean()
    if not np.square(gaps).sum() > 1e-12:
        raise InputError(f"{metric} needs frames that differ; every frame has the value {across[0]:g}")
    return float((gaps * (up - up.mean())).sum() / np.square(gaps).sum())
