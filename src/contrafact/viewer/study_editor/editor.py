"""Open, check and save study files of one folder, and run one study at a time."""

from __future__ import annotations

import dataclasses
import shlex
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from contrafact.core import InputError, read_toml, resolved, to_toml
from contrafact.io import write_atomic
from contrafact.jobs.background import BackgroundJob
from contrafact.study import StudyConfig, read_study
from contrafact.study.draft import (
    PARTS,
    Problem,
    choices,
    draft_of,
    empty_draft,
    problems_of,
    refusal,
    table_of,
)
from contrafact.study.preflight import inside, survey

FAILED = 20  # failures listed by name
State = dict[str, Any]


class StudyEditor:
    """Operations of the study editor. Thread-safe.

    root  folder; nothing outside is read or written
    path  study file inside the folder; it need not exist
    job   (path) -> messages of a running study: `done`, `total`, `text`, `error` of each row, and `report` at
          the end
    more  further choices of the form
    """

    def __init__(
        self,
        root: Path,
        path: str | Path,
        job: Callable[[str], Iterator[State]],
        *,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        self.root = root.resolve()
        self.path = self._place(str(path))
        self._job, self._more = job, dict(more or {})
        self._lock = threading.Lock()
        self._saved: dict[Path, str] = {}
        self._run: BackgroundJob | None = None
        self._state: State = {"state": "none"}
        self._choices = choices()

    def choices(self) -> dict[str, Any]:
        return self._choices | self._more

    def opened(self, path: str | None = None) -> dict[str, Any]:
        """Return the file as a draft (None: the current file), with a note if it is not a valid study."""
        place = self.path if path is None else self._place(path)
        name = str(place.relative_to(self.root))
        if not place.exists():
            return {"path": name, "draft": empty_draft(), "note": "", "exists": False}
        table = read_toml(place)
        why = refusal(table)
        note = f"'{name}' is not a valid study: {why}" if why else ""
        return {"path": name, "draft": draft_of(table), "note": note, "exists": True}

    def examine(self, path: str, draft: Mapping[str, Any]) -> dict[str, Any]:
        """Return the TOML of a draft, its problems, and missing files."""
        place, wrong = self._place(path), problems_of(draft)
        try:
            table = table_of(draft)
            text = to_toml(table)
        except InputError:  # listed among the problems
            table, text = {}, ""
        seen = survey(_sound(table, wrong), place.parent, self.root)
        return {
            "text": text,
            "problems": [dataclasses.asdict(one) for one in (*wrong, *seen.outside)],
            "missing": [dataclasses.asdict(one) for one in seen.missing],
            "facts": seen.facts,
            "known": seen.known,
            "saved": place.exists() and _text_of(place) == text,
        }

    def save(self, path: str, draft: Mapping[str, Any], *, replace: bool = False) -> dict[str, Any]:
        """Write the study file atomically; overwrite other contents only with `replace`.

        raises  InputError for a draft that is not a study, or that names paths outside the folder
        """
        place = self._place(path)
        wrong = problems_of(draft)
        table = {} if wrong else table_of(draft)
        wrong += survey(table, place.parent, self.root).outside
        if wrong:
            raise InputError(f"not saved: {wrong[0].text}")
        text = to_toml(table)
        with self._lock:
            there_is = _text_of(place) if place.exists() else None
            if there_is not in (None, text, self._saved.get(place)) and not replace:
                return {"saved": "", "question": _question(path, str(there_is))}
            if there_is != text:
                write_atomic(place, text.encode())
            self._saved[place] = text
            self.path = place
        return {"saved": str(place.relative_to(self.root)), "question": ""}

    def begin(self, path: str) -> State:
        """Run a saved study in a separate process."""
        place = self._place(path)
        config = read_study(place)
        outside = survey(read_toml(place), place.parent, self.root).outside
        if outside:
            raise InputError(outside[0].text)
        run = resolved(place.parent / config.out, "a folder as 'out'")
        shown = run.relative_to(Path.cwd()) if run.is_relative_to(Path.cwd()) else run
        with self._lock:
            if self._run is not None and self._run.alive:
                raise InputError("a study is running already; cancel it first, or wait")
            self._state = {
                "state": "running", "done": 0, "total": 0, "text": "starting", "failures": [], "failed": 0,
                "began": time.monotonic(), "first": None, "why": "", "report": "",
                "command": f"contrafact view {shlex.quote(str(shown))}",
            }  # fmt: skip
            self._run = BackgroundJob(self._job, str(place), hear=self._hear, ended=self._ended)
        return self.state()

    def state(self) -> State:
        """Return the progress of the run, with an estimate of the seconds left if possible."""
        with self._lock:
            state = dict(self._state)
        began, first = state.pop("began", 0.0), state.pop("first", None)
        done, total = state.get("done", 0), state.get("total", 0)
        left = None
        if state["state"] == "running" and first is not None and first < done < total:
            left = (time.monotonic() - began) * (total - done) / (done - first)
        return state | {"seconds_left": left}

    def cancel(self) -> State:
        with self._lock:
            if self._run is not None and self._run.alive and self._state["state"] == "running":
                self._state["state"] = "stopping"
                self._run.cancel()
        return self.state()

    def close(self) -> None:
        """End the running study."""
        if self._run is not None:
            self._run.close()

    def _hear(self, said: State) -> None:
        with self._lock:
            state = self._state
            if said.get("error"):
                state["failed"] += 1
                state["failures"] = [*state["failures"], f"{said['text']}: {said['error']}"][-FAILED:]
            state.update({key: value for key, value in said.items() if key != "error"})
            if state["first"] is None:  # rows finished before a resume took no time now
                state["first"], state["began"] = state["done"], time.monotonic()

    def _ended(self, how: str, why: str) -> None:
        with self._lock:
            self._state.update(state=how, why=why)

    def _place(self, path: str) -> Path:
        place = inside(self.root, self.root, path)
        if place.suffix != ".toml" or place.is_dir():
            raise InputError(f"expected the name of a study file, such as study.toml; got '{path}'")
        return place


def _sound(table: Mapping[str, Any], wrong: list[Problem]) -> dict[str, Any]:
    """Return the valid part of a table; only its files are looked up."""
    places = [one.place for one in wrong]
    sound = {k: v for k, v in table.items() if k not in (*PARTS, "model") and f"study.{k}" not in places}
    if not any(place.startswith(("models", "second_model")) for place in places):
        sound |= {k: table[k] for k in ("model", "models", "second_model") if k in table}
    known = {f.name for f in dataclasses.fields(StudyConfig)}
    return {k: v for k, v in sound.items() if k in known}


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return "not text"


def _question(path: str, text: str) -> str:
    comments = " and its comments" if any(line.strip().startswith("#") for line in text.splitlines()) else ""
    return f"'{path}' exists. Overwrite it? Its present contents{comments} will be lost."
