"""What readers say of single results, and how sure they are: a file beside the run, never its results."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contrafact.core import InputError
from contrafact.io.tables import csv_table
from contrafact.viewer.reader_study.answer_file import CONFIDENCES, changing, looking, now, reader_name

FILE = "judgements.sqlite"
ANSWERS = ("plausible", "not plausible", "wrong region")
ABOUT = ("result", "case_id", "case_name", "method", "target", "image", "model")  # of the result
COLUMNS = ("reader", "answer", "confidence", "at", *ABOUT)
# Lines are added and never changed: a reader's last line on a result counts.
TABLE = (
    f"create table if not exists judgements (number integer primary key, {', '.join(COLUMNS)})",
    *(
        f"create trigger if not exists no_{verb} before {verb} on judgements "
        "begin select raise(abort, 'judgements are only added'); end"
        for verb in ("update", "delete")
    ),
)


@dataclass(frozen=True, slots=True)
class Judgements:
    """The file of judgements of a run; it is made with the first one."""

    path: Path

    @staticmethod
    def of(folder: Path) -> Judgements:
        return Judgements(folder / FILE)

    def add(self, reader: str, answer: str, confidence: Any, *, about: Mapping[str, str]) -> dict[str, Any]:
        """Add a judgement, which is on disk when this returns; return its line.

        about   the fields `ABOUT` of the result
        raises  InputError for a name, an answer or a confidence that is none; ContrafactError where the file
                cannot be written
        """
        if answer not in ANSWERS:
            raise InputError(f"expected {', '.join(ANSWERS[:-1])} or {ANSWERS[-1]}; got '{answer[:20]}'")
        if type(confidence) is not int or confidence not in CONFIDENCES:
            raise InputError(f"expected a confidence of 1 to 5; got {confidence!r:.20}")
        line = {"reader": reader_name(reader), "answer": answer, "confidence": confidence, "at": now()}
        line |= {name: about[name] for name in ABOUT}
        with changing(self.path) as base:
            for statement in TABLE:
                base.execute(statement)
            places = ", ".join("?" for _ in COLUMNS)
            base.execute(
                f"insert into judgements ({', '.join(COLUMNS)}) values ({places})", [line[c] for c in COLUMNS]
            )
        return line

    def lines(self) -> list[dict[str, Any]]:
        """Return all judgements in order; `counts` is 1 for a reader's last on a result, else 0.

        raises  InputError for a damaged file
        """
        if not self.path.exists():
            return []
        with looking(self.path) as base:
            if not base.execute("select 1 from sqlite_master where name = 'judgements'").fetchone():
                return []  # a first judgement was cut off before it was kept
            found = base.execute(f"select {', '.join(COLUMNS)} from judgements order by number").fetchall()
        lines = [dict(zip(COLUMNS, line, strict=True)) for line in found]
        for line in lines:
            if not _whole(line):
                raise InputError(
                    f"'{self.path.name}' is damaged: {line['reader']!a:.60} has no judgement there"
                )
        last = {(line["reader"], line["result"]): number for number, line in enumerate(lines)}
        counted = set(last.values())
        return [{**line, "counts": int(number in counted)} for number, line in enumerate(lines)]

    def current(self) -> list[dict[str, Any]]:
        """Return each reader's last judgement of each result."""
        return [line for line in self.lines() if line["counts"]]


def judgements_csv(lines: list[dict[str, Any]]) -> str:
    """Return all judgements as CSV."""
    return csv_table(lines, (*COLUMNS, "counts"), newline="\r\n")


def summary_of(lines: list[dict[str, Any]]) -> str:
    """Return how many judgements count, as words; empty for none."""
    if not lines:
        return ""
    cases, readers = (len({line[name] for line in lines}) for name in ("case_id", "reader"))
    return f"{_count(len(lines), 'judgement')} of {_count(cases, 'case')} by {_count(readers, 'reader')}"


def summary_of_run(folder: Path) -> str:
    """Return `summary_of` the run's judgements; empty where their file cannot be read, which its page tells."""
    with contextlib.suppress(InputError):
        return summary_of(Judgements.of(folder).current())
    return "judgements"


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"


def _whole(line: Mapping[str, Any]) -> bool:
    """Whether a line of the file is one that `add` wrote: SQLite keeps values of any type in any column."""
    texts = all(isinstance(line[name], str) for name in ("reader", "at", *ABOUT))
    sure = type(line["confidence"]) is int and line["confidence"] in CONFIDENCES
    return texts and sure and line["answer"] in ANSWERS
