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
class _Settings:
    """Settings of an adversarial change; `AdversarialNull` documents the fields."""

    blur: float
    rate: float
    rounds: int


@METRICS.register("adversarial-null")
@dataclass(frozen=True, slots=True, kw_only=True)
class AdversarialNull:
    """Measure how much more a second model follows the counterfactual than an adversarial change.

    gives   change of the second model's score on the counterfactual minus that on a blurred adversarial change
            (the null) with the same effect on the first model, both towards the goal, in units of its target; 0
            or less: the counterfactual affects the second model no more than adversarial noise
    cost    up to `rounds` forward and backward passes, 30 forward passes, 3 of the second model
    raises  InputError without a second model, for a counterfactual that does not change the score, or if no
            blurred change reaches the same score; UnsupportedError for a model without gradients
    Source: iterative gradient sign, Kurakin et al. 2016 (arXiv 1607.02533), the idea. Differs: the gradient
    itself, blurred by a Gaussian, so that the change is as smooth as an anatomical one; steps until the score
    is passed, then bisection, so that the null has exactly the score of the counterfactual.

    blur    standard deviation of the Gaussian, voxels
    rate    greatest change of a voxel in one step, as a share of the image's range
    rounds  greatest number of steps
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
                f"expected blur of 0 or more, rate above 0, at least 1 round; got {self.blur}, {self.rate}, "
                f"{self.rounds}"
            )

    def __call__(self, walked: CounterfactualContext) -> float:
        oracle = needed(walked.oracle, "adversarial-null", "a second model (`oracle`)")
        null = adversarial_null(walked, blur=self.blur, rate=self.rate, rounds=self.rounds)
        start, goal, other = walked.score(np.stack([walked.start, walked.goal, null]), by=oracle)
        sign = np.sign(walked.measured[walked.end] - walked.whole)
        return float(sign * ((goal - start) - (other - start)))


def adversarial_null(
    walked: CounterfactualContext, *, blur: float = 2.0, rate: float = 0.02, rounds: int = 200
) -> Frames:
    """Return the image (C, *S) with a blurred change along the model's gradient and the score of the
    counterfactual, within the window, or the range of the counterfactual if that is wider.

    raises  as `AdversarialNull`
    """
    settings = _Settings(blur=blur, rate=rate, rounds=rounds)
    wanted = float(walked.measured[walked.end])
    sign = float(np.sign(wanted - walked.whole))
    if abs(wanted - walked.whole) < 1e-3:
        raise InputError("adversarial-null needs a counterfactual that changes the score; this one does not")
    before, after = _passed(walked, wanted, sign, settings)
    for _ in range(HALVINGS):
        middle = ((before + after) / 2).astype(np.float32)
        if sign * (float(walked.score(middle[None])[0]) - wanted) >= 0:
            after = middle
        else:
            before = middle
    return after


def _passed(
    walked: CounterfactualContext, wanted: float, sign: float, settings: _Settings
) -> tuple[Frames, Frames]:
    """Return the last image before the score is reached, and the first image after."""
    low = min(float(walked.start.min()), float(walked.goal.min()), *(walked.window or ()))
    high = max(float(walked.start.max()), float(walked.goal.max()), *(walked.window or ()))
    image = walked.start.astype(np.float32)
    for _ in range(settings.rounds):
        uphill = sign * _slope(walked, image, settings.blur)
        size = float(np.abs(uphill).max())
        if size == 0:
            break
        moved = np.clip(image + settings.rate * walked.span * uphill / size, low, high).astype(np.float32)
        if sign * (float(walked.score(moved[None])[0]) - wanted) >= 0:
            return image, moved
        image = moved
    raise InputError(
        f"adversarial-null: no blurred change reaches the score of {wanted:.3g} in {settings.rounds} rounds; "
        "use more rounds, or a greater rate"
    )


def _slope(walked: CounterfactualContext, image: Frames, blur: float) -> Frames:
    """Return the blurred gradient (C, *S) of the target with respect to the image."""
    predictor, target = walked.question.predictor, walked.question.target
    if not predictor.differentiable:
        raise UnsupportedError("adversarial-null needs gradients and this model has none")
    at = torch.from_numpy(image[None]).to(predictor.device).requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(target(predictor(at)).sum(), at)
    walked.passes += 1
    return np.asarray(gaussian(slope, blur)[0].cpu().numpy())
