"""The Python face: one call does the work. It joins rooms, as `cli` does for the command line."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import contrafact.attribution as _attribution  # registers the heatmaps
from contrafact import core
from contrafact.bundles import load_bundle
from contrafact.core import EXPLAINERS, Heatmap, Image, InputError, Strip
from contrafact.fitting import fit
from contrafact.model import AnyPredictor, BlackBox, TorchPredictor, load_predictor

__all__ = ["explain", "fit", "load_bundle", "load_predictor"]
_ = _attribution


def explain(
    explainer: Any,
    predictor: Any,
    images: Image | Sequence[Image],
    *,
    target: Any = None,
    bundle: Any = None,
    seed: int = 0,
    **parameters: Any,
) -> Any:
    """Explain one image or a list of them.

    explainer   a name (`contrafact list explainers`) with its hyper-parameters as keywords, or an
                object (`cf.GradCAM(layer="body.3.conv2")`)
    predictor   from `load_predictor` or a bundle; a torch module or a function will do
    target      text (`class:1`, `class:pneumonia`, `margin:3,1`, `value:0`, `grade`) or an object;
                None: the class the model prefers for the first image (`value:0` for a regression)
    bundle      for counterfactuals: a bundle, or its name
    gives       a `Heatmap` or `Strip`; a list of them for a list of images
    raises      InputError (what was expected, what came, what to do), UnsupportedError
    """
    single = isinstance(images, Image)
    batch = [images] if isinstance(images, Image) else list(images)
    if not all(isinstance(image, Image) for image in batch) or not batch:
        raise InputError("expected an Image or a list of them; read files with read_image")
    if isinstance(explainer, str):
        explainer = EXPLAINERS.make(explainer, **parameters)
    elif parameters:
        raise InputError(f"give {', '.join(parameters)} to the explainer object itself")
    if not isinstance(predictor, (TorchPredictor, BlackBox)):
        predictor = load_predictor(predictor)
    if isinstance(bundle, (str, Path)):
        bundle = load_bundle(bundle)
    if target is None or isinstance(target, str):
        target = parse(predictor, target, batch[0])
    results: list[Heatmap] | list[Strip] = core.explain(
        explainer, predictor, batch, target=target, bundle=bundle, seed=seed
    )
    return results[0] if single else results


def parse(predictor: AnyPredictor, text: str | None, image: Image) -> Any:
    """A target from text; without text, what the model prefers for the image."""
    if not predictor.classes:  # their names may be unknown, their number never is
        count = ask(predictor, image).shape[1] + (predictor.output == "ordinal")
        predictor.classes = tuple(str(k) for k in range(count))
    if text is not None:
        return predictor.target(text)
    if predictor.output == "regression":
        return predictor.target("value:0")
    best = int(predictor.probabilities(ask(predictor, image))[0].argmax())
    return predictor.target(f"class:{best}")


def ask(predictor: AnyPredictor, image: Image) -> Tensor:
    """Raw outputs (1, K, ...) for one image, without gradients, the model left as it was."""
    frozen = getattr(predictor, "frozen", contextlib.nullcontext)
    with frozen(), torch.no_grad():
        return predictor(image.values[None])
