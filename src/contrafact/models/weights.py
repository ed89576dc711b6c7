"""Read weights without running code, and put them into a network."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from contrafact.core import ContrafactWarning, InputError, check_file
from contrafact.core.reading import reading
from contrafact.models.archives import check_unpacked

_T = TypeVar("_T")
_Module = TypeVar("_Module", bound=nn.Module)
STATES = ("state_dict", "model_state_dict", "model")  # where checkpoints keep the tensors
PREFIXES = ("module.", "model.", "_orig_mod.")  # of DataParallel, trainers and torch.compile


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return a state_dict from safetensors or a torch file of tensors; raise InputError for any other file."""
    check_file(path, "a weights file")
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        with reading(path, "a readable safetensors file"):
            return load_file(path)
    check_unpacked(path)
    state = guarded(path, lambda: torch.load(path, map_location="cpu", weights_only=True))
    for key in STATES:
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError(f"expected a state_dict in '{path.name}'; got {type(state).__name__}")
    return dict(state)


def guarded(path: Path, read: Callable[[], _T]) -> _T:
    """Return `read()`; raise InputError for the errors of torch's loaders."""
    with reading(path, "a model that torch can read"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of files that are refused below
        try:
            return read()
        except pickle.UnpicklingError as error:
            raise InputError(
                f"'{path.name}' holds pickled code and was not opened; save its state_dict as safetensors "
                "instead"
            ) from error


def filled(module: _Module, state: dict[str, Tensor], path: Path, *, what: str) -> _Module:
    """Return a network in evaluation mode with the weights of a file; floating-point ones become float32.

    what    the network in words, for the error
    raises  InputError for weights that do not fit
    """
    state = without_prefix(state, module.state_dict(), path)
    try:
        module.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    except RuntimeError as error:
        line = " ".join(str(error).split())[:200]
        raise InputError(f"the weights do not fit {what}: {line}") from error
    return module.eval()


def without_prefix(state: dict[str, Tensor], wanted: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """Return a state_dict without the prefixes that wrappers add to every name, which a warning names.

    wanted  the state_dict of the network: names that it has as they are stay
    """
    removed, names = "", list(state)
    while names and not set(names) & set(wanted):
        prefix = next((p for p in PREFIXES if all(name.startswith(p) for name in names)), None)
        if prefix is None:
            return state
        removed += prefix
        names = [name[len(prefix) :] for name in names]
    if removed:
        warnings.warn(
            f"the names in '{path.name}' begin with '{removed}', which the network's do not; it was removed",
            ContrafactWarning,
            stacklevel=2,
        )
    return dict(zip(names, state.values(), strict=True))
