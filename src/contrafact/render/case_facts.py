"""Every case of a run with its label, prediction and subgroups, to count and to filter by."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from contrafact.core import InputError, nearest
from contrafact.io.run_cohort import CohortTable, stored_shares
from contrafact.render.changes import Change, change_of
from contrafact.render.map_display import finding_of
from contrafact.render.run_index import CaseResults, RunIndex
from contrafact.render.subgroups import Grouping, grouping

ANSWER = re.compile(r"(.+) (\d+(?:\.\d+)?) %")  # "narrow 83 %", as a run stores predictions
YES, NO = ("1", "yes", "true", "positive"), ("0", "no", "false", "negative")
ANSWERS = ("right", "wrong", "unlabelled")
CHANGES: Mapping[str, Callable[[Change], bool]] = {
    "any": lambda change: change.towards != 0,
    "flipped": lambda change: change.flipped is True,
    "unflipped": lambda change: change.flipped is False,
    "confirmed": lambda change: change.confirmed is True,
    "unconfirmed": lambda change: change.confirmed is False,
    "outside": lambda change: bool(change.flipped and change.outside),
}


@dataclass(slots=True)
class CaseFacts:
    """A case with what is known of it.

    source       path of the image as the run names it
    classes      classes that exclude each other, or (not NAME, NAME) of a single finding; empty without classes
    predicted    one of `classes`; empty where there is no prediction of a class
    probability  of the finding of two classes, or of the predicted one of more; None where unknown
    label        as the cohort has it; truth: the class that it means, or else the label itself
    groups       the subgroup of every column
    """

    case: CaseResults
    source: str = ""
    finding: str = ""
    classes: tuple[str, ...] = ()
    predicted: str = ""
    probability: float | None = None
    patient: str = ""
    label: str = ""
    truth: str = ""
    groups: dict[str, str] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)

    @property
    def right(self) -> bool | None:
        """Whether the prediction is the label; None where one of them is missing or the label is no class."""
        known = self.truth in self.classes and bool(self.predicted)
        return self.truth == self.predicted if known else None

    @property
    def row(self) -> int | None:
        """The first row of the case, which has its image."""
        return min([*self.case.maps, *self.case.strips], default=None)


@dataclass(frozen=True, slots=True)
class RunFacts:
    """The facts of a run by case, and its columns. `unused` says why a column is no subgroup; `summaries` keeps
    what was computed of them, by model."""

    cases: Mapping[str, CaseFacts]
    columns: Mapping[str, Grouping]
    unused: Mapping[str, str]
    summaries: dict[str, dict[str, Any]] = field(default_factory=dict)

    def models(self) -> list[str]:
        """Return the names of the run's models that have results."""
        return list(dict.fromkeys(model_of(one.case) for one in self.cases.values() if one.row is not None))

    def of_model(self, model: str) -> list[CaseFacts]:
        return [one for one in self.cases.values() if model_of(one.case) == model and one.row is not None]


def model_of(case: CaseResults) -> str:
    """Return the name of a case's model; a model without a name is named by its hash."""
    return case.model or case.digest[:8]


def run_facts(index: RunIndex, table: CohortTable) -> RunFacts:
    """Return the facts of every case of a run. Rows are read once; no array is opened."""
    cases = index.cases()
    facts = {id_: CaseFacts(case) for id_, case in cases.items()}
    shares = stored_shares(index.run)
    of_row = {number: facts[id_] for id_, case in cases.items() for number in (*case.maps, *case.strips)}
    for number, row in index.run.rows_from(0):
        one = of_row.get(number)
        if one is not None and not row.get("picture"):
            _read(one, number, row, shares)
    found = [one for one in facts.values() if one.row is not None]
    for one in found:
        _predict(one)
    columns, unused = _describe(found, table)
    return RunFacts(facts, columns, unused)


def _read(one: CaseFacts, number: int, row: Mapping[str, Any], shares: Mapping[Any, float]) -> None:
    if not one.source:
        one.source, one.finding = str(row.get("source") or ""), finding_of(row)
        names = row.get("exclusive_classes")
        one.classes = tuple(map(str, names)) if isinstance(names, list) else ()
    if row["kind"] == "strip":
        label, model = str(row.get("label") or row["record"]["method"]), str(row.get("model_name") or "")
        inside = (shares.get((one.source, model, label, to)) for to in (row["record"]["target"], "-"))
        measured = next((share for share in inside if share is not None), None) if shares else None
        one.changes.append(change_of(number, row, measured))


