"""Digests of models: weights, architecture, source, and declared use; updated when the model changes."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from contrafact.core import fingerprint
from contrafact.core.contents import HOOKS, Contents, digest_of_content, hooks_of
from contrafact.core.source import PLAIN
from contrafact.models.preprocessing import Preprocessing

Stamp = tuple[Any, ...]
LOOK = 4096  # tensors of up to this many values are compared in full, larger ones in samples


class ContentDigest:
    """The digest of a model's content (see `Contents`), recomputed after a tensor of the model was written to,
    or an attribute of its parts was set.

    leave  ignore attribute changes of a pass (a counter, a stored activation)
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self._tensors: list[Any] = []
        self._holders: list[Any] = []
        self._known: tuple[Stamp, Stamp] = (), ()
        self._make()

    @property
    def digest(self) -> str:
        """16 hex digits."""
        if self._stamp() != self._known:
            self._make()
        return self._digest

    def leave(self, before: Stamp) -> None:
        """Treat the present attributes as unchanged if `before` (from `attributes`) was up to date."""
        if self._known[1] == before:
            self._known = self._known[0], self.attributes()

    def attributes(self) -> Stamp:
        """Return a stamp of the attributes of every part and of the objects that it uses, plain ones by value
        and others by identity, and of the hooks."""
        parts = self.model.modules() if isinstance(self.model, nn.Module) else ()
        return attributes_of([*parts, *self._holders])

    def _stamp(self) -> tuple[Stamp, Stamp]:
        own = [tensor for _, tensor in tensors_of(self.model)] if isinstance(self.model, nn.Module) else []
        return stamp_of_tensors([*own, *self._tensors]), self.attributes()

    def _make(self) -> None:
        contents = Contents()
        self._digest = contents.digest(self.model)
        own = {id(t) for _, t in tensors_of(self.model)} if isinstance(self.model, nn.Module) else set()
        self._tensors = [tensor for tensor in contents.tensors if id(tensor) not in own]
        self._holders = contents.holders
        self._known = self._stamp()


def digest_of_module(module: nn.Module) -> str:
    """Return the digest of a network: weights and buffers, layers with all attributes, hooks, and the source of
    all code outside known libraries (for TorchScript and exported programs, their code)."""
    return digest_of_content(module)


def digest_of_use(content: str, *, preprocessing: Any, head: Any, output: str, classes: Sequence[str]) -> str:
    """Return the digest of a predictor: of its model (`content`) and its declared use. Class names 0 to K - 1
    count as none."""
    names = [] if list(classes) == [str(k) for k in range(len(classes))] else list(classes)
    return fingerprint(content, digest_of_content(preprocessing or Preprocessing()), head, output, names)


def tensors_of(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield weights and buffers by name, including non-persistent buffers."""
    yield from module.named_parameters()
    yield from module.named_buffers()


def stamp_of(module: nn.Module) -> Stamp:
    """Return a stamp that changes when a weight or buffer is written to or replaced. Beside torch's version
    counters it uses all values of tensors of up to 4096 values, and about 1024 evenly spaced ones of larger
    tensors, because writes through `.data` and NumPy are not counted."""
    return stamp_of_tensors(tensor for _, tensor in tensors_of(module))


def stamp_of_tensors(tensors: Iterable[Any]) -> Stamp:
    """Return the stamp of tensors and arrays; see `stamp_of`."""
    locations: list[tuple[int, int]] = []
    samples: dict[torch.device, list[Tensor]] = {}
    checksum = 0
    for tensor in tensors:
        if isinstance(tensor, np.ndarray):
            flat = tensor.reshape(-1)
            step = 1 if flat.size <= LOOK else 1 + flat.size // LOOK
            checksum = zlib.crc32(flat[::step].tobytes(), checksum)
            locations.append((id(tensor), tensor.size))
            continue
        locations.append((tensor.data_ptr(), version_of(tensor)))
        samples.setdefault(tensor.device, []).append(_sampled_bytes(tensor.detach()))
    for parts in samples.values():
        checksum = zlib.crc32(torch.cat(parts).cpu().numpy().tobytes(), checksum)
    return (*locations, checksum)


def _sampled_bytes(tensor: Tensor) -> Tensor:
    """Return the bytes of the values of a tensor that its stamp uses."""
    step = 1 if tensor.numel() <= LOOK else 1 + tensor.numel() // 1024
    if tensor.is_contiguous():
        flat = tensor.view(-1)
    elif tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last):
        flat = tensor.permute(0, 2, 3, 1).reshape(-1)
    else:
        flat = tensor.resolve_conj().resolve_neg().reshape(-1)
    return flat[::step].contiguous().view(torch.uint8)


def attributes_of(objects: Iterable[Any]) -> Stamp:
    """Return a stamp of attributes, plain ones by value and others by identity, and of hooks."""
    stamp: list[Any] = []
    for item in objects:
        for name, value in getattr(item, "__dict__", {}).items():
            if name not in ("training", *HOOKS):
                stamp.append((name, value if type(value) in PLAIN else id(value)))
        stamp += map(id, hooks_of(item))
    return tuple(stamp)


def version_of(tensor: Tensor) -> int:
    """Return how often a tensor was written to; -1 if torch does not count it."""
    return -1 if tensor.is_inference() else tensor._version
