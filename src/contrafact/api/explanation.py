"""The function `explain`: one call loads, converts and checks its arguments, and explains the images."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import contrafact.attribution as _attribution
from contrafact.api.at_once import explain_at_once
from contrafact.api.regions import without
from contrafact.api.spacing import warn_of_spacing
from contrafact.api.types import (
    AnyImage,
    ArrayLike,
    BundleLike,
    CounterfactualMethod,
    ExplainOptions,
    HeatmapMethod,
    ImagesLike,
    MaskLike,
    ModelLike,
    OneImage,
    Result,
    TargetLike,
)
from contrafact.bundles import load_bundle
from contrafact.bundles.fitting import fit
from contrafact.core import (
    EXPLAINERS,
    ContrafactError,
    Counterfactual,
    Heatmap,
    Image,
    InputError,
    Predictor,
    mask_of,
)
from contrafact.core.contents import digest_of_content
from contrafact.core.empty import warn_if_empty
from contrafact.core.target_kinds import class_of
from contrafact.core.traits import goal_of
from contrafact.io.arrays import as_image, as_images, is_batch
from contrafact.models import (
    RegionTarget,
    TorchPredictor,
    as_predictor,
    class_names,
    class_sizes,
    load_predictor,
)
from contrafact.models.detections import BoxTarget, FoundBox
from contrafact.models.target_syntax import is_form
from contrafact.models.targets import (
    ClassTarget,
    GradeTarget,
    MarginTarget,
    ProbabilityTarget,
    RiskTarget,
    ValueTarget,
)
from contrafact.perturbation.memory import out_of_memory

__all__ = ["explain", "fit", "load_bundle", "load_predictor"]
NAMED = (ClassTarget, GradeTarget, MarginTarget, ProbabilityTarget, RiskTarget, ValueTarget, RegionTarget,
         FoundBox, BoxTarget)  # fmt: skip
OWN_TARGET = {"regression": "value:0", "survival": "risk", "detection": "box:1"}  # of models without classes
_ = _attribution


@overload
def explain(
    explainer: HeatmapMethod, predictor: ModelLike, images: OneImage, **options: Unpack[ExplainOptions]
) -> Heatmap: ...
@overload
def explain(
    explainer: HeatmapMethod,
    predictor: ModelLike,
    images: list[AnyImage] | tuple[AnyImage, ...],
    **options: Unpack[ExplainOptions],
) -> list[Heatmap]: ...
@overload
def explain(
    explainer: HeatmapMethod, predictor: ModelLike, images: ArrayLike, **options: Unpack[ExplainOptions]
) -> Heatmap | list[Heatmap]: ...
@overload
def explain(
    explainer: CounterfactualMethod, predictor: ModelLike, images: OneImage, **options: Unpack[ExplainOptions]
) -> Counterfactual: ...
@overload
def explain(
    explainer: CounterfactualMethod,
    predictor: ModelLike,
    images: list[AnyImage] | tuple[AnyImage, ...],
    **options: Unpack[ExplainOptions],
) -> list[Counterfactual]: ...
@overload
def explain(
    explainer: CounterfactualMethod, predictor: ModelLike, images: ArrayLike, **options: Unpack[ExplainOptions]
) -> Counterfactual | list[Counterfactual]: ...
@overload
def explain(
    explainer: str,
    predictor: ModelLike,
    images: OneImage,
    *,
    target: TargetLike | None = None,
    reference: MaskLike | None = None,
    bundle: BundleLike | None = None,
    background: ImagesLike = (),
    region: MaskLike | None = None,
    keep: MaskLike | None = None,
    seed: int = 0,
    **parameters: object,
) -> Result: ...
@overload
def explain(
    explainer: str,
    predictor: ModelLike,
    images: list[AnyImage] | tuple[AnyImage, ...],
    *,
    target: TargetLike | None = None,
    reference: MaskLike | None = None,
    bundle: BundleLike | None = None,
    background: ImagesLike = (),
    region: MaskLike | None = None,
    keep: MaskLike | None = None,
    seed: int = 0,
    **parameters: object,
) -> list[Heatmap] | list[Counterfactual]: ...
@overload
def explain(
    explainer: str,
    predictor: ModelLike,
    images: ArrayLike,
    *,
    target: TargetLike | None = None,
    reference: MaskLike | None = None,
    bundle: BundleLike | None = None,
    background: ImagesLike = (),
    region: MaskLike | None = None,
    keep: MaskLike | None = None,
    seed: int = 0,
    **parameters: object,
) -> Result | list[Heatmap] | list[Counterfactual]: ...
def explain(
    explainer: str | HeatmapMethod | CounterfactualMethod,
    predictor: ModelLike,
    images: ImagesLike,
    *,
    target: TargetLike | None = None,
    reference: MaskLike | None = None,
    bundle: BundleLike | None = None,
    background: ImagesLike = (),
    region: MaskLike | None = None,
    keep: MaskLike | None = None,
    seed: int = 0,
    **parameters: object,
) -> Result | list[Heatmap] | list[Counterfactual]:
    """Explain one image or a list of images.

    explainer   a name (`contrafact list explainers`) with its hyper-parameters as keywords, or an
                object (`cf.GradCAM(layer="body.3.conv2")`)
    predictor   from `load_predictor` or a bundle; or a torch module or a function
    images      an `Image`, a path, an array or tensor (H, W), (C, H, W) or (C, D, H, W) of up to 4 channels, a
                PIL image; a list of these, or a batch (N, C, H, W) or (N, C, D, H, W): four axes are a batch
                when the second has at most 4, else a volume
    target      text (`class:1`, `class:pneumonia`, `margin:3,1`, `value:0`, `grade`; for a segmenter
                `region:2`, `lesion:2#1`, see `contrafact list targets`), the name or index of a class, or an
                object; a list, array or tensor has one for each image. None: each image's own predicted class
                (`value:0` for a regression), and for a counterfactual with a goal the second most probable
                class
    reference   mask on the image's grid, for targets that compare with one. Masks have the values 0 and 1 (or
                255); of a label map the target's class is used (`Image(values, label_map=True)`: also where
                its labels are 0 and 1 alone)
    bundle      for counterfactuals: a bundle, or its name
    background  other images of the same kind, for expected-gradients and feature-permutation
    region      mask on the image's grid: the explanation is limited to its voxels, which saves passes; a
                counterfactual changes these alone
    keep        mask of 0 and 1 on the image's grid: its voxels are left out of the explanation, and unchanged
    gives       a `Heatmap` or `Counterfactual`; a list of them for a list or batch of images
    cost        as the method's docstring says, in passes of the model per image
    raises      InputError (expected, got, do), UnsupportedError, ContrafactError where memory is exceeded
    warns       EmptyMapWarning for a map without information
    """
    single, batch = not is_batch(images), as_images(images)
    if not batch:
        raise InputError("expected an image or a list of images; got an empty list")
    if parameters and not isinstance(explainer, str):
        raise InputError(f"give {', '.join(parameters)} to the explainer object itself")
    method = EXPLAINERS.make(explainer, **parameters) if isinstance(explainer, str) else explainer
    model = as_predictor(predictor)
    if isinstance(bundle, (str, Path)):
        bundle = load_bundle(bundle)
    others = as_images(background)
    if keep is not None:
        whole = None if region is None else as_image(region, grid=batch[0].grid)
        region = without(whole, as_image(keep, grid=batch[0].grid))
    results = explain_images(
        method,
        model,
        batch,
        target=target,
        reference=reference,
        bundle=bundle,
        background=others,
        region=region,
        seed=seed,
    )
    return results[0] if single else results


def explain_images(
    method: Any,
    model: Predictor,
    batch: Sequence[Image],
    *,
    target: Any = None,
    reference: MaskLike | None = None,
    bundle: Any = None,
    background: Sequence[Image] = (),
    region: MaskLike | None = None,
    seed: int = 0,
    outputs: dict[int, Any] | None = None,
) -> list[Any]:
    """Explain images as `explain` does, with arguments that are converted already; `outputs` as in
    `core.explain`."""
    results: list[Any] = [None] * len(batch)
    warn_of_spacing(model, list(batch))
    try:
        changes = goal_of(method) is not None
        for parsed, rows in _by_target(model, target, batch, changes=changes):
            part, seen = [batch[row] for row in rows], dict[int, Any]()
            if reference is not None:
                parsed = compared(parsed, as_image(reference, grid=part[0].grid), part, model)
            mask = None if region is None else as_image(region, grid=part[0].grid)
            explained = explain_at_once(
                method,
                model,
                part,
                target=parsed,
                bundle=bundle,
                background=background,
                region=None if mask is None else on_grid(mask, part, parsed, model),
                seed=seed,
                outputs=seen,
            )
            for row, result in zip(rows, explained, strict=True):
                results[row] = result
            if outputs is not None:
                outputs.update({rows[number]: row for number, row in seen.items()})
        if isinstance(model, TorchPredictor):
            model.look(batch[0].values[None])
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        raise ContrafactError(
            f"the model does not fit the memory of {model.device} with one image of "
            f"{batch[0].values.shape}; crop the image, or use patches (TiledPredictor)"
        ) from error
    for result in results:
        warn_if_empty(result)
    return results


def _by_target(
    predictor: Predictor, target: Any, images: Sequence[Image], *, changes: bool = False
) -> list[tuple[Any, list[int]]]:
    """Return the targets, each with the indices of its images; one target for all images is parsed once. With
    `changes`, the default is the second most probable class instead of the predicted one."""
    target = target.tolist() if isinstance(target, (np.ndarray, Tensor)) else target
    if isinstance(target, (list, tuple)):
        if len(target) != len(images):
            raise InputError(f"expected one target, or one for each of {len(images)} images; got {len(target)}")
        each = [parse(predictor, parsed, image) for parsed, image in zip(target, images, strict=True)]
    elif target is None:
        asked = [Outputs(predictor, image) for image in images]
        other = [other_class(predictor, of.image, of) if changes else None for of in asked]
        each = [parse(predictor, text, of.image, of) for text, of in zip(other, asked, strict=True)]
    else:
        each = [parse(predictor, target, images[0])] * len(images)
    groups: dict[Any, tuple[Any, list[int]]] = {}
    for row, parsed in enumerate(each):
        key = digest_of_content(parsed) if isinstance(parsed, NAMED) else id(parsed)
        groups.setdefault(key, (parsed, []))[1].append(row)
    return list(groups.values())


class Outputs:
    """The raw outputs (1, K, ...) of a model for one image, from one pass at most.

    known   the outputs where they are known; else None, and the first call computes them
    """

    def __init__(self, predictor: Predictor, image: Image) -> None:
        self.predictor, self.image = predictor, image
        self.known: Tensor | None = None

    def __call__(self) -> Tensor:
        if self.known is None:
            self.known = ask(self.predictor, self.image)
        return self.known


def parse(predictor: Predictor, text: Any, image: Image, outputs: Outputs | None = None) -> Any:
    """Return a target from text, or from the name or index of a class; None: the predicted class or region of
    the image. A target object is returned unchanged. Raise InputError for anything else.

    outputs   the model's outputs for the image, where a pass may have been made before
    """
    outputs = outputs or Outputs(predictor, image)
    text = text.tolist() if isinstance(text, (np.ndarray, Tensor)) else text
    if not (text is None or isinstance(text, (str, int, np.integer))) or isinstance(text, bool):
        if callable(text):
            return text
        raise InputError(f"expected a target as text, a class name or number, or an object; got {text!r:.60}")
    if not predictor.class_count:
        outputs()  # counts the classes
    names = class_names(predictor)
    if isinstance(text, str) and text in names and not is_form(text):
        text = names.index(text)
    if isinstance(text, str):
        return predictor.target(text)
    if text is not None:
        kind = "region" if outputs().ndim > 2 else "class"
        return predictor.target(f"{'value' if predictor.output == 'regression' else kind}:{int(text)}")
    if predictor.output in OWN_TARGET:
        return predictor.target(OWN_TARGET[predictor.output])
    raw = outputs()
    if raw.ndim == 2:
        return predictor.target(f"class:{int(predictor.probabilities(raw)[0].argmax())}")
    sizes = class_sizes(raw, predictor.output)
    if len(sizes) > 1 and predictor.output != "sigmoid":
        sizes[0] = 0  # the first of exclusive classes is the background
    if not max(sizes):
        raise InputError(
            "expected a target, such as mask:1 or volume:1, for an image without a predicted region; got none"
        )
    return predictor.target(f"region:{sizes.index(max(sizes))}")


def other_class(predictor: Predictor, image: Image, outputs: Outputs | None = None) -> Any | None:
    """Return the target of the second most probable class; `outputs` as in `parse`. None where the model has no
    second class, or is not a classifier."""
    outputs = outputs or Outputs(predictor, image)
    if predictor.output in OWN_TARGET or outputs().ndim != 2:
        return None
    probabilities = predictor.probabilities(outputs())[0].tolist()
    if len(probabilities) < 2:
        return None
    best = probabilities.index(max(probabilities))
    runner_up = max((k for k in range(len(probabilities)) if k != best), key=probabilities.__getitem__)
    return parse(predictor, f"class:{runner_up}", image, outputs)


def compared(target: Any, reference: Image, images: Sequence[Image], predictor: Predictor) -> Any:
    """Return the target with its reference mask.

    raises  InputError for a target without a reference, another grid, or a mask without the target's class
    """
    if not isinstance(target, RegionTarget):
        raise InputError(
            f"expected a target that compares with a reference, such as mask or missed; got {target}"
        )
    mask = on_grid(reference, images, target, predictor)
    if not mask.any() and target.place != "false-positive":
        raise InputError(
            f"expected voxels of class {target.index} in the reference for target {target}; got none"
        )
    return dataclasses.replace(target, reference=mask)


def on_grid(mask: Image, images: Sequence[Image], target: Any, predictor: Predictor) -> NDArray[np.bool_]:
    """Return a mask (*S) on the grid of the images; of a label map, the mask of the target's class.

    raises  InputError for another grid, several channels, or values that are neither a mask nor labels
    """
    if any(image.grid != mask.grid for image in images):
        raise InputError("the mask is on another grid than the image; resample it first")
    if mask.channels != 1:
        raise InputError(f"expected a mask of one channel; got {mask.channels}")
    return mask_of(
        mask.values[0], label=class_of(target), classes=predictor.class_count, label_map=mask.label_map
    )


def ask(predictor: Predictor, image: Image) -> Tensor:
    """Return the raw outputs (1, K, ...) for one image, without gradients and without a change of the model."""
    with predictor.frozen(), torch.no_grad():
        return torch.as_tensor(predictor(image.values[None]))
