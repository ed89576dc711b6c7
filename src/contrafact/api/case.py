"""One case after another: what `demo`, `explain` and `study` share."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from contrafact.api import explanation as face
from contrafact.api.evaluation import panel_of
from contrafact.core import EXPLAINERS, Counterfactual, Heatmap, Image, InputError, Request, labels_in
from contrafact.core.method_cards import cards_of
from contrafact.core.request import digest_of_image
from contrafact.io import Run
from contrafact.metrics import Check, card_as_json, trust_card, trust_card_of_strip
from contrafact.metrics.evidence import evidence, in_words, places_of
from contrafact.models import class_sizes, steadiness


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is asked of every image. `settings` holds hyper-parameters by method; with `trust` every result
    gets its trust card, and `second_model` is asked whether it follows a counterfactual; with `labels`, a
    map of places on the image's grid, and their `names`, every heatmap is told in words."""

    predictor: Any
    methods: Sequence[str]
    target: str | None = None
    bundle: Any = None
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    reference: Image | None = None
    region: Image | None = None
    background: Sequence[Image] = ()
    seed: int = 0
    trust: bool = False
    second_model: Any = None
    labels: Image | None = None
    names: Mapping[int, str] = field(default_factory=dict)


def explain_case(run: Run, name: str, image: Image, plan: Plan, *, followup: Sequence[Image] = ()) -> None:
    """Every method on one image; a result that the run holds already is not computed again."""
    done = run.done()
    for method in plan.methods:
        explainer, target = asked_of(EXPLAINERS.make(method, **plan.settings.get(method, {})), plan, image)
        request = request_of(explainer, plan, image, target=target, followup=followup)
        key = f"{name}/{method}/{target}/{request.key}"
        if key in done:
            continue
        run.add_methods(cards_of(explainer))
        result, extra = solve(name, image, explainer, plan, target=target)
        shown = followup if isinstance(result, Counterfactual) else ()
        later = [(i, "; ".join(answers(plan.predictor, i))) for i in shown]
        run.add(key, image, result, followup=later, **extra)


def solve(
    name: str, image: Image, explainer: Any, plan: Plan, *, target: Any = None
) -> tuple[Heatmap | Counterfactual, dict[str, Any]]:
    """One method on one image: the result, and what its row in the run says beside it."""
    target = target_of(plan, image) if target is None else target
    result = face.explain(
        explainer,
        plan.predictor,
        image,
        target=target,
        bundle=plan.bundle,
        background=plan.background,
        region=plan.region,
        seed=plan.seed,
    )
    extra = {
        "case": name,
        "answers": answers(plan.predictor, image),
        "target_name": target_name(plan.predictor, str(target)),
        **display_facts(plan.predictor, plan.bundle if isinstance(result, Counterfactual) else None),
    }
    if getattr(explainer, "picture", False):
        return result, extra | {"picture": True}
    if plan.labels is not None and isinstance(result, Heatmap):
        extra |= told(result, image, plan, str(extra["target_name"]))
    return result, extra | ({"trust": trust_of(result, image, explainer, plan, target)} if plan.trust else {})


def told(heat: Heatmap, image: Image, plan: Plan, name: str) -> dict[str, Any]:
    """Where a map's evidence lies: shares of named places, and a sentence."""
    assert plan.labels is not None
    if plan.labels.grid != image.grid:
        raise InputError("the labels lie on another grid than the image; resample them first")
    values = plan.labels.values[0]
    names = plan.names or {int(v): f"place {int(v)}" for v in np.unique(labels_in(values)) if v}
    found = evidence(heat.values, places_of(values, names, image.grid, image.values))
    return {"evidence": [dataclasses.asdict(place) for place in found], "words": in_words(found, name)}


def trust_of(
    result: Heatmap | Counterfactual, image: Image, explainer: Any, plan: Plan, target: Any
) -> list[dict[str, Any]]:
    """The trust card of a result, as rows; with one more where the model is no function of one image."""
    found = steadiness(plan.predictor, image.values[None])
    most = max(found.again, found.company)
    unsteady = [Check("one answer", most, found.allowed, False, line) for line in found.lines()]
    return card_as_json(unsteady) + _trust_of(result, image, explainer, plan, target)


