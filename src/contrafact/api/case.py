"""Explanations of one case, shared by the commands `demo`, `explain` and `study`."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from contrafact.api import explanation
from contrafact.api.evaluation import Inputs, heatmap_context
from contrafact.api.explanation import Outputs
from contrafact.api.marked_anatomy import change_inside, change_places
from contrafact.api.nearest import CaseLibrary
from contrafact.api.predictions import answers as answers
from contrafact.api.second_engine import other_engine_of
from contrafact.core import (
    EXPLAINERS,
    Counterfactual,
    Heatmap,
    Image,
    InputError,
    NearestCases,
    Request,
    Target,
    UnsupportedError,
    labels_in,
    traits_of,
)
from contrafact.core.method_cards import cards_of
from contrafact.core.request import digest_of_image
from contrafact.core.target_kinds import PlaceTarget, target_of_second
from contrafact.core.traits import goal_of
from contrafact.io import Run
from contrafact.metrics import Check, card_as_json, trust_card, trust_card_of_strip
from contrafact.metrics.evidence import evidence, in_words, places_of
from contrafact.models import class_names, steadiness
from contrafact.perturbation.memory import images_at_once as images_at_once


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The methods and options that apply to every image of a run.

    settings      hyper-parameters by method
    reference, region, background   as in `explain`
    trust         add reliability checks to every result
    other_engine  one of them: whether another engine of the bundle agrees with a counterfactual (seconds each)
    second_model  an independently trained model, which confirms counterfactuals
    cases         real cases; the nearest on the other side of the decision are stored with a counterfactual,
                  or, without one, with the first method
    labels        label map of anatomical regions on the image's grid: heatmaps are described in words too, and
                  counterfactuals by the share of their change in it; `names`: the regions' names by label
    model         what pages call the model; empty: its digest
    """

    predictor: Any
    methods: Sequence[str]
    target: str | Target | None = None
    bundle: Any = None
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    reference: Image | None = None
    region: Image | None = None
    background: Sequence[Image] = ()
    seed: int = 0
    trust: bool = False
    other_engine: bool = False
    second_model: Any = None
    cases: CaseLibrary | None = None
    labels: Image | None = None
    names: Mapping[int, str] = field(default_factory=dict)
    model: str = ""


def explain_case(
    run: Run,
    name: str,
    image: Image,
    plan: Plan,
    *,
    followup: Sequence[Image] = (),
    failed: Callable[[str, Exception], None] | None = None,
) -> list[str]:
    """Explain one image with every method, and add the results to the run; results that the run has already
    are not computed again. Return the keys of the results.

    failed  is told of each method that cannot explain this image, which the run stores as a failure, where
            another one can. None: the first one ends the work
    """
    done, outputs, keys = run.done(), Outputs(plan.predictor, image), list[str]()
    faults = list[tuple[str, str, str, Exception]]()
    later = functools.cache(lambda: [(i, "; ".join(answers(plan.predictor, i))) for i in followup])
    for method in plan.methods:
        explainer, target = method_and_target(
            EXPLAINERS.make(method, **plan.settings.get(method, {})), plan, image, outputs
        )
        request = request_of(explainer, plan, image, target=target, followup=followup)
        key = f"{name}/{method}/{target}/{request.key}"
        if key not in done:
            near = nearest_of(explainer, plan, image, target)
            try:
                result, extra = solve(name, image, explainer, plan, target=target, outputs=outputs)
            except (InputError, UnsupportedError) as error:
                if failed is None:
                    raise
                faults.append((method, key, str(target), error))
                continue
            run.add_methods(cards_of(explainer))
            dated = later() if isinstance(result, Counterfactual) else ()
            run.add(key, image, result, followup=dated, nearest=near, **extra)
        keys.append(key)
    if faults and not keys:
        raise faults[0][-1]
    for method, key, asked, fault in faults:
        about = {"method": method, "target": asked, "source": image.source, "model_name": "", "seconds": 0.0}
        run.add_failure(key, **about, kind="error", error=str(fault), trace="")
        assert failed is not None
        failed(method, fault)
    return keys


def nearest_of(explainer: Any, plan: Plan, image: Image, target: Any) -> NearestCases | None:
    """Return the nearest real cases on the other side of the decision, for the methods with which they are
    stored: counterfactuals, or, in a plan without one, the first method."""
    if plan.cases is None or not _carries_cases(explainer, plan):
        return None
    return plan.cases.nearest(image, target)


def _carries_cases(explainer: Any, plan: Plan) -> bool:
    kinds = {name: traits_of(EXPLAINERS.get(name)) for name in plan.methods}
    strips = {name for name, kind in kinds.items() if kind.strip and not kind.picture}
    own = traits_of(explainer)
    return (own.strip and not own.picture) if strips else EXPLAINERS.name_of(explainer) == plan.methods[0]


