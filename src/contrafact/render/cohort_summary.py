"""The cohort page above its list: truth and prediction, figures by subgroup, and flips outside the anatomy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from contrafact.core.intervals import mean_interval, wilson
from contrafact.render.case_facts import CaseFacts, RunFacts
from contrafact.render.subgroups import Grouping

FEW = 10  # patients below which a figure has no interval
THUMBNAILS = 3  # of a cell of the grid
LISTED = 8  # labels and columns named in a sentence
Value = Callable[[CaseFacts], float | None]


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of a group of cases: the mean over patients of `value`, which is a share or a probability.

    behind  filter of the cases to look at, of which `of_behind` tells which they are; word: what they are
    """

    key: str
    title: str
    value: Value
    behind: Mapping[str, str]
    of_behind: Callable[[CaseFacts], bool]
    word: str
    is_share: bool = True


def cohort_summary(facts: RunFacts, model: str) -> dict[str, Any]:
    """Return the data of the parts above the list, for one model; parts without content are None or empty."""
    cases = facts.of_model(model)
    figures = [figure for figure in figures_of(cases) if any(figure.value(one) is not None for one in cases)]
    return {
        "model": model,
        "models": facts.models(),
        "total": len(cases),
        "labelled": sum(bool(one.label) for one in cases),
        "grid": truth_grid(cases),
        "figures": [{"key": figure.key, "title": figure.title} for figure in figures],
        "all": _line(cases, figures),
        "columns": [
            {"name": name, "groups": [_group(cases, figures, name, group) for group in groups.names]}
            for name, groups in facts.columns.items()
            if figures
        ],
        "differing": differing(cases, figures, facts.columns),
        "unused": ", ".join(f"{name} ({why})" for name, why in list(facts.unused.items())[:LISTED]),
        "outside": outside_anatomy(cases),
        "changes": sum(any(change.towards for change in one.changes) for one in cases),
    }


def truth_grid(cases: Sequence[CaseFacts]) -> dict[str, Any] | None:
    """Return how many cases of each label have each prediction; None where no case has both."""
    both = [one for one in cases if one.truth and one.predicted]
    if not both:
        return None
    classes = list(dict.fromkeys(name for one in both for name in one.classes))
    predicted = [name for name in classes if len(classes) <= 4 or any(one.predicted == name for one in both)]
    labels = {one.truth for one in both}
    truths = [*filter(labels.__contains__, classes), *sorted(labels - set(classes))]
    compared = [one for one in both if one.right is not None]
    return {
        "predicted": predicted,
        "rows": [
            {
                "truth": truth,
                "known": truth in classes,
                "cells": [_cell([one for one in both if one.truth == truth], name) for name in predicted],
            }
            for truth in truths
        ],
        "right": sum(one.right is True for one in compared),
        "compared": len(compared),
        **_share(_by_patient(compared, lambda one: float(bool(one.right)))),
        "unlabelled": sum(not one.label for one in cases),
        "unknown": _unknown([name for name in truths if name not in classes], classes),
    }


def _cell(cases: Sequence[CaseFacts], predicted: str) -> dict[str, Any]:
    inside = [one for one in cases if one.predicted == predicted]
    answers = {one.right for one in inside}
    shown = sorted(inside, key=lambda one: -(one.probability or 0) if one.right is False else 0)
    return {
        "predicted": predicted,
        "count": len(inside),
        "share": len(inside) / len(cases),
        "right": answers.pop() if len(answers) == 1 else None,
        "thumbnails": [one.row for one in shown[:THUMBNAILS]],
    }


def _unknown(labels: Sequence[str], classes: Sequence[str]) -> str:
    """Return a sentence on labels that are no class of the model; empty without one."""
    if not labels:
        return ""
    named = ", ".join(labels[:LISTED]) + (f" and {len(labels) - LISTED} more" if len(labels) > LISTED else "")
    return (
        f"No class of the model is called {named}: these cases count as neither right nor wrong. Write the "
        f"model's own names in the column label: {', '.join(classes[:LISTED])}."
    )


