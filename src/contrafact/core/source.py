"""The source of code that decides an answer: a model's `forward`, and what it calls."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

# Of these the name is enough: their versions stand in every record.
LIBRARIES = sys.stdlib_module_names | {
    "PIL", "captum", "contrafact", "einops", "joblib", "matplotlib", "monai", "nibabel", "numpy", "onnxruntime",
    "pydicom", "scipy", "skimage", "sklearn", "timm", "torch", "torchvision", "transformers",
}  # fmt: skip
PLAIN = (str, int, float, bool, bytes, type(None))


def is_library(module: str) -> bool:
    """Whether a module's name is enough to know its code."""
    return module.partition(".")[0] in LIBRARIES


def name_of(thing: Any) -> str:
    """Module and name of a function or class."""
    return f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', type(thing).__qualname__)}"


def members(kind: type) -> dict[str, Any]:
    """What a class defines, functions and values, by name."""
    found: dict[str, Any] = {}
    for name, value in vars(kind).items():
        if isinstance(value, (staticmethod, classmethod)):
            found[name] = value.__func__
        elif isinstance(value, property):
            found[name] = [value.fget, value.fset]
        elif isinstance(value, functools.cached_property):
            found[name] = value.func
        elif inspect.isgetsetdescriptor(value) or inspect.ismemberdescriptor(value) or name == "_abc_impl":
            continue
        elif isinstance(value, FunctionType) or not name.startswith("__"):
            found[name] = value
    return found


def referred(function: FunctionType, *, outer: bool = True) -> Iterator[Any]:
    """Values of the outer names that a function uses (`outer`), with what it uses of modules that are no
    library, and those that it closes over."""
    names = list(dict.fromkeys(_names(function.__code__))) if outer else []
    for name in names:
        if name not in function.__globals__:
            continue
        value = function.__globals__[name]
        yield value
        if isinstance(value, ModuleType) and not is_library(value.__name__):
            yield from (vars(value)[part] for part in names if part in vars(value))
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


def text_of(thing: Any) -> str:
    """The source, where Python still has it; else, and for one of several on a line, the compiled code."""
    try:
        text = inspect.getsource(thing)
    except (OSError, TypeError, SyntaxError):
        text = ""
    code = thing if isinstance(thing, CodeType) else getattr(thing, "__code__", None)
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
