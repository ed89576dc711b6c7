"""`explain()`: check the request, freeze the model, run the method, verify and record the result."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.metadata
import platform
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contrafact.core.empty import emptiness
from contrafact.core.errors import InputError
from contrafact.core.image import Image
from contrafact.core.predictor_adapter import DelegatingPredictor, adapted
from contrafact.core.protocols import BoxAnswers, ConfirmingBundle, Predictor, Target
from contrafact.core.question import Explainer, Question
from contrafact.core.registry import EXPLAINERS
from contrafact.core.results import Counterfactual, Heatmap, Record
from contrafact.core.target_kinds import PlaceTarget, frozen_target
from contrafact.core.traits import traits_of


class Counted(DelegatingPredictor):
    """Wrap a predictor and count its forward passes, one per image; delegate everything else to `inner`."""

    def __init__(self, predictor: Predictor) -> None:
        super().__init__(predictor)
        self.passes = 0

    def __call__(self, images: Any) -> Any:
        self.passes += len(images)
        return self.inner(images)

    def replacing(self, image: Any, other: Any, box: tuple[int, ...], corner: Any) -> BoxAnswers | None:
        """Return `inner.replacing(...)`. Count one pass per box, and two to start: the image itself, and one
        box by a full pass."""
        inner = self.inner.replacing(image, other, box, corner)
        if inner is None:
            return None
        self.passes += 2

        def answers(corners: NDArray[np.int64]) -> Any:
            self.passes += len(corners)
            return inner.answers(corners)

        return dataclasses.replace(inner, answers=answers)


def explain(
    explainer: Explainer,
    predictor: Predictor | Callable[[Any], Any],
    images: Sequence[Image],
    *,
    target: Target,
    bundle: Any = None,
    background: Sequence[Image] = (),
    region: NDArray[np.bool_] | None = None,
    seed: int = 0,
    batch: int = 16,
    outputs: dict[int, Any] | None = None,
) -> list[Heatmap] | list[Counterfactual]:
    """Explain every image, in batches of images that share a grid.

    predictor   frozen during the call and restored bit for bit afterwards, also after an error; a plain
                function of images is adapted (`adapted`)
    target      a target that depends on a region of the prediction is frozen on each image first
    background  other images, for methods that compare with them (expected gradients)
    region      bool (*S): only these voxels are explained; the map is 0 elsewhere
    seed        of the method's random numbers, the same for every batch
    outputs     filled with the model's raw outputs (K, ...) by number of the image, where the method computed
                them for the unchanged image, which spares the caller a pass
    gives       one `Heatmap` or `Counterfactual` per image, in order, on the image's grid
    raises      InputError for unusable arguments
    """
    if not images:
        raise InputError("expected at least one image to explain; got none")
    predictor = adapted(predictor)
    results: list[Any] = [None] * len(images)
    for rows in _batches(images, 1 if isinstance(target, PlaceTarget) else batch):
        group = [images[i] for i in rows]
        counted = Counted(predictor)
        values = np.stack([image.values for image in group])
        begin = time.perf_counter()
        with predictor.frozen():
            question = Question(
                predictor=counted,
                images=values,
                target=frozen_target(target, counted, values),
                grid=group[0].grid,
                bundle=bundle,
                background=_others(background, group[0]),
                region=_checked_region(region, group[0]),
            )
            explanations = explainer(question, np.random.default_rng(seed))
            for doubt in question.doubts if any(map(_nothing, explanations)) else ():
                doubt()
        cost = (time.perf_counter() - begin) / len(group), counted.passes / len(group)
        if outputs is not None and len(question.outputs) == len(group):
            outputs.update(zip(rows, question.outputs, strict=True))
        if len(explanations) != len(group):
            raise InputError(f"{explainer} gave {len(explanations)} results for {len(group)} images")
        for position, (row, image, value) in enumerate(zip(rows, group, explanations, strict=True)):
            notes = {name: float(values[position]) for name, values in question.notes.items()}
            record = _record(explainer, predictor, image, target=target, seed=seed, cost=cost, notes=notes)
            details = dict(question.details)
            if question.region is not None:
                details["region"] = float(question.region.mean())
            record = dataclasses.replace(record, details=details)
            record = dataclasses.replace(record, **_bundle_hashes(explainer, bundle, record.engine))
            if isinstance(value, Counterfactual):
                results[row] = _confirmed(value.stamped(record), bundle, predictor, question.target)
            else:
                kept = value if region is None else np.where(region, value, 0)
                if why := emptiness(np.asarray(value if region is None else value[region])):
                    record = dataclasses.replace(record, notes={**notes, f"empty_{why}": 1.0})
                results[row] = Heatmap(values=kept, grid=image.grid, record=record)
    return results


def _nothing(explanation: Any) -> bool:
    """Whether a map is empty or not finite."""
    if isinstance(explanation, Counterfactual):
        return False
    values = np.asarray(explanation)
    return bool(emptiness(values)) or not bool(np.isfinite(values).all())


def _confirmed(result: Counterfactual, bundle: Any, predictor: Predictor, target: Target) -> Counterfactual:
    """Add the scores of the bundle's second model, if it has one for this predictor and these images."""
    if not isinstance(bundle, ConfirmingBundle) or result.second is not None:
        return result
    return dataclasses.replace(result, second=bundle.second_scores(predictor, target, result.frames))


