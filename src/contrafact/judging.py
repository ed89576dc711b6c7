"""Metrics on explanations of one image: joins the maps with the model they explain."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from contrafact import face
from contrafact import metrics as _metrics
from contrafact.core import EXPLAINERS, METRICS, Heatmap, Image, InputError, Question
from contrafact.metrics import Panel, Score


def evaluate(
    results: Heatmap | Sequence[Heatmap] | Mapping[str, Heatmap],
    predictor: Any,
    image: Image,
    metrics: Sequence[Any],
    *,
    target: Any = None,
    mask: Image | None = None,
    reference: Image | None = None,
    background: Sequence[Image] = (),
    region: Image | None = None,
    bundle: Any = None,
    seed: int = 0,
) -> list[Score]:
    """Judge heatmaps of one image, all together: the model's passes are shared between maps and metrics.

    results    heatmaps of one image for one target, alone, in a list, or by label
    metrics    names (`contrafact list metrics`) or objects (`Deletion(steps=50)`)
    target     what was asked; None: what the first map's record says
    mask       where the cause lies, for localisation
    reference, background, region, bundle, seed   as they were given to `explain`
    gives      a `Score` per metric and map; one that cannot be had says why
    raises     InputError for maps of another image, an unknown metric
    """
    found = _labelled(results)
    if isinstance(predictor, (str,)) or not hasattr(predictor, "output"):
        predictor = face.load_predictor(predictor)
    first = next(iter(found.values()))
    with panel_of(
        found, predictor, image, target=first.record.target if target is None else target, mask=mask,
        reference=reference, background=background, region=region, bundle=bundle, seed=seed,
    ) as panel:  # fmt: skip
        asked = [METRICS.make(m) if isinstance(m, str) else m for m in metrics]
        return list(_metrics.evaluate(panel, asked, list(found)))


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
    seed: int = 0,
) -> Iterator[Panel]:
    """Maps and the frozen model they explain, as metrics ask for them; restored on leaving."""
    wrong = [label for label, heat in results.items() if heat.grid != image.grid]
    if wrong:
        raise InputError(f"{wrong[0]} lies on another grid than the image; give the image that was explained")
    if isinstance(target, str):
        target = face.parse(predictor, target, image)
    if reference is not None:
        target = face.compared(target, reference, [image])
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
            region=None if region is None else face.on_grid(region, [image]),
        )
        yield Panel(
            question,
            np.stack([heat.values for heat in results.values()]),
            explainers=[explainer_of(heat.record.parameters) for heat in results.values()],
            mask=None if mask is None else face.on_grid(mask, [image]),
            seed=seed,
        )


def explainer_of(parameters: Mapping[str, Any]) -> Any:
    """The explainer that a record describes."""
    given = {k: _part(v) for k, v in parameters.items() if k != "name"}
    return EXPLAINERS.make(str(parameters["name"]), **given)


def _part(value: Any) -> Any:
    if isinstance(value, Mapping):
        return explainer_of(value)
    return tuple(_part(v) for v in value) if isinstance(value, list) else value


def _labelled(results: Heatmap | Sequence[Heatmap] | Mapping[str, Heatmap]) -> dict[str, Heatmap]:
    if isinstance(results, Heatmap):
        results = [results]
    if isinstance(results, Mapping):
        found = dict(results)
    else:
        found = {}
        for heat in results:
            name, number = heat.record.method, 1
            while name in found:
                number += 1
                name = f"{heat.record.method} {number}"
            found[name] = heat
    if not found or not all(isinstance(heat, Heatmap) for heat in found.values()):
        raise InputError("expected heatmaps to judge; got none, or something else")
    return found
