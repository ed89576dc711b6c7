"""A study file while it is written: what it can say, and what its reader refuses, field by field.

A draft holds texts, as a form has them: `study` by field, and lists of parts (models, second_model, methods,
metrics), each with its label and its fields. `table_of` and `draft_of` go to the tables of TOML and back;
what no study knows stays in the draft until it is removed.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from contrafact.core import EXPLAINERS, METRICS, ContrafactError, InputError, Registry, configure, to_toml
from contrafact.core.field_docs import has_parts, hint_of, settings_of, text_of, value_of
from contrafact.study import ModelChoice, StudyConfig

PARTS = ("models", "second_model", "methods", "metrics")
REGISTRIES: dict[str, tuple[Registry, str]] = {
    "methods": (EXPLAINERS, "method"),
    "metrics": (METRICS, "metric"),
}
# Studies that lack only what is looked at.
BARE: dict[str, Any] = {"out": "run", "images": ["x"], "model": {"path": "x"}, "methods": {"gradient": {}}}
OF_COHORT = {**{k: v for k, v in BARE.items() if k != "images"}, "cohort": "x"}

Draft = Mapping[str, Any]
Table = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, and where: `study.seed`, `methods.0`, `methods.0.masks`; empty: in the whole."""

    place: str
    text: str


def choices() -> dict[str, Any]:
    """All that a study can say: its settings, every method and metric with theirs; from the classes alone."""
    whole = [one for one in settings_of(StudyConfig) if one.name not in (*PARTS, "model")]
    return {
        "study": [dataclasses.asdict(one) for one in whole],
        "models": [dataclasses.asdict(one) for one in settings_of(ModelChoice)],
        **{part: [_member(one, name) for name in one.names()] for part, (one, _) in REGISTRIES.items()},
    }


def _member(registry: Registry, name: str) -> dict[str, Any]:
    cls = registry.get(name)
    about, _, rest = (inspect.getdoc(cls) or "").partition("\n")
    return {
        "name": name,
        "aliases": registry.names()[name],
        "about": about,
        "more": rest.strip(),
        "settings": [dataclasses.asdict(one) for one in settings_of(cls)],
    }


def empty_draft() -> dict[str, Any]:
    return {"study": {"out": "runs/study"}, **{part: [] for part in PARTS}}


def draft_of(table: Mapping[str, Any]) -> dict[str, Any]:
    """A draft that `table_of` turns into the same table.

    raises  InputError for a table that a draft cannot hold: parts that are no tables, dates
    """
    draft: dict[str, Any] = {"study": {}, **{part: [] for part in PARTS}}
    for key, value in table.items():
        if key in ("model", "second_model"):
            draft["models" if key == "model" else key].append(_part("", value, "models", key))
        elif key in PARTS:
            for label, part in _table(value, key).items():
                draft[key].append(_part(label, part, key, f"{key}.{label}"))
        else:
            draft["study"][key] = text_of(hint_of(StudyConfig, key), value)
    return draft


def _part(label: str, value: Any, part: str, where: str) -> dict[str, Any]:
    given = dict(_table(value, where))
    word = REGISTRIES[part][1] if part in REGISTRIES else ""
    kind = given.pop(word) if isinstance(given.get(word), str) else ""
    cls = _class_of(part, kind or label)
    fields = {}
    for key, one in given.items():
        inner = one if has_parts(cls, key) and isinstance(one, Mapping) and one else None
        if inner is None:
            fields[key] = text_of(hint_of(cls, key), one)
        else:
            fields |= {f"{key}.{name}": text_of(hint_of(cls, f"{key}.{name}"), v) for name, v in inner.items()}
    return {"label": label, "kind": kind, "fields": fields}


