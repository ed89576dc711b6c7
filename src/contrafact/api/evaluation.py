"""The evaluation of explanations of one image with metrics, together with the model that they explain."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from contrafact import metrics as _metrics
from contrafact.api import explanation
from contrafact.api.types import (
    BundleLike,
    ImageLike,
    ImagesLike,
    MaskLike,
    MetricLike,
    ModelLike,
    OneTarget,
    Result,
)
from contrafact.core import EXPLAINERS, METRICS, Counterfactual, Heatmap, Image, InputError, Question
from contrafact.core.target_kinds import frozen_target, goal_of_score, target_of_second
from contrafact.io.arrays import as_image, as_images
from contrafact.metrics import CounterfactualContext, HeatmapContext, Score
from contrafact.models import as_predictor


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What a heatmap may depend on besides image, model and target; each as in `explain`."""

    reference: Image | None = None
    region: Image | None = None
    background: Sequence[Image] = ()
    bundle: Any = None
    seed: int = 0


def evaluate(
    results: Result | Sequence[Result] | Mapping[str, Result],
    predictor: ModelLike,
    image: ImageLike,
    metrics: Sequence[MetricLike],
    *,
    target: OneTarget | None = None,
    mask: MaskLike | None = None,
    second_model: ModelLike | None = None,
    references: bool = False,
    reference: MaskLike | None = None,
    background: ImagesLike = (),
    region: MaskLike | None = None,
    bundle: BundleLike | None = None,
    seed: int = 0,
) -> list[Score]:
    """Evaluate explanations of one image together; maps and metrics share the model's passes.

    results    heatmaps and counterfactuals of one image for one target, alone, in a list, or by label
    metrics    names (`contrafact list metrics`) or objects (`Deletion(steps=50)`); metrics of heatmaps apply to
               the heatmaps, metrics of counterfactuals to the counterfactuals
    target     the target of the explanations; None: the target in the first result's record
    mask       the true location of the cause, for localisation: 0 and 1 (or 255), or a label map, of which the
               target's label is used (`Image(values, label_map=True)`: also where its labels are 0 and 1 alone)
    second_model   an independently trained model, which confirms counterfactuals; None: the bundle's own
    references  evaluate maps that depend on no model too: random, edges, a central blob, and the mask where
               there is one
    reference, background, region, bundle, seed   as in `explain`
    gives      a `Score` per metric and result; one without a value has the reason
    raises     InputError for maps of another image, an unknown metric
    """
    labelled, shown, model = _labelled(results), as_image(image), as_predictor(predictor)
    record = next(iter(labelled.values())).record
    target = record.target if target is None and record is not None else target
    chosen: list[Any] = [METRICS.make(m) if isinstance(m, str) else m for m in metrics]
    maps = {label: result for label, result in labelled.items() if isinstance(result, Heatmap)}
    strips = {label: result for label, result in labelled.items() if isinstance(result, Counterfactual)}
    if isinstance(bundle, (str, Path)):
        bundle = explanation.load_bundle(bundle)
    true_mask = None if mask is None else as_image(mask, grid=shown.grid)
    shared: Any = {"target": target, "mask": true_mask, "bundle": bundle, "seed": seed}
    scores: list[Score] = []
    other = None if reference is None else as_image(reference, grid=shown.grid)
    if maps:
        more = references_of(shown, true_mask, target, model) if references else {}
        part = None if region is None else as_image(region, grid=shown.grid)
        others = as_images(background)
        inputs = Inputs(reference=other, region=part, background=others, bundle=bundle, seed=seed)
        with heatmap_context(
            maps, model, shown, target=target, mask=true_mask, inputs=inputs, references=more
        ) as context:
            scores += _metrics.evaluate(context, [m for m in chosen if m.of == "heatmap"], [*maps, *more])
    second = None if second_model is None else as_predictor(second_model)
    if second is None and bundle is not None:
        second = bundle.second_model(model)
    for label, strip in strips.items():
        with counterfactual_context(
            strip, model, shown, second_model=second, reference=other, **shared
        ) as of_strip:
            scores += _metrics.evaluate_strips([of_strip], [m for m in chosen if m.of == "strip"], [label])
    return scores


@contextlib.contextmanager
def counterfactual_context(
    strip: Counterfactual,
    predictor: Any,
    image: Image,
    *,
    target: Any,
    mask: Image | None = None,
    second_model: Any = None,
    reference: Image | None = None,
    bundle: Any = None,
    seed: int = 0,
) -> Iterator[CounterfactualContext]:
    """Yield the context of a counterfactual's metrics, with its model frozen inside the block. A place in a
    segmenter's prediction is determined once, for the image, and is the same for the second model.

    raises  InputError for an unknown bundle, or a mask that does not fit
    """
    if isinstance(bundle, (str, Path)):
        bundle = explanation.load_bundle(bundle)
    target = explanation.parse(predictor, target, image)
    if reference is not None:
        target = explanation.compared(target, reference, [image], predictor)
    place = frozen_target(target, predictor, image.values[None])
    same = strip.frames.shape[1:] == image.values.shape

    def explain_again(values: Any, score: float) -> Counterfactual:
        """Return a counterfactual of other values with a goal score, by the same method and parameters."""
        if strip.record is None:
            raise InputError("expected a counterfactual with a record of its method; got one without")
        goal = goal_of_score(place, score)
        known = EXPLAINERS.fields_of(str(strip.record.parameters["name"]))
        changed = {"goal": goal, "levels": None, "steps": None}
        changed = {name: value for name, value in changed.items() if name in known}
        explainer = explainer_of({**strip.record.parameters, **changed})
        low, high = image.window
        start = Image(np.clip(values, low, high), grid=strip.grid, window=image.window)
        result: Counterfactual = explanation.explain(
            explainer, predictor, start, target=place, bundle=bundle, seed=seed
        )
        return result

    with predictor.frozen():
        yield CounterfactualContext(
            strip=strip,
            question=Question(
                predictor=predictor, images=image.values[None], target=place, grid=image.grid, bundle=bundle
            ),
            window=image.window,
            oracle=None
            if second_model is None
            else (second_model, target_of_second(place, second_model, predictor)),
            others=_others(bundle, predictor),
            mask=explanation.on_grid(mask, [image], target, predictor) if mask is not None and same else None,
            again=explain_again,
            seed=seed,
        )


