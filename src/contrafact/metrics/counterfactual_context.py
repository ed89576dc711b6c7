"""One strip put to the test: what may check it, and what was measured once for all metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from contrafact.core import Counterfactual, InputError, Question
from contrafact.metrics.cache import ModelCache

_T = TypeVar("_T")
Values = NDArray[np.float64]
Frames = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """One thing that was planted in a phantom, and the ruler that reads it from any picture.

    read   (C, *S) to its size, in its own units
    span   greatest minus least size that was planted, so that factors can be compared
    """

    read: Callable[[NDArray[np.floating[Any]]], float]
    span: float


@dataclass(slots=True, eq=False, kw_only=True)
class CounterfactualContext(ModelCache):
    """A strip with the question it answers. Whatever a metric asks of a model is asked once and kept.

    strip     as the explainer gave it
    question  of **one** image, its target frozen; the predictor frozen as well
    image     (C, *S) what the frames are compared with; None: the question's image, or where that has
              another size, the strip's own
    window    (low, high) image units that count as the whole range; None: least and greatest of the image

    What may check it; a metric that needs what is not there says so:

    oracle    a second classifier, trained without the first: predictor and target
    others    other questions by name: predictor and target, or a target of the same predictor
    mask      bool (*S): where the finding, or the planted cause, lies
    shortcut  bool (*S): where what must not matter lies
    factors   what was planted, by name; `cause` names the one that the model was asked about
    again     explains anew: an image (C, *S) and the score to reach, to a strip
    control   a length and chance, to frames (K, C, *S): a random direction walked as far; the first frame
              is the start
    layers    images (N, C, *S) to the features (N, F, ...) of each layer of some network
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
    _known: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        images, size = self.question.images, self.strip.frames.shape[1:]
        if len(images) != 1:
            raise InputError(f"a strip is of one image; got a question of {len(images)}")
        if self.start.shape != size:
            raise InputError(f"image must be {size}, as the frames; got {self.start.shape}")
        for name in ("mask", "shortcut"):
            mask = getattr(self, name)
            if mask is not None and (mask.shape != size[1:] or mask.dtype != bool or not mask.any()):
                raise InputError(f"{name} must be bool {size[1:]} with a voxel in it; got {mask.shape}")
        if self.factors and self.cause not in self.factors:
            raise InputError(f"cause must be one of {', '.join(self.factors)}; got '{self.cause}'")

    def score(self, images: NDArray[np.floating[Any]], *, by: Any = None) -> Values:
        """Values (N,) of images (N, C, *S), in portions, counted; `by`: another predictor and target."""
        predictor, target = (self.question.predictor, self.question.target) if by is None else by
        ready = torch.as_tensor(np.asarray(images, dtype=np.float32))
        ready = ready.to(getattr(predictor, "device", "cpu"))
        return self._ask(len(images), lambda part: ready[part], ready[0].numel(), predictor, target)

    def walk(self, image: Frames, score: float, *, metric: str) -> Frames:
        """(C, *S) where the explainer ends when it is asked anew: from `image` to that score."""
        again = needed(self.again, metric, "to explain again (`again`)")
        strip = again(image, score)
        self.passes += round(strip.record.forward_passes) if strip.record else 0
        return strip.frames[end_of(strip)]

    @property
    def end(self) -> int:
        return end_of(self.strip)

    @property
    def goal(self) -> Frames:
        """(C, *S) the counterfactual itself."""
        return self.strip.frames[self.end]

    @property
    def start(self) -> Frames:
        """(C, *S) what the frames are compared with."""
        if self.image is not None:
            return self.image
        first = self.question.images[0]
        return first if first.shape == self.strip.frames.shape[1:] else self.strip.image

    @property
    def span(self) -> float:
        """Units of the whole range."""
        low, high = self.window or (float(self.start.min()), float(self.start.max()))
        if not low < high:
            raise InputError(f"window must be (low, high) with low < high; got ({low:g}, {high:g})")
        return high - low

    @property
    def whole(self) -> float:
        """The model's answer to the image, measured again."""
        return self.once("whole", lambda: float(self.score(self.start[None])[0]))

    @property
    def measured(self) -> Values:
        """(K,) the model's answers to the frames, measured again."""
        return self.once("measured", lambda: self.score(self.strip.frames))

    def answers(self, name: str, by: Any) -> Values:
        """(K,) another model's, or another target's, answers to the frames."""
        pair = by if isinstance(by, tuple) else (self.question.predictor, by)
        return self.once(("answers", name), lambda: self.score(self.strip.frames, by=pair))

    def changed(self) -> Values:
        """(*S) how much each voxel differs from the image, as a share of the range; the channel that
        differs most."""
        gap = np.abs(self.goal.astype(np.float64) - self.start).max(axis=0) / self.span
        return np.asarray(gap)

    def similarity(self, image: Frames) -> Values:
        """(*S) structural similarity (Wang et al. 2004) of an image (C, *S) to the image, voxel by voxel."""
        from skimage.metrics import structural_similarity

        side = min(7, (min(image.shape[1:]) - 1) // 2 * 2 + 1)
        if side < 3:
            raise InputError(f"structural similarity needs 3 voxels a side; got {image.shape[1:]}")
        parts = [
            structural_similarity(a, b, win_size=side, data_range=self.span, full=True)[1]
            for a, b in zip(self.start.astype(np.float64), image.astype(np.float64), strict=True)
        ]
        return np.asarray(np.mean(parts, axis=0))

    def read(self, name: str) -> Values:
        """(K,) the size of a planted factor in every frame, as a share of its span."""
        factor = self.factors[name]
        return self.once(
            ("read", name), lambda: np.array([factor.read(f) for f in self.strip.frames]) / factor.span
        )


def end_of(strip: Counterfactual) -> int:
    """The frame that answers the question, as the strip says it."""
    return strip.end


def needed(given: _T | None, metric: str, what: str) -> _T:
    """What a metric cannot do without.

    raises  InputError where it is missing, or empty
    """
    if given is None or (isinstance(given, Mapping) and not given):
        raise InputError(f"{metric} needs {what}; got none")
    return given


def distance(walked: CounterfactualContext, image: Frames) -> float:
    """Mean absolute difference of an image (C, *S) to the image, as a share of the range."""
    return float(np.abs(image.astype(np.float64) - walked.start).mean() / walked.span)


def slope(across: Values, up: Values, metric: str) -> float:
    """Of the straight line through the points that fits best (least squares).

    raises  InputError where nothing changes across
    """
    gaps = across - across.mean()
    if not np.square(gaps).sum() > 1e-12:
        raise InputError(f"{metric} needs a strip that moves; every frame stands at {across[0]:g}")
    return float((gaps * (up - up.mean())).sum() / np.square(gaps).sum())
