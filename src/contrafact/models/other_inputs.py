"""Inputs of a network beside the image (age, sex, a score), which are kept constant."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from contrafact.core import InputError


def constants_of(inputs: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Return the values of one case by the name of the input: a number becomes a row of one, whole numbers
    int64 and others float32.

    raises  InputError for a value that is no number and no list of numbers
    """
    constants = {}
    for name, value in inputs.items():
        array = np.asarray(value)
        if array.dtype.kind not in "iufb" or array.size == 0 or not np.isfinite(array).all():
            raise InputError(f"the input '{name}' must be a number or a list of numbers; got {value!r:.60}")
        kept = array.astype(np.int64) if array.dtype.kind in "iu" else array.astype(np.float32)
        constants[name] = kept.reshape(1) if kept.ndim == 0 else kept
    return constants


def parameters_of(network: nn.Module) -> list[inspect.Parameter]:
    """Return the parameters of a network's `forward`, the images first; empty where they cannot be read."""
    try:
        return list(inspect.signature(network.forward).parameters.values())
    except (TypeError, ValueError):
        return []


class WithInputs(nn.Module):
    """A network of an image and other inputs as a network of the image: `network(images, **inputs)`, each a row
    of the same values for every image."""

    def __init__(self, network: nn.Module, inputs: Mapping[str, Any]) -> None:
        super().__init__()
        _check_names(inputs, parameters_of(network))
        self.network, self.names = network, tuple(inputs)
        for number, value in enumerate(constants_of(inputs).values()):
            self.register_buffer(f"input_{number}", torch.as_tensor(value))

    def forward(self, images: Tensor) -> Any:
        rows = [self.get_buffer(f"input_{number}") for number in range(len(self.names))]
        given = [row.expand(len(images), *row.shape) for row in rows]
        try:
            return self.network(images, **dict(zip(self.names, given, strict=True)))
        except RuntimeError as error:
            whole = [name for name, row in zip(self.names, rows, strict=True) if not row.is_floating_point()]
            if not whole or not any(word in str(error) for word in ("dtype", "Long", "scalar type")):
                raise
            raise InputError(
                f"the network does not take whole numbers as {', '.join(whole)}: write them as 60.0"
            ) from error


class FunctionWithInputs:
    """A function of an image and other inputs as a function of the image: `function(images, **inputs)`, each an
    array of the same values for every image."""

    def __init__(self, function: Callable[..., Any], inputs: Mapping[str, Any]) -> None:
        try:
            parts = list(inspect.signature(function).parameters.values())
        except (TypeError, ValueError):  # of a compiled function
            parts = []
        _check_names(inputs, parts)
        self.function, self.constants = function, constants_of(inputs)

    def __call__(self, images: NDArray[Any]) -> Any:
        rows = {name: np.broadcast_to(row, (len(images), *row.shape)) for name, row in self.constants.items()}
        return self.function(images, **rows)


def _check_names(inputs: Mapping[str, Any], parts: Sequence[inspect.Parameter]) -> None:
    """Raise InputError for an input that a model does not have; `parts`: its parameters, the images first; none
    where they cannot be read."""
    known = [part.name for part in parts[1:]]
    unknown = [name for name in inputs if name not in known]
    if unknown and parts and all(part.kind is not part.VAR_KEYWORD for part in parts):
        raise InputError(
            f"the model's inputs beside the image are {', '.join(known) or 'none'}; got '{unknown[0]}'"
        )


def with_inputs(network: Any, inputs: Mapping[str, Any]) -> Any:
    """Return a torch module or function whose other inputs are constant."""
    if not inputs:
        return network
    return (
        WithInputs(network, inputs) if isinstance(network, nn.Module) else FunctionWithInputs(network, inputs)
    )
