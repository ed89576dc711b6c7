"""Describe the fields of a dataclass for forms and help pages; convert their values to text and back."""

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
    """One field of a dataclass, or of a dataclass nested in it.

    name     of a nested field with the parent's name and a dot: `refinement.steps`
    kind     type in words; "texts" is a list of texts, one per line
    default  as text; empty if there is no default
    help     from the docstring of the class; empty if it does not mention the field
    """

    name: str
    kind: str
    default: str
    help: str


def settings_of(cls: type) -> list[Setting]:
    """Return every setting of a dataclass, including those of nested dataclasses."""
    hints, help_texts = hints_of(cls), _help_of(cls)
    settings = []
    for field in dataclasses.fields(cls):
        hint, part = hints.get(field.name, Any), field.default_factory
        if not field.init:
            continue
        if isinstance(part, type) and dataclasses.is_dataclass(part):
            inner = [
                dataclasses.replace(setting, name=f"{field.name}.{setting.name}")
                for setting in settings_of(part)
            ]
            settings += inner
            continue
        value = field.default
        default = "" if value is dataclasses.MISSING or value == () else text_of(hint, value)
        settings.append(Setting(field.name, kind_of(hint), default, help_texts.get(field.name, "")))
    return settings


def hint_of(cls: type, name: str) -> Any:
    """Return the type of a setting; `Any` if it is unknown."""
    head, _, rest = name.partition(".")
    for field in dataclasses.fields(cls):
        if field.name == head:
            part = field.default_factory
            if rest and isinstance(part, type) and dataclasses.is_dataclass(part):
                return hint_of(part, rest)
            return Any if rest else hints_of(cls).get(head, Any)
    return Any


def has_parts(cls: type, name: str) -> bool:
    """Whether a field is itself a dataclass whose fields are settings."""
    parts = {field.name: field.default_factory for field in dataclasses.fields(cls)}
    part = parts.get(name)
    return isinstance(part, type) and dataclasses.is_dataclass(part)


def kind_of(hint: Any) -> str:
    """Return a type in words."""
    words = []
    for arm in _arms(hint):
        if typing.get_origin(arm) is not tuple:
            words.append(WORDS.get(arm, "a name, or a table in TOML"))
            continue
        several = kind_of(typing.get_args(arm)[0])
        words.append(LINES if several == "text" else "several of them" if words else f"several: {several}")
    return " or ".join(words)


def text_of(hint: Any, value: Any) -> str:
    """Return a value as plain text; as TOML if `value_of` would read the plain text differently."""
    if value is None:
        return ""
    if kind_of(hint) == LINES and _all_texts(value):
        plain = "\n".join(value)
    elif isinstance(value, str):
        plain = value
    elif isinstance(value, (list, tuple)):
        plain = ", ".join(text_of(Any, item) for item in value)
    else:
        return toml_value(value)
    toml = toml_value(value)
    return plain if plain and toml_value(value_of(hint, plain)) == toml else toml


def value_of(hint: Any, text: str) -> Any:
    """Return the value of a text: a TOML value if it parses as one, else the text. It may not fit `hint`."""
    text, kind = text.strip(), kind_of(hint)
    parsed = _parsed(text)
    if kind == LINES:
        if isinstance(parsed, list):
            return parsed
        return [line.strip() for line in text.splitlines() if line.strip()]
    if kind == "text":
        return parsed if isinstance(parsed, str) and text.startswith('"') else text
    lists = [arm for arm in _arms(hint) if typing.get_origin(arm) is tuple]
    only = bool(lists) and len(lists) == len(_arms(hint))
    if isinstance(parsed, list) or (parsed is not None and not only):
        return parsed
    if lists and (only or "," in text):
        return [value_of(Any, part) for part in text.split(",")]
    return text


def _parsed(text: str) -> Any:
    """Parse one line as a TOML value; None if it is not one, or not one that a study file can hold."""
    if "\n" in text or "\r" in text:
        return None
    try:
        table = tomllib.loads(f"x = {text}")
        toml_value(table["x"])
    except (ValueError, RecursionError, InputError):
        return None
    return table["x"]


def _all_texts(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value)


def _arms(hint: Any) -> list[Any]:
    union = typing.get_origin(hint) in (types.UnionType, typing.Union)
    return [arm for arm in (typing.get_args(hint) if union else (hint,)) if arm is not type(None)]


def _help_of(cls: type) -> Mapping[str, str]:
    """Return the help of each field: the docstring lines that start with its name, aligned in a column."""
    lines = inspect.getdoc(cls) or ""
    names = {field.name for field in dataclasses.fields(cls)}
    help_texts: dict[str, str] = {}
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
            help_texts[name] = f"{help_texts.get(name, '')} {text}".strip()
    return help_texts
