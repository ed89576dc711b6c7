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

import contrafact.attribution as _attribution
from contrafact import core
from contrafact.bundles import load_bundle
from contrafact.bundles.fitting import fit
from contrafact.core import EXPLAINERS, ContrafactError, Image, InputError, mask_of
from contrafact.core.contents import digest_of_content
from contrafact.core.empty import warn_if_empty
from contrafact.io.arrays import as_image, as_images, is_batch
from contrafact.models import (
    AnyPredictor,
    BlackBox,
    RegionTarget,
    TiledPredictor,
    TorchPredictor,
    class_sizes,
    load_predictor,
)
from contrafact.models.target_syntax import is_form
from contrafact.models.targets import ClassTarget, GradeTarget, MarginTarget, ProbabilityTarget, ValueTarget
from contrafact.perturbation.memory import out_of_memory

__all__ = ["explain", "fit", "load_bundle", "load_predictor"]
NAMED = (ClassTarget, GradeTarget, MarginTarget, ProbabilityTarget, ValueTarget, RegionTarget)
_ = _attribution


def explain(
    explainer: Any,
    predictor: Any,
    images: Any,
    *,
    target: Any = None,
    reference: Any = None,
    bundle: Any = None,
    background: Any = (),
    region: Any = None,
    seed: int = 0,
    **parameters: Any,
) -> Any:
    """Explain one image or a list of them.

    explainer   a name (`contrafact list explainers`) with its hyper-parameters as keywords, or an
                object (`cf.GradCAM(layer="body.3.conv2")`)
    predictor   from `load_predictor` or a bundle; a torch module or a function will do
    images      an `Image`, a path, an array or tensor (H, W), (C, H, W) or (C, D, H, W) of up to 4 channels, a
                PIL picture; a list of these, or a batch (N, C, H, W) or (N, C, D, H, W): four axes are a batch
                when the second has at most 4, else a volume
    target      text (`class:1`, `class:pneumonia`, `margin:3,1`, `value:0`, `grade`; for a segmenter
                `region:2`, `lesion:2#1`, see `contrafact list targets`), the name or number of a class, or an
                object; a list, array or tensor has one for each image. None: each image's own predicted class
                (`value:0` for a regression), and of a counterfactual with a goal the class that comes next
    reference   mask on the image's grid, for targets that compare with one. Masks hold 0 and 1 (or 255); of a
                label map the class counts that the target names (`Image(values, label_map=True)`: also where
                its labels are 0 and 1 alone)
    bundle      for counterfactuals: a bundle, or its name
    background  other images of the same kind, for expected-gradients and feature-permutation
    region      mask on the image's grid: only its voxels are asked about, which saves passes
    gives       a `Heatmap` or `Counterfactual`; a list of them for a list or batch of images
    raises      InputError (what was expected, what came, what to do), UnsupportedError
    warns       EmptyMapWarning for a map that tells nothing
    """
    single, batch = not is_batch(images), as_images(images)
    if not batch:
        raise InputError("expected an image or a list of them; got an empty list")
    if isinstance(explainer, str):
        explainer = EXPLAINERS.make(explainer, **parameters)
    elif parameters:
        raise InputError(f"give {', '.join(parameters)} to the explainer object itself")
    if not isinstance(predictor, (TorchPredictor, BlackBox, TiledPredictor)):
        predictor = load_predictor(predictor)
    if isinstance(bundle, (str, Path)):
        bundle = load_bundle(bundle)
    others = as_images(background)
    results: list[Any] = [None] * len(batch)
    try:
        if isinstance(predictor, TorchPredictor):
            predictor.look(batch[0].values[None])
        changes = getattr(explainer, "goal", None) is not None
        for wanted, rows in _by_target(predictor, target, batch, changes=changes):
            some = [batch[row] for row in rows]
            if reference is not None:
                wanted = compared(wanted, as_image(reference, grid=some[0].grid), some, predictor)
            mask = None if region is None else as_image(region, grid=some[0].grid)
            found = core.explain(
                explainer,
                predictor,
                some,
                target=wanted,
                bundle=bundle,
                background=others,
                region=None if mask is None else on_grid(mask, some, wanted, predictor),
                seed=seed,
            )
            for row, result in zip(rows, found, strict=True):
                results[row] = result
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        raise ContrafactError(
            f"the model does not fit the memory of {getattr(predictor, 'device', 'the CPU')} with one image of "
            f"{batch[0].values.shape}; crop it, or let the model take patches (TiledPredictor)"
        ) from error
    for result in results:
        warn_if_empty(result)
    return results[0] if single else results


