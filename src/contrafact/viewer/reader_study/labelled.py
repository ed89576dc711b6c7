"""Images of a run with their true label and the model's prediction, for readers who decide on a finding."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from contrafact.core import InputError
from contrafact.io import Run, read_cohort
from contrafact.io.run_cohort import CohortTable, stored_cohort
from contrafact.render.map_display import display_sign, finding_of
from contrafact.render.outcome import last_frame, probability_of

Row = Mapping[str, Any]
ANSWER = re.compile(r"(.+) (\d+(?:\.\d+)?) %")  # "narrow 83 %", as a run stores predictions


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledCase:
    """An image with its truth, the prediction of the model, and the rows of the run that explain it.

    item         name of the image, unique in the study
    row          row of the run that has the image
    truth        whether the image shows the finding, by its label
    predicted    whether the model predicts the finding; probability: of the finding, None where unknown
    map_row      row of a heatmap, or None
    strip_row    row of a counterfactual that differs from the image, or None; strip_frame: its changed image
    """

    item: str
    row: int
    finding: str
    truth: bool
    predicted: bool
    probability: float | None
    map_row: int | None = None
    strip_row: int | None = None
    strip_frame: int = 0

    @property
    def right(self) -> bool:
        """Whether the prediction is that of the label."""
        return self.truth == self.predicted

    @property
    def explained(self) -> bool:
        """Whether the run explains the prediction."""
        return self.map_row is not None or self.strip_row is not None


@dataclass(slots=True)
class _Found:
    row: int
    first: Row
    maps: list[int] = field(default_factory=list)
    strips: list[int] = field(default_factory=list)


def labelled_cases(run: Run, *, labels: Path | None = None, positive: Sequence[str] = ()) -> list[LabelledCase]:
    """Return the images of the run that have a true label and a prediction, of its first model and finding.

    labels    a cohort's CSV with the columns `path` and `label`; None: the labels that the run stores
    positive  labels that mean the finding; default: its name, or the number of its class
    raises    InputError where no image has a label, or all images are of one kind
    """
    rows = run.rows()
    found = _grouped(run, rows)
    if not found:
        raise InputError(
            f"expected explanations of a class's prediction in '{run.folder}' for the task 'decide'; got none"
        )
    known = CohortTable.of_cases(read_cohort(labels, keep_missing=True)) if labels else stored_cohort(run)
    texts = {digest: _label(known, str(one.first.get("source") or "")) for digest, one in found.items()}
    if not any(texts.values()):
        raise InputError(_no_labels(run, labels, [str(one.first.get("source")) for one in found.values()]))
    finding = finding_of(next(iter(found.values())).first)
    means = _positive({text for text in texts.values() if text}, positive, next(iter(found.values())).first)
    names = [str(one.first.get("case") or one.first["key"]) for one in found.values()]
    cases = []
    for (digest, one), name in zip(found.items(), names, strict=True):
        text = texts[digest]
        said = None if not text else _prediction(rows, one)
        if text and said is not None:
            item = name if names.count(name) == 1 else f"{name} (row {one.row + 1})"
            cases.append(_case(rows, one, item=item, finding=finding, truth=_plain(text) in means, said=said))
    if len({case.truth for case in cases}) < 2:
        raise InputError(
            f"expected images with and without '{finding}'; got {len(cases)} labelled images of one kind "
            f"(labels {', '.join(sorted(filter(None, texts.values())))[:80]})"
        )
    return cases


def _grouped(run: Run, rows: Sequence[Row]) -> dict[str, _Found]:
    """Return the rows of each image, of the first model and finding that can be decided on."""
    found: dict[str, _Found] = {}
    asked: tuple[str, str] | None = None
    for number, row in enumerate(rows):
        if row.get("picture") or run.flaw(row) or not _of_a_class(row):
            continue
        mine = (str(row["record"]["model"]), finding_of(row))
        asked = asked or mine
        if mine == asked:
            one = found.setdefault(str(row["record"]["image"]), _Found(number, row))
            (one.maps if row["kind"] == "heatmap" else one.strips).append(number)
    return found


def _of_a_class(row: Row) -> bool:
    kind = str(row["record"]["target"]).split(":")[0]
    return kind in ("class", "probability") or (kind == "margin" and display_classes(row) == 2)


def display_classes(row: Row) -> int:
    """Return the number of exclusive classes that the run declares; 0 where it declares none."""
    names = row.get("exclusive_classes")
    return len(names) if isinstance(names, list) else 0


def _case(
    rows: Sequence[Row], one: _Found, *, item: str, finding: str, truth: bool, said: tuple[bool, float | None]
) -> LabelledCase:
    strip = next((n for n in one.strips if last_frame(rows[n]) != rows[n]["origin"]), None)
    return LabelledCase(
        item=item,
        row=one.row,
        finding=finding,
        truth=truth,
        predicted=said[0],
        probability=said[1],
        map_row=one.maps[0] if one.maps else None,
        strip_row=strip,
        strip_frame=0 if strip is None else last_frame(rows[strip]),
    )


def _prediction(rows: Sequence[Row], one: _Found) -> tuple[bool, float | None] | None:
    """Return whether the model predicts the finding, and its probability; None where the run does not tell."""
    shares = {m[1]: float(m[2]) / 100 for m in map(ANSWER.fullmatch, one.first.get("answers") or ()) if m}
    share = shares.get(finding_of(one.first))
    for number in one.strips[:1]:
        row = rows[number]
        exact = probability_of(str(row["record"]["target"]), float(row["scores"][int(row["origin"])]))
        if exact is not None:
            share = exact if display_sign(row) > 0 else 1 - exact
    if share is None:
        return None
    if display_classes(one.first) > 2 and len(shares) > 2:
        return max(shares, key=lambda name: shares[name]) == finding_of(one.first), share
    return share >= 0.5, share


def _label(known: CohortTable, source: str) -> str:
    case = known.find(source)
    return case.label if case else ""


def _positive(labels: set[str], given: Sequence[str], row: Row) -> set[str]:
    """Return the labels, in lower case, that mean the finding; raise InputError where none of them occurs."""
    finding, target = finding_of(row), str(row["record"]["target"])
    number = "1" if display_classes(row) == 2 else target.partition(":")[2]
    wanted = {_plain(text) for text in given} or {_plain(finding), number}
    if not wanted & {_plain(label) for label in labels}:
        raise InputError(
            f"expected a label that means '{finding}' ({' or '.join(sorted(wanted))}); the labels are "
            f"{', '.join(sorted(labels))[:120]}: say which with --positive"
        )
    return wanted


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def _no_labels(run: Run, labels: Path | None, sources: Sequence[str]) -> str:
    if labels is None:
        return (
            f"expected true labels for the task 'decide'; the run '{run.folder.name}' stores none (a study "
            "with a cohort and `explain --cohort` do): give a CSV with the columns path and label as --labels"
        )
    return (
        f"expected labels of the run's {len(sources)} images in '{labels.name}', by path or file name; got "
        f"none (the first image is '{Path(sources[0]).name}')"
    )


def balanced(cases: Sequence[LabelledCase], count: int | None, rng: np.random.Generator) -> list[LabelledCase]:
    """Return a random choice of cases, half of them predicted wrong as far as there are, and in each half as
    many with the finding as without.

    count  number of cases; None: as many right as wrong predictions, or all cases where one kind is missing
    """
    wrong, right = (_mixed([case for case in cases if case.right == kind], rng) for kind in (False, True))
    if count is None:
        count = 2 * min(len(wrong), len(right)) or len(cases)
    count = min(count, len(cases))
    taken = min(len(wrong), max(count // 2, count - len(right)))
    return wrong[:taken] + right[: count - taken]


def _mixed(cases: Sequence[LabelledCase], rng: np.random.Generator) -> list[LabelledCase]:
    """Return cases in random order, with and without the finding in turns as long as both are left."""
    drawn = [cases[i] for i in rng.permutation(len(cases))]
    sides = [[case for case in drawn if case.truth == truth] for truth in (True, False)]
    turns = sorted(
        (place, side, case.item) for side, group in enumerate(sides) for place, case in enumerate(group)
    )
    by_item = {case.item: case for case in drawn}
    return [by_item[item] for _, _, item in turns]
