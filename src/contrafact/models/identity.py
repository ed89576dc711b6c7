"""What makes two models the same: weights, architecture, source, and how they are declared to be used."""

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
LOOK = 4096  # values of a tensor that a stamp looks at; of a smaller one all


class Identity:
    """The digest of a model's content, made anew when a tensor that it holds was written to, or an attribute of
    its parts was set, since; see `Contents` for what counts.

    leave  what passes left behind (a counter, a kept activation) is no change of the model
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self._tensors: list[Any] = []
        self._holders: list[Any] = []
        self._known: tuple[Stamp, Stamp] = (), ()
        self._make()

    @property
    def digest(self) -> str:
        if self._stamp() != self._known:
            self._make()
        return self._digest

    def leave(self, before: Stamp) -> None:
        """After passes: attributes as they are now count as those `before`, of `attributes`."""
        if self._known[1] == before:
            self._known = self._known[0], self.attributes()

    def attributes(self) -> Stamp:
        """Attributes of every part and of the objects that it uses, plain ones by value and others by place,
        and the hooks."""
        parts = self.model.modules() if isinstance(self.model, nn.Module) else ()
        return attributes_of([*parts, *self._holders])

    def _stamp(self) -> tuple[Stamp, Stamp]:
        own = [tensor for _, tensor in tensors_of(self.model)] if isinstance(self.model, nn.Module) else []
        return stamp_of_tensors([*own, *self._tensors]), self.attributes()

    def _make(self) -> None:
        found = Contents()
        self._digest = found.digest(self.model)
        own = {id(t) for _, t in tensors_of(self.model)} if isinstance(self.model, nn.Module) else set()
        self._tensors = [tensor for tensor in found.tensors if id(tensor) not in own]
        self._holders = found.holders
        self._known = self._stamp()


def digest_of_module(module: nn.Module) -> str:
    """Digest of a network: weights and buffers, layers with every attribute, hooks, and the source of all that
    comes from no library (of TorchScript and exported programs their code)."""
    return digest_of_content(module)


def digest_of_use(content: str, *, preprocessing: Any, head: Any, output: str, classes: Sequence[str]) -> str:
    """Digest of a predictor: of its model (`content`) as it is declared to be used. Classes without names of
    their own, 0 to K - 1, are as good as none."""
    names = [] if list(classes) == [str(k) for k in range(len(classes))] else list(classes)
    return fingerprint(content, digest_of_content(preprocessing or Preprocessing()), head, output, names)


def tensors_of(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Weights and buffers by name, those that are not stored as well."""
    yield from module.named_parameters()
    yield from module.named_buffers()


def stamp_of(module: nn.Module) -> Stamp:
    """Changes whenever a weight or a buffer is written to or replaced. Beside what torch counts it looks at all
    values of a tensor of up to 4096, and at about 1024 in even steps of a larger one, since writes through
    `.data` and numpy are not counted."""
    return stamp_of_tensors(tensor for _, tensor in tensors_of(module))


def stamp_of_tensors(tensors: Iterable[Any]) -> Stamp:
    """The same for tensors and arrays."""
    places: list[tuple[int, int]] = []
    looks: dict[torch.device, list[Tensor]] = {}
    check = 0
    for tensor in tensors:
        if isinstance(tensor, np.ndarray):
            flat = tensor.reshape(-1)
            check = zlib.crc32(flat[:: 1 + flat.size // LOOK].tobytes(), check)
            places.append((id(tensor), tensor.size))
            continue
        places.append((tensor.data_ptr(), version_of(tensor)))
        looks.setdefault(tensor.device, []).append(_look(tensor.detach()))
    for some in looks.values():
        check = zlib.crc32(torch.cat(some).cpu().numpy().tobytes(), check)
    return (*places, check)


def _look(tensor: Tensor) -> Tensor:
    """Bytes of the values of a tensor that a stamp looks at."""
    step = 1 if tensor.numel() <= LOOK else 1 + tensor.numel() // 1024
    if tensor.is_contiguous():
        flat = tensor.view(-1)
    elif tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last):
        flat = tensor.permute(0, 2, 3, 1).reshape(-1)
    else:
        flat = tensor.resolve_conj().resolve_neg().reshape(-1)
    return flat[::step].contiguous().view(torch.uint8)


def attributes_of(things: Iterable[Any]) -> Stamp:
    """Attributes of networks' parts and other objects, plain ones by value and others by place, and hooks."""
    found: list[Any] = []
    for thing in things:
        for name, value in getattr(thing, "__dict__", {}).items():
            if name not in ("training", *HOOKS):
                found.append((name, value if type(value) in PLAIN else id(value)))
        found += map(id, hooks_of(thing))
    return tuple(found)


def version_of(tensor: Tensor) -> int:
    """How often a tensor was written to; -1 where torch does not count it."""
    return -1 if tensor.is_inference() else tensor._version
