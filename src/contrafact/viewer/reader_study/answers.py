"""Readers, trials and answers in one SQLite file. Every answer is written to disk before the next image is
shown."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from contrafact.core import ContrafactError, InputError
from contrafact.core.reading import reading
from contrafact.viewer.reader_study.answer_file import CONFIDENCES, changing, looking, now, reader_name
from contrafact.viewer.reader_study.sessions import Planned, all_trials
from contrafact.viewer.reader_study.trials import CHANGE, CHOICES, IMAGE, Item, Trial

TABLES = """
create table if not exists settings (name text primary key, value text not null);
create table if not exists readers (name text primary key, number integer unique not null, since text not null);
create table if not exists trials (reader text not null, position integer not null, task text not null,
  item text not null, shows text not null, truth text not null, primary key (reader, position));
create table if not exists answers (reader text not null, position integer not null, answer text not null,
  correct integer not null, seconds real, at text not null, primary key (reader, position));
create table if not exists decisions (reader text not null, position integer not null, arm text not null,
  session integer not null, predicted text not null, probability real, primary key (reader, position));
create table if not exists confidences (reader text not null, position integer not null,
  confidence integer not null, primary key (reader, position));
"""
TYPES: dict[str, Any] = {
    **dict.fromkeys(("reader", "task", "item", "truth"), str),
    **dict.fromkeys(("number", "position"), int),
    **dict.fromkeys(("answer", "at"), (str, type(None))),
    "correct": (int, type(None)),
    **dict.fromkeys(("seconds", "probability"), (int, float, type(None))),
    **dict.fromkeys(("arm", "predicted"), (str, type(None))),
    **dict.fromkeys(("session", "confidence"), (int, type(None))),
}  # of a line of `Answers.lines`: SQLite keeps values of any type in any column


class OutOfTurnError(ContrafactError):
    """This trial has an answer already, another trial is next, or the next session has not begun."""


@dataclass(frozen=True, slots=True)
class Answers:
    """The database file of a reader study; `washout`: days between two sessions of a reader."""

    path: Path
    washout: float = 0.0

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Start the study, or continue it with the same settings."""
        with changing(self.path) as base:
            for statement in filter(str.strip, TABLES.split(";")):
                base.execute(statement)
            for name, value in settings.items():
                row = base.execute("select value from settings where name = ?", (name,)).fetchone()
                before = value if row is None else self._json(row[0])
                if before != value:
                    raise InputError(
                        f"expected {name} = {before}, as this study began ('{self.path.name}'); got {value}; "
                        "use that, or start another study with --out"
                    )
                base.execute("insert or ignore into settings values (?, ?)", (name, json.dumps(value)))

    def enter(
        self, name: str, items: Mapping[str, Sequence[Item] | Planned], *, seed: int, judgements: int | None
    ) -> tuple[int, int]:
        """Register a reader, or continue; return (answered, trials). Trials are sampled once and stored."""
        name = reader_name(name)
        with changing(self.path) as base:
            if not base.execute("select 1 from readers where name = ?", (name,)).fetchone():
                number = base.execute("select count(*) from readers").fetchone()[0]
                base.execute("insert into readers values (?, ?, ?)", (name, number, now()))
                for at, trial in enumerate(all_trials(items, number, seed=seed, judgements=judgements)):
                    shows = json.dumps(trial.shows)
                    line = (name, at, trial.task, trial.case, shows, trial.truth)
                    base.execute("insert into trials values (?, ?, ?, ?, ?, ?)", line)
                    if trial.arm:
                        more = (name, at, trial.arm, trial.session, trial.predicted, trial.probability)
                        base.execute("insert into decisions values (?, ?, ?, ?, ?, ?)", more)
        return self.place(name)

    def place(self, name: str) -> tuple[int, int]:
        """Return (answered, trials) of a reader."""
        with looking(self.path) as base:
            done = base.execute("select count(*) from answers where reader = ?", (name,)).fetchone()[0]
            there = base.execute("select count(*) from trials where reader = ?", (name,)).fetchone()[0]
        if not there:
            raise InputError(f"expected a reader of this study ('{self.path.name}'); enter a name first")
        return done, there

    def due(self, name: str) -> datetime | None:
        """Return when the next session of a reader begins; None where the next trial can be answered now."""
        done, there = self.place(name)
        if not (self.washout and 0 < done < there):
            return None
        with looking(self.path) as base:
            found = base.execute(
                "select next.session, last.session, at from decisions as next join decisions as last "
                "on last.reader = next.reader and last.position = next.position - 1 join answers "
                "on answers.reader = last.reader and answers.position = last.position "
                "where next.reader = ? and next.position = ?",
                (name, done),
            ).fetchone()
        if found is None or found[0] == found[1]:
            return None
        with reading(self.path, "a readable file of answers"):
            begins = datetime.fromisoformat(str(found[2])) + timedelta(days=self.washout)
            return begins if begins > datetime.now(UTC) else None

    def trial(self, name: str, position: int) -> Trial:
        """Return the next trial; other trials stay hidden."""
        done, there = self.place(name)
        if position != done or done >= there:
            raise OutOfTurnError(f"the next trial is {done}; got {position}")
        self._check(self.due(name))
        with looking(self.path) as base:
            line = base.execute(
                "select task, item, shows, truth, arm, session, predicted, probability from trials "
                "left join decisions using (reader, position) where reader = ? and position = ?",
                (name, position),
            ).fetchone()
        with reading(self.path, "a readable file of answers"):
            shows = tuple((int(row), int(frame)) for row, frame in self._json(line[2]))
            whole = line[0] in CHOICES and isinstance(line[1], str) and isinstance(line[3], str)
            if whole and line[0] == "decide":
                whole = all(
                    isinstance(value, kind) for value, kind in zip(line[4:7], (str, int, str), strict=True)
                )
                whole = whole and isinstance(line[7], (float, int, type(None)))
            lowest = CHANGE if line[0] == "decide" else IMAGE
            if not whole or len(shows) != len(set(shows)) or min(map(min, shows)) < lowest:
                raise InputError(f"trial {position} of '{name}' in '{self.path.name}' is damaged")
        more = dict(zip(("arm", "session", "predicted", "probability"), line[4:], strict=True))
        return Trial(line[0], line[1], shows, line[3], **(more if line[0] == "decide" else {}))

    @staticmethod
    def _check(begins: datetime | None) -> None:
        if begins is not None:
            raise OutOfTurnError(f"the next session begins on {begins:%d %B %Y, %H:%M} UTC")

    def add(
        self, name: str, position: int, answer: str, seconds: float | None, confidence: int | None = None
    ) -> tuple[int, int]:
        """Store one answer. An answer sent twice counts once, and the first one is kept."""
        begins = self.due(name) if self.washout else None
        with changing(self.path) as base:
            key = (name, position)
            given = base.execute("select answer from answers where reader = ? and position = ?", key).fetchone()
            if given is not None and given[0] != answer:
                raise OutOfTurnError(f"trial {position} was answered already")
            if given is None:
                self._check(begins)
                self._insert(base, key, answer, seconds, confidence)
        return self.place(name)

    def _insert(
        self,
        base: sqlite3.Connection,
        key: tuple[str, int],
        answer: str,
        seconds: float | None,
        confidence: int | None,
    ) -> None:
        name, position = key
        done = base.execute("select count(*) from answers where reader = ?", (name,)).fetchone()[0]
        line = base.execute("select task, truth from trials where reader = ? and position = ?", key).fetchone()
        if line is None or position != done:
            raise OutOfTurnError(f"the next trial is {done}; got {position}")
        if line[0] not in CHOICES:
            raise InputError(f"trial {position} of '{name}' in '{self.path.name}' is damaged")
        if answer not in CHOICES[line[0]]:
            raise InputError(f"expected {' or '.join(CHOICES[line[0]])}; got '{answer[:20]}'")
        if (line[0] == "decide") != (confidence in CONFIDENCES):
            raise InputError(f"expected a confidence of 1 to 5 with a decision alone; got {confidence}")
        values = (*key, answer, int(answer == line[1]), seconds, now())
        base.execute("insert into answers values (?, ?, ?, ?, ?, ?)", values)
        if line[0] == "decide":
            base.execute("insert into confidences values (?, ?, ?)", (*key, confidence))

    def lines(self) -> list[dict[str, Any]]:
        """Return all trials of all readers in order, with their answers if any."""
        with looking(self.path) as base:
            base.row_factory = sqlite3.Row
            found = base.execute(
                "select readers.name as reader, number, position, task, item, truth, "
                "answer, correct, seconds, at, arm, session, predicted, probability, confidence "
                "from trials join readers on readers.name = trials.reader "
                "left join answers using (reader, position) left join decisions using (reader, position) "
                "left join confidences using (reader, position) order by number, position"
            ).fetchall()
        lines = [dict(line) for line in found]
        for line in lines:
            for name, types in TYPES.items():
                if not isinstance(line[name], types):
                    raise InputError(
                        f"'{self.path.name}' is damaged: '{name}' of trial {line['position']!a:.20} of "
                        f"{line['reader']!a:.60} is {line[name]!a:.40}"
                    )
            if line["task"] == "decide" and not _whole_decision(line):
                raise InputError(
                    f"'{self.path.name}' is damaged: trial {line['position']} of {line['reader']!a:.60} lacks "
                    "the arm, the prediction or the confidence of a decision"
                )
        return lines

    def _json(self, text: object) -> Any:
        """Return the value of a JSON text in the file; raise InputError where it is damaged."""
        with reading(self.path, "a readable file of answers"):
            return json.loads(str(text))


def _whole_decision(line: Mapping[str, Any]) -> bool:
    """Whether a line of a decision has what its results need."""
    answered = line["answer"] is None or (
        line["answer"] in CHOICES["decide"] and line["confidence"] in CONFIDENCES
    )
    return answered and None not in (line["arm"], line["session"], line["predicted"])
