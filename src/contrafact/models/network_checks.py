"""Refuse networks that cannot be asked, or give no gradients, by what they are."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from torch import Tensor, nn

from contrafact.core import InputError, UnsupportedError
from contrafact.models.other_inputs import parameters_of


def check_module(module: nn.Module) -> None:
    """Raise an error for a network without values (on the meta device), or of quantised layers, or
    with inputs beside the image that have no value."""
    if any(tensor.is_meta for tensor in (*module.parameters(), *module.buffers())):
        raise InputError("the network has no values (device 'meta'): load its weights first")
    named = [part for part in parameters_of(module) if part.kind not in (part.VAR_POSITIONAL, part.VAR_KEYWORD)]
    needed = [part.name for part in named[1:] if part.default is part.empty]
    if needed:
        raise InputError(
            f"the network takes {', '.join(needed)} beside the image: give values, which are kept constant: "
            f"inputs={{'{needed[0]}': 1.0}} (--inputs '{{\"{needed[0]}\": 1.0}}')"
        )
    packed = next((m for m in module.modules() if "quantized" in type(m).__module__), None)
    if packed is not None:
        raise UnsupportedError(
            f"the network has quantised layers ({type(packed).__name__}), whose packed weights give no "
            "gradients and no identity: give the network before that, or as ONNX for methods without gradients"
        )


@contextlib.contextmanager
def naming_channels(module: nn.Module, images: Tensor) -> Iterator[None]:
    """Turn the error of torch for images (N, C, *S) of other channels or axes into one that says what to do."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        axes = _axes_of(module)
        if len(axes) == 1 and images.ndim - 2 not in axes:
            step = "give one slice" if axes == {2} else "give a volume, such as NIfTI or a DICOM series"
            raise InputError(
                f"the network takes {min(axes)}D images; got {images.ndim - 2}D: {step}"
            ) from error
        told = re.search(r"to have (\d+) channels, but got (\d+) channels", str(error))
        if told is None or int(told[2]) != images.shape[1]:
            raise
        grey = (
            f"repeat its one channel: --preprocessing '{{\"channels\": {told[1]}}}' "
            f"(preprocessing=cf.Preprocessing(channels={told[1]}))"
        )
        step = grey if told[2] == "1" else "convert the image (for instance to grey) first"
        raise InputError(f"the network takes {told[1]} channel(s); got {told[2]}: {step}") from error


def _axes_of(module: nn.Module) -> set[int]:
    """Return the spatial axes that the layers of a network are made for, by their names (Conv2d, MaxPool3d)."""
    found = (re.fullmatch(r"\w+?([123])d", type(layer).__name__) for layer in module.modules())
    return {int(match[1]) for match in found if match}


def check_followed(outputs: Tensor) -> None:
    """Raise UnsupportedError for a graph that gives no gradients of images: a checkpoint that is re-entrant."""
    seen, steps = set(), [outputs.grad_fn]
    while steps:
        step = steps.pop()
        if step is None or step in seen:
            continue
        if step.name() == "CheckpointFunctionBackward":
            raise UnsupportedError(
                "the network saves memory with torch.utils.checkpoint(use_reentrant=True), which gives no "
                "gradients of images and layers: write use_reentrant=False, or use occlusion or rise"
            )
        seen.add(step)
        steps += [following for following, _ in step.next_functions]
