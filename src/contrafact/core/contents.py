"""The digest of anything that decides an answer: code, and every value that the code can reach."""

from __future__ import annotations

import copyreg
import enum
import functools
import inspect
import logging
import pathlib
import re
import sys
import threading
import types
import uuid
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np

from contrafact.core.fingerprint import fingerprint
from contrafact.core.source import PLAIN, is_library, members, name_of, referred, text_of

NAMED = (logging.Logger, type(threading.Lock()), type(threading.RLock()), threading.Thread)  # change no answer
TEXTS = ("torch.device", "torch.dtype", "torch.layout", "torch.memory_format", "torch._ops.OpOverload")
HEAP = 1 << 9  # set for classes that are written in Python
HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
WATCHERS = ("contrafact", "captum")  # whose hooks listen for a moment


def digest_of_content(thing: Any) -> str:
    """Digest of a value, see `Contents`."""
    return Contents().digest(thing)


class Contents:
    """One look into things, through attributes, closures, defaults and the outer names that code uses.

    digest    16 hex digits, the same in every process: equal when all that was found is equal. Of code and
              classes of libraries the name counts. Of a thing that cannot be looked into (an open file, a
              session of another runtime) a digest that never comes again, so that no answer is taken for
              another's
    unread    classes of such things
    tensors   the tensors and arrays that were found
    holders   the objects with attributes that were found
    """

    def __init__(self) -> None:
        self.unread: list[str] = []
        self.tensors: list[Any] = []
        self.holders: list[Any] = []
        self._known: dict[int, str] = {}
        self._open: set[int] = set()
        self._kept: list[Any] = []  # so that no number is used twice

    def digest(self, thing: Any) -> str:
        if isinstance(thing, (*PLAIN, complex)) and type(thing) in (*PLAIN, complex):
            return fingerprint(thing)
        place = id(thing)
        if place in self._known:
            return self._known[place]
        if place in self._open:
            return fingerprint("again", type(thing).__qualname__)
        self._open.add(place)
        self._kept.append(thing)
        try:
            found = fingerprint(*self._parts(thing))
        except Exception:  # whatever the code of a foreign class may raise
            found = self._never(thing)
        self._open.discard(place)
        self._known[place] = found
        return found

    def _never(self, thing: Any) -> str:
        self.unread.append(name_of(type(thing)))
        return fingerprint("never again", uuid.uuid4().hex)

    def _many(self, things: Any) -> list[str]:
        return [self.digest(one) for one in things]

    def _pairs(self, mapping: Any) -> list[tuple[str, str]]:
        return sorted((self.digest(key), self.digest(value)) for key, value in dict(mapping).items())

    def _parts(self, thing: Any) -> list[Any]:
        """What a thing is made of, its kind first."""
        kind = type(thing)
        if isinstance(thing, np.ndarray):
            return self._array(thing)
        if isinstance(thing, np.generic):
            return ["number", thing.dtype.str, thing.tobytes()]
        if isinstance(thing, enum.Enum):
            return ["enum", name_of(kind), thing.name, self.digest(thing.value)]
        if isinstance(thing, NAMED):
            return ["named", name_of(kind)]
        if name_of(kind) in TEXTS or isinstance(thing, (pathlib.PurePath, np.dtype)):
            return ["text", name_of(kind), str(thing)]
        if not isinstance(thing, type) and hasattr(thing, "detach") and hasattr(thing, "untyped_storage"):
            return self._tensor(thing)
        if isinstance(thing, types.ModuleType):
            return ["module", thing.__name__, "" if is_library(thing.__name__) else text_of(thing)]
        code = self._code(thing)
        if code is not None:
            return code
        if hasattr(thing, "named_parameters") and hasattr(thing, "_parameters"):
            return self._network(thing)
        return self._object(thing)

    def _code(self, thing: Any) -> list[Any] | None:
        """Of functions and classes; None for anything else."""
        if isinstance(thing, types.MethodType):
            return ["method", self.digest(thing.__func__), self.digest(thing.__self__)]
        if isinstance(thing, functools.partial):
            return ["partial", self.digest(thing.func), self._many(thing.args), self._pairs(thing.keywords)]
        if isinstance(thing, (types.FunctionType, type)):
            return self._source(thing)
        if isinstance(thing, types.CodeType):
            return ["code", text_of(thing)]
        wrapped = getattr(thing, "__wrapped__", None) if inspect.isroutine(thing) else None
        if wrapped is not None:
            return ["wrapped", self.digest(wrapped)]
        if inspect.isroutine(thing):
            bound = getattr(thing, "__self__", None)
            inside = None if isinstance(bound, types.ModuleType) else bound
            return ["routine", getattr(thing, "__qualname__", repr(type(thing))), self.digest(inside)]
        return None

    def _source(self, thing: Any) -> list[Any]:
        if is_library(getattr(thing, "__module__", None) or ""):
            values = [] if isinstance(thing, type) else list(referred(thing, outer=False))
            return ["library", name_of(thing), self._many(values)]
        if isinstance(thing, type):
            return ["class", name_of(thing), self._many(thing.__mro__[1:]), self._pairs(members(thing))]
        defaults = [self._many(thing.__defaults__ or ()), self._pairs(thing.__kwdefaults__ or {})]
        own = {k: v for k, v in vars(thing).items() if k != "__wrapped__"}
        return [
            "function",
            name_of(thing),
            text_of(thing),
            *defaults,
            self._many(referred(thing)),
            self._pairs(own),
        ]

    def _array(self, array: Any) -> list[Any]:
        if array.dtype.hasobject:
            return ["objects", array.shape, self._many(array.reshape(-1).tolist())]
        self.tensors.append(array)
        return ["array", str(array.dtype.descr), array.shape, np.ascontiguousarray(array).tobytes()]

    def _tensor(self, tensor: Any) -> list[Any]:
        self.tensors.append(tensor)
        flat = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
        torch = sys.modules["torch"]
        return ["tensor", str(tensor.dtype), tuple(tensor.shape), flat.view(torch.uint8).numpy()]

    def _network(self, part: Any) -> list[Any]:
        """A torch module: class, weights, buffers (also those that are not stored), parts, hooks, and every
        other attribute; of a compiled one its code and its plain attributes."""
        own = getattr(part, "__dict__", {})
        tensors = [*part.named_parameters(recurse=False), *part.named_buffers(recurse=False)]
        start = ["network", self._pairs(dict(tensors)), self._pairs(dict(part.named_children()))]
        if type(part).__module__.startswith(("torch.jit", "torch.fx")):
            name, code = _compiled(part)
            used = {k: getattr(part, k, None) for k in re.findall(r"\bself\.(\w+)", code)}
            rest = {k: v for k, v in used.items() if isinstance(v, (*PLAIN, list, tuple, dict))}
            return [*start, name, code, self._pairs(rest)]
        rest = {k: v for k, v in own.items() if k not in _inside() and k != "training"}
        return [*start, self.digest(type(part)), self._many(hooks_of(part)), self._pairs(rest)]

    def _object(self, thing: Any) -> list[Any]:
        kind = type(thing)
        found: list[Any] = ["object", self.digest(kind)]
        if isinstance(thing, dict):
            found.append(self._pairs(thing))
        elif isinstance(thing, (list, tuple)):
            found.append(self._many(thing))
        elif isinstance(thing, (set, frozenset)):
            found.append(sorted(self._many(thing)))
        elif isinstance(thing, types.MappingProxyType):
            found.append(self._pairs(thing))
        elif isinstance(thing, weakref.ref):
            found.append(self.digest(thing()))
        elif isinstance(thing, PLAIN):
            plain: Any = next(p for p in PLAIN if isinstance(thing, p))
            found.append(self.digest(plain(thing)))
        elif _in_c(kind) or kind in copyreg.dispatch_table:
            found.append(self._reduced(thing))
        state = _state(thing)
        if hasattr(thing, "__dict__"):
            self.holders.append(thing)
        return [*found, self._pairs(state)] if state else found

    def _reduced(self, thing: Any) -> list[str]:
        """What makes a thing again, as copying asks for it."""
        reducer = copyreg.dispatch_table.get(type(thing))
        made = reducer(thing) if reducer else thing.__reduce_ex__(4)
        if isinstance(made, str):
            return [made]
        maker, given, *rest = made
        state, *more = [*rest, None, None, None][:3]
        items = [list(one) if one is not None else None for one in more]
        return [self.digest(maker), *self._many(given), self.digest(state), *self._many(items)]


