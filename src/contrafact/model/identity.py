"""What makes two models the same: weights, architecture, source, and how they are declared to be used."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from contrafact.core import fingerprint
from contrafact.core.source import PLAIN, source_of
from contrafact.model.preprocessing import Preprocessing

Stamp = tuple[tuple[int, int], ...]


def digest_of_module(module: nn.Module) -> str:
    """Digest of a network: weights and buffers, layers and their settings, and the source of every class in it
    that comes from no library (of TorchScript and exported programs their code)."""
    parts = [(name, _settings(part)) for name, part in module.named_modules()]
    kinds = dict.fromkeys(type(part) for part in module.modules())
    own = [vars(part)["forward"] for part in module.modules() if "forward" in getattr(part, "__dict__", {})]
    texts = [source_of(code)[0] for code in (*kinds, *own)]
    weights = [(name, digest_of_tensor(value)) for name, value in tensors_of(module)]
    return fingerprint(repr(module), parts, texts, weights)


def digest_of_function(function: Any) -> str:
    """Digest of a function: its source, and the networks and arrays that it uses."""
    texts, values = source_of(function)
    if values and values[0] is function:  # an object that is called
        texts, more = source_of(type(function))
        values = [*more, *vars(function).values()] if hasattr(function, "__dict__") else more
    return fingerprint(texts, [_content(value) for value in values])


def digest_of_use(content: str, *, preprocessing: Any, head: Any, output: str, classes: Sequence[str]) -> str:
    """Digest of a predictor: of its model (`content`) as it is declared to be used."""
    prepared = preprocessing or Preprocessing()
    steps = prepared if dataclasses.is_dataclass(prepared) else _content(vars(prepared))
    return fingerprint(content, steps, source_of(type(prepared))[0], head, output, list(classes))


def tensors_of(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Weights and buffers by name, those that are not stored as well."""
    yield from module.named_parameters()
    yield from module.named_buffers()


def stamp_of(module: nn.Module) -> Stamp:
    """Changes whenever a weight or a buffer is written to or replaced; costs no look at the values."""
    return tuple((tensor.data_ptr(), version_of(tensor)) for _, tensor in tensors_of(module))


def version_of(tensor: Tensor) -> int:
    """How often a tensor was written to; -1 where torch does not count it."""
    return -1 if tensor.is_inference() else tensor._version


def digest_of_tensor(value: Tensor) -> str:
    """Digest of a tensor's type, shape and bytes, the same on every device."""
    content = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return fingerprint(str(value.dtype), tuple(value.shape), content)


def _settings(part: nn.Module) -> list[Any]:
    """The class of a layer, its plain settings, and the code of a compiled one."""
    own = getattr(part, "__dict__", {})
    named = {
        k: _content(v) for k, v in own.items() if not k.startswith("_") and k not in ("training", "forward")
    }
    try:
        code = getattr(part, "code", "")
    except RuntimeError:  # a part of a TorchScript model that is never run
        code = ""
    kind = type(part)
    return [f"{kind.__module__}.{kind.__qualname__}", named, code if isinstance(code, str) else ""]


def _content(value: Any) -> Any:
    """A value as `fingerprint` takes it; of what it cannot look into, its class."""
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, nn.Module):
        return digest_of_module(value)
    if isinstance(value, Tensor):
        return digest_of_tensor(value)
    if isinstance(value, np.ndarray) and value.dtype.kind in "buifc":
        return value
    if isinstance(value, (list, tuple)):
        return [_content(one) for one in value]
    if isinstance(value, dict):
        return {str(k): _content(v) for k, v in value.items()}
    if callable(value):
        return source_of(value)[0]
    return type(value).__qualname__