def _others(background: Sequence[Image], image: Image) -> NDArray[np.float32] | None:
    """Return the background as one array (M, C, *S); raise InputError if its shape is not the image's."""
    wrong = next((b for b in background if b.values.shape != image.values.shape), None)
    if wrong is not None:
        raise InputError(
            f"background images must be {image.values.shape}, as the image; got {wrong.values.shape}"
        )
    return np.stack([b.values for b in background]) if background else None


def _checked_region(region: NDArray[np.bool_] | None, image: Image) -> NDArray[np.bool_] | None:
    if region is None:
        return None
    if region.shape != image.grid.shape:
        raise InputError(f"region must be {image.grid.shape}, as the image; got {region.shape}")
    if not region.any():
        raise InputError("the region of interest is empty; expected at least one voxel")
    return region


def _batches(images: Sequence[Image], batch: int) -> Iterator[list[int]]:
    """Yield the indices of consecutive images with one grid and channel count, at most `batch` at a time."""
    rows: list[int] = []
    for i, image in enumerate(images):
        first = images[rows[0]] if rows else image
        other = image is not first and (image.values.shape != first.values.shape or image.grid != first.grid)
        if len(rows) == batch or other:
            yield rows
            rows = []
        rows.append(i)
    yield rows


def _record(
    explainer: Explainer,
    predictor: Predictor,
    image: Image,
    *,
    target: Target,
    seed: int,
    cost: tuple[float, float],
    notes: Mapping[str, float],
) -> Record:
    return Record(
        method=EXPLAINERS.name_of(explainer),
        parameters=parameters_of(explainer),
        target=str(target),
        model=predictor.digest,
        image=image.digest,
        source=image.source,
        seed=seed,
        versions=versions(),
        seconds=round(cost[0], 4),
        forward_passes=cost[1],
        peak_memory_mb=peak_memory_mb(),
        notes=notes,
    )


def _bundle_hashes(explainer: Explainer, bundle: Any, engine: str) -> dict[str, Any]:
    """Return the hashes of the bundle and of the network behind the engine; empty if the method does not use a
    bundle."""
    if not any(traits_of(part).needs_bundle for part in parts_of(explainer)):
        return {}
    return dict(bundle.hashes_of(engine)) if isinstance(bundle, ConfirmingBundle) else {}


def parts_of(explainer: Any) -> Iterator[Any]:
    """Yield a method and the methods nested in it."""
    yield explainer
    for f in dataclasses.fields(explainer) if dataclasses.is_dataclass(explainer) else ():
        if dataclasses.is_dataclass(getattr(explainer, f.name, None)):
            yield from parts_of(getattr(explainer, f.name))


def parameters_of(part: Any) -> Any:
    """Return hyper-parameters as JSON, nested parts included, each with its registered name."""
    if dataclasses.is_dataclass(part) and not isinstance(part, type):
        values = {f.name: parameters_of(getattr(part, f.name)) for f in dataclasses.fields(part)}
        return {"name": EXPLAINERS.name_of(part), **values}
    if isinstance(part, Mapping):
        return {str(name): parameters_of(v) for name, v in part.items()}
    if isinstance(part, (tuple, list)):
        return [parameters_of(v) for v in part]
    return part if isinstance(part, (str, int, float, bool, type(None))) else str(part)


def versions() -> dict[str, str]:
    """Return the versions of Python, contrafact, torch, numpy and captum, without importing them."""
    return dict(_versions())


@functools.cache  # reading them takes milliseconds
def _versions() -> dict[str, str]:
    out = {"python": platform.python_version()}
    for name in ("contrafact", "torch", "numpy", "captum"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            out[name] = importlib.metadata.version(name)
    return out


def peak_memory_mb() -> float:
    """Return the peak resident memory of this process so far, in MB; 0 if the system does not report it."""
    try:
        import resource  # not on Windows
    except ImportError:
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS: bytes, Linux: kibibytes
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)
