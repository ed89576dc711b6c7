"""The trust card of a counterfactual."""

from __future__ import annotations

import contextlib
from typing import Any

import torch

from contrafact.core import ContrafactError, Strip
from contrafact.metrics.trust import Check, Thresholds, TrustCard


def trust_card_of_strip(
    strip: Strip,
    *,
    second_model: Any = None,
    target: Any = None,
    thresholds: Thresholds | None = None,
) -> TrustCard:
    """What speaks against a counterfactual.

    second_model  another predictor, best one trained on its own: it must change its mind as well
    target        of the second model; None: the same words as the strip's own
    cost          two forward passes of the second model
    """
    limits = thresholds or Thresholds()
    checks = [_drift(strip, limits), _goal(strip), _slope(strip, limits), _length(strip, limits)]
    if second_model is not None:
        try:
            checks.append(_followed(strip, second_model, target, limits))
        except ContrafactError as error:
            why = f"Not checked: {' '.join(str(error).split())}."
            checks.append(Check("second model", None, None, None, why))
    return TrustCard(checks)


def _drift(strip: Strip, limits: Thresholds) -> Check:
    own = strip.record.parameters.get("tolerance") if strip.record else None
    limit = limits.drift if own is None else float(own)
    sentence = (
        f"Drawing this image without any change moves the model by {strip.drift:.2f}, and at most {limit:g} is "
        "tolerable: do not rely on this strip."
        if strip.drifted
        else "Drawing the image without any change hardly moves the model."
    )
    return Check("drift", strip.drift, limit, not strip.drifted, sentence)


def _goal(strip: Strip) -> Check:
    said = {
        "reached": "The prediction reached the goal, as measured on the last frame.",
        "already": "The prediction already met the goal: nothing was changed.",
        "steps": "No goal was asked for: these are fixed steps.",
        "budget": "The model did not reach the goal within what is plausible: this is no counterfactual.",
        "search": "The goal was not reached on the way that was tried: this is no counterfactual.",
        "no_change": "The model does not answer to this change: this is no counterfactual.",
    }
    passed = None if strip.stopped in ("steps", "already") else strip.stopped == "reached"
    return Check("goal", float(strip.scores[-1]), strip.goal, passed, said[strip.stopped])


def _slope(strip: Strip, limits: Thresholds) -> Check:
    asked = strip.steps - strip.steps[strip.origin]
    measured = strip.scores - strip.scores[strip.origin]
    name, size = "asked against measured", float(asked @ asked)
    if size < 1e-6:
        return Check(name, None, limits.slope, None, "Not checked: nothing was changed.")
    value = float(asked @ measured) / size
    good = limits.slope <= value <= 1 / limits.slope
    sentence = (
        "The model changes by about what was asked of each step."
        if good
        else f"The model changes by {value:.2f} for every 1 that was asked: read the measured figures, not "
        "the steps."
    )
    return Check(name, value, limits.slope, good, sentence)


def _length(strip: Strip, limits: Thresholds) -> Check:
    value = float(strip.lengths.max())
    if strip.stopped == "already":
        return Check("length", value, limits.length, None, "Not checked: nothing was changed.")
    good = value <= limits.length
    sentence = (
        "The changed image is as common as other images of its kind."
        if good
        else f"The change is {value:.1f} standard deviations of synthetic images long: such an image is rare, "
        "and may not be one that a patient could have."
    )
    return Check("length", value, limits.length, good, sentence)


def _followed(strip: Strip, predictor: Any, target: Any, limits: Thresholds) -> Check:
    if target is None:
        target = predictor.target(strip.record.target if strip.record else "class:1")
    with getattr(predictor, "frozen", contextlib.nullcontext)(), torch.no_grad():
        first, last = target(predictor(strip.frames[[0, -1]])).tolist()
    own = float(strip.scores[-1] - strip.scores[0])
    name = "second model"
    if abs(own) < 1e-6:
        return Check(name, None, limits.second_model, None, "Not checked: nothing was changed.")
    value = (last - first) / own
    flips = hasattr(target, "score_of") and strip.scores[0] * strip.scores[-1] < 0
    good = value >= limits.second_model and (not flips or (first * last < 0 < last * own))
    if good:
        sentence = "A second model changes its mind on the same frames."
    elif value >= limits.second_model:
        sentence = (
            "A second model is moved by the change but does not change its mind: take the strip as a hint."
        )
    else:
        sentence = (
            "A second model is not moved by the change: it may fool the first model without showing a finding."
        )
    return Check(name, value, limits.second_model, good, sentence)
