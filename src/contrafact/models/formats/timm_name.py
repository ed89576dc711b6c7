"""Networks of timm by their name, with a file of weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from contrafact.core import FORMATS, InputError, nearest
from contrafact.core.reading import one_line
from contrafact.models.formats.optional_library import optional_library
from contrafact.models.opened import Opened
from contrafact.models.preprocessing import Preprocessing
from contrafact.models.source import ModelSource
from contrafact.models.weights import filled, read_weights, without_prefix

NAME = re.compile(r"[\w.\-]+", re.ASCII)


@FORMATS.register("timm")
@dataclass(frozen=True, slots=True)
class TimmName:
    """A network of timm with weights: `timm:resnet50.a1_in1k@weights.safetensors`. The number of outputs and of
    channels is that of the weights, size, mean and standard deviation those of the name. Nothing is fetched."""

    schemes: ClassVar[tuple[str, ...]] = ("timm",)
    reads: ClassVar[str] = "timm:NAME@WEIGHTS"
    takes_inputs: ClassVar[bool] = False
    takes_factory: ClassVar[bool] = False

    def recognises(self, source: ModelSource) -> bool:
        return source.scheme == "timm"

    def open(self, source: ModelSource) -> Opened:
        timm = optional_library("timm", "a network of timm", "timm")
        state = read_weights(source.file)
        name = source.name
        if not NAME.fullmatch(name) or not timm.is_model(name):
            known = timm.list_models()
            raise InputError(f"expected the name of a network of timm; got '{name:.60}'{nearest(name, known)}")
        plain: Any = _made(timm, name, {})
        about = dict(plain.pretrained_cfg)
        state = without_prefix(state, plain.state_dict(), source.file)
        outputs = _rows(state, about.get("classifier"), 0)
        channels = _rows(state, about.get("first_conv"), 1)
        network = _made(timm, name, {"num_classes": outputs, "in_chans": channels})
        note = "timm resizes the shorter side and cuts the centre out; here the whole image is resized"
        return Opened(
            network=filled(network, state, source.file, what=f"timm's {name}"),
            declared={"preprocessing": _preprocessing(about, channels)},
            notes=(note,),
        )


def _made(timm: Any, name: str, sizes: Mapping[str, int | None]) -> nn.Module:
    """Return a network of timm without weights."""
    given = {key: value for key, value in sizes.items() if value is not None}
    try:
        network: nn.Module = timm.create_model(name, pretrained=False, **given)
    except Exception as error:  # networks of timm check their arguments themselves
        raise InputError(f"timm could not make '{name}': {one_line(error)}") from error
    return network


def _rows(state: Mapping[str, Tensor], layer: Any, axis: int) -> int | None:
    """Return the outputs (axis 0) or inputs (axis 1) of a layer of the weights; None where it is not there."""
    layer = layer[0] if isinstance(layer, (list, tuple)) and layer else layer
    weight = state.get(f"{layer}.weight")
    return int(weight.shape[axis]) if weight is not None and weight.ndim > axis else None


def _preprocessing(about: Mapping[str, Any], channels: int | None) -> Preprocessing:
    """Return the preprocessing of a configuration of timm, for 8-bit images."""
    count = channels or about["input_size"][0]
    mean, std = (tuple(map(float, about[key])) for key in ("mean", "std"))
    if count != len(mean):
        mean, std = (sum(mean) / len(mean),) * count, (sum(std) / len(std),) * count
    size = tuple(about["input_size"][1:])
    return Preprocessing(size=size, least=1, channels=count, window=(0, 255), mean=mean, std=std)
