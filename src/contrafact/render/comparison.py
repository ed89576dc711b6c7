"""Compare two models of a run case by case: predictions, similarity of heatmaps, and metric scores."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from contrafact.core import InputError, nearest
from contrafact.io import Run, read_json
from contrafact.render.case import case_page, finite
from contrafact.render.run_index import CaseResults, RunIndex, name_order
from contrafact.render.text import few

SORT = ("answers", "maps", "name", "order")
ANSWER = re.compile(r"(?P<name>.*?):? (?P<number>-?[\d.]+(?:e[+-]?\d+)?)(?P<unit> %| voxels)?")
UNREADABLE = (InputError, OSError, LookupError, TypeError, ValueError, BadZipFile)
STRONG = 0.05  # share of the voxels that counts as strongest, for their overlap


@dataclass(frozen=True, slots=True)
class Pair:
    """An image that has results of both models.

    shared  row numbers of both models, by method and target
    alone   descriptions of results that only one model has
    """

    id: str
    first: CaseResults
    second: CaseResults
    shared: Mapping[tuple[str, str], tuple[int, int]]
    alone: tuple[str, ...]

    @property
    def cases(self) -> tuple[CaseResults, CaseResults]:
        return self.first, self.second


@dataclass(frozen=True, slots=True)
class Apart:
    """Difference of two predictions.

    name   the class that differs most
    value  size of the difference, in `unit`: percentage "points", "share" of the larger region, or "units"
    other  whether the predicted classes differ; None where no class is predicted
    """

    name: str
    value: float
    unit: str
    other: bool | None


@dataclass(frozen=True, slots=True)
class _Index:
    """Index of the run: cases of every image by model, and pairs for every two models."""

    cases: dict[str, CaseResults]
    images: dict[str, dict[str, CaseResults]] = field(default_factory=dict)
    pairs: dict[tuple[str, str], dict[str, Pair]] = field(default_factory=dict)


class Comparison:
    """Pairs of cases of a run. The similarity of maps is computed once and cached."""

    def __init__(self, cohort: RunIndex) -> None:
        self.cohort = cohort
        self._alike: dict[tuple[int, int], float | None] = {}
        self._index = _Index({})

    def index(self) -> _Index:
        """Return the index, rebuilt when the run has grown. It is replaced as a whole, for several threads."""
        cases, index = self.cohort.cases(), self._index
        if index.cases is not cases:
            index = _Index(cases)
            for case in filter(_rows, cases.values()):
                index.images.setdefault(self._id(case), {})[self._model(case)] = case
            self._index = index
        return index

    def models(self) -> list[str]:
        """Return the names of the run's models; a model without a name is named by its hash."""
        return list(dict.fromkeys(model for by_model in self.index().images.values() for model in by_model))

    def chosen(self, first: str | None, second: str | None) -> tuple[str, str]:
        """Return two models of the run, by default the first two that have results of one image."""
        known = self.models()
        if len(known) < 2:
            raise InputError(f"expected a run of several models; this one has {len(known)}")
        images = self.index().images.values()
        asked = (first, second)
        fits = lambda pair: all(not a or a == b for a, b in zip(asked, pair, strict=True))  # noqa: E731
        every = [pair for pair in permutations(known, 2) if fits(pair)]
        names = next((pair for pair in every if any(set(pair) <= set(by) for by in images)), None)
        names = names or (every[0] if every else (first or known[0], second or known[1]))
        for name in names:
            if name not in known:
                raise InputError(f"expected one of {', '.join(known)}; got '{name}'{nearest(name, known)}")
        if names[0] == names[1]:
            raise InputError(f"expected two models; got '{names[0]}' twice")
        return names

    def pairs(self, first: str, second: str) -> dict[str, Pair]:
        """Return the pairs by id, in the order of the run, without images with results of one model only."""
        index = self.index()
        found = index.pairs.get((first, second))
        if found is None:
            both = {id_: by for id_, by in index.images.items() if first in by and second in by}
            found = {id_: self._pair(id_, by[first], by[second]) for id_, by in both.items()}
            index.pairs[first, second] = found
        return found

    def beside(self, case: CaseResults) -> tuple[str, str, str] | None:
        """Return a pair that contains the case: its id and both models; None if there is no other model."""
        if not _rows(case):
            return None
        id_, own = self._id(case), self._model(case)
        return next(((id_, own, model) for model in self.index().images.get(id_, {}) if model != own), None)

    def methods(self, pairs: Iterable[Pair]) -> list[str]:
        """Return the methods for which any pair has heatmaps of both models for the same target."""
        return list(dict.fromkeys(label for pair in pairs for label, _ in pair.shared))

    def apart(self, pair: Pair, method: str) -> float | None:
        """Return 1 minus the cosine similarity of the two maps by a method, averaged over targets.

        0: equal, 1: unrelated, 2: opposite; None where maps cannot be compared or are not compared yet.
        """
        rows = [numbers for (label, _), numbers in pair.shared.items() if label == method]
        found = [self._alike.get(numbers) for numbers in rows]
        known = [1 - value for value in found if value is not None]
        return sum(known) / len(known) if known else None

    def measure(self, pairs: Iterable[Pair], method: str, *, seconds: float) -> int:
        """Compare maps for at most `seconds`; return the number of pairs left."""
        ends, left = time.monotonic() + seconds, 0
        for pair in pairs:
            for (label, _), numbers in pair.shared.items():
                if label == method and numbers not in self._alike:
                    if time.monotonic() > ends:
                        left += 1
                        break
                    self._alike[numbers] = self._compared(numbers)
        return left

    def both(self, numbers: tuple[int, int]) -> tuple[NDArray[Any], NDArray[Any]] | None:
        """Return the evidence of two results per voxel; None where one cannot be read."""
        try:
            first, second = (evidence(self.cohort.run, self.cohort.row(number)) for number in numbers)
        except UNREADABLE:
            return None
        return first, second

    def _compared(self, numbers: tuple[int, int]) -> float | None:
        found = self.both(numbers)
        return None if found is None else alike(*found)

    def _pair(self, id_: str, first: CaseResults, second: CaseResults) -> Pair:
        asked = [self._by_question(case) for case in (first, second)]
        shared = {key: (asked[0][key], asked[1][key]) for key in asked[0] if key in asked[1]}
        alone = [
            f"{label} for {target}: {self._model(case)} only"
            for case, mine, other in ((first, asked[0], asked[1]), (second, asked[1], asked[0]))
            for label, target in mine
            if (label, target) not in other
        ]
        return Pair(id_, first, second, shared, tuple(alone))

    def _by_question(self, case: CaseResults) -> dict[tuple[str, str], int]:
        found = {}
        for number in _rows(case):
            row = self.cohort.row(number)
            label = str(row.get("label") or row["record"]["method"])
            found[label, str(row["record"].get("target"))] = number
        return found

    def _id(self, case: CaseResults) -> str:
        """Return an id that is equal for all models with results of the same pixels under the same name."""
        return hashlib.sha256(f"{case.name}\0{case.image}".encode("utf-8", "replace")).hexdigest()[:16]

    def _model(self, case: CaseResults) -> str:
        return case.model or case.digest[:8]


