"""Any explainer with the interface of `captum.attr`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from captum.attr import Attribution
from captum.log import log_usage
from numpy.typing import NDArray
from torch import Tensor, nn

from contrafact.api.explanation import ask, explain_images
from contrafact.api.types import BundleLike, CounterfactualMethod, HeatmapMethod, ModelLike
from contrafact.bundles import load_bundle
from contrafact.core import EXPLAINERS, Counterfactual, Heatmap, Image, InputError
from contrafact.core.traits import traits_of
from contrafact.models import as_predictor, load_predictor


class CaptumMethod(Attribution):
    """A method as `captum.attr` has them: `CaptumMethod("gradcam", model).attribute(x, target=1)`.

    explainer   a name (`contrafact list explainers`) with its hyper-parameters as keywords, or an object
    model       a torch module, as in captum, or whatever `explain` takes
    bundle      for counterfactuals: a bundle, or its name
    background  images (M, C, *S) for the methods that compare with them
    seed        of the method's random numbers
    raises      InputError as `explain`

    Of a bare torch module, the index of an output is that of its raw output, whatever it means, as in captum.
    Hyper-parameters are those of the method here: `baseline=0.0` is the baseline that captum takes.
    `captum.attr.NoiseTunnel` and `captum.metrics` take it as one of their own. The model's mode, gradients and
    hooks are as they were after each call.
    """

    def __init__(
        self,
        explainer: str | HeatmapMethod | CounterfactualMethod,
        model: ModelLike,
        *,
        bundle: BundleLike | None = None,
        background: Tensor | None = None,
        seed: int = 0,
        **parameters: object,
    ) -> None:
        self.predictor = as_predictor(model)
        bare = isinstance(model, nn.Module)
        self.raw = load_predictor(model, output="regression") if bare else self.predictor
        super().__init__(model if callable(model) else self.predictor)
        if parameters and not isinstance(explainer, str):
            raise InputError(f"give {', '.join(parameters)} to the explainer object itself")
        self.method: Any = EXPLAINERS.make(explainer, **parameters) if isinstance(explainer, str) else explainer
        self.bundle = load_bundle(bundle) if isinstance(bundle, (str, Path)) else bundle
        self.background = [] if background is None else images_of(background)
        self.seed = seed

    @log_usage()
    def attribute(self, inputs: Any, target: Any = None) -> Any:
        """Return attributions of the shape of the inputs.

        inputs  (N, C, *S), as the model takes them, or a tuple of one such tensor
        target  as in captum: the index of an output, or one for each image (the raw output, not the log-odds
                of its class; of methods that change the image until a class is predicted, the class). Also a
                text of ours, such as `class:1`, `region:2`. None: the only output
        gives   (N, C, *S) of the type and on the device of the inputs, in a tuple if they are; every channel
                has an equal share of the map, so that `.sum(1)` is the map. Of a counterfactual: the changed
                image minus the image
        raises  InputError for other inputs, or a target that the model does not have
        """
        given = inputs[0] if isinstance(inputs, tuple) and len(inputs) == 1 else inputs
        images = images_of(given)
        predictor, asked = self._asked(target, images)
        results = explain_images(
            self.method,
            predictor,
            images,
            target=asked,
            bundle=self.bundle,
            background=self.background,
            seed=self.seed,
        )
        maps = np.stack([_per_channel(result, given.shape[1]) for result in results])
        found = torch.from_numpy(maps).to(given)
        return (found,) if isinstance(inputs, tuple) else found

    def _asked(self, target: Any, images: list[Image]) -> tuple[Any, Any]:
        """Return the predictor to ask, and the target of captum as ours."""
        target = [_plain(one) for one in target] if isinstance(target, list) else _plain(target)
        if isinstance(target, list) and len(target) == 1:
            target = target * len(images)
        each = target if isinstance(target, list) else [target]
        if any(isinstance(one, tuple) for one in each):
            raise InputError(
                "expected the index of an output, one for each image, or text; got a tuple; for a segmenter, "
                "name a place, such as target='region:1'"
            )
        if target is not None and not all(type(one) is int for one in each):
            return self.predictor, target
        raw = ask(self.raw, images[0])
        outputs = raw.shape[1]
        if raw.ndim > 2 or (target is None and outputs > 1):
            what = "maps" if raw.ndim > 2 else f"{outputs} outputs"
            place = "a place, such as target='region:1'" if raw.ndim > 2 else "one, such as target=0"
            raise InputError(f"expected a target, since the model returns {what}; got {target}; name {place}")
        wrong = [index for index in each if index is not None and not 0 <= index < outputs]
        if wrong:
            raise InputError(f"expected the index of an output, 0 to {outputs - 1}; got {wrong[0]}")
        if traits_of(self.method).strip and self.predictor.output != "regression":
            return self.predictor, target
        texts = [f"value:{index or 0}" for index in each]
        return self.raw, texts if isinstance(target, list) else texts[0]


def _plain(target: Any) -> Any:
    """Return numbers of torch and NumPy as Python's."""
    return target.tolist() if isinstance(target, (Tensor, np.ndarray, np.generic)) else target


def _per_channel(result: Heatmap | Counterfactual, channels: int) -> NDArray[np.float32]:
    """Return a map as equal shares (C, *S) of the channels; the change of a counterfactual as it is."""
    if isinstance(result, Counterfactual):
        return result.change
    return np.stack([result.values / channels] * channels)


def images_of(inputs: Any) -> list[Image]:
    """Return the images of a batch (N, C, *S); raise InputError for other inputs."""
    if not isinstance(inputs, Tensor):
        raise InputError(f"expected one tensor (N, C, *S); got {type(inputs).__name__}")
    if inputs.ndim not in (4, 5) or not len(inputs):
        raise InputError(f"expected a batch (N, C, H, W) or (N, C, D, H, W); got {tuple(inputs.shape)}")
    return [Image(values) for values in inputs.detach().cpu().float().numpy()]