def hooks_of(part: Any) -> Iterator[Any]:
    """The hooks of a pass that a torch module has from its owner."""
    for name in HOOKS:
        for hook in dict(getattr(part, name, None) or {}).values():
            inner = hook
            while isinstance(inner, functools.partial):
                inner = inner.func
            if (getattr(inner, "__module__", "") or "").partition(".")[0] not in WATCHERS:
                yield hook


@functools.cache
def _inside() -> frozenset[str]:
    """What torch itself keeps in a module."""
    return frozenset(vars(sys.modules["torch"].nn.Module()))


def _compiled(part: Any) -> list[str]:
    """Name and code of a TorchScript or exported module; a part that is never run has none."""
    name = str(getattr(part, "original_name", "")) or type(part).__qualname__
    try:
        code = getattr(part, "code", "")
    except RuntimeError:
        code = ""
    return [name, code if isinstance(code, str) else ""]


def _in_c(kind: type) -> bool:
    """Whether a class, or one that it derives from, keeps what Python does not see."""
    return any(not base.__flags__ & HEAP for base in kind.__mro__[:-1]) or (
        kind.__dictoffset__ == 0 and not any("__slots__" in vars(base) for base in kind.__mro__)
    )


def _state(thing: Any) -> dict[str, Any]:
    """Attributes of an object, in a dictionary or in slots."""
    found = dict(getattr(thing, "__dict__", None) or {})
    for base in type(thing).__mro__:
        slots = vars(base).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(thing, name):
                found[name] = getattr(thing, name)
    return found