def figures_of(cases: Sequence[CaseFacts]) -> list[Figure]:
    """Return the figures of a subgroup, in the order in which they are shown."""
    known = [one for one in cases if one.probability is not None]
    names = {one.classes[1] if len(one.classes) == 2 else "" for one in known}
    whose = next(iter(names)) if len(names) == 1 else ""
    return [
        Figure(
            "right",
            "prediction right",
            lambda one: None if one.right is None else float(one.right),
            {"answer": "wrong"},
            lambda one: one.right is False,
            "wrong",
        ),
        Figure(
            "probability",
            f"mean probability of {whose or 'the predicted class'}",
            lambda one: one.probability if whose else _of_predicted(one),
            {},
            lambda _: False,
            "",
            False,
        ),
        Figure(
            "flipped",
            "counterfactual flips the prediction",
            lambda one: _mean(change.flipped for change in one.changes),
            {"change": "unflipped"},
            lambda one: any(change.flipped is False for change in one.changes),
            "without a flip",
        ),
        Figure(
            "confirmed",
            "flips confirmed by a second model",
            lambda one: _mean(change.confirmed for change in one.changes),
            {"change": "unconfirmed"},
            lambda one: any(change.confirmed is False for change in one.changes),
            "not confirmed",
        ),
    ]


def _of_predicted(one: CaseFacts) -> float | None:
    """Return the probability of the predicted class."""
    if one.probability is None or len(one.classes) != 2 or one.predicted == one.classes[1]:
        return one.probability
    return 1 - one.probability


def _mean(values: Iterable[bool | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _group(cases: Sequence[CaseFacts], figures: Sequence[Figure], column: str, group: str) -> dict[str, Any]:
    return {"name": group, **_line([one for one in cases if one.groups.get(column) == group], figures)}


def _line(cases: Sequence[CaseFacts], figures: Sequence[Figure]) -> dict[str, Any]:
    """Return the figures of a group: value, interval, patients, whether they are few, and what to look at."""
    values = {}
    for figure in figures:
        means = _by_patient(cases, figure.value)
        values[figure.key] = {
            "value": sum(means) / len(means) if means else None,
            "interval": _interval(means, figure) if len(means) >= FEW else None,
            "patients": len(means),
            "few": len(means) < FEW,
            "behind": dict(figure.behind),
            "count": sum(map(figure.of_behind, cases)),
            "word": figure.word,
        }
    return {"cases": len(cases), "values": values}


def _by_patient(cases: Iterable[CaseFacts], value: Value) -> list[float]:
    """Return the mean of each patient; a case whose patient is unknown is one of its own."""
    found: dict[str, list[float]] = {}
    for one in cases:
        number = value(one)
        if number is not None:
            found.setdefault(one.patient or one.case.id, []).append(number)
    return [sum(numbers) / len(numbers) for numbers in found.values()]


def _interval(means: Sequence[float], figure: Figure) -> tuple[float, float] | None:
    if figure.is_share:
        return wilson(sum(means), len(means))
    found = mean_interval(means)
    return None if found is None else (max(0.0, found[0]), min(1.0, found[1]))


def _share(means: Sequence[float]) -> dict[str, Any]:
    if not means:
        return {"share": None, "interval": None, "patients": 0}
    low_high = wilson(sum(means), len(means))
    return {"share": sum(means) / len(means), "interval": low_high, "patients": len(means)}


def differing(
    cases: Sequence[CaseFacts], figures: Sequence[Figure], columns: Mapping[str, Grouping]
) -> list[dict[str, Any]]:
    """Return the subgroups whose share lies apart from that of all other cases: their intervals do not meet,
    and both have enough patients. The widest gap comes first."""
    found = []
    for column, groups in columns.items():
        for group in groups.names:
            inside = [one for one in cases if one.groups.get(column) == group]
            others = [one for one in cases if one.groups.get(column) != group]
            for figure in (figure for figure in figures if figure.is_share):
                here, there = (_share(_by_patient(part, figure.value)) for part in (inside, others))
                if min(here["patients"], there["patients"]) < FEW:
                    continue
                (low, high), (least, most) = here["interval"], there["interval"]
                if low > most or least > high:
                    filters = {"column": column, "group": group}
                    shares = {"share": here["share"], "others": there["share"]}
                    found.append({"figure": figure.title, "filters": filters, **shares})
    return sorted(found, key=lambda one: -abs(one["share"] - one["others"]))


def outside_anatomy(cases: Iterable[CaseFacts]) -> dict[str, int] | None:
    """Return how many flips change mostly what lies outside the anatomy that was marked, of how many that have
    a mask; None where none has one."""
    marked = [c for one in cases for c in one.changes if c.flipped and c.outside is not None]
    return {"outside": sum(bool(c.outside) for c in marked), "of": len(marked)} if marked else None
