"""What a model format reads of a model, and the door that finds the format."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from torch import nn

from contrafact.core import FORMATS, InputError, is_there
from contrafact.models.other_inputs import with_inputs
from contrafact.models.preprocessing import Preprocessing
from contrafact.models.source import ModelSource

FEW = 4  # files that an error names
MODEL_FILES = {".json", ".onnx", ".pt", ".pth", ".pt2", ".ts", ".ckpt", ".safetensors", ".skops"}
Function = Callable[[np.ndarray[Any, Any]], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A model, and what its format states of it.

    network        torch module, or a function of arrays (N, C, *S) to outputs
    declared       what the format states of `classes`, `output`, `preprocessing`, `head` and `tokens`, as in
                   `load_predictor`; what it does not state is left out
    content        digest of a function, where the file has one
    patch          voxels that the network takes at a time, of a model that slides over larger images; empty:
                   whole images
    overlap        share of a patch that overlaps its neighbour
    notes          sentences a user should read: what the format states and cannot be followed, what was assumed
    """

    network: nn.Module | Function
    declared: Mapping[str, Any] = field(default_factory=dict)
    content: str = ""
    patch: tuple[int, ...] = ()
    overlap: float = 0.5
    notes: tuple[str, ...] = ()


def merged(stated: Mapping[str, Any], declared: Mapping[str, Any]) -> dict[str, Any]:
    """Return the declarations of a format with those of a user over them. Of a preprocessing, the size and
    channels that the user leaves out stay as the format states, the size with its limits."""
    given: Preprocessing | None = declared.get("preprocessing")
    own: Preprocessing | None = stated.get("preprocessing")
    both = {**stated, **declared}
    if given is not None and own is not None:
        left = [key for key in ("size", "channels") if getattr(given, key) is None]
        left += [key for key in ("least", "most") if "size" in left and getattr(given, key) is None]
        kept = {key: getattr(own, key) for key in left}
        both["preprocessing"] = dataclasses.replace(given, **kept)
    return both


class ModelFormat(Protocol):
    """A format of models: one file in `models/formats/`, registered in `FORMATS`.

    schemes  words before the colon that it reads, as in `timm:resnet50@weights.safetensors`; mostly none
    reads    what it recognises, for errors and lists
    takes_inputs  `open` itself gives the network the inputs beside the image (`source.inputs`)
    takes_factory  the file is weights alone, and `source.factory` makes their network
    """

    schemes: ClassVar[tuple[str, ...]]
    reads: ClassVar[str]
    takes_inputs: ClassVar[bool]
    takes_factory: ClassVar[bool]

    def recognises(self, source: ModelSource) -> bool:
        """Whether the source looks like this format, by its name and, of a folder, the files in it; nothing is
        opened."""

    def open(self, source: ModelSource) -> Opened:
        """Return the model; raise InputError, with the next step to take, for what cannot be read."""


def format_of(source: ModelSource) -> ModelFormat:
    """Return the format that recognises a source.

    raises  InputError where none does, with the list of those there are, or where several do
    """
    formats: dict[str, ModelFormat] = {name: FORMATS.get(name)() for name in FORMATS.names()}
    found = [name for name, one in formats.items() if one.recognises(source)]
    if len(found) == 1:
        return formats[found[0]]
    if found:
        raise InputError(
            f"'{source.text}' is a model of several formats: {', '.join(found)}; name one file of it"
        )
    if source.path is not None and not is_there(source.path):
        source.allowed(source.path, "a model file")  # says that it does not exist
    if source.folder is not None:
        raise InputError(
            "expected a folder of MONAI (configs/metadata.json), nnU-Net (plans.json, dataset.json, fold_0), "
            "Hugging Face (config.json) or segmentation-models-pytorch (config.json), or a file of a model; "
            f"got the folder '{source.text}'{_files_in(source.folder)}"
        )
    readable = "; ".join(f"{one.reads} ({name})" for name, one in formats.items())
    raise InputError(
        f"a model file ends in a known suffix, or is a folder or name: {readable}; got '{source.text}'"
    )


def _files_in(folder: Path) -> str:
    """Return which files of a folder may be models, as the end of a sentence."""
    names = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in MODEL_FILES)
    if not names:
        return ": name the file of the model (contrafact list formats)"
    return f": did you mean a file in it ({', '.join(names[:FEW])}{', ...' if len(names) > FEW else ''})?"


def open_model(source: ModelSource) -> Opened:
    """Return the model of a source, read by its format.

    raises  InputError for what cannot be read, and for a factory where the format has no use for one
    """
    reader = format_of(source)
    if source.factory is not None and not reader.takes_factory:
        raise InputError(
            f"expected --factory with a file of weights alone; got '{source.text}', {reader.reads}, which "
            "says itself what its network is: remove --factory and --arguments"
        )
    try:
        opened = reader.open(source)
    except RecursionError as error:
        raise InputError(f"'{source.text}' cannot be read: it is nested too deeply") from error
    if not source.inputs or reader.takes_inputs:
        return opened
    return dataclasses.replace(opened, network=with_inputs(opened.network, source.inputs))
