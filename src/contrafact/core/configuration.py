"""Configuration is a frozen dataclass; TOML is how it is written down."""

from __future__ import annotations

import dataclasses
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from contrafact.core.errors import InputError, nearest

_T = TypeVar("_T")


def read_toml(path: str | Path) -> dict[str, Any]:
    """The tables of a TOML file; anything else is refused in one line."""
    path = Path(path)
    if not path.exists():
        raise InputError(f"expected a configuration file; got '{path}', which does not exist")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"'{path.name}' is not TOML: {error}") from error


def configure(cls: type[_T], table: Mapping[str, Any], *, where: str = "configuration") -> _T:
    """A dataclass from a table, tables inside tables too.

    raises  InputError for an unknown key (with the nearest), a missing one, or a wrong type
    """
    if not isinstance(table, Mapping):
        raise InputError(f"[{where}] must be a table; got {type(table).__name__}")
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(cls)
    values = {}
    for key, value in table.items():
        if key not in fields:
            raise InputError(f"[{where}] has an unknown key '{key}'{nearest(key, fields)}")
        values[key] = _convert(hints[key], value, f"{where}.{key}")
    for name, field in fields.items():
        needed = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if needed and name not in values:
            raise InputError(f"[{where}] needs '{name}'; it is not there")
    return cls(**values)


def _convert(hint: Any, value: Any, where: str) -> Any:
    if hint is Any:
        return value
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        for one in arguments:
            if one is type(None):
                continue
            try:
                return _convert(one, value, where)
            except InputError:
                if one is arguments[-1]:
                    raise
        raise InputError(f"{where} must be {hint}; got {value!r}")
    if dataclasses.is_dataclass(hint):
        return configure(hint, value, where=where)  # type: ignore[arg-type]
    if origin is tuple:
        if not isinstance(value, list):
            raise InputError(f"{where} must be a list; got {value!r}")
        kinds = (arguments[0],) * len(value) if arguments[1:] == (Ellipsis,) else arguments
        if len(kinds) != len(value):
            raise InputError(f"{where} must hold {len(kinds)} values; got {len(value)}")
        return tuple(_convert(k, v, where) for k, v in zip(kinds, value, strict=True))
    if origin in (dict, Mapping) or hint in (dict, Mapping) or origin is not None:
        if not isinstance(value, Mapping):
            raise InputError(f"{where} must be a table; got {value!r}")
        return {k: _convert(arguments[1], v, where) for k, v in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise InputError(f"{where} must be {hint.__name__}; got {value!r}")
    return value