def _table(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InputError(f"[{where}] must be a table; got {type(value).__name__}")
    return value


def _class_of(part: str, name: str) -> type:
    """What the fields of a part belong to; of an unknown method nothing is known."""
    if part not in REGISTRIES:
        return ModelChoice
    try:
        return REGISTRIES[part][0].get(name)
    except InputError:
        return _Unknown


@dataclass(frozen=True)
class _Unknown:
    """A method that nobody registered: it has no settings."""


def table_of(draft: Draft) -> Table:
    """The tables of a study; empty texts are left out.

    raises  InputError for a draft of another shape, or two parts of one label
    """
    table: Table = {}
    for key, text in _texts(draft.get("study"), "study").items():
        if text.strip():
            table[key] = value_of(hint_of(StudyConfig, key), text)
    for part in PARTS:
        for label, fields in _parts_of(draft, part):
            if part == "second_model" or (part == "models" and label == ""):
                table["model" if part == "models" else part] = fields
            else:
                table.setdefault(part, {})[label] = fields
    return table


def _parts_of(draft: Draft, part: str) -> Iterator[tuple[str, Table]]:
    seen: set[str] = set()
    for entry in _entries(draft, part):
        label, kind = entry["label"], entry["kind"]
        if label in seen:
            raise InputError(f"two of [{part}] have the label '{label}'; expected one of their own for each")
        seen.add(label)
        fields: Table = {REGISTRIES[part][1]: kind} if kind and part in REGISTRIES else {}
        cls = _class_of(part, kind or label)
        for key, text in entry["fields"].items():
            head, _, rest = key.partition(".")
            if text.strip() and rest and has_parts(cls, head):
                fields.setdefault(head, {})[rest] = value_of(hint_of(cls, key), text)
            elif text.strip():
                fields[key] = value_of(hint_of(cls, key), text)
        yield label, fields


def _entries(draft: Draft, part: str) -> list[dict[str, Any]]:
    entries = draft.get(part, [])
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise InputError(f"expected a list of parts in '{part}' of the draft; got something else")
    found = []
    for entry in entries:
        words = _texts({k: entry.get(k, "") for k in ("label", "kind")}, part)
        found.append({**words, "fields": _texts(entry.get("fields", {}), part)})
    return found


def _texts(value: Any, where: str) -> dict[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(one, str) for one in value.values()):
        raise InputError(f"expected texts by name in '{where}' of the draft; got something else")
    return dict(value)


def problems_of(draft: Draft) -> list[Problem]:
    """What the study's reader refuses, each at its place: it reads bare studies with one thing of the draft
    at a time, and then the whole."""
    try:
        table = table_of(draft)
        to_toml(table)
    except InputError as error:
        return [Problem("", str(error))]
    found = [Problem(f"study.{key}", text) for key, text in _wrong_settings(table)]
    for part in PARTS:
        parts = zip(_entries(draft, part), _parts_of(draft, part), strict=True)
        for number, (entry, (label, fields)) in enumerate(parts):
            for key, text in _wrong_part(part, label, fields, entry["fields"]):
                found.append(Problem(f"{part}.{number}" + (f".{key}" if key else ""), text))
    whole = refusal(table)
    if whole is not None and all(one.text != whole for one in found):
        found.insert(0, Problem("", whole))
    return found


def _wrong_settings(table: Table) -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if key in (*PARTS, "model"):
            continue
        said = [
            refusal({**bare, key: value})
            for bare in (BARE, OF_COHORT)
            if key not in ("images", "cohort") or key in bare
        ]
        if None not in said:
            yield key, str(said[-1])


def _wrong_part(part: str, label: str, fields: Table, keys: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(field, message) of one model, method or metric; an empty field: the part itself."""

    def read(given: Table) -> str | None:
        if part == "models":
            return refusal({**BARE, "model": given})
        return refusal({**BARE, part: given if part == "second_model" else {label: given}})

    word = REGISTRIES[part][1] if part in REGISTRIES else ""
    bare = {k: v for k, v in fields.items() if k == word} if word else {"path": "x"}
    named = read(bare)
    if named is not None:
        yield "", named
        return
    whole, seen = read(fields), False
    for key in keys if whole is not None else ():
        head, _, rest = key.partition(".")
        if head not in fields and key not in fields:
            continue
        value = fields[key] if key in fields else {rest: fields[head][rest]}
        said = read({**bare, (key if key in fields else head): value})
        if said is not None:
            seen = True
            yield key, said
    if whole is not None and not seen:
        yield "", whole


def refusal(table: Table) -> str | None:
    """Why `contrafact study` would not read this study, in one line."""
    try:
        configure(StudyConfig, table, where="study")
    except ContrafactError as error:
        return " ".join(str(error).split())
    except (TypeError, ValueError, ArithmeticError) as error:  # from a method's own checks
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    return None