def sorted_pairs(pairs: Iterable[Pair], sort: str, apart: Mapping[str, float | None]) -> list[Pair]:
    """Sort by "answers" (different classes first, then largest difference), "maps", "name" or "order"."""
    if sort not in SORT:
        raise InputError(f"sort must be one of {', '.join(SORT)}; got '{sort}'{nearest(sort, SORT)}")
    if sort == "answers":
        said = {pair.id: answers_apart(pair.first.answers, pair.second.answers) for pair in pairs}
        return sorted(pairs, key=lambda p: _far(said[p.id]))
    if sort == "maps":
        return sorted(pairs, key=lambda p: (apart.get(p.id) is None, -(apart.get(p.id) or 0.0)))
    return sorted(pairs, key=lambda p: (name_order(p.first.name) if sort == "name" else [], p.first.order))


def _far(apart: Apart | None) -> tuple[bool, bool, float]:
    return (apart is None, not (apart and apart.other), -(apart.value if apart else 0.0))


def answers_apart(first: Sequence[str], second: Sequence[str]) -> Apart | None:
    """Return the difference of two predictions; None where they name different classes or units."""
    said = [[ANSWER.fullmatch(text) for text in answers] for answers in (first, second)]
    if not first or any(found is None for answers in said for found in answers):
        return None
    by_name = [{f["name"]: (float(f["number"]), f["unit"] or "") for f in answers if f} for answers in said]
    if by_name[0].keys() != by_name[1].keys():
        return None
    unit = {" %": "points", " voxels": "share"}.get(next(iter(by_name[0].values()))[1], "units")
    gaps = {}
    for name, (a, _) in by_name[0].items():
        b = by_name[1][name][0]
        gaps[name] = abs(a - b) / max(abs(a), abs(b), 1.0) if unit == "share" else abs(a - b)
    most = max(gaps, key=lambda name: gaps[name])
    tops = {max(answers, key=lambda name: answers[name][0]) for answers in by_name}
    return Apart(most, gaps[most], unit, len(tops) > 1 if unit == "points" and len(gaps) > 1 else None)