def _by_target(
    predictor: AnyPredictor, target: Any, images: Sequence[Image], *, changes: bool = False
) -> list[tuple[Any, list[int]]]:
    """Targets, each with the places of its images; one target for all is resolved once. With `changes`, an
    unnamed one is the class that is not predicted: a goal is a change."""
    target = target.tolist() if isinstance(target, (np.ndarray, Tensor)) else target
    if isinstance(target, (list, tuple)):
        if len(target) != len(images):
            raise InputError(f"expected one target, or one for each of {len(images)} images; got {len(target)}")
        each = [parse(predictor, one, image) for one, image in zip(target, images, strict=True)]
    elif target is None:
        other = [other_class(predictor, image) if changes else None for image in images]
        each = [parse(predictor, one, image) for one, image in zip(other, images, strict=True)]
    else:
        each = [parse(predictor, target, images[0])] * len(images)
    groups: dict[Any, tuple[Any, list[int]]] = {}
    for row, one in enumerate(each):
        key = digest_of_content(one) if isinstance(one, NAMED) else id(one)
        groups.setdefault(key, (one, []))[1].append(row)
    return list(groups.values())


def parse(predictor: AnyPredictor, text: Any, image: Image) -> Any:
    """A target from text, or from the name or number of a class; without any, what the model predicts for the
    image. An object that is a target already is given back."""
    text = text.tolist() if isinstance(text, (np.ndarray, Tensor)) else text
    if not (text is None or isinstance(text, (str, int, np.integer))) or isinstance(text, bool):
        if callable(text):
            return text
        raise InputError(f"expected a target as text, a class name or number, or an object; got {text!r:.60}")
    if not predictor.classes:  # their names may be unknown, their number never is
        count = ask(predictor, image).shape[1] + (predictor.output == "ordinal")
        predictor.classes = tuple(str(k) for k in range(count))
    if isinstance(text, str) and text in predictor.classes and not is_form(text):
        text = predictor.classes.index(text)
    if isinstance(text, str):
        return predictor.target(text)
    if text is not None:
        place = "region" if ask(predictor, image).ndim > 2 else "class"
        return predictor.target(f"{'value' if predictor.output == 'regression' else place}:{int(text)}")
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


def other_class(predictor: AnyPredictor, image: Image) -> Any | None:
    """The class that comes next: the other of two, the runner-up of more. None where the model has no second
    class, or is no classifier."""
    outputs = ask(predictor, image)
    if predictor.output == "regression" or outputs.ndim != 2:
        return None
    shares = predictor.probabilities(outputs)[0].tolist()
    if len(shares) < 2:
        return None
    best = shares.index(max(shares))
    runner_up = max((k for k in range(len(shares)) if k != best), key=shares.__getitem__)
    return parse(predictor, f"class:{runner_up}", image)


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
    index = getattr(target, "index", None)
    return mask_of(mask.values[0], label=index, classes=len(predictor.classes), label_map=mask.label_map)


def ask(predictor: AnyPredictor, image: Image) -> Tensor:
    """Raw outputs (1, K, ...) for one image, without gradients, the model left as it was."""
    frozen = getattr(predictor, "frozen", contextlib.nullcontext)
    with frozen(), torch.no_grad():
        return predictor(image.values[None])
