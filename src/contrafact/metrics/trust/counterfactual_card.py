"""The trust card of a counterfactual."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from contrafact.core import ContrafactError, Counterfactual, InputError
from contrafact.core.results import confirms
from contrafact.metrics.trust.card import Check, Thresholds, TrustCard, told


def trust_card_of_strip(
    strip: Counterfactual,
    *,
    second_model: Any = None,
    target: Any = None,
    thresholds: Thresholds | None = None,
) -> TrustCard:
    """What speaks against a counterfactual.

    What the model says that steered the search (drift, goal) is told as its own figure: it can fail, and never
    counts as a check that was passed. Whether a step asked is a step measured holds by construction, and is no
    check.

    second_model  another predictor, best one trained on its own: it must change its mind as well, and what
                  drawing alone does is measured by it
    target        of the second model; None: the same words as the strip's own
    cost          four forward passes of the second model
    """
    limits = thresholds or Thresholds()
    jobs: dict[str, Callable[[], Check]] = {}
    if second_model is not None:  # first: what no search has seen
        jobs["second model"] = lambda: _followed(strip, second_model, target, limits)
        jobs["drift by a second model"] = lambda: _drift_by(strip, second_model, target, limits)
    jobs |= {
        "image error": lambda: _image_error(strip, limits),
        "drift": lambda: _drift(strip, limits),
        "goal": lambda: _goal(strip),
        "length": lambda: _length(strip, limits),
    }
    checks = []
    for name, check in jobs.items():
        try:
            checks.append(check())
        except ContrafactError as error:
            checks.append(Check(name, None, None, None, f"Not checked: {' '.join(str(error).split())}."))
    return TrustCard(checks)


def _image_error(strip: Counterfactual, limits: Thresholds) -> Check:
    """Of what the generator makes of the image: measured on the picture, whatever a model says."""
    value, gap, span = image_error(strip)
    good = value >= limits.image
    off = f"{gap:.3g} grey levels off on average, {gap / span:.1%} of the range"
    words = f"structural similarity {value:.2f}, {off}"
    sentence = (
        f"The generator draws this image well enough to change it ({words})."
        if good
        else f"The generator does not draw this image well ({words}): what it changes may not fit it."
    )
    return Check("image error", value, limits.image, good, sentence)


def image_error(strip: Counterfactual) -> tuple[float, float, float]:
    """Of the reconstruction against the image: structural similarity, mean absolute difference in grey levels
    (units of the image), and the range of the image in the same units.

    raises  InputError for an image of one value, or of fewer than 3 voxels a side
    """
    from skimage.metrics import structural_similarity

    image, drawn = strip.image.astype(np.float64), strip.reconstruction.astype(np.float64)
    span, side = float(np.ptp(image)), min(7, (min(image.shape[1:]) - 1) // 2 * 2 + 1)
    if span == 0 or side < 3:
        raise InputError(f"image error needs an image that varies, 3 voxels a side; got {image.shape}")
    parts = [
        structural_similarity(a, b, win_size=side, data_range=span) for a, b in zip(image, drawn, strict=True)
    ]
    return float(np.mean(parts)), float(np.abs(drawn - image).mean()), span


def _tolerance(strip: Counterfactual, limits: Thresholds) -> float:
    own = strip.record.parameters.get("tolerance") if strip.record else None
    return limits.drift if own is None else float(own)


def _drift(strip: Counterfactual, limits: Thresholds) -> Check:
    """By the explained model: where the reconstruction was fitted to its answer this is low by construction."""
    limit = _tolerance(strip, limits)
    value = told(strip.drift, limit, ".2f")
    sentence = (
        f"Drawing this image without any change moves the model by {value}, and at most {limit:g} is "
        "tolerable: do not rely on this strip."
        if strip.drifted
        else f"Drawing the image without any change moves the explained model by {value}. The "
        "drawing may have been fitted to this very model, so the figure is no evidence."
    )
    return Check("drift", strip.drift, limit, False if strip.drifted else None, sentence)


def _drift_by(strip: Counterfactual, predictor: Any, target: Any, limits: Thresholds) -> Check:
    """By a model that no search has seen."""
    target, limit = _asked(strip, predictor, target), _tolerance(strip, limits)
    image, drawn = _answers(predictor, target, np.stack([strip.image, strip.reconstruction]))
    value = abs(drawn - image)
    said = told(value, limit, ".2f")
    sentence = (
        f"Drawing the image without any change moves a second model by {said}, within {limit:g}."
        if value <= limit
        else f"Drawing this image without any change moves a second model by {said}, and at most "
        f"{limit:g} is tolerable: do not rely on this strip."
    )
    return Check("drift by a second model", value, limit, value <= limit, sentence)


def _goal(strip: Counterfactual) -> Check:
    own = "This is the model that steered the search, so by itself it is no evidence."
    said = {
        "reached": f"The prediction reached the goal, as measured on the last frame. {own}",
        "already": "The prediction already met the goal: nothing was changed.",
        "steps": "No goal was asked for: these are fixed steps.",
        "budget": "The model did not reach the goal within what is plausible: this is no counterfactual.",
        "search": "The goal was not reached on the way that was tried: this is no counterfactual.",
        "no_change": "The model does not answer to this change: this is no counterfactual.",
    }
    passed = None if strip.stopped in ("reached", "already", "steps") else False
    return Check("goal", float(strip.scores[strip.end]), strip.goal, passed, said[strip.stopped])


def _length(strip: Counterfactual, limits: Thresholds) -> Check:
    """How far the latent is moved. Whether the picture is one that a patient could have is not tested."""
    value = float(strip.lengths.max())
    if strip.stopped == "already":
        return Check("length", value, limits.length, None, "Not checked: nothing was changed.")
    good, said = value <= limits.length, told(value, limits.length, ".1f")
    sentence = (
        f"The change is {said} standard deviations of the generator's latents long, within "
        f"{limits.length:g}. This is its length, not whether such an image exists."
        if good
        else f"The change is {said} standard deviations of the generator's latents long, beyond "
        f"{limits.length:g}: among the images that it draws such a one is rare."
    )
    return Check("length", value, limits.length, good, sentence)


def _asked(strip: Counterfactual, predictor: Any, target: Any) -> Any:
    if target is not None:
        return target
    return predictor.target(strip.record.target if strip.record else "class:1")


def _answers(predictor: Any, target: Any, images: NDArray[np.float32]) -> list[float]:
    with getattr(predictor, "frozen", contextlib.nullcontext)(), torch.no_grad():
        return [float(value) for value in target(predictor(images))]


def _followed(strip: Counterfactual, predictor: Any, target: Any, limits: Thresholds) -> Check:
    target = _asked(strip, predictor, target)
    ends = [strip.origin, strip.end]
    first, last = _answers(predictor, target, strip.frames[ends])
    before, after = (float(score) for score in strip.scores[ends])
    own = after - before
    name = "second model"
    if abs(own) < 1e-3:
        return Check(name, None, limits.second_model, None, "Not checked: nothing was changed.")
    value = (last - first) / own
    flips = hasattr(target, "score_of") and before * after < 0
    good = confirms(first, last, after) if flips else value >= limits.second_model
    moved, already = value >= limits.second_model, flips and first * after > 0
    return Check(name, value, limits.second_model, good, _followed_words(good, flips, moved, already))


def _followed_words(good: bool, flips: bool, moved: bool, already: bool) -> str:
    """What a second model does: whether it confirms, for a flip; whether it is moved; and whether it was on
    that side before the change."""
    if good and flips:
        return "A second model changes its mind on the same frames."
    if good:
        return "A second model is moved the same way on the same frames."
    there = "was on that side already, before the change, and " if already else ""
    if moved:
        return (
            f"A second model {there}is moved by the change but does not change its mind: take the strip as a "
            "hint."
        )
    return (
        f"A second model {there}is not moved by the change: it may fool the first model without showing a "
        "finding."
    )
