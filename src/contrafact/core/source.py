"""Source code of models and methods: functions, classes, and the values that they refer to."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

# Identified by name only: every record holds their versions.
LIBRARIES = sys.stdlib_module_names | {
    "PIL", "captum", "contrafact", "einops", "joblib", "matplotlib", "monai", "nibabel", "numpy", "onnxruntime",
    "pydicom", "scipy", "skimage", "sklearn", "timm", "torch", "torchvision", "transformers",
    "dynamic_network_architectures", "segmentation_models_pytorch",
}  # fmt: skip
PLAIN = (str, int, float, bool, bytes, type(None))


def is_library(module: str) -> bool:
    """Whether a module belongs to a library whose code is identified by its name."""
    return module.partition(".")[0] in LIBRARIES


def name_of(value: Any) -> str:
    """Return module and qualified name of a function or class."""
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__qualname__)}"


def members(kind: type) -> dict[str, Any]:
    """Return the functions and values that a class defines, by name."""
    definitions: dict[str, Any] = {}
    for name, value in vars(kind).items():
        if isinstance(value, (staticmethod, classmethod)):
            definitions[name] = value.__func__
        elif isinstance(value, property):
            definitions[name] = [value.fget, value.fset]
        elif isinstance(value, functools.cached_property):
            definitions[name] = value.func
        elif inspect.isgetsetdescriptor(value) or inspect.ismemberdescriptor(value) or name == "_abc_impl":
            continue
        elif isinstance(value, FunctionType) or not name.startswith("__"):
            definitions[name] = value
    return definitions


def referred(function: FunctionType, *, outer: bool = True) -> Iterator[Any]:
    """Yield the values that a function refers to: globals (if `outer`), with the attributes it uses of
    non-library modules, and closure variables."""
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


def text_of(value: Any) -> str:
    """Return the source; the byte code too for a lambda (a line may hold several), or if there is no source."""
    try:
        text = inspect.getsource(value)
    except (OSError, TypeError, SyntaxError):
        text = ""
    code = value if isinstance(value, CodeType) else getattr(value, "__code__", None)
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