def solve(
    name: str,
    image: Image,
    explainer: Any,
    plan: Plan,
    *,
    target: Any = None,
    outputs: Outputs | None = None,
) -> tuple[Heatmap | Counterfactual, dict[str, Any]]:
    """Explain one image with one method; return the result, and the additional fields of its row in the run.

    outputs   the model's outputs for the image, which several methods share
    """
    shared = outputs or Outputs(plan.predictor, image)
    targets = None if target is None else [target]
    return solve_together([name], [image], explainer, plan, targets=targets, outputs=[shared])[0]


def solve_together(
    names: Sequence[str],
    images: Sequence[Image],
    explainer: Any,
    plan: Plan,
    *,
    targets: Sequence[Any] | None = None,
    outputs: Sequence[Outputs] | None = None,
) -> list[tuple[Heatmap | Counterfactual, dict[str, Any]]]:
    """Do the same as `solve` for several images, for all of which the plan's masks hold; those of one size and
    target are explained at once."""
    outputs = outputs or [Outputs(plan.predictor, image) for image in images]
    targets = targets or [target_of(plan, image, of) for image, of in zip(images, outputs, strict=True)]
    seen: dict[int, Any] = {}
    results = explanation.explain_images(
        explainer,
        plan.predictor,
        images,
        target=list(targets),
        bundle=plan.bundle,
        background=plan.background,
        region=plan.region,
        seed=plan.seed,
        outputs=seen,
    )
    found = []
    for number, (name, image, result) in enumerate(zip(names, images, results, strict=True)):
        if outputs[number].known is None and number in seen:
            outputs[number].known = torch.as_tensor(seen[number])[None]
        about = _about(name, image, explainer, plan, result, targets[number], outputs[number])
        found.append((result, about))
    return found


def _about(
    name: str,
    image: Image,
    explainer: Any,
    plan: Plan,
    result: Heatmap | Counterfactual,
    target: Any,
    outputs: Outputs,
) -> dict[str, Any]:
    """Return the additional fields of the row of a result."""
    extra = {
        "case": name,
        "answers": answers(plan.predictor, image, outputs),
        "target_name": target_name(plan.predictor, str(target)),
        **({"model_name": plan.model} if plan.model else {}),
        **facts_of(result, plan.predictor, plan.bundle),
    }
    if traits_of(explainer).picture:
        return extra | {"picture": True}
    if plan.labels is not None:
        extra |= describe(result, image, plan, plan.labels, str(extra["target_name"]))
    return extra | ({"trust": trust_of(result, image, explainer, plan, target)} if plan.trust else {})


def describe(
    result: Heatmap | Counterfactual, image: Image, plan: Plan, labels: Image, name: str
) -> dict[str, Any]:
    """Return, as fields of a row, of a map the shares of its evidence in named regions and a sentence, and of a
    counterfactual the share of its change in all of them, and in each that has a name.

    raises  InputError for labels on another grid than the image
    """
    if labels.grid != image.grid:
        raise InputError("the labels are on another grid than the image; resample them first")
    if isinstance(result, Counterfactual):
        inside = {"change_inside": change_inside(result, labels, plan.names)}
        return inside | ({"change_places": change_places(result, labels, plan.names)} if plan.names else {})
    values = labels.values[0]
    names = plan.names or {int(v): f"place {int(v)}" for v in np.unique(labels_in(values)) if v}
    shares = evidence(result.values, places_of(values, names, image.grid, image.values))
    return {"evidence": [dataclasses.asdict(place) for place in shares], "words": in_words(shares, name)}


def trust_of(
    result: Heatmap | Counterfactual, image: Image, explainer: Any, plan: Plan, target: Any
) -> list[dict[str, Any]]:
    """Return the reliability checks of a result as rows, with one more where the model's output for an image
    is not deterministic or depends on the batch."""
    measured = steadiness(plan.predictor, image.values[None])
    greatest = max(measured.again, measured.company)
    unsteady = [Check("one answer", greatest, measured.allowed, False, line) for line in measured.lines()]
    return card_as_json(unsteady) + _trust_of(result, image, explainer, plan, target)


def _target_of_second(image: Image, plan: Plan, target: Any) -> Any:
    """Return the same place of a segmenter's prediction as a target of the second model; None for targets
    without a place, which have the same name in both models."""
    if plan.second_model is None or not isinstance(target, PlaceTarget):
        return None
    place = target.freeze(plan.predictor, image.values[None])
    return target_of_second(place, plan.second_model, plan.predictor)


