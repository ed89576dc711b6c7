"""The Python face: one call does the work. It joins rooms, as `cli` does for the command line."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import contrafact.attribution as _attribution  # registers the heatmaps
from contrafact import core
from contrafact.bundles import load_bundle
from contrafact.core import EXPLAINERS, ContrafactError, Heatmap, Image, InputError, Strip, mask_of
from contrafact.fitting import fit
from contrafact.model import (
    AnyPredictor,
    BlackBox,
    RegionTarget,
    TiledPredictor,
    TorchPredictor,
    class_sizes,
    load_predictor,
)
from contrafact.perturbation.memory import out_of_memory

__all__ = ["explain", "fit", "load_bundle", "load_predictor"]
_ = _attribution


def explain(
    explainer: Any,
    predictor: Any,
    images: Image | Sequence[Image],
    *,
    target: Any = None,
    reference: Image | None = None,
    bundle: Any = None,
    background: Sequence[Image] = (),
    region: Image | None = None,
    seed: int = 0,
    **parameters: Any,
) -> Any:
    """Explain one image or a list of them.

    explainer   a name (`contrafact list explainers`) with its hyper-parameters as keywords, or an
                object (`cf.GradCAM(layer="body.3.conv2")`)
    predictor   from `load_predictor` or a bundle; a torch module or a function will do
    target      text (`class:1`, `class:pneumonia`, `margin:3,1`, `value:0`, `grade`; for a segmenter
                `region:2`, `lesion:2#1`, see `contrafact list targets`) or an object; None: the class
                the model prefers for the first image (`value:0` for a regression)
    reference   mask on the image's grid, for targets that compare with one. Masks hold 0 and 1 (or 255); of a
                label map the class counts that the target names
    bundle      for counterfactuals: a bundle, or its name
    background  other images of the same kind, for expected-gradients and feature-permutation
    region      mask on the image's grid: only its voxels are asked about, which saves passes
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
    if not isinstance(predictor, (TorchPredictor, BlackBox, TiledPredictor)):
        predictor = load_predictor(predictor)
    if isinstance(bundle, (str, Path)):
        bundle = load_bundle(bundle)
    if target is None or isinstance(target, str):
        target = parse(predictor, target, batch[0])
    if reference is not None:
        target = compared(target, reference, batch, predictor)
    try:
        results: list[Heatmap] | list[Strip] = core.explain(
            explainer,
            predictor,
            batch,
            target=target,
            bundle=bundle,
            background=background,
            region=None if region is None else on_grid(region, batch, target, predictor),
            seed=seed,
        )
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        raise ContrafactError(
            f"the model does not fit the memory of {getattr(predictor, 'device', 'the CPU')} with one image of "
            f"{batch[0].values.shape}; crop it, or let the model take patches (TiledPredictor)"
        ) from error
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
    outputs = ask(predictor, image)
    if outputs.ndim == 2:
        return predictor.target(f"class:{int(predictor.probabilities(outputs)[0].argmax())}")
    sizes = class_sizes(outputs, predictor.output)
    if len(sizes) > 1 and predictor.output != "sigmoid":
        sizes[0] = 0  # of classes that exclude each other the first is the background
    if not max(sizes):
        raise InputError("the model finds nothing in this image; expected a target, such as mask:1 or volume:1")
    return predictor.target(f"region:{sizes.index(max(sizes))}")


def compared(target: Any, reference: Image, images: Sequence[Image], predictor: AnyPredictor) -> Any:
    """The target with its reference mask, which must lie on the images' grid."""
    if not isinstance(target, RegionTarget):
        raise InputError(f"target {target} compares with nothing; a reference belongs to mask, missed, …")
    mask = on_grid(reference, images, target, predictor)
    if not mask.any() and target.place != "false-positive":
        raise InputError(
            f"expected voxels of class {target.index} in the reference for target {target}; got none"
        )
    return dataclasses.replace(target, reference=mask)


def on_grid(mask: Image, images: Sequence[Image], target: Any, predictor: AnyPredictor) -> NDArray[np.bool_]:
    """A mask (*S) that lies on the grid of the images; of a label map, the class that the target names.

    raises  InputError for another grid, several channels, or values that are neither a mask nor labels
    """
    if any(image.grid != mask.grid for image in images):
        raise InputError("the mask lies on another grid than the image; resample it first")
    if mask.channels != 1:
        raise InputError(f"expected a mask of one channel; got {mask.channels}")
    return mask_of(mask.values[0], label=getattr(target, "index", None), classes=len(predictor.classes))


def ask(predictor: AnyPredictor, image: Image) -> Tensor:
    """Raw outputs (1, K, ...) for one image, without gradients, the model left as it was."""
    frozen = getattr(predictor, "frozen", contextlib.nullcontext)
    with frozen(), torch.no_grad():
        return predictor(image.values[None])
