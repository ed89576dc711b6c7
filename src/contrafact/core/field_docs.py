"""What a dataclass of settings takes, for people: names, kinds, defaults and help; values as text and back."""

from __future__ import annotations

import dataclasses
import inspect
import re
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contrafact.core.configuration import hints_of, toml_value
from contrafact.core.errors import InputError

WORDS = {int: "whole number", float: "number", str: "text", bool: "yes or no"}
LINES = "texts"


@dataclass(frozen=True, slots=True)
class Setting:
    """One field: of a part (`refinement.steps`) with the part's name before a dot.

    kind     what may stand there, in words; "texts" is a list of them, one a line
    default  as text; empty where nothing stands by default
    help     what the class's docstring says of it; empty where it says nothing
    """

    name: str
    kind: str
    default: str
    help: str


def settings_of(cls: type) -> list[Setting]:
    """Every setting of a dataclass, those of its parts too."""
    hints, said = hints_of(cls), _said(cls)
    found = []
    for field in dataclasses.fields(cls):
        hint, part = hints.get(field.name, Any), field.default_factory
        if not field.init:
            continue
        if isinstance(part, type) and dataclasses.is_dataclass(part):
            inner = [dataclasses.replace(one, name=f"{field.name}.{one.name}") for one in settings_of(part)]
            found += inner
            continue
        given = field.default
        default = "" if given is dataclasses.MISSING or given == () else text_of(hint, given)
        found.append(Setting(field.name, kind_of(hint), default, said.get(field.name, "")))
    return found


def hint_of(cls: type, name: str) -> Any:
    """The type of a setting, `Any` for one that is not known."""
    head, _, rest = name.partition(".")
    for field in dataclasses.fields(cls):
        if field.name == head:
            part = field.default_factory
            if rest and isinstance(part, type) and dataclasses.is_dataclass(part):
                return hint_of(part, rest)
            return Any if rest else hints_of(cls).get(head, Any)
    return Any


def has_parts(cls: type, name: str) -> bool:
    """Whether a field is a dataclass of its own, whose fields are settings."""
    parts = {field.name: field.default_factory for field in dataclasses.fields(cls)}
    part = parts.get(name)
    return isinstance(part, type) and dataclasses.is_dataclass(part)


def kind_of(hint: Any) -> str:
    words = []
    for one in _arms(hint):
        if typing.get_origin(one) is not tuple:
            words.append(WORDS.get(one, "a name, or a table in TOML"))
            continue
        several = kind_of(typing.get_args(one)[0])
        words.append(LINES if several == "text" else "several of them" if words else f"several: {several}")
    return " or ".join(words)


def text_of(hint: Any, value: Any) -> str:
    """A value as people write it: as TOML only where plain words would be read as something else."""
    if value is None:
        return ""
    if kind_of(hint) == LINES and _all_texts(value):
        plain = "\n".join(value)
    elif isinstance(value, str):
        plain = value
    elif isinstance(value, (list, tuple)):
        plain = ", ".join(text_of(Any, one) for one in value)
    else:
        return toml_value(value)
    wanted = toml_value(value)
    return plain if plain and toml_value(value_of(hint, plain)) == wanted else wanted


def value_of(hint: Any, text: str) -> Any:
    """A value from text. What is no value of TOML is text; whether it fits is for the reader to say."""
    text, kind = text.strip(), kind_of(hint)
    parsed = _parsed(text)
    if kind == LINES:
        if isinstance(parsed, list):
            return parsed
        return [line.strip() for line in text.splitlines() if line.strip()]
    if kind == "text":
        return parsed if isinstance(parsed, str) and text.startswith('"') else text
    lists = [one for one in _arms(hint) if typing.get_origin(one) is tuple]
    only = bool(lists) and len(lists) == len(_arms(hint))
    if isinstance(parsed, list) or (parsed is not None and not only):
        return parsed
    if lists and (only or "," in text):
        return [value_of(Any, part) for part in text.split(",")]
    return text


def _parsed(text: str) -> Any:
    """What TOML reads in one line; None where it reads nothing that a study could say."""
    if "\n" in text or "\r" in text:
        return None
    try:
        table = tomllib.loads(f"x = {text}")
        toml_value(table["x"])
    except (ValueError, RecursionError, InputError):
        return None
    return table["x"]


def _all_texts(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(one, str) for one in value)


def _arms(hint: Any) -> list[Any]:
    union = typing.get_origin(hint) in (types.UnionType, typing.Union)
    return [one for one in (typing.get_args(hint) if union else (hint,)) if one is not type(None)]


def _said(cls: type) -> Mapping[str, str]:
    """Lines of the docstring that begin with the name of a field, or of several; they stand in a column."""
    lines = inspect.getdoc(cls) or ""
    names = {field.name for field in dataclasses.fields(cls)}
    found: dict[str, str] = {}
    starts = [
        (m, m.group(1).split(", "))
        for line in lines.splitlines()
        if (m := re.match(r"(\w+(?:, \w+)*)( +)\S", line)) and names.issuperset(m.group(1).split(", "))
    ]
    columns = {len(m.group(1) + m.group(2)) for m, _ in starts if len(m.group(2)) > 1}
    heads = {m.string: words for m, words in starts if len(m.group(1) + m.group(2)) in columns}
    words: list[str] = []
    for line in lines.splitlines():
        if line in heads:
            words = heads[line]
            text = re.sub(r"^(\w+(?:, \w+)*) +", "", line)
        elif line.startswith(" ") and words:
            text = line.strip()
        else:
            words = []
            continue
        for name in words:
            found[name] = f"{found.get(name, '')} {text}".strip()
    return found