def _trust_of(
    result: Heatmap | Counterfactual, image: Image, explainer: Any, plan: Plan, target: Any
) -> list[dict[str, Any]]:
    if isinstance(result, Counterfactual):
        asked = plan.other_engine and plan.region is None
        made = (result, image, plan.predictor, target, plan.bundle)
        other = other_engine_of(*made, seed=plan.seed) if asked else None
        try:
            second = {"second_model": plan.second_model, "target": _target_of_second(image, plan, target)}
        except InputError as error:
            said = [Check("second model", None, None, None, f"Not checked: {error}.")]
            return card_as_json(said) + card_as_json(trust_card_of_strip(result, other_engine=other))
        return card_as_json(trust_card_of_strip(result, other_engine=other, **second))
    with heatmap_context(
        {"result": result},
        plan.predictor,
        image,
        target=target,
        inputs=Inputs(background=plan.background, region=plan.region, bundle=plan.bundle, seed=plan.seed),
        explainers=[explainer],
    ) as context:
        return card_as_json(trust_card(context, 0, record=result.record))


def method_and_target(
    explainer: Any, plan: Plan, image: Image, outputs: Outputs | None = None
) -> tuple[Any, Any]:
    """Return a method and its target for one image. The default target of a method with a goal is the second
    most probable class; for a single class that is predicted, the goal becomes its absence."""
    outputs = outputs or Outputs(plan.predictor, image)
    goal = goal_of(explainer)
    if plan.target is not None or goal is None:
        return explainer, target_of(plan, image, outputs)
    other = explanation.other_class(plan.predictor, image, outputs)
    if other is not None:
        return explainer, other
    single = plan.predictor.output == "sigmoid" and outputs().shape[1:] == (1,)
    if single and float(plan.predictor.probabilities(outputs())[0, 0]) >= 0.5:
        explainer = dataclasses.replace(explainer, goal=1 - goal)
    return explainer, target_of(plan, image, outputs)


def target_of(plan: Plan, image: Image, outputs: Outputs) -> Any:
    """Return the plan's target for one image, with its reference mask where there is one."""
    target = explanation.parse(plan.predictor, plan.target, image, outputs)
    return (
        target
        if plan.reference is None
        else explanation.compared(target, plan.reference, [image], plan.predictor)
    )


def request_of(
    explainer: Any, plan: Plan, image: Image, *, target: Any, followup: Sequence[Image] = ()
) -> Request:
    """Return the plan's request for one image; its key identifies the result in a run."""
    also: dict[str, Any] = {"trust": plan.trust}
    if plan.trust and plan.other_engine and traits_of(explainer).strip:
        also["other_engine"] = True
    if plan.trust and plan.second_model is not None:
        also["second_model"] = plan.second_model.digest
    if plan.labels is not None:
        also["labels"] = [digest_of_image(plan.labels), sorted(plan.names.items())]
    if plan.cases is not None and _carries_cases(explainer, plan):
        also["cases"] = plan.cases.digest
    if followup and traits_of(explainer).strip:
        also["followup"] = [digest_of_image(later) for later in followup]
    return Request.of(
        explainer,
        plan.predictor,
        image,
        target=target,
        bundle=plan.bundle,
        reference=plan.reference,
        region=plan.region,
        background=plan.background,
        seed=plan.seed,
        also=also,
    )


def facts_of(result: Heatmap | Counterfactual, predictor: Any, bundle: Any) -> dict[str, Any]:
    """Return the `display_facts` of a result; those of a bundle belong to a counterfactual alone."""
    if not isinstance(result, Counterfactual) or result.record is None:
        return display_facts(predictor)
    return display_facts(predictor, bundle, result.record.engine)


def display_facts(predictor: Any, bundle: Any = None, method: str = "") -> dict[str, Any]:
    """Return the facts that pages and exports need with a result: exclusive classes, so that colours have the
    same meaning in every case, the name of the network that makes the frames of a method, and whether the
    images are phantoms."""
    exclusive = predictor.output in ("logits", "probabilities", "ordinal") and predictor.class_count > 1
    facts: dict[str, Any] = {"exclusive_classes": list(class_names(predictor))} if exclusive else {}
    if bundle is not None:
        facts["generator_name"] = f"{bundle.name} ({type(bundle.network_of(method)).__name__})"
    if bundle is not None and bundle.card.get("images") == "phantoms":
        facts["phantoms"] = True
    return facts


def target_name(predictor: Any, text: str) -> str:
    """Return a target's text with the name of its class: `class:1` as NAME, `lesion:1#2` as `lesion of
    NAME#2`."""
    match = re.match(r"(\w[\w-]*):(\d+)(.*)", text)
    if not match or match[1] in ("margin", "value", "box"):
        return text
    names, number = class_names(predictor), int(match[2])
    name = names[number] if names else str(number)
    return name if match[1] == "class" else f"{match[1]} of {name}{match[3]}"