def _others(bundle: Any, predictor: Any) -> dict[str, Any]:
    """Return the bundle's predictors of other findings, with the targets of their directions, by name.

    A model of the same classes for images of another size, and one whose counterfactuals are conditioned by
    this model's score, ask for the same finding.
    """
    if bundle is None:
        return {}
    same = {predictor.digest} | {e.model for e in bundle.translations if e.by and e.by[0] == predictor.digest}
    same |= {p.digest for p in bundle.of_other_sizes(predictor)}
    models = {p.digest: (name, p) for name, p in bundle.predictors.items() if p.digest not in same}
    triples = [(*models[d.model], d.target) for d in bundle.directions if d.model in models]
    return {f"{name} {target}": (other, other.target(target)) for name, other, target in triples}


@contextlib.contextmanager
def heatmap_context(
    results: Mapping[str, Heatmap],
    predictor: Any,
    image: Image,
    *,
    target: Any,
    mask: Image | None = None,
    inputs: Inputs | None = None,
    explainers: Sequence[Any] = (),
    references: Mapping[str, Any] | None = None,
) -> Iterator[HeatmapContext]:
    """Yield the context of heatmap metrics, with the model frozen inside the block.

    inputs      those of the explanations
    explainers  the method of each map; none: from their records
    references  methods of further maps, evaluated after these (`references_of`)
    raises      InputError for a map on another grid than the image
    """
    wrong = [label for label, heat in results.items() if heat.grid != image.grid]
    if wrong:
        raise InputError(
            f"expected maps on the image's grid; got {wrong[0]} on another grid; use the image that was "
            "explained"
        )
    given = inputs or Inputs()
    target = explanation.parse(predictor, target, image)
    if given.reference is not None:
        target = explanation.compared(target, given.reference, [image], predictor)
    region = given.region
    values = image.values[None]
    with predictor.frozen():
        question = Question(
            predictor=predictor,
            images=values,
            target=frozen_target(target, predictor, values),
            grid=image.grid,
            bundle=given.bundle,
            background=np.stack([other.values for other in given.background]) if given.background else None,
            region=None if region is None else explanation.on_grid(region, [image], target, predictor),
        )
        more = list((references or {}).values())
        methods = explainers or [explainer_of(heat.record.parameters) for heat in results.values()]
        rng = np.random.default_rng([given.seed, zlib.crc32(values.tobytes())])
        reference_maps = [method(question, rng)[0] for method in more]
        if question.region is not None:
            reference_maps = [np.where(question.region, values, 0) for values in reference_maps]
        yield HeatmapContext(
            question,
            np.stack([*(heat.values for heat in results.values()), *reference_maps]),
            explainers=[*methods, *more],
            mask=None if mask is None else explanation.on_grid(mask, [image], target, predictor),
            seed=given.seed,
        )


def references_of(image: Image, mask: Image | None, target: Any, predictor: Any) -> dict[str, Any]:
    """Return the methods of the reference maps of an image by the name of their row; the mask is the truth."""
    if mask is None:
        return _metrics.references(None)
    target = explanation.parse(predictor, target, image) if isinstance(target, str) else target
    return _metrics.references(explanation.on_grid(mask, [image], target, predictor))


def explainer_of(parameters: Mapping[str, Any]) -> Any:
    """Return the explainer with the name and parameters of a record."""
    settings = {k: _part(v) for k, v in parameters.items() if k != "name"}
    return EXPLAINERS.make(str(parameters["name"]), **settings)


def _part(value: Any) -> Any:
    """Return a parameter of a record as a value of an explainer: nested explainers, and tuples for lists."""
    if isinstance(value, Mapping) and value.get("name") in EXPLAINERS.names():
        return explainer_of(value)
    return tuple(_part(v) for v in value) if isinstance(value, list) else value


def _labelled(results: Result | Sequence[Result] | Mapping[str, Result]) -> dict[str, Result]:
    """Return results by label, with the method's name (and a number) where they have none."""
    if isinstance(results, (Heatmap, Counterfactual)):
        results = [results]
    if isinstance(results, Mapping):
        labelled = dict(results)
    else:
        labelled = {}
        for result in results:
            method = result.record.method if result.record else "result"
            name, number = method, 1
            while name in labelled:
                number += 1
                name = f"{method} {number}"
            labelled[name] = result
    if not labelled or not all(isinstance(result, (Heatmap, Counterfactual)) for result in labelled.values()):
        raise InputError("expected heatmaps or counterfactuals to evaluate; got none, or something else")
    return labelled
