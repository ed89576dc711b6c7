"""Read weights without running code, and put them into a network."""

from __future__ import annotations

import pickle
import re
import warnings
from collections import OrderedDict
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
# Classes of trainers' notes in checkpoints. Nothing of them is wanted: an empty object stands in for each, and
# no code of theirs is looked up or run.
NOTES = (
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    "numpy.dtype", "numpy.ndarray", "pathlib.Path", "pathlib.PosixPath", "pathlib.WindowsPath",
    "pathlib._local.PosixPath", "pathlib._local.WindowsPath", "argparse.Namespace",
    *(f"{package}.callbacks.{name}" for package in ("pytorch_lightning", "lightning.pytorch")
      for name in ("model_checkpoint.ModelCheckpoint", "early_stopping.EarlyStopping")),
)  # fmt: skip
TABLES = tuple(  # those that are dictionaries: an OrderedDict stands in
    f"{package}.utilities.{module}.AttributeDict"
    for package in ("lightning_fabric", "lightning.fabric", "pytorch_lightning", "lightning.pytorch")
    for module in ("data", "parsing")
)
STATES = ("state_dict", "model_state_dict", "model")  # where checkpoints keep the tensors
PREFIXES = ("module.", "model.", "_orig_mod.")  # of DataParallel, trainers and torch.compile


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return a state_dict from safetensors or a torch file of tensors; raise InputError for any other file."""
    check_file(path, "a weights file")
    if path.suffix.lower() == ".safetensors":
        from safetensors.torch import load_file

        with reading(path, "a readable safetensors file"):
            return load_file(path)
    state = read_checkpoint(path)
    for key in STATES:
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError(f"expected a state_dict in '{path.name}'; got {type(state).__name__}")
    return dict(state)


class Note:
    """What stands in for an object of `NOTES`."""

    def __new__(cls, *_arguments: Any, **_named: Any) -> Note:
        return super().__new__(cls)

    def __setstate__(self, state: Any) -> None:
        """Keep nothing."""


def read_checkpoint(path: Path) -> Any:
    """Return what a torch file holds: tensors, numbers, texts and containers of them, with a `Note` for each
    object of `NOTES`. Raise InputError for any other object."""
    check_file(path, "a checkpoint")
    check_unpacked(path)
    stand_ins: list[Any] = [*((Note, name) for name in NOTES), *((OrderedDict, name) for name in TABLES)]
    with torch.serialization.safe_globals(stand_ins):
        return guarded(path, lambda: torch.load(path, map_location="cpu", weights_only=True))


def guarded(path: Path, read: Callable[[], _T]) -> _T:
    """Return `read()`; raise InputError for the errors of torch's loaders."""
    with reading(path, "a model that torch can read"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of files that are refused below
        try:
            return read()
        except pickle.UnpicklingError as error:
            named = re.search(r"GLOBAL ([\w.]+)", str(error))
            what = f" ({named[1]})" if named else ""
            raise InputError(
                f"'{path.name}' holds pickled code and was not opened{what}; save its state_dict as "
                "safetensors instead (docs/how-to/your-model.md says how)"
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
    """Return a state_dict without the prefix that a wrapper or trainer adds to the names of its network, which
    a warning names. Tensors without that prefix (a loss's weights) are left out.

    wanted  the state_dict of the network: names that it has as they are stay
    raises  InputError where several parts of the file have all the names of the network
    """
    if not state or set(state) & set(wanted):
        return state
    removed = _prefix(state, wanted, path)
    inner = {name[len(removed) :]: value for name, value in state.items() if name.startswith(removed)}
    if removed:
        left = len(state) - len(inner)
        others = f"; {left} other tensors were left out" if left else ""
        warnings.warn(
            f"the names in '{path.name}' begin with '{removed}', which the network's do not; it was "
            f"removed{others}",
            ContrafactWarning,
            stacklevel=2,
        )
    return inner


def _prefix(state: Mapping[str, Any], wanted: Mapping[str, Any], path: Path) -> str:
    """Return the prefix of all the network's names in a file: any, or else those of wrappers that all names
    have; empty without one."""
    first = next(iter(wanted), "")
    ends = [name[: -len(first)] for name in state if first and name.endswith(f".{first}")]
    fitting = [prefix for prefix in ends if all(f"{prefix}{name}" in state for name in wanted)]
    if len(fitting) > 1:
        raise InputError(
            f"'{path.name}' has all the weights of the network {len(fitting)} times, under "
            f"{', '.join(repr(p) for p in fitting)}: save the part you mean as safetensors"
        )
    if fitting:
        return fitting[0]
    removed = ""
    while shared := next((p for p in PREFIXES if all(name.startswith(removed + p) for name in state)), None):
        removed += shared
        if {name[len(removed) :] for name in state} & set(wanted):
            return removed
    return ""
