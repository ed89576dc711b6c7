"""Digests of models and methods: of their code, and of every value that the code can reach."""

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
import warnings
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np

from contrafact.core.fingerprint import fingerprint
from contrafact.core.source import PLAIN, is_library, members, name_of, referred, text_of

NAMED = (
    logging.Logger,
    type(threading.Lock()),
    type(threading.RLock()),
    threading.Thread,
)  # no effect on results
TEXTS = ("torch.device", "torch.dtype", "torch.layout", "torch.memory_format", "torch._ops.OpOverload")
HEAP = 1 << 9  # type flag, set for classes written in Python
HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
WATCHERS = ("contrafact", "captum")  # their hooks are temporary and only observe


def digest_of_content(value: Any) -> str:
    """Return the digest of a value; see `Contents`."""
    return Contents().digest(value)


class Contents:
    """Digests of values, followed through attributes, closures, defaults and the global names that code uses.

    digest    16 hex digits, the same in every process; equal exactly if all reachable values are equal. Code
              and classes of libraries count by name. A value that cannot be inspected (an open file, a session
              of another runtime) has a new digest each time, so that no cached result is reused wrongly
    unread    classes of the values that could not be inspected
    tensors   tensors and arrays that were reached
    holders   objects with attributes that were reached
    """

    def __init__(self) -> None:
        self.unread: list[str] = []
        self.tensors: list[Any] = []
        self.holders: list[Any] = []
        self._known: dict[int, str] = {}
        self._open: set[int] = set()
        self._kept: list[Any] = []  # keeps values alive, so that no `id` is reused

    def digest(self, value: Any) -> str:
        """Return the digest of a value; record what it reached."""
        if isinstance(value, (*PLAIN, complex)) and type(value) in (*PLAIN, complex):
            return fingerprint(value)
        identity = id(value)
        if identity in self._known:
            return self._known[identity]
        if identity in self._open:
            return fingerprint("again", type(value).__qualname__)
        self._open.add(identity)
        self._kept.append(value)
        try:
            result = fingerprint(*self._parts(value))
        except Exception:  # the code of another library's class may raise anything
            result = self._never(value)
        self._open.discard(identity)
        self._known[identity] = result
        return result

    def _never(self, value: Any) -> str:
        self.unread.append(name_of(type(value)))
        return fingerprint("never again", uuid.uuid4().hex)

    def _many(self, values: Any) -> list[str]:
        return [self.digest(item) for item in values]

    def _pairs(self, mapping: Any) -> list[tuple[str, str]]:
        return sorted((self.digest(key), self.digest(value)) for key, value in dict(mapping).items())

    def _parts(self, value: Any) -> list[Any]:
        """Return what decides a value: its kind first, then its parts."""
        kind = type(value)
        if isinstance(value, np.ndarray):
            return self._array(value)
        if isinstance(value, np.generic):
            return ["number", value.dtype.str, value.tobytes()]
        if isinstance(value, enum.Enum):
            return ["enum", name_of(kind), value.name, self.digest(value.value)]
        if isinstance(value, NAMED):
            return ["named", name_of(kind)]
        if name_of(kind) in TEXTS or isinstance(value, (pathlib.PurePath, np.dtype)):
            return ["text", name_of(kind), str(value)]
        if not isinstance(value, type) and hasattr(value, "detach") and hasattr(value, "untyped_storage"):
            return self._tensor(value)
        if isinstance(value, types.ModuleType):
            return ["module", value.__name__, "" if is_library(value.__name__) else text_of(value)]
        code = self._code(value)
        if code is not None:
            return code
        if hasattr(value, "named_parameters") and hasattr(value, "_parameters"):
            return self._network(value)
        return self._object(value)

    def _code(self, value: Any) -> list[Any] | None:
        """Return the parts of a function or class; None for anything else."""
        if isinstance(value, types.MethodType):
            return ["method", self.digest(value.__func__), self.digest(value.__self__)]
        if isinstance(value, functools.partial):
            return ["partial", self.digest(value.func), self._many(value.args), self._pairs(value.keywords)]
        if isinstance(value, (types.FunctionType, type)):
            return self._source(value)
        if isinstance(value, types.CodeType):
            return ["code", text_of(value)]
        wrapped = getattr(value, "__wrapped__", None) if inspect.isroutine(value) else None
        if wrapped is not None:
            return ["wrapped", self.digest(wrapped)]
        if inspect.isroutine(value):
            bound = getattr(value, "__self__", None)
            inside = None if isinstance(bound, types.ModuleType) else bound
            return ["routine", getattr(value, "__qualname__", repr(type(value))), self.digest(inside)]
        return None

    def _source(self, value: Any) -> list[Any]:
        if is_library(getattr(value, "__module__", None) or ""):
            values = [] if isinstance(value, type) else list(referred(value, outer=False))
            return ["library", name_of(value), self._many(values)]
        if isinstance(value, type):
            return ["class", name_of(value), self._many(value.__mro__[1:]), self._pairs(members(value))]
        defaults = [self._many(value.__defaults__ or ()), self._pairs(value.__kwdefaults__ or {})]
        own = {k: v for k, v in vars(value).items() if k != "__wrapped__"}
        return [
            "function",
            name_of(value),
            text_of(value),
            *defaults,
            self._many(referred(value)),
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
        """Return the parts of a torch module: class, weights, buffers (non-persistent ones too), submodules,
        hooks and all other attributes; of a compiled module its code and its plain attributes."""
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

    def _object(self, value: Any) -> list[Any]:
        kind = type(value)
        parts: list[Any] = ["object", self.digest(kind)]
        if isinstance(value, dict):
            parts.append(self._pairs(value))
        elif isinstance(value, (list, tuple)):
            parts.append(self._many(value))
        elif isinstance(value, (set, frozenset)):
            parts.append(sorted(self._many(value)))
        elif isinstance(value, types.MappingProxyType):
            parts.append(self._pairs(value))
        elif isinstance(value, weakref.ref):
            parts.append(self.digest(value()))
        elif isinstance(value, PLAIN):
            plain: Any = next(p for p in PLAIN if isinstance(value, p))
            parts.append(self.digest(plain(value)))
        elif _in_c(kind) or kind in copyreg.dispatch_table:
            parts.append(self._reduced(value))
        state = _state(value)
        if hasattr(value, "__dict__"):
            self.holders.append(value)
        return [*parts, self._pairs(state)] if state else parts

    def _reduced(self, value: Any) -> list[str]:
        """Return what rebuilds a value, as `copy` and `pickle` see it."""
        reducer = copyreg.dispatch_table.get(type(value))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of itertools, from Python 3.12
            reduced = reducer(value) if reducer else value.__reduce_ex__(4)
        if isinstance(reduced, str):
            return [reduced]
        maker, arguments, *rest = reduced
        state, *more = [*rest, None, None, None][:3]
        items = [list(part) if part is not None else None for part in more]
        return [self.digest(maker), *self._many(arguments), self.digest(state), *self._many(items)]


def hooks_of(part: Any) -> Iterator[Any]:
    """Yield the forward and backward hooks of a torch module, except temporary ones (`WATCHERS`)."""
    for name in HOOKS:
        for hook in dict(getattr(part, name, None) or {}).values():
            inner = hook
            while isinstance(inner, functools.partial):
                inner = inner.func
            if (getattr(inner, "__module__", "") or "").partition(".")[0] not in WATCHERS:
                yield hook


@functools.cache
def _inside() -> frozenset[str]:
    """Return the names of the attributes that torch itself keeps in a module."""
    return frozenset(vars(sys.modules["torch"].nn.Module()))


def _compiled(part: Any) -> list[str]:
    """Return name and code of a TorchScript or exported module; no code for a part that is never run."""
    name = str(getattr(part, "original_name", "")) or type(part).__qualname__
    try:
        code = getattr(part, "code", "")
    except RuntimeError:
        code = ""
    return [name, code if isinstance(code, str) else ""]


def _in_c(kind: type) -> bool:
    """Whether a class or one of its bases has state that Python attributes do not show."""
    return any(not base.__flags__ & HEAP for base in kind.__mro__[:-1]) or (
        kind.__dictoffset__ == 0 and not any("__slots__" in vars(base) for base in kind.__mro__)
    )


def _state(value: Any) -> dict[str, Any]:
    """Return the attributes of an object, from its dictionary and its slots."""
    state = dict(getattr(value, "__dict__", None) or {})
    for base in type(value).__mro__:
        slots = vars(base).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                state[name] = getattr(value, name)
    return state