def evidence(run: Run, row: Mapping[str, Any]) -> NDArray[Any]:
    """Return the values of a heatmap, or the farthest frame of a counterfactual minus its origin."""
    arrays = run.arrays(row)
    if row["kind"] == "heatmap":
        return arrays["values"]
    origin, steps = int(row["origin"]), np.asarray(row["requested"], dtype=float)
    frames = arrays["frames"]
    return np.asarray(frames[int(np.abs(steps - steps[origin]).argmax())] - frames[origin])


def alike(first: NDArray[Any], second: NDArray[Any]) -> float | None:
    """Return the cosine similarity of two maps: 1 equal up to a factor, 0 unrelated, -1 opposite.

    None where the shapes differ or one map is zero everywhere.
    """
    if first.shape != second.shape:
        return None
    a, b = first.ravel().astype(np.float64), second.ravel().astype(np.float64)
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.clip(a @ b / size, -1, 1)) if size > 0 and np.isfinite(size) else None


def overlap(first: NDArray[Any], second: NDArray[Any], share: float = STRONG) -> dict[str, float] | None:
    """Return the overlap of the strongest voxels of two maps.

    shared    share of the voxels strong in either map that are strong in both
    opposite  share of these that have opposite signs
    """
    if alike(first, second) is None:
        return None
    strong = []
    for values in (np.abs(first), np.abs(second)):
        strong.append((values >= np.quantile(values, 1 - share)) & (values > 0))
    both, either = strong[0] & strong[1], strong[0] | strong[1]
    against = both & (np.sign(first) != np.sign(second))
    return {
        "shared": float(both.sum() / max(1, either.sum())),
        "opposite": float(against.sum() / max(1, both.sum())),
    }


def pair_page(comparison: Comparison, pair: Pair) -> dict[str, Any]:
    """Return the data of the page of a pair, without pixel arrays; these are requested one at a time."""
    cohort = comparison.cohort
    pages = [case_page(cohort, case) for case in pair.cases]
    by_row = {part["row"]: part for page in pages for part in (*page["maps"], *page["strips"])}
    items, scores = [], scores_of(cohort, pair)
    for (label, target), numbers in pair.shared.items():
        if not all(number in by_row for number in numbers):
            continue  # a row that cannot be shown; the page of its case says why
        maps = comparison.both(numbers)
        items.append(
            {
                "label": label,
                "target": target,
                "target_name": by_row[numbers[0]]["target_name"],
                "kind": cohort.row(numbers[0])["kind"],
                "parts": [by_row[number] for number in numbers],
                "alike": None if maps is None else alike(*maps),
                "overlap": None if maps is None else overlap(*maps),
                "scores": scores.get((label, target), []),
            }
        )
    said = answers_apart(pair.first.answers, pair.second.answers)
    return finite(
        {
            "id": pair.id,
            "name": pair.first.name,
            "source": pair.first.source,
            "cases": [case.id for case in pair.cases],
            "answers": [few(case.answers) for case in pair.cases],
            "apart": said and {name: getattr(said, name) for name in Apart.__slots__},
            "image": pages[0]["image"] or pages[1]["image"],
            "items": items,
            "alone": pair.alone,
            "failures": [page["failures"] for page in pages],
        }
    )


def scores_of(cohort: RunIndex, pair: Pair) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Return the study's metric scores by method and target: metric, direction, one value per model."""
    path = cohort.run.folder / "summary.json"
    sources = [str(cohort.row(_rows(case)[0]).get("source")) for case in pair.cases]  # names need not be unique
    try:
        summary = read_json(path) if path.exists() else {}
    except InputError:  # the values are in scores.jsonl too; only their direction is lost
        summary = {}
    summary = summary if isinstance(summary, dict) else {}
    better, current = summary.get("better") or {}, summary.get("keys")
    found: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for key, line in cohort.run.scores().items():
        if current is not None and key not in current:
            continue  # the study has changed since
        for place, case in enumerate(pair.cases):
            if line.get("model") != case.model or line.get("source") != sources[place]:
                continue
            for score in line.get("scores") or ():
                name = str(score.get("metric"))
                for label, target in pair.shared:
                    if score.get("method") == label and line.get("target") in (target, "-"):
                        new = {"metric": name, "better": better.get(name), "values": [None, None]}
                        metrics = found.setdefault((label, target), {})
                        metrics.setdefault(name, new)["values"][place] = score.get("value")
    return {key: list(metrics.values()) for key, metrics in found.items()}


def _rows(case: CaseResults) -> list[int]:
    return [*case.maps, *case.strips]
