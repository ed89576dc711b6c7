"""The pages of a reader study. Readers see trials only; results need the owner's link."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from contrafact.core import InputError
from contrafact.io import Run
from contrafact.render.map_display import finding_of
from contrafact.viewer.app import HANDLERS, page, web_file
from contrafact.viewer.reader_study.answers import Answers, OutOfTurnError
from contrafact.viewer.reader_study.decide_results import decide_plan, decide_results, summary_csv
from contrafact.viewer.reader_study.panels import captions, panel, slices_of
from contrafact.viewer.reader_study.results import as_csv, plan_words, table
from contrafact.viewer.reader_study.sessions import STANDARD, Design, Planned, planned
from contrafact.viewer.reader_study.trials import (
    CHOICES,
    Trial,
    Window,
    items_of,
    left_out,
    picture,
    question_of,
)
from contrafact.viewer.requests import said, text, whole
from contrafact.viewer.security import LOOPBACK, Guard

REAL = "Is this image real or synthetic?"
DECIDE = "Does this image show {finding}?"


@dataclass(frozen=True, slots=True)
class Reading:
    """A reader study of a run: tasks, number of trials, file of answers, and the design of decisions."""

    run: Run
    tasks: tuple[str, ...] = ("real", "worse")
    judgements: int | None = None
    seed: int = 0
    question: str | None = None
    path: Path | None = None
    design: Design = STANDARD

    def items(self) -> dict[str, Any]:
        return {task: self._items(task) for task in self.tasks}

    def _items(self, task: str) -> Any:
        if task == "decide":
            return planned(self.run, self.design, judgements=self.judgements, seed=self.seed)
        return items_of(self.run, task)

    def left_out(self) -> int:
        """Return the number of images that are not of a patient and so are not shown as real."""
        return sum(left_out(self.run, task) for task in self.tasks)

    def counts(self) -> dict[str, int]:
        """Return the number of trials of one reader, by task."""
        return {
            task: len(items if isinstance(items, Planned) else items[: self.judgements])
            for task, items in self.items().items()
        }

    def plan(self) -> list[str]:
        """Return what is planned and its statistical power, to be read before the study begins."""
        items = self.items()
        plain = {task: len(found[: self.judgements]) for task, found in items.items() if task != "decide"}
        return plan_words(plain, self.left_out()) + (decide_plan(items["decide"]) if "decide" in items else [])

    def answers(self) -> Answers:
        """Return the file of answers, with the study started."""
        decide = "decide" in self.tasks
        path = self.path or self.run.folder / "reading.sqlite"
        answers = Answers(path, self.design.washout if decide and self.design.kind == "crossover" else 0.0)
        plain = {"tasks": list(self.tasks), "judgements": self.judgements, "seed": self.seed}
        answers.begin(plain | {"question": self.question} | (self.design.stored() if decide else {}))
        return answers

    def decisions(self, lines: Any) -> dict[str, Any] | None:
        """Return the tables of the task decide, from the lines of the answers; None before the first answer."""
        if "decide" not in self.tasks:
            return None
        return decide_results(lines, self.design.arms, rng=np.random.default_rng(self.seed))


def make_reading_app(
    reading: Reading, *, reader: str, owner: str, hosts: tuple[str, ...] = (), addresses: bool = False
) -> Guard:
    """Return the application. reader, owner: tokens of the links for readers and for results"""
    pages = _Pages(reading)
    routes = [
        Route("/", pages.start),
        Route("/results", pages.results),
        Route("/results.csv", pages.csv),
        Route("/summary.csv", pages.summary),
        Route("/api/reader", pages.enter, methods=["POST"]),
        Route("/api/trial", pages.trial),
        Route("/api/answer", pages.answer, methods=["POST"]),
        Route("/picture.png", pages.picture),
        Route("/web/{name}", web_file),
    ]
    return Guard(
        Starlette(routes=routes, exception_handlers=HANDLERS | {OutOfTurnError: conflict}),
        tokens={reader: "reader", owner: "owner"},
        hosts=(*LOOPBACK, *(name.lower() for name in hosts)),
        addresses=addresses,
    )


def conflict(_: Request, error: Exception) -> Response:
    return PlainTextResponse(str(error), 409)


class _Pages:
    def __init__(self, reading: Reading) -> None:
        self.reading, self.store = reading, reading.answers()
        self.items, self.rows = reading.items(), reading.run.rows()
        self.title = str(reading.run.manifest().get("title") or reading.run.folder.name)

    def start(self, request: Request) -> Response:
        roles = request.state.roles
        token = roles.get("reader") or roles.get("owner", "")
        return page("read.html", title="Reader study", token=token, counts=self.reading.counts())

    async def enter(self, request: Request) -> Response:
        name = text(await said(request), "name")
        how: dict[str, Any] = {"seed": self.reading.seed, "judgements": self.reading.judgements}
        done, there = await run_in_threadpool(self.store.enter, name, self.items, **how)
        return JSONResponse({"name": " ".join(name.split()), "done": done, "of": there})

    def trial(self, request: Request) -> Response:
        """Return the next trial, without its true answer."""
        name = request.query_params.get("reader", "")
        done, there = self.store.place(name)
        if done >= there:
            return JSONResponse({"done": done, "of": there, "finished": True})
        begins = self.store.due(name)
        if begins is not None:
            return JSONResponse({"done": done, "of": there, "finished": False, "waiting": begins.isoformat()})
        trial = self.store.trial(name, done)
        row = self.rows[trial.shows[0][0]]
        return JSONResponse(
            {
                "done": done,
                "of": there,
                "finished": False,
                "task": trial.task,
                "question": self.question(trial),
                "choices": CHOICES[trial.task],
                "pictures": len(trial.shows),
                "window": row["window"],
                **(self.decision(trial) if trial.task == "decide" else {}),
            }
        )

    def question(self, trial: Trial) -> str:
        row = self.rows[trial.shows[0][0]]
        if trial.task == "real":
            return REAL
        if trial.task == "worse":
            return self.reading.question or question_of(row)
        return (self.reading.question or DECIDE).replace("{finding}", finding_of(row))

    def decision(self, trial: Trial) -> dict[str, Any]:
        """Return what the page of a decision shows beside the image: of the model only what the arm allows."""
        row = self.rows[trial.shows[0][0]]
        more: dict[str, Any] = {
            "captions": captions(self.rows, trial.shows),
            "slices": slices_of(self.reading.run, row),
            "session": trial.session + 1,
            "sessions": self.items["decide"].sessions,
        }
        return more if trial.arm == "none" else more | {"said": _prediction_words(trial, finding_of(row))}

    def picture(self, request: Request) -> Response:
        """Return picture `k` of the next trial, in the window from `low` to `high` where they are given."""
        asked = request.query_params
        trial = self.store.trial(asked.get("reader", ""), whole(asked.get("position")))
        k = whole(asked.get("k"))
        if k >= len(trial.shows):
            raise HTTPException(404)
        row, frame = trial.shows[k]
        window = _window(asked.get("low"), asked.get("high"))
        if trial.task == "decide":
            at = whole(asked["slice"]) if "slice" in asked else None
            drawn = panel(self.reading.run, self.rows[row], frame, window=window, at=at)
        else:
            drawn = picture(self.reading.run, self.rows[row], frame, window)
        return Response(drawn, media_type="image/png")

    async def answer(self, request: Request) -> Response:
        told = await said(request)
        position = told.get("position")
        if not isinstance(position, int) or isinstance(position, bool) or not 0 <= position < 1 << 31:
            raise InputError("expected the position of a trial")
        words = text(told, "reader"), position, text(told, "answer")
        confidence = told.get("confidence")
        if confidence is not None and (not isinstance(confidence, int) or isinstance(confidence, bool)):
            raise InputError("expected a confidence of 1 to 5")
        done, there = await run_in_threadpool(self.store.add, *words, _seconds(told), confidence)
        return JSONResponse({"done": done, "of": there})

    def results(self, request: Request) -> Response:
        _owner(request)
        lines = self.store.lines()
        about = {"run": self.title, "rows": table(lines), "plan": self.reading.plan()}
        decided = self.reading.decisions(lines)
        return page("results.html", title="Reader study: results", token="", **about, decided=decided)

    def csv(self, request: Request) -> Response:
        _owner(request)
        headers = {"content-disposition": 'attachment; filename="reading.csv"'}
        return Response(as_csv(self.store.lines()), media_type="text/csv", headers=headers)

    def summary(self, request: Request) -> Response:
        _owner(request)
        found = self.reading.decisions(self.store.lines())
        if found is None:
            raise HTTPException(404)
        headers = {"content-disposition": 'attachment; filename="summary.csv"'}
        return Response(summary_csv(found), media_type="text/csv", headers=headers)


def _prediction_words(trial: Trial, finding: str) -> str:
    """Return the model's prediction as text."""
    words = f"The model's prediction: {'' if trial.predicted == 'yes' else 'not '}{finding}"
    if trial.probability is None:
        return words
    share = f"{100 * trial.probability:.0f} %"
    return f"{words}, {share}" if trial.predicted == "yes" else f"{words} ({finding}: {share})"


def _window(low: str | None, high: str | None) -> Window | None:
    """Return a display window from an address; None where none is given."""
    if low is None and high is None:
        return None
    try:
        first, last = float(low or ""), float(high or "")
    except ValueError as error:
        raise InputError("expected a window from low to high") from error
    if not (math.isfinite(first) and math.isfinite(last) and first < last):
        raise InputError("expected a window from low to high")
    return first, last


def _owner(request: Request) -> None:
    if "owner" not in request.state.roles:
        raise HTTPException(403, "results need the link for results, so that readers stay blinded")


def _seconds(said: dict[str, Any]) -> float | None:
    """Return the time measured by the page, or None; an invalid time loses no answer."""
    value = said.get("seconds")
    plain = isinstance(value, (int, float)) and math.isfinite(value) and 0 <= value < 1e6
    return float(value) if plain and value is not None else None
