"""Metrics on explanations of one image: joins maps and strips with the model they explain."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from contrafact import metrics as _metrics
from contrafact.api import explanation as face
from contrafact.core import EXPLAINERS, METRICS, Counterfactual, Heatmap, Image, InputError, Question
from contrafact.io.arrays import as_image, as_images
from contrafact.metrics import CounterfactualContext, HeatmapContext, Score

Result = Heatmap | Counterfactual


def evaluate(
    results: Result | Sequence[Result] | Mapping[str, Result],
    predictor: Any,
    image: Any,
    metrics: Sequence[Any],
    *,
    target: Any = None,
    mask: Any = None,
    second_model: Any = None,
    references: bool = False,
    reference: Any = None,
    background: Any = (),
    region: Any = None,
    bundle: Any = None,
    seed: int = 0,
) -> list[Score]:
    """Judge explanations of one image, all together: the model's passes are shared between maps and metrics.

    results    heatmaps and strips of one image for one target, alone, in a list, or by label
    metrics    names (`contrafact list metrics`) or objects (`Deletion(steps=50)`); those of heatmaps go over
               the heatmaps, those of strips over the strips
    target     what was asked; None: what the first result's record says
    mask       where the cause lies, for localisation: 0 and 1 (or 255), or labels, of which the target's counts
               (`Image(values, label_map=True)`: labels also where they are 0 and 1 alone)
    second_model   trained without the first: whether it confirms a counterfactual; None: the bundle's own
    references  judge maps that look at no model beside the heatmaps: random, edges, a blob in the middle, and
               the mask where it is given
    reference, background, region, bundle, seed   as they were given to `explain`
    gives      a `Score` per metric and result; one that cannot be had says why
    raises     InputError for maps of another image, an unknown metric
    """
    found, image = _labelled(results), as_image(image)
    mask, reference, region = (
        m if m is None else as_image(m, grid=image.grid) for m in (mask, reference, region)
    )
    background = as_images(background)
    if not hasattr(predictor, "output"):
        predictor = face.load_predictor(predictor)
    record = next(iter(found.values())).record
    target = record.target if target is None and record is not None else target
    made = [METRICS.make(m) if isinstance(m, str) else m for m in metrics]
    maps = {label: one for label, one in found.items() if isinstance(one, Heatmap)}
    strips = {label: one for label, one in found.items() if isinstance(one, Counterfactual)}
    scores: list[Score] = []
    if maps:
        more = references_of(image, mask, target, predictor) if references else {}
        with panel_of(
            maps,
            predictor,
            image,
            target=target,
            mask=mask,
            references=more,
            reference=reference,
            background=background,
            region=region,
            bundle=bundle,
            seed=seed,
        ) as panel:
            scores += _metrics.evaluate(panel, [m for m in made if m.of == "heatmap"], [*maps, *more])
    if second_model is None and bundle is not None:
        bundle = face.load_bundle(bundle) if isinstance(bundle, (str, Path)) else bundle
        second_model = bundle.second_model(predictor)
    about: Any = {"target": target, "mask": mask, "second_model": second_model, "bundle": bundle, "seed": seed}
    for label, strip in strips.items():
        with walked_of(strip, predictor, image, **about) as walked:
            scores += _metrics.evaluate_strips([walked], [m for m in made if m.of == "strip"], [label])
    return scores


@contextlib.contextmanager
def walked_of(
    strip: Counterfactual,
    predictor: Any,
    image: Image,
    *,
    target: Any,
    mask: Image | None = None,
    second_model: Any = None,
    bundle: Any = None,
    seed: int = 0,
) -> Iterator[CounterfactualContext]:
    """A strip with the frozen model it is about, and what may check it; restored on leaving."""
    if isinstance(bundle, (str, Path)):
        bundle = face.load_bundle(bundle)
    target = face.parse(predictor, target, image)
    same = strip.frames.shape[1:] == image.values.shape

    def again(values: Any, score: float) -> Counterfactual:
        """Explains anew, to that score: a class by its probability."""
        if strip.record is None:
            raise InputError("this strip has no record of how it was made, and cannot be made again")
        goal = 1 / (1 + np.exp(-score)) if hasattr(target, "score_of") else score
        goal = float(np.clip(goal, 1e-6, 1 - 1e-6)) if hasattr(target, "score_of") else float(goal)
        anew = {"goal": goal, "levels": None, "steps": None}
        walker = explainer_of({**strip.record.parameters, **anew})
        low, high = image.window
        start = Image(np.clip(values, low, high), grid=strip.grid, window=image.window)
        found: Counterfactual = face.explain(walker, predictor, start, target=target, bundle=bundle, seed=seed)
        return found

    with getattr(predictor, "frozen", contextlib.nullcontext)():
        yield CounterfactualContext(
            strip=strip,
            question=Question(
                predictor=predictor, images=image.values[None], target=target, grid=image.grid, bundle=bundle
            ),
            window=image.window,
            oracle=None if second_model is None else (second_model, second_model.target(str(target))),
            others=_others(bundle, predictor),
            mask=face.on_grid(mask, [image], target, predictor) if mask is not None and same else None,
            again=again,
            seed=seed,
        )


def _others(bundle: Any, predictor: Any) -> dict[str, Any]:
    """What else the bundle's models are asked: each other predictor's own direction."""
    if bundle is None:
        return {}
    models = {p.digest: (name, p) for name, p in bundle.predictors.items() if p.digest != predictor.digest}
    found = [(*models[d.model], d.target) for d in bundle.directions if d.model in models]
    return {f"{name} {target}": (other, other.target(target)) for name, other, target in found}


@contextlib.contextmanager
def panel_of(
    results: Mapping[str, Heatmap],
    predictor: Any,
    image: Image,
    *,
    target: Any,
    mask: Image | None = None,
    reference: Image | None = None,
    background: Sequence[Image] = (),
    region: Image | None = None,
    bundle: Any = None,
    explainers: Sequence[Any] = (),
    references: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Iterator[HeatmapContext]:
    """Maps and the frozen model they explain, as metrics ask for them; restored on leaving.

    explainers  what made each map; none: as their records say
    references  what makes more maps, judged after these (`references_of`)
    """
    wrong = [label for label, heat in results.items() if heat.grid != image.grid]
    if wrong:
        raise InputError(f"{wrong[0]} lies on another grid than the image; give the image that was explained")
    target = face.parse(predictor, target, image)
    if reference is not None:
        target = face.compared(target, reference, [image], predictor)
    values = image.values[None]
    freeze = getattr(target, "freeze", None)
    with getattr(predictor, "frozen", contextlib.nullcontext)():
        question = Question(
            predictor=predictor,
            images=values,
            target=freeze(predictor, values) if freeze else target,
            grid=image.grid,
            bundle=bundle,
            background=np.stack([other.values for other in background]) if background else None,
            region=None if region is None else face.on_grid(region, [image], target, predictor),
        )
        more = list((references or {}).values())
        made = explainers or [explainer_of(heat.record.parameters) for heat in results.values()]
        rng = np.random.default_rng([seed, zlib.crc32(values.tobytes())])
        drawn = [one(question, rng)[0] for one in more]
        if question.region is not None:
            drawn = [np.where(question.region, found, 0) for found in drawn]
        yield HeatmapContext(
            question,
            np.stack([*(heat.values for heat in results.values()), *drawn]),
            explainers=[*made, *more],
            mask=None if mask is None else face.on_grid(mask, [image], target, predictor),
            seed=seed,
        )


def references_of(image: Image, mask: Image | None, target: Any, predictor: Any) -> dict[str, Any]:
    """What makes the reference maps of an image, by the name of their row; the mask is the truth."""
    if mask is None:
        return _metrics.references(None)
    target = face.parse(predictor, target, image) if isinstance(target, str) else target
    return _metrics.references(face.on_grid(mask, [image], target, predictor))


def explainer_of(parameters: Mapping[str, Any]) -> Any:
    """The explainer that a record describes."""
    given = {k: _part(v) for k, v in parameters.items() if k != "name"}
    return EXPLAINERS.make(str(parameters["name"]), **given)


def _part(value: Any) -> Any:
    if isinstance(value, Mapping) and value.get("name") in EXPLAINERS.names():
        return explainer_of(value)
    return tuple(_part(v) for v in value) if isinstance(value, list) else value


def _labelled(results: Result | Sequence[Result] | Mapping[str, Result]) -> dict[str, Result]:
    if isinstance(results, (Heatmap, Counterfactual)):
        results = [results]
    if isinstance(results, Mapping):
        found = dict(results)
    else:
        found = {}
        for heat in results:
            record = getattr(heat, "record", None)
            method = record.method if record else "result"
            name, number = method, 1
            while name in found:
                number += 1
                name = f"{method} {number}"
            found[name] = heat
    if not found or not all(isinstance(heat, (Heatmap, Counterfactual)) for heat in found.values()):
        raise InputError("expected heatmaps or strips to judge; got none, or something else")
    return found
