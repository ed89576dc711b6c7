"""The source of code that decides an answer: a model's `forward`, and what it calls."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Iterator
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

# Of these the name is enough: their versions stand in every record.
LIBRARIES = sys.stdlib_module_names | {
    "PIL", "captum", "contrafact", "einops", "joblib", "matplotlib", "monai", "nibabel", "numpy", "onnxruntime",
    "pydicom", "scipy", "skimage", "sklearn", "timm", "torch", "torchvision", "transformers",
}  # fmt: skip
PLAIN = (str, int, float, bool, bytes, type(None))


def source_of(thing: Any) -> tuple[list[str], list[Any]]:
    """The source of a function or class with all that it refers to, and the other values that it refers to.

    thing   a function, method, class, `functools.partial`, or an object that is called (its class)
    gives   texts in a fixed order, for code of libraries its name alone; then values that are neither code nor
            plain (arrays, networks), which whoever asks makes a digest of
    """
    found = _Found()
    found.visit(thing)
    return found.texts, found.values


class _Found:
    def __init__(self) -> None:
        self.texts: list[str] = []
        self.values: list[Any] = []
        self._seen: dict[int, Any] = {}  # the things themselves are kept, so that no number is used twice

    def visit(self, thing: Any) -> None:
        if isinstance(thing, PLAIN):
            self.texts.append(repr(thing))
            return
        if id(thing) in self._seen:
            return
        self._seen[id(thing)] = thing
        if isinstance(thing, ModuleType):
            self.texts.append(thing.__name__ if _library(thing.__name__) else _text(thing))
        elif isinstance(thing, MethodType):
            self.visit(thing.__func__)
            self.visit(thing.__self__)
        elif isinstance(thing, functools.partial):
            for part in (thing.func, *thing.args, *thing.keywords.items()):
                self.visit(part)
        elif isinstance(thing, (FunctionType, type)):
            self._code(thing)
        elif isinstance(thing, (tuple, list)):
            for part in thing:
                self.visit(part)
        elif inspect.isbuiltin(thing) or inspect.isroutine(thing):
            self.texts.append(_name(thing))
        else:
            self.values.append(thing)

    def _code(self, thing: Any) -> None:
        self.texts.append(_name(thing))
        if _library(getattr(thing, "__module__", None) or ""):
            return
        if isinstance(thing, type):
            for part in [*thing.__mro__[1:], *_members(thing)]:
                self.visit(part)
            return
        self.texts.append(_text(thing))
        for part in (*_referred(thing), *(thing.__defaults__ or ()), *(thing.__kwdefaults__ or {}).items()):
            self.visit(part)


def _library(module: str) -> bool:
    return module.partition(".")[0] in LIBRARIES


def _name(thing: Any) -> str:
    return f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', type(thing).__qualname__)}"


def _members(kind: type) -> Iterator[Any]:
    """What a class defines, in its own order, as functions and plain values."""
    for name, value in vars(kind).items():
        if isinstance(value, (staticmethod, classmethod)):
            yield value.__func__
        elif isinstance(value, property):
            yield from filter(None, (value.fget, value.fset))
        elif isinstance(value, FunctionType) or (isinstance(value, PLAIN) and not name.startswith("__")):
            yield value


def _referred(function: FunctionType) -> Iterator[Any]:
    """Values of the outer names that a function uses."""
    for name in dict.fromkeys(_names(function.__code__)):
        if name in function.__globals__:
            yield function.__globals__[name]
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not filled yet
            continue


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for part in code.co_consts:
        if isinstance(part, CodeType):
            yield from _names(part)


def _text(thing: Any) -> str:
    """The source, where Python still has it; else, and for one of several on a line, the compiled code."""
    try:
        text = inspect.getsource(thing)
    except (OSError, TypeError, SyntaxError):
        text = ""
    code = getattr(thing, "__code__", None)
    if code is None or (text and code.co_name != "<lambda>"):
        return text
    return text + "\n".join(_compiled(code))


def _compiled(code: CodeType) -> Iterator[str]:
    yield code.co_code.hex()
    yield repr(code.co_names)
    for part in code.co_consts:
        if isinstance(part, CodeType):
            yield from _compiled(part)
        else:
            yield repr(sorted(map(repr, part))) if isinstance(part, frozenset) else repr(part)