def _trust_of(
    result: Heatmap | Counterfactual, image: Image, explainer: Any, plan: Plan, target: Any
) -> list[dict[str, Any]]:
    if isinstance(result, Counterfactual):
        return card_as_json(trust_card_of_strip(result, second_model=plan.second_model))
    with panel_of(
        {"result": result},
        plan.predictor,
        image,
        target=target,
        background=plan.background,
        region=plan.region,
        bundle=plan.bundle,
        explainers=[explainer],
        seed=plan.seed,
    ) as panel:
        return card_as_json(trust_card(panel, 0, record=result.record))


def asked_of(explainer: Any, plan: Plan, image: Image) -> tuple[Any, Any]:
    """A method and its target for one image. A goal without a named target is meant for the answer that the
    model does not give: the other of two classes, the runner-up of more, and of a single class its absence."""
    goal = getattr(explainer, "goal", None)
    if plan.target is not None or goal is None:
        return explainer, target_of(plan, image)
    other = face.other_class(plan.predictor, image)
    if other is not None:
        return explainer, other
    outputs = face.ask(plan.predictor, image)
    single = plan.predictor.output == "sigmoid" and outputs.shape[1:] == (1,)
    if single and float(plan.predictor.probabilities(outputs)[0, 0]) >= 0.5:
        explainer = dataclasses.replace(explainer, goal=1 - goal)
    return explainer, target_of(plan, image)


def target_of(plan: Plan, image: Image) -> Any:
    """What is asked of one image, with its reference mask if there is one."""
    target = face.parse(plan.predictor, plan.target, image)
    return target if plan.reference is None else face.compared(target, plan.reference, [image], plan.predictor)


def request_of(
    explainer: Any, plan: Plan, image: Image, *, target: Any, followup: Sequence[Image] = ()
) -> Request:
    """The request that a plan makes of one image: its key tells whether a run holds the answer already."""
    also: dict[str, Any] = {"trust": plan.trust}
    if plan.trust and plan.second_model is not None:
        also["second_model"] = plan.second_model.digest
    if plan.labels is not None:
        also["labels"] = [digest_of_image(plan.labels), sorted(plan.names.items())]
    if followup and getattr(explainer, "strip", False):
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


def answers(predictor: Any, image: Image) -> list[str]:
    """What the model says of an image, in words."""
    outputs = face.ask(predictor, image)
    if predictor.output == "regression":
        return [f"{name}: {value:.3g}" for name, value in zip(predictor.classes, outputs[0], strict=True)]
    if outputs.ndim > 2:
        sizes = class_sizes(outputs, predictor.output)
        return [f"{name}: {size} voxels" for name, size in zip(predictor.classes, sizes, strict=True)]
    shares = predictor.probabilities(outputs)[0]
    return [f"{name} {100 * float(p):.0f} %" for name, p in zip(predictor.classes, shares, strict=True)]


def display_facts(predictor: Any, bundle: Any = None) -> dict[str, Any]:
    """What pages and exports must know beside a result: classes of which exactly one is true, so that colours
    mean the same in every case, and the one generator that was used."""
    exclusive = predictor.output in ("logits", "probabilities", "ordinal") and len(predictor.classes) > 1
    facts: dict[str, Any] = {"exclusive_classes": list(map(str, predictor.classes))} if exclusive else {}
    if bundle is not None:
        facts["generator_name"] = f"{bundle.name} ({type(bundle.generator).__name__})"
    if bundle is not None and bundle.card.get("images") == "phantoms":
        facts["phantoms"] = True
    return facts


def target_name(predictor: Any, text: str) -> str:
    """`class:1` as the name of the class, `lesion:1#2` as `lesion:NAME#2`."""
    found = re.match(r"(\w[\w-]*):(\d+)(.*)", text)
    if not found or found[1] in ("margin", "value"):
        return text
    name = str(predictor.classes[int(found[2])])
    return name if found[1] == "class" else f"{found[1]} of {name}{found[3]}"
