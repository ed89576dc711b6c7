"""Read frozen dataclasses from TOML tables, and write tables as TOML."""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from contrafact.core.errors import InputError, nearest
from contrafact.core.reading import one_line
from contrafact.core.trust import check_file

_T = TypeVar("_T")


def read_toml(path: str | Path) -> dict[str, Any]:
    """Return the tables of a TOML file.

    raises  InputError for a missing file, or one that is not TOML
    """
    path = Path(path)
    check_file(path, "a configuration file")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise InputError(f"'{path.name}' is not TOML: brackets nested too deeply") from error
    except (ValueError, OSError) as error:  # numbers and dates raise ValueErrors of their own
        raise InputError(f"'{path.name}' is not TOML: {one_line(error)}") from error


def configure(cls: type[_T], table: Mapping[str, Any], *, where: str = "configuration") -> _T:
    """Return a dataclass made from a table; nested tables become nested dataclasses.

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
            raise InputError(f"[{where}] needs '{name}'; add it")
    return cls(**values)


def check_types(cls: type, parameters: Mapping[str, Any], *, where: str) -> None:
    """Check values against the field types of a dataclass. Only fields of plain types (numbers, text, lists of
    these) are checked; the class checks the others itself.

    raises  InputError for a value of the wrong type
    """
    hints = hints_of(cls)
    for key, value in parameters.items():
        if key in hints and _plain(hints[key]):
            _convert(hints[key], list(value) if isinstance(value, tuple) else value, f"{where}.{key}")


def hints_of(cls: type) -> dict[str, Any]:
    """Return the type of each field; empty if the annotations cannot be resolved at run time."""
    try:
        return typing.get_type_hints(cls)
    except NameError:
        return {}


def _plain(hint: Any) -> bool:
    if typing.get_origin(hint) in (types.UnionType, typing.Union, tuple):
        return all(_plain(argument) for argument in typing.get_args(hint))
    return hint in (int, float, str, bool, type(None), Ellipsis)


def to_toml(table: Mapping[str, Any]) -> str:
    """Return TOML text that `tomllib` reads back as this table: plain values first, then one section per table,
    or per table within it; deeper tables inline.

    raises  InputError for values that a study file cannot hold (dates, invalid Unicode)
    """
    lines = [f"{_key(key)} = {toml_value(value)}" for key, value in table.items() if not _is_table(value)]
    for name, part in table.items():
        if not _is_table(part):
            continue
        if part and all(map(_is_table, part.values())):
            for label, inner in part.items():
                lines += _section(f"{_key(name)}.{_key(label)}", inner)
        else:
            lines += _section(_key(name), part)
    return "\n".join(lines).strip("\n") + "\n"


def toml_value(value: Any) -> str:
    """Return a value as one line of TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        if not value.isprintable() and any("\ud800" <= c <= "\udfff" for c in value):
            raise InputError("expected valid Unicode text; got an unpaired surrogate")
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, Mapping):
        inside = ", ".join(f"{_key(key)} = {toml_value(item)}" for key, item in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(toml_value(item) for item in value)}]"
    raise InputError(f"expected text, numbers, lists and tables; got a {type(value).__name__}: {value}")


def _section(name: str, part: Mapping[str, Any]) -> list[str]:
    return ["", f"[{name}]", *(f"{_key(key)} = {toml_value(value)}" for key, value in part.items())]


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping)


def _key(text: str) -> str:
    return text if re.fullmatch(r"[A-Za-z0-9_-]+", text) else toml_value(text)


def _convert(hint: Any, value: Any, where: str) -> Any:
    if hint is Any:
        return value
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        arms = [arm for arm in arguments if arm is not type(None)]
        if len(arms) == 1:
            return _convert(arms[0], value, where)
        for arm in arms:
            try:
                return _convert(arm, value, where)
            except InputError:
                continue
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
        if abs(value) > 2**1000:  # beyond what a float holds
            raise InputError(f"{where} must be a number up to 1e300; got one of {len(str(value))} digits")
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise InputError(f"{where} must be {hint.__name__}; got {value!r}")
    return value
