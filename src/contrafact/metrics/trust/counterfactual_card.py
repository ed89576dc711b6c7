"""The reliability checks of a counterfactual, with a plain sentence for each result."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from contrafact.core import Counterfactual, InputError, adapted, engines
from contrafact.core.results import confirms, tolerance_of
from contrafact.core.target_kinds import OddsTarget
from contrafact.metrics.trust.card import Check, Thresholds, TrustCard, checked, number_text
from contrafact.metrics.trust.engine_agreement import OtherEngine, agreement, follows


def trust_card_of_strip(
    strip: Counterfactual,
    *,
    second_model: Any = None,
    target: Any = None,
    thresholds: Thresholds | None = None,
    other_engine: OtherEngine | None = None,
) -> TrustCard:
    """Return the reliability checks of a counterfactual.

    Checks by the model that guided the search (`drift`, `goal`) can fail, but never count as passed. The
    agreement of requested and achieved change holds by construction, and is not checked.

    second_model  another predictor, ideally trained independently: its prediction must flip as well, and it
                  measures the effect of the reconstruction alone
    target        target of the second model; None: the target of the counterfactual
    other_engine  what an independent engine made of the same image: it must change the same places
    cost          four forward passes of the second model
    """
    limits = thresholds or Thresholds()
    jobs: dict[str, Callable[[], Check]] = {}
    if second_model is not None:  # independent evidence first
        other = adapted(second_model)
        jobs["second model"] = lambda: _second_model(strip, other, target, limits)
        jobs["drift by a second model"] = lambda: _drift_by(strip, other, target, limits)
    if other_engine is not None:
        jobs["another engine"] = lambda: _another_engine(strip, other_engine, limits)
    jobs |= {
        "image error": lambda: _image_error(strip, limits),
        "drift": lambda: _drift(strip, limits),
        "goal": lambda: _goal(strip),
        "length": lambda: _length(strip, limits),
    }
    return TrustCard([checked(name, check) for name, check in jobs.items()])


def _another_engine(strip: Counterfactual, other: OtherEngine, limits: Thresholds) -> Check:
    """Check whether an independent engine changes the same places, more than it does by chance."""
    name, engine = "another engine", other.strip.record.engine if other.strip.record else "another"
    if strip.outcome == "already":
        return Check(name, None, None, None, "Not checked: nothing was changed.")
    if other.strip.outcome not in ("reached", "steps"):
        reason = "no counterfactual to compare" if other.strip.outcome != "already" else "nothing to change"
        return Check(name, None, None, None, f"Not checked: the engine {engine} found {reason}.")
    found = agreement(strip, other)
    limit, count = found.limit(limits.engines), len(found.null)
    if not math.isfinite(limit):
        return Check(name, None, None, None, f"Not checked: {count} other images are too few to tell chance.")
    good = found.value > limit
    what = "changes the same places of this image" if good else "agrees on the places no better than chance"
    words = (
        f"correlation {number_text(found.value, limit, '.2f')}, {'above' if good else 'not above'} {limit:.2f}"
    )
    null = f"for one in twenty of {count} other images" if count >= 19 else f"for {count} other images"
    sentence = f"Another engine ({engine}) {what} ({words}, what it reaches {null})."
    return Check(name, found.value, limit, good, sentence + _followed(strip, other.strip, limits))


def _followed(strip: Counterfactual, other: Counterfactual, limits: Thresholds) -> str:
    """Return which of two engines' counterfactuals a second model follows, as a sentence; empty if unknown."""
    own, others = (follows(one, limits.second_model) for one in (strip, other))
    if own is None or others is None:
        return ""
    which = {
        (True, True): "both",
        (True, False): "this counterfactual, and not the other engine's",
        (False, True): "the other engine's counterfactual, and not this one",
        (False, False): "neither",
    }
    return f" A second model follows {which[own, others]}."


def _image_error(strip: Counterfactual, limits: Thresholds) -> Check:
    """Check the reconstruction against the image itself, independent of any model."""
    value, gap, span = image_error(strip)
    good: bool | None = value >= limits.image
    error = f"mean error {gap:.3g} grey levels, {gap / span:.1%} of the range"
    words = f"structural similarity {value:.2f}, {error}"
    sentence = (
        f"The generator reconstructs this image well enough to change it ({words})."
        if good
        else f"The generator reconstructs this image poorly ({words}): the change may not fit the image."
    )
    record = strip.record
    if good and record is not None and engines().get(record.engine) == "translations":
        # Its training asks for it, on every image: it tells nothing of this one.
        good, sentence = None, f"The translator leaves the image as it is where nothing is to change ({words})."
    return Check("image error", value, limits.image, good, sentence)


