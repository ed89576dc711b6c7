from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from contrafact.core import METRICS, InputError, UnsupportedError
from contrafact.metrics.counterfactual_context import CounterfactualContext, Frames, needed
from contrafact.perturbation import gaussian

HALVINGS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """How an adversarial change is made: `AdversarialNull` says what the fields are."""

    blur: float
    rate: float
    rounds: int


@METRICS.register("adversarial-null")
@dataclass(frozen=True, slots=True, kw_only=True)
class AdversarialNull:
    """Does a second classifier answer to the counterfactual more than to a blurred adversarial change that
    moves the first one as far? The null beside every strip.

    gives   change of the second classifier's score on the last frame less that on the null, both towards the
            goal, in units of its target; 0 or less: the strip shows it no more than noise made for the first
    cost    up to `rounds` forward and backward passes, 30 forward passes, 3 of the second classifier
    raises  InputError without a second classifier, for a strip that changes nothing, or where no blurred change
            reaches the same score; UnsupportedError for a model without gradients
    Source: iterative gradient sign, Kurakin et al. 2016 (arXiv 1607.02533), the idea. Differs: the gradient
    itself, blurred by a Gaussian, so that the change is as smooth as an anatomical one; walked until the score
    is passed and found by bisection, so that the null has exactly the score of the counterfactual.

    blur    standard deviation of the Gaussian, voxels
    rate    greatest change of a voxel in one step, as a share of the image's range
    rounds  steps at most
    """

    of: ClassVar[str] = "strip"
    better: ClassVar[str] = "higher"
    family: ClassVar[str] = "second model"
    blur: float = 2.0
    rate: float = 0.02
    rounds: int = 200

    def __post_init__(self) -> None:
        if not (self.blur >= 0 and self.rate > 0 and self.rounds >= 1):
            raise InputError(
                f"expected blur of at least 0, rate above 0, 1 round or more; got {self.blur}, {self.rate}, "
                f"{self.rounds}"
            )

    def __call__(self, walked: CounterfactualContext) -> float:
        oracle = needed(walked.oracle, "adversarial-null", "a second classifier (`oracle`)")
        null = adversarial_null(walked, blur=self.blur, rate=self.rate, rounds=self.rounds)
        start, goal, other = walked.score(np.stack([walked.start, walked.goal, null]), by=oracle)
        sign = np.sign(walked.measured[walked.end] - walked.whole)
        return float(sign * ((goal - start) - (other - start)))


def adversarial_null(
    walked: CounterfactualContext, *, blur: float = 2.0, rate: float = 0.02, rounds: int = 200
) -> Frames:
    """(C, *S) the image with a blurred change along the model's gradient, of the same score as the
    counterfactual; in the range of the window, or of the counterfactual where that is wider."""
    way = _Way(blur=blur, rate=rate, rounds=rounds)
    wanted = float(walked.measured[walked.end])
    sign = float(np.sign(wanted - walked.whole))
    if abs(wanted - walked.whole) < 1e-3:
        raise InputError("adversarial-null needs a strip that changes the score; this one does not")
    before, after = _passed(walked, wanted, sign, way)
    for _ in range(HALVINGS):
        middle = ((before + after) / 2).astype(np.float32)
        if sign * (float(walked.score(middle[None])[0]) - wanted) >= 0:
            after = middle
        else:
            before = middle
    return after


def _passed(walked: CounterfactualContext, wanted: float, sign: float, way: _Way) -> tuple[Frames, Frames]:
    """The last image on the way that has not reached the score, and the first that has."""
    low = min(float(walked.start.min()), float(walked.goal.min()), *(walked.window or ()))
    high = max(float(walked.start.max()), float(walked.goal.max()), *(walked.window or ()))
    image = walked.start.astype(np.float32)
    for _ in range(way.rounds):
        uphill = sign * _slope(walked, image, way.blur)
        size = float(np.abs(uphill).max())
        if size == 0:
            break
        moved = np.clip(image + way.rate * walked.span * uphill / size, low, high).astype(np.float32)
        if sign * (float(walked.score(moved[None])[0]) - wanted) >= 0:
            return image, moved
        image = moved
    raise InputError(
        f"adversarial-null: no blurred change reaches the score of {wanted:.3g} in {way.rounds} rounds; give "
        "more rounds, or a greater rate"
    )


def _slope(walked: CounterfactualContext, image: Frames, blur: float) -> Frames:
    """(C, *S) the gradient of the target by the image, blurred."""
    predictor, target = walked.question.predictor, walked.question.target
    if not getattr(predictor, "differentiable", True):
        raise UnsupportedError("adversarial-null follows the gradient and this model gives none")
    at = torch.from_numpy(image[None]).to(getattr(predictor, "device", "cpu")).requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(target(predictor(at)).sum(), at)
    walked.passes += 1
    return np.asarray(gaussian(slope, blur)[0].cpu().numpy())
