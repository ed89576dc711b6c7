"""The arguments of the commands: conversion to a plan and images."""

from __future__ import annotations

import dataclasses
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from contrafact.api import explanation
from contrafact.api.case import Plan
from contrafact.api.nearest import CaseLibrary, candidates_of
from contrafact.api.regions import without
from contrafact.core import (
    EXPLAINERS,
    UNTRUSTED,
    ContrafactWarning,
    Image,
    InputError,
    Trust,
    check_file,
    is_folder,
    nearest,
    traits_of,
)
from contrafact.io import Case, images_in, read_ahead, read_cohort, read_image
from contrafact.io.run_cohort import CohortTable, stem, unmatched_line
from contrafact.models import SimilarityTarget
from contrafact.models.loading import warn_of_notes
from contrafact.models.source import is_model

STEM = "{stem}"  # in a path: the name of the image without its ending
CHOICES: dict[str, tuple[str, ...]] = {
    "standard": ("gradcam", "integrated-gradients", "occlusion"),  # and the bundle's engine
    "cams": ("gradcam", "gradcam++", "xgradcam", "hirescam", "layercam", "eigencam", "score-cam"),
    "gradients": ("gradient", "input-x-gradient", "integrated-gradients", "gradient-shap", "smooth"),
}
PRESETS = (*CHOICES, "without-gradients", "pictures", "all")


def plan_of(
    model: str | None,
    bundle: str | None,
    *,
    target: str | None,
    methods: str,
    goal: float | None,
    set_: Sequence[str],
    seed: int,
    told: Mapping[str, Any] | None = None,
    trust: Trust = UNTRUSTED,
) -> tuple[Plan, dict[str, Any]]:
    """Return the plan, and its description for the manifest of the run.

    raises  InputError without a model, and for unknown methods, hyper-parameters or models
    """
    if model is None and bundle is None:
        raise InputError("expected --model or --bundle; got neither; see `contrafact list bundles`")
    loaded = pick_bundle(bundle, trust)
    predictor = pick_predictor(model, loaded, trust, told)
    warn_of_notes(predictor)
    names = [name.strip() for name in methods.split(",") if name.strip()] or ["standard"]
    if len(names) == 1 and names[0] in PRESETS:
        names = methods_of_preset(names[0], predictor, loaded)
    settings = read_settings(set_)
    for name in names:
        implied = EXPLAINERS.preset(name)
        settings.setdefault(EXPLAINERS.canonical(name), {}).update(implied)
    names = [EXPLAINERS.canonical(name) for name in names]
    if goal is not None:
        for name in (n for n in names if "goal" in EXPLAINERS.fields_of(n)):
            settings.setdefault(name, {})["goal"] = goal
    plan = Plan(
        predictor=predictor,
        methods=names,
        target=_with_reference(predictor, target),
        bundle=loaded,
        settings=settings,
        seed=seed,
        model=model_name(model, loaded),
    )
    cards = [{"name": loaded.name, **loaded.hashes, **loaded.card}] if loaded else []
    return plan, {"model": model or f"bundle {bundle}", "methods": names, "bundles": cards}


def model_name(model: str | None, bundle: Any) -> str:
    """Return what pages call a model: bundle and predictor, as "phantom: cheat", or the name of its file."""
    if bundle is None or (model and model not in bundle.predictors):
        return Path(str(model)).name
    own = model or next((name for name, known in bundle.predictors.items() if known is bundle.predictor), "")
    return f"{bundle.name}: {own}" if own else str(bundle.name)


def _with_reference(predictor: Any, target: str | None) -> Any:
    """Return a target's text, or of `similarity:FILE` the target of that image."""
    word, colon, file = (target or "").partition(":")
    if word != "similarity" or not colon:
        return target
    return SimilarityTarget.to(predictor, read_image(Path(file)))


def with_masks(
    plan: Plan, *, reference: Path | None, only: Path | None, keep: Path | None, background: Path | None
) -> Plan:
    """Return the plan with its masks and background images. Presets omit methods that need a background."""
    others = images_in(background) if background and background.is_dir() else [background]
    return replace(
        plan,
        reference=read_image(reference) if reference else None,
        region=without(read_image(only) if only else None, read_image(keep) if keep else None),
        background=[read_image(path) for path in others if path],
    )


def with_checks(plan: Plan, checks: bool, second_model: str | None, trust: Trust) -> Plan:
    """Return the plan with reliability checks, and a second model for its counterfactuals: the named one, or
    else the bundle's own."""
    other = pick_predictor(second_model, plan.bundle, trust) if second_model else None
    if other is None and plan.bundle is not None:
        other = plan.bundle.second_model(plan.predictor)
    return replace(plan, trust=checks, other_engine=checks, second_model=other)


def with_cases(plan: Plan, cases: Path | None, rescale: bool) -> Plan:
    """Return the plan with real cases, compared by the model and by its second model, and rescaled as the
    images are."""
    if cases is None:
        return plan
    prepared: Any = (
        {"prepared": lambda image: image.rescaled(*plan.bundle.window)} if rescale and plan.bundle else {}
    )
    found = CaseLibrary(plan.predictor, candidates_of(cases), by=plan.second_model, **prepared)
    return replace(plan, cases=found)