def image_error(strip: Counterfactual) -> tuple[float, float, float]:
    """Return the structural similarity of the reconstruction and the image, their mean absolute difference in
    grey levels (units of the image), and the range of the image in the same units.

    raises  InputError for a constant image, or fewer than 3 voxels along an axis
    """
    from skimage.metrics import structural_similarity

    image, rebuilt = strip.image.astype(np.float64), strip.reconstruction.astype(np.float64)
    span, side = float(np.ptp(image)), min(7, (min(image.shape[1:]) - 1) // 2 * 2 + 1)
    if span == 0 or side < 3:
        raise InputError(
            f"image error needs an image that varies, with 3 voxels along each axis; got {image.shape}"
        )
    parts = [
        structural_similarity(a, b, win_size=side, data_range=span) for a, b in zip(image, rebuilt, strict=True)
    ]
    return float(np.mean(parts)), float(np.abs(rebuilt - image).mean()), span


def _tolerance(strip: Counterfactual, limits: Thresholds) -> float:
    """Return the tolerance of the reconstruction error: the counterfactual's own, or that of `limits`."""
    own = strip.record.parameters.get("tolerance") if strip.record else None
    target = strip.record.target if strip.record else ""
    return tolerance_of(target, limits.drift if own is None else float(own), float(strip.scores[strip.origin]))


def _drift(strip: Counterfactual, limits: Thresholds) -> Check:
    """Check the reconstruction error of the explained model's output, which is low by construction if the
    reconstruction was fitted to this output."""
    limit = _tolerance(strip, limits)
    value = number_text(strip.reconstruction_error, limit, ".2f")
    sentence = (
        f"The reconstruction error of the model's output is {value}, above the tolerance of {limit:g}: do not "
        "rely on this counterfactual."
        if strip.above_tolerance
        else f"The reconstruction error of the explained model's output is {value}. The reconstruction may be "
        "fitted to this model, so this number is no evidence."
    )
    return Check("drift", strip.reconstruction_error, limit, False if strip.above_tolerance else None, sentence)


def _drift_by(strip: Counterfactual, predictor: Any, target: Any, limits: Thresholds) -> Check:
    """Check the reconstruction error of the output of a second model, which took no part in the search."""
    target, limit = _target_of(strip, predictor, target), _tolerance(strip, limits)
    image, rebuilt = _scores(predictor, target, np.stack([strip.image, strip.reconstruction]))
    value = abs(rebuilt - image)
    text = number_text(value, limit, ".2f")
    sentence = (
        f"The reconstruction error of a second model's output is {text}, within the tolerance of {limit:g}."
        if value <= limit
        else f"The reconstruction error of a second model's output is {text}, above the tolerance of "
        f"{limit:g}: do not rely on this counterfactual."
    )
    return Check("drift by a second model", value, limit, value <= limit, sentence)


def _goal(strip: Counterfactual) -> Check:
    """Check whether the prediction reached the requested goal; a reached goal alone is no evidence."""
    own = "This model steered the search, so this result alone is no evidence."
    sentences = {
        "reached": f"The prediction reached the goal, measured on the last frame. {own}",
        "already": "The prediction already met the goal: nothing was changed.",
        "steps": "No goal was requested: the changes are fixed steps.",
        "budget": "The prediction did not reach the goal within the plausibility budget: this is no "
        "counterfactual.",
        "search": "The search came to its end before the goal: this is no counterfactual.",
        "no_change": "The prediction does not respond to this change: this is no counterfactual.",
    }
    passed = None if strip.outcome in ("reached", "already", "steps") else False
    return Check("goal", float(strip.scores[strip.end]), strip.goal, passed, sentences[strip.outcome])


def _length(strip: Counterfactual, limits: Thresholds) -> Check:
    """Check the latent distance of the change; whether such an image is anatomically possible is not tested."""
    value = float(strip.latent_distance.max())
    if strip.outcome == "already":
        return Check("length", value, limits.length, None, "Not checked: nothing was changed.")
    if value == 0:
        sentence = "Not checked: this engine has no latent space, so no latent distance."
        return Check("length", None, limits.length, None, sentence)
    good, text = value <= limits.length, number_text(value, limits.length, ".1f")
    sentence = (
        f"The latent distance of the change is {text} SD, within the limit of {limits.length:g} SD. This does "
        "not show that such an image exists."
        if good
        else f"The latent distance of the change is {text} SD, above the limit of {limits.length:g} SD: such "
        "images are rare among those of the generator."
    )
    return Check("length", value, limits.length, good, sentence)


def _target_of(strip: Counterfactual, predictor: Any, target: Any) -> Any:
    """Return the target of the second model: `target`, or that of the counterfactual."""
    if target is not None:
        return target
    return predictor.target(strip.record.target if strip.record else "class:1")


def _scores(predictor: Any, target: Any, images: NDArray[np.float32]) -> list[float]:
    """Return a model's target values of images (N, C, *S)."""
    with predictor.frozen(), torch.no_grad():
        return [float(value) for value in target(predictor(images))]


def _second_model(strip: Counterfactual, predictor: Any, target: Any, limits: Thresholds) -> Check:
    """Check whether a second model follows the change: its prediction flips too, or its output changes."""
    target = _target_of(strip, predictor, target)
    ends = [strip.origin, strip.end]
    first, last = _scores(predictor, target, strip.frames[ends])
    before, after = (float(score) for score in strip.scores[ends])
    own = after - before
    name = "second model"
    if abs(own) < 1e-3:
        return Check(name, None, limits.second_model, None, "Not checked: nothing was changed.")
    value = (last - first) / own
    flips = isinstance(target, OddsTarget) and before * after < 0
    good = confirms(first, last, after) if flips else value >= limits.second_model
    moved, already = value >= limits.second_model, flips and first * after > 0
    return Check(name, value, limits.second_model, good, _second_model_sentence(good, flips, moved, already))


def _second_model_sentence(good: bool, flips: bool, moved: bool, already: bool) -> str:
    """Return the sentence about a second model.

    good     whether it confirms the change
    flips    whether the prediction of the first model flips
    moved    whether the output of the second model follows the change
    already  whether the second model made the new prediction before the change
    """
    if good and flips:
        return "The prediction of a second model flips on the same frames."
    if good:
        return "The output of a second model changes in the same direction on the same frames."
    before = " A second model made the new prediction already before the change." if already else ""
    if moved:
        return (
            "The output of a second model follows the change, but its prediction does not flip: this "
            f"counterfactual is only a hint.{before}"
        )
    return (
        "The output of a second model does not follow the change: the change may deceive the first model "
        f"without showing a finding.{before}"
    )
