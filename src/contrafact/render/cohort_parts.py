"""Divisions of the cases of a run, for each of which the mean changes are shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from contrafact.render.case_facts import CaseFacts, RunFacts

TRUTH, ALL = "truth and prediction", "all cases"
TERMS = {
    (0, 1): "false positives",
    (1, 0): "false negatives",
    (1, 1): "true positives",
    (0, 0): "true negatives",
}


def ways_of(facts: RunFacts, cases: Sequence[CaseFacts]) -> dict[str, str]:
    """Return the ways in which the cases can be divided: name, and column or empty."""
    compared = any(one.right is not None for one in cases)
    columns = {name if name not in (TRUTH, ALL) else f"column {name}": name for name in facts.columns}
    return ({TRUTH: ""} if compared else {}) | columns | {ALL: ""}


def parts_of(
    cases: Sequence[CaseFacts], by: str, column: str
) -> Iterator[tuple[CaseFacts, str, Mapping[str, str]]]:
    """Yield every case with the words and the filter of its part, wrong predictions first."""
    for one in sorted(cases, key=lambda one: one.right is not False) if by == TRUTH else cases:
        if column and one.groups.get(column):
            group = one.groups[column]
            yield one, f"{column}: {group}", {"column": column, "group": group}
        elif not column and by == ALL:
            yield one, "all cases", {}
        elif not column and one.right is not None:
            pair = one.classes.index(one.truth), one.classes.index(one.predicted)
            term = f"{TERMS[pair]}: " if len(one.classes) == 2 else ""
            words = f"{term}labelled {one.truth}, predicted {one.predicted}"
            yield one, words, {"truth": one.truth, "predicted": one.predicted}
