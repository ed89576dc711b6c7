"""Networks of torchvision by their name, with a file of weights."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from contrafact.core import FORMATS, InputError, nearest
from contrafact.models.formats.optional_library import optional_library
from contrafact.models.opened import Opened
from contrafact.models.preprocessing import Preprocessing
from contrafact.models.source import ModelSource
from contrafact.models.weights import filled, read_weights, without_prefix


@FORMATS.register("torchvision")
@dataclass(frozen=True, slots=True)
class TorchvisionName:
    """A network of torchvision with weights: `torchvision:resnet50@weights.pth`. The number of outputs is that
    of the weights; size, mean and standard deviation those of the name. Nothing is fetched."""

    schemes: ClassVar[tuple[str, ...]] = ("torchvision",)
    reads: ClassVar[str] = "torchvision:NAME@WEIGHTS"
    takes_inputs: ClassVar[bool] = False
    takes_factory: ClassVar[bool] = False

    def recognises(self, source: ModelSource) -> bool:
        return source.scheme == "torchvision"

    def open(self, source: ModelSource) -> Opened:
        models = optional_library("torchvision.models", "a network of torchvision", "torchvision")
        state = read_weights(source.file)
        name = source.name.lower()
        known = [*models.list_models(module=models), *models.list_models(module=models.segmentation)]
        if name not in known:
            raise InputError(
                f"expected a classifier or segmenter of torchvision; got '{source.name:.60}'"
                f"{nearest(name, known)}"
            )
        options = _options(models, name)
        plain = models.get_model(name, **options)
        state = without_prefix(state, plain.state_dict(), source.file)
        if any(key.startswith("aux_classifier.") for key in state):
            options["aux_loss"] = True
        outputs = _outputs(plain, state)
        network: nn.Module = models.get_model(name, **options, num_classes=outputs)
        return Opened(
            network=filled(network, state, source.file, what=f"torchvision's {name}"),
            declared={"preprocessing": _preprocessing(models, name)},
            notes=("torchvision may cut the centre out of an image; here the whole image is resized",),
        )


def _options(models: Any, name: str) -> dict[str, Any]:
    """Return the arguments with which a network of torchvision fetches and warns of nothing."""
    names = inspect.signature(models.get_model_builder(name)).parameters
    options: dict[str, Any] = {"weights": None}
    if "weights_backbone" in names:
        options["weights_backbone"] = None
    if name in ("googlenet", "inception_v3"):
        options["init_weights"] = False
    return options


def _outputs(network: nn.Module, state: Mapping[str, Tensor]) -> int:
    """Return the number of outputs of the weights: the rows of the last weight of a linear layer or
    convolution, in the order of the network."""
    kinds = (nn.Linear, nn.Conv2d, nn.Conv3d)
    last = [
        name
        for name, layer in network.named_modules()
        if isinstance(layer, kinds) and not name.lower().startswith("aux")
    ][-1]
    weight = state.get(f"{last}.weight")
    if weight is None:
        raise InputError(f"expected '{last}.weight' among the weights; got {', '.join(list(state)[:3])}, ...")
    return int(weight.shape[0])


def _preprocessing(models: Any, name: str) -> Preprocessing:
    """Return the preprocessing that torchvision states for the weights that it has of a name."""
    transforms = models.get_model_weights(name).DEFAULT.transforms()
    size = next(iter(getattr(transforms, "crop_size", None) or transforms.resize_size))
    mean, std = (tuple(map(float, values)) for values in (transforms.mean, transforms.std))
    return Preprocessing(
        size=(int(size), int(size)), least=1, channels=len(mean), window=(0, 255), mean=mean, std=std
    )
