"""Networks of segmentation-models-pytorch: a folder that it saved, or a name with a file of weights."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import nn

from contrafact.core import FORMATS, InputError, nearest
from contrafact.core.reading import one_line
from contrafact.models.formats.huggingface import text_of_config
from contrafact.models.formats.optional_library import optional_library
from contrafact.models.json_tables import numbers_of, read_table
from contrafact.models.opened import Opened
from contrafact.models.preprocessing import Preprocessing
from contrafact.models.source import ModelSource
from contrafact.models.weights import filled, read_weights

ARCHITECTURES = (
    "Unet", "UnetPlusPlus", "MAnet", "Linknet", "FPN", "PSPNet", "PAN", "DeepLabV3", "DeepLabV3Plus", "UPerNet",
    "Segformer", "DPT",
)  # fmt: skip
WRITTEN = re.compile(r"(?P<kind>\w+)/(?P<encoder>[\w.\-]+)", re.ASCII)


@FORMATS.register("segmentation-models")
@dataclass(frozen=True, slots=True)
class SegmentationModels:
    """A network of segmentation-models-pytorch: the folder that `save_pretrained` writes, or
    `smp:Unet/resnet34@weights.pth`. Outputs and channels are those of the folder or the weights. Nothing is
    fetched."""

    schemes: ClassVar[tuple[str, ...]] = ("smp",)
    reads: ClassVar[str] = "smp:ARCHITECTURE/ENCODER@WEIGHTS, or a folder of save_pretrained"
    takes_inputs: ClassVar[bool] = False
    takes_factory: ClassVar[bool] = False

    def recognises(self, source: ModelSource) -> bool:
        return source.scheme == "smp" or (
            source.has("config.json") and '"_model_class"' in text_of_config(source)
        )

    def open(self, source: ModelSource) -> Opened:
        what = "a network of segmentation-models-pytorch"
        smp = optional_library("segmentation_models_pytorch", what, "smp")
        kind, about, path = _of_name(source) if source.scheme else _of_folder(source)
        if kind not in ARCHITECTURES or not hasattr(smp, kind):
            raise InputError(
                f"expected one of {', '.join(ARCHITECTURES)}; got '{kind:.60}'{nearest(kind, ARCHITECTURES)}"
            )
        state = read_weights(path)
        if source.scheme:
            head = state.get("segmentation_head.0.weight")
            first = next((v for k, v in state.items() if k.startswith("encoder.") and v.ndim == 4), None)
            if head is None or first is None:
                raise InputError(
                    f"expected the weights of a network of segmentation-models-pytorch in '{path.name}'; got "
                    f"{', '.join(list(state)[:3])}, ..."
                )
            about |= {"classes": int(head.shape[0]), "in_channels": int(first.shape[1])}
        network = _made(smp, kind, about)
        channels = int(about.get("in_channels", 3))
        declared: dict[str, Any] = {"preprocessing": Preprocessing(channels=channels)}
        if about.get("activation"):
            declared["output"] = "probabilities"
        elif about.get("classes") == 1:
            declared["output"] = "sigmoid"
        notes = (
            'the format states no preprocessing; that of ImageNet is --preprocessing \'{"window": [0, 255], '
            '"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}\'',
        )
        what = f"{kind} of segmentation-models-pytorch"
        return Opened(network=filled(network, state, path, what=what), declared=declared, notes=notes)


def _of_name(source: ModelSource) -> tuple[str, dict[str, Any], Path]:
    """Return architecture, arguments and weights of `smp:Unet/resnet34@weights.pth`."""
    match = WRITTEN.fullmatch(source.name)
    if match is None:
        raise InputError(
            f"expected smp:ARCHITECTURE/ENCODER@WEIGHTS, such as smp:Unet/resnet34; got '{source.text}'"
        )
    return match["kind"], {"encoder_name": match["encoder"]}, source.file


def _of_folder(source: ModelSource) -> tuple[str, dict[str, Any], Path]:
    """Return architecture, arguments and weights of a folder."""
    config = read_table(source.part("config.json"), "the configuration of a network")
    about = {k: v for k, v in config.items() if not k.startswith("_")}
    return str(config.get("_model_class")), about, source.part("model.safetensors")


def _check_arguments(about: Mapping[str, Any], make: Any, kind: str) -> None:
    """Raise InputError for arguments beside those of the architecture, which its encoder would get (a file of
    weights, an address), unless they are numbers."""
    parts = inspect.signature(make).parameters.values()
    known = {part.name for part in parts if part.kind is not part.VAR_KEYWORD}
    for key, value in about.items():
        if key not in known and not numbers_of(value if isinstance(value, list) else [value]):
            raise InputError(
                f"config.json has '{key}', which is no argument of {kind}: remove it; the arguments of an "
                "encoder must be numbers"
            )


def _made(smp: Any, kind: str, about: Mapping[str, Any]) -> nn.Module:
    """Return a network without weights; its arguments are plain, and none fetches."""
    encoder = about.get("encoder_name")
    if not isinstance(encoder, str) or not re.fullmatch(r"[\w.\-]+", encoder):
        raise InputError(f"expected the name of an encoder; got {encoder!r:.60}")
    if about.get("aux_params"):
        raise InputError("a network with 'aux_params' has two outputs: give it as a torch module in Python")
    make = getattr(smp, kind)
    _check_arguments(about, make, kind)
    try:
        network: nn.Module = make(**{**about, "encoder_weights": None})
    except Exception as error:  # networks of the library check their arguments themselves
        raise InputError(f"segmentation-models-pytorch could not make it: {one_line(error)}") from error
    return network