def _predict(one: CaseFacts) -> None:
    """Note the predicted class: of classes that exclude each other the most probable one, else whether the
    finding has half of the probability."""
    said = [match for match in map(ANSWER.fullmatch, one.case.answers) if match]
    shares = {match[1]: float(match[2]) / 100 for match in said}
    if len(one.classes) <= 2:
        one.classes = one.classes or ((f"not {one.finding}", one.finding) if one.finding in shares else ())
        exact = (change.probability for change in one.changes if change.finding == one.finding)
        share = next((value for value in exact if value is not None), shares.get(one.finding))
        if one.classes and share is not None:
            one.predicted, one.probability = one.classes[-1 if share >= 0.5 else 0], share
    elif set(one.classes) <= set(shares):
        one.predicted = max(one.classes, key=lambda name: shares[name])
        one.probability = shares[one.predicted]


def _describe(found: Sequence[CaseFacts], table: CohortTable) -> tuple[dict[str, Grouping], dict[str, str]]:
    """Note label, patient and subgroups of every case; return the columns, and why others are none."""
    known = [(one, said) for one in found if (said := table.find(one.source))]
    numbered = {plain(said.label) for _, said in known if said.label}
    for one, said in known:
        one.patient, one.label = said.patient, said.label
        one.truth = class_of_label(said.label, one.classes, numbered) or said.label
    columns, unused = dict[str, Grouping](), dict[str, str]()
    for name in dict.fromkeys(name for _, said in known for name in said.extra):
        groups = grouping([said.extra.get(name, "") for _, said in known])
        if isinstance(groups, str):
            unused[name] = groups
            continue
        columns[name] = groups
        for one, said in known:
            one.groups[name] = groups.of(said.extra.get(name, ""))
    return columns, unused


def class_of_label(label: str, classes: Sequence[str], all_labels: Iterable[str]) -> str:
    """Return the class that a label means: by its name, or by its number where every label is the number of a
    class; of a single finding also yes and no. Empty where it means none.

    all_labels  the labels of the run, as `plain` gives them
    """
    text, by_name = plain(label), {plain(name): name for name in classes}
    if text in by_name:
        return by_name[text]
    numbers = {str(k): name for k, name in enumerate(classes)}
    if set(all_labels) <= set(numbers):
        return numbers.get(text, "")
    if len(classes) == 2 and classes[0] == f"not {classes[1]}":
        if text in NO or text == f"no {plain(classes[1])}":
            return classes[0]
        return classes[1] if text in YES else ""
    return ""


def plain(text: str) -> str:
    """Return a label without case and surplus spaces."""
    return " ".join(text.split()).casefold()


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseFilter:
    """Which cases are shown; an empty text sets no condition.

    truth, predicted  class or label; column, group: a subgroup; answer: one of ANSWERS; change: one of CHANGES
    """

    model: str = ""
    truth: str = ""
    predicted: str = ""
    column: str = ""
    group: str = ""
    answer: str = ""
    change: str = ""

    def __post_init__(self) -> None:
        for name, value, known in (("answer", self.answer, ANSWERS), ("change", self.change, tuple(CHANGES))):
            if value and value not in known:
                expected = f"{name} must be one of {', '.join(known)}"
                raise InputError(f"{expected}; got '{value}'{nearest(value, known)}")

    def __bool__(self) -> bool:
        return any((self.model, self.truth, self.predicted, self.column, self.answer, self.change))

    def keeps(self, one: CaseFacts) -> bool:
        """Whether a case fulfils every condition."""
        wanted = {"right": one.right is True, "wrong": one.right is False, "unlabelled": not one.label}
        return (
            (not self.model or self.model == model_of(one.case))
            and (not self.truth or self.truth == one.truth)
            and (not self.predicted or self.predicted == one.predicted)
            and (not self.column or one.groups.get(self.column) == self.group)
            and (not self.answer or wanted[self.answer])
            and (not self.change or any(map(CHANGES[self.change], one.changes)))
        )

    def kept(self, facts: RunFacts, cases: Iterable[CaseResults]) -> Iterator[CaseResults]:
        """Yield those of the cases that fulfil every condition."""
        return (case for case in cases if (one := facts.cases.get(case.id)) and self.keeps(one))
