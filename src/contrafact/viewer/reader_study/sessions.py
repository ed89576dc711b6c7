"""The design of a study of decisions: arms, sessions, and which reader sees what when."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from contrafact.core import InputError, nearest
from contrafact.io import Run
from contrafact.viewer.reader_study.labelled import LabelledCase, balanced, labelled_cases
from contrafact.viewer.reader_study.trials import CHANGE, IMAGE, MAP, Item, Trial, trials_for

ARMS = {"none": "without AI", "ai": "with AI", "explained": "with AI and explanation"}
KINDS = ("crossover", "parallel", "sequential")
WASHOUT = 28.0  # days


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """How readers decide whether an image shows a finding.

    arms      of none (the image alone), ai (and the model's prediction), explained (and heatmap and
              counterfactual)
    kind      crossover: every image once in every arm, one arm a session; parallel: every image in one arm;
              sequential: every image in all arms, one directly after the other, in the order of `arms`
    washout   days between two sessions of a reader
    labels, positive   as in `labelled_cases`
    predicted          "positive": images that the model predicts to show the finding alone
    """

    arms: tuple[str, ...] = tuple(ARMS)
    kind: str = "crossover"
    washout: float = WASHOUT
    labels: Path | None = None
    positive: tuple[str, ...] = ()
    predicted: str = "all"

    def __post_init__(self) -> None:
        for arm in self.arms:
            if arm not in ARMS:
                raise InputError(f"arms must be of {', '.join(ARMS)}; got '{arm}'{nearest(arm, ARMS)}")
        if not self.arms or len(set(self.arms)) < len(self.arms):
            raise InputError(f"expected each arm once; got {', '.join(self.arms) or 'none'}")
        if self.kind not in KINDS:
            raise InputError(f"the design must be one of {', '.join(KINDS)}; got '{self.kind}'")
        if not 0 <= self.washout <= 3650:
            raise InputError(f"expected a washout of 0 to 3650 days; got {self.washout}")

    def stored(self) -> dict[str, Any]:
        """Return what must stay the same while the study goes on."""
        return {
            "arms": list(self.arms),
            "design": self.kind,
            "washout": self.washout,
            "predicted": self.predicted,
        }


STANDARD = Design()


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """The images of a study of decisions, and its design.

    available  number of labelled images that the model predicts right, and wrong
    left_out   number of labelled images without an explanation, where an arm needs one
    """

    cases: tuple[LabelledCase, ...]
    design: Design
    available: tuple[int, int]
    left_out: int = 0

    def __len__(self) -> int:
        """Return the number of trials of one reader."""
        return len(self.cases) * (1 if self.design.kind == "parallel" else len(self.design.arms))

    @property
    def sessions(self) -> int:
        return len(self.design.arms) if self.design.kind == "crossover" else 1

    def trials(self, reader: int, *, seed: int) -> Iterator[Trial]:
        """Yield the trials of a reader by session, the arms in the order of a row of a Latin square."""
        arms = self.design.arms
        order = latin_square(len(arms))
        turn = order[reader % len(order)]
        if self.design.kind == "sequential":
            for case in self._shuffled(self.cases, seed, reader, 0):
                yield from (trial_of(case, arm, 0) for arm in arms)
        elif self.design.kind == "crossover":
            for session, arm in enumerate(turn):
                for case in self._shuffled(self.cases, seed, reader, session):
                    yield trial_of(case, arms[arm], session)
        else:
            strata = sorted(self.cases, key=lambda case: (case.right, case.truth))
            for block, arm in enumerate(turn):
                mine = [case for k, case in enumerate(strata) if (k + reader) % len(arms) == arm]
                for case in self._shuffled(mine, seed, reader, block):
                    yield trial_of(case, arms[arm], 0)

    @staticmethod
    def _shuffled(cases: Sequence[LabelledCase], seed: int, reader: int, session: int) -> list[LabelledCase]:
        order = np.random.default_rng([seed, 3, reader, session]).permutation(len(cases))
        return [cases[i] for i in order]


def planned(run: Run, design: Design, *, judgements: int | None, seed: int) -> Planned:
    """Return the images of a study of decisions, chosen by `balanced`; the order of readers does not matter.

    raises  InputError where no image has a label, an explanation that an arm needs, or a positive prediction
    """
    labelled = labelled_cases(run, labels=design.labels, positive=design.positive)
    cases = [case for case in labelled if case.predicted or design.predicted == "all"]
    shown = [case for case in cases if case.explained or "explained" not in design.arms]
    if not shown:
        why = "explains none of them" if cases else "predicts none of them to show the finding"
        raise InputError(f"expected images to decide on; the run has {len(labelled)} with a label, but {why}")
    right = sum(case.right for case in shown)
    chosen = balanced(shown, judgements, np.random.default_rng([seed, 2]))
    left_out = len(cases) - len(shown)
    return Planned(cases=tuple(chosen), design=design, available=(right, len(shown) - right), left_out=left_out)


def trial_of(case: LabelledCase, arm: str, session: int) -> Trial:
    """Return the trial of one image in one arm."""
    shows: list[tuple[int, int]] = [(case.row, IMAGE)]
    if arm == "explained" and case.map_row is not None:
        shows.append((case.map_row, MAP))
    if arm == "explained" and case.strip_row is not None:
        shows += [(case.strip_row, case.strip_frame), (case.strip_row, CHANGE)]
    yes_no = ("no", "yes")
    return Trial(
        "decide",
        case.item,
        tuple(shows),
        yes_no[case.truth],
        arm=arm,
        session=session,
        predicted=yes_no[case.predicted],
        probability=case.probability,
    )


def latin_square(size: int) -> list[tuple[int, ...]]:
    """Return a Latin square in which every treatment follows every other one equally often; for an odd size two
    squares, one below the other.

    Source: Williams 1949.
    """
    first = [0]
    for step in range(1, size):
        first.append((step + 1) // 2 if step % 2 else size - step // 2)
    rows = [tuple((value + row) % size for value in first) for row in range(size)]
    return rows + [row[::-1] for row in rows] if size % 2 and size > 1 else rows


def all_trials(
    items: Mapping[str, Sequence[Item] | Planned], reader: int, *, seed: int, judgements: int | None
) -> Iterator[Trial]:
    """Yield the trials of all tasks, task by task."""
    for of in items.values():
        if isinstance(of, Planned):
            yield from of.trials(reader, seed=seed)
        else:
            yield from trials_for(of, reader, seed=seed, judgements=judgements)