def with_places(plan: Plan, labels: Path | None, names: list[str] | None, *, image: Path | None = None) -> Plan:
    """Return the plan with a label map of regions and their names, each as NUMBER=NAME. A label map with {stem}
    in its path is that of `image`; without one, the plan has the names alone."""
    if labels is None:
        if names:
            raise InputError("expected --labels FILE with --names; got none")
        return plan
    if labels.suffix.lower() == ".csv":
        raise InputError(
            f"expected a label map on the image's grid as --labels; got the table '{labels.name}': give labels "
            "of images as --cohort"
        )
    known: dict[int, str] = {}
    for text in names or []:
        number, equals, name = text.partition("=")
        if not equals or not number.strip().isdigit() or not name.strip():
            raise InputError(f"expected --names NUMBER=NAME, such as 1=lesion; got '{text}'")
        known[int(number)] = name.strip()
    if STEM not in str(labels):
        return plan if plan.labels is not None else replace(plan, labels=read_image(labels), names=known)
    if image is None:
        return replace(plan, names=known)
    return replace(plan, labels=read_image(Path(str(labels).replace(STEM, stem(image.name)))), names=known)


def labelled(cohort: Path | None, images: Sequence[Path]) -> dict[str, Case]:
    """Return what a cohort says of the images, by their paths; say which of them it does not name."""
    if cohort is None:
        return {}
    table = CohortTable.of_cases(read_cohort(cohort, keep_missing=True))
    line = unmatched_line(table, cohort.name, map(str, images))
    if line:
        warnings.warn(line, ContrafactWarning, stacklevel=2)
    return {str(path): case for path in images if (case := table.find(str(path)))}


def methods_of_preset(preset: str, predictor: Any, bundle: Any) -> list[str]:
    """Return the methods of a preset that this model and bundle allow; the registry tells those of the last
    three, so that a new method is among them."""
    if preset == "pictures":
        return [name for name in EXPLAINERS.names() if traits_of(name).picture]
    possible = possible_methods(predictor, bundle)
    if preset == "all":
        return possible
    if preset == "without-gradients":
        known = {name: traits_of(name) for name in possible}
        return [n for n, t in known.items() if not (t.needs_gradients or t.needs_layers or t.needs_bundle)]
    chosen = (*CHOICES[preset], *([bundle.own_method] if bundle and preset == "standard" else []))
    return [name for name in possible if name in chosen]


def possible_methods(predictor: Any, bundle: Any) -> list[str]:
    """Return the methods that a preset may use with this model and bundle; `contrafact check` gives reasons."""
    known = {name: traits_of(name) for name in EXPLAINERS.names()}
    names = [n for n in known if bundle or not known[n].needs_bundle]
    # A bundle has directions, codes for findings, or a translator.
    names = [n for n in names if not (part := known[n].needs_part) or getattr(bundle, part)]
    # Methods that need more than an image and a model, or a special network, must be named.
    special = ("needs_background", "needs_attention", "picture", "chooses")
    names = [n for n in names if not any(getattr(known[n], kind) for kind in special)]
    if not predictor.differentiable:
        return [n for n in names if not known[n].needs_gradients]
    return [n for n in names if predictor.watchable or not known[n].needs_layers]


def pick_bundle(name: str | None, trust: Trust) -> Any:
    """Return the bundle of that name or folder, or None without a name."""
    return explanation.load_bundle(name, trust=trust.scripts, trust_code=trust.factories) if name else None


def pick_predictor(model: str | None, bundle: Any, trust: Trust, told: Mapping[str, Any] | None = None) -> Any:
    """Return the named model, or else the bundle's; `told`: arguments of `load_predictor`, for a model file.

    raises  InputError for an unknown name, or `told` with a model of the bundle
    """
    if told and (model is None or (bundle and model in bundle.predictors)):
        words = ", ".join(f"--{key}" for key in told)
        raise InputError(f"expected {words} with a model file only; got a model of a bundle; remove {words}")
    allowed: Any = {"trust": trust.scripts, "trust_code": trust.factories}
    if model is None and bundle is None:
        raise InputError(
            "expected a model file, or a bundle with a model; got neither: give --model or --bundle"
        )
    if model is None:
        return bundle.predictor
    if bundle is None:
        return explanation.load_predictor(model, **(told or {}), **allowed)
    if model in bundle.predictors:
        return bundle.predictors[model]
    if is_model(model):
        return explanation.load_predictor(model, **(told or {}), **allowed)
    known = ", ".join(bundle.predictors)
    raise InputError(
        f"expected a model file or a predictor of the bundle ({known}); "
        f"got '{model}'{nearest(model, bundle.predictors)}"
    )


def read_settings(words: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return hyper-parameters by method, such as {"occlusion": {"box": 8}} for `occlusion.box=8`; lists become
    tuples. Raise InputError for unknown methods and hyper-parameters."""
    settings: dict[str, dict[str, Any]] = {}
    for word in words:
        name, _, text = word.partition("=")
        method, _, key = name.partition(".")
        if not (method and key and text):
            raise InputError(f"expected --set METHOD.NAME=VALUE; got '{word}'")
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = text
        method = EXPLAINERS.canonical(method)
        cls = EXPLAINERS.get(method)
        known = [f.name for f in dataclasses.fields(cls)]
        if key not in known:
            raise InputError(f"{method} takes {', '.join(known)}; got '{key}'{nearest(key, known)}")
        settings.setdefault(method, {})[key] = tuple(value) if isinstance(value, list) else value
    return settings


def read_images(paths: Sequence[Path], bundle: Any) -> Iterator[Image]:
    """Yield the images, each read while the one before is explained; with a bundle, with the display window
    rescaled to the bundle's range. Raise InputError for a missing file before any is read."""
    for path in paths:
        if not is_folder(path):
            check_file(path, "an image file")
    images = read_ahead(paths, read_image)
    return (image.rescaled(*bundle.window) for image in images) if bundle else images
