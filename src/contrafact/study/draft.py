"""Drafts of study files for a form: the possible settings, conversion, and problems by field.

A draft contains texts, as a form does: `study` by field, and lists of parts (models, second_model, methods,
metrics), each with its label and its fields. `table_of` and `draft_of` convert to TOML tables and back;
unknown keys remain in the draft until the user removes them.
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
# Minimal studies, to which a check adds one setting.
BARE: dict[str, Any] = {"out": "run", "images": ["x"], "model": {"path": "x"}, "methods": {"gradient": {}}}
OF_COHORT = {**{k: v for k, v in BARE.items() if k != "images"}, "cohort": "x"}

Draft = Mapping[str, Any]
Table = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem of a draft with its place: `study.seed`, `methods.0`, `methods.0.masks`; empty: the draft."""

    place: str
    text: str


def choices() -> dict[str, Any]:
    """Return all settings of a study, of models, and of every method and metric, from the classes' fields."""
    general = [setting for setting in settings_of(StudyConfig) if setting.name not in (*PARTS, "model")]
    return {
        "study": [dataclasses.asdict(setting) for setting in general],
        "models": [dataclasses.asdict(setting) for setting in settings_of(ModelChoice)],
        **{part: [_member(reg, name) for name in reg.names()] for part, (reg, _) in REGISTRIES.items()},
    }


def _member(registry: Registry, name: str) -> dict[str, Any]:
    """Return name, aliases, documentation and settings of a registered method or metric."""
    cls = registry.get(name)
    about, _, rest = (inspect.getdoc(cls) or "").partition("\n")
    return {
        "name": name,
        "aliases": registry.names()[name],
        "about": about,
        "more": rest.strip(),
        "settings": [dataclasses.asdict(setting) for setting in settings_of(cls)],
    }


def empty_draft() -> dict[str, Any]:
    """Return a draft with the default run folder and no parts."""
    return {"study": {"out": "runs/study"}, **{part: [] for part in PARTS}}


def draft_of(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the draft that `table_of` converts to the same table.

    raises  InputError for a table that a draft cannot represent: parts that are not tables, dates
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
    """Return a part of a draft from its table."""
    settings = dict(_table(value, where))
    word = REGISTRIES[part][1] if part in REGISTRIES else ""
    kind = settings.pop(word) if isinstance(settings.get(word), str) else ""
    cls = _class_of(part, kind or label)
    fields = {}
    for key, setting in settings.items():
        inner = setting if has_parts(cls, key) and isinstance(setting, Mapping) and setting else None
        if inner is None:
            fields[key] = text_of(hint_of(cls, key), setting)
        else:
            fields |= {f"{key}.{name}": text_of(hint_of(cls, f"{key}.{name}"), v) for name, v in inner.items()}
    return {"label": label, "kind": kind, "fields": fields}


def _table(value: Any, where: str) -> Mapping[str, Any]:
    """Return a value that is a table. Raise InputError for any other."""
    if not isinstance(value, Mapping):
        raise InputError(f"[{where}] must be a table; got {type(value).__name__}")
    return value


def _class_of(part: str, name: str) -> type:
    """Return the class whose fields are the settings of a part; `_Unknown` for an unknown method."""
    if part not in REGISTRIES:
        return ModelChoice
    try:
        return REGISTRIES[part][0].get(name)
    except InputError:
        return _Unknown


@dataclass(frozen=True)
class _Unknown:
    """The class of an unregistered method, without settings."""


def table_of(draft: Draft) -> Table:
    """Return the table of a study; empty texts are omitted.

    raises  InputError for a draft of another structure, or two parts with one label
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
    """Yield label and table of each part of a kind."""
    seen: set[str] = set()
    for entry in _entries(draft, part):
        label, kind = entry["label"], entry["kind"]
        if label in seen:
            raise InputError(f"expected different labels in [{part}]; got '{label}' twice; rename one")
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
    """Return the parts of a kind with label, kind and fields. Raise InputError for another structure."""
    entries = draft.get(part, [])
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        raise InputError(f"expected a list of parts in '{part}' of the draft; got something else")
    parts = []
    for entry in entries:
        words = _texts({k: entry.get(k, "") for k in ("label", "kind")}, part)
        parts.append({**words, "fields": _texts(entry.get("fields", {}), part)})
    return parts


def _texts(value: Any, where: str) -> dict[str, str]:
    """Return a mapping of texts. Raise InputError for any other value."""
    if not isinstance(value, Mapping) or not all(isinstance(text, str) for text in value.values()):
        raise InputError(f"expected texts by name in '{where}' of the draft; got something else")
    return dict(value)


def problems_of(draft: Draft) -> list[Problem]:
    """Return the errors of a draft, each with its place: every setting is checked in a minimal study by itself,
    and then the whole draft."""
    try:
        table = table_of(draft)
        to_toml(table)
    except InputError as error:
        return [Problem("", str(error))]
    problems = [Problem(f"study.{key}", text) for key, text in _wrong_settings(table)]
    for part in PARTS:
        parts = zip(_entries(draft, part), _parts_of(draft, part), strict=True)
        for number, (entry, (label, fields)) in enumerate(parts):
            for key, text in _wrong_part(part, label, fields, entry["fields"]):
                problems.append(Problem(f"{part}.{number}" + (f".{key}" if key else ""), text))
    whole = refusal(table)
    if whole is not None and all(problem.text != whole for problem in problems):
        problems.insert(0, Problem("", whole))
    return problems


def _wrong_settings(table: Table) -> Iterator[tuple[str, str]]:
    """Yield (key, message) for every invalid setting of the whole study."""
    for key, value in table.items():
        if key in (*PARTS, "model"):
            continue
        refusals = [
            refusal({**bare, key: value})
            for bare in (BARE, OF_COHORT)
            if key not in ("images", "cohort") or key in bare
        ]
        if None not in refusals:
            yield key, str(refusals[-1])


def _wrong_part(part: str, label: str, fields: Table, keys: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield (field, message) for every invalid field of a model, method or metric; an empty field: the part
    itself."""

    def refusal_of(settings: Table) -> str | None:
        if part == "models":
            return refusal({**BARE, "model": settings})
        return refusal({**BARE, part: settings if part == "second_model" else {label: settings}})

    word = REGISTRIES[part][1] if part in REGISTRIES else ""
    bare = {k: v for k, v in fields.items() if k == word} if word else {"path": "x"}
    named = refusal_of(bare)
    if named is not None:
        yield "", named
        return
    whole, reported = refusal_of(fields), False
    for key in keys if whole is not None else ():
        head, _, rest = key.partition(".")
        if head not in fields and key not in fields:
            continue
        value = fields[key] if key in fields else {rest: fields[head][rest]}
        message = refusal_of({**bare, (key if key in fields else head): value})
        if message is not None:
            reported = True
            yield key, message
    if whole is not None and not reported:
        yield "", whole


def refusal(table: Table) -> str | None:
    """Return the error of `contrafact study` for this table, in one line; None for a valid one."""
    try:
        configure(StudyConfig, table, where="study")
    except ContrafactError as error:
        return " ".join(str(error).split())
    except (TypeError, ValueError, ArithmeticError) as error:  # from the checks of a method
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    return None
