"""The pages of a reader study. Readers see trials only; results need the owner's link."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from contrafact.core import InputError
from contrafact.io import Run
from contrafact.viewer.app import HANDLERS, page, web_file
from contrafact.viewer.reader_study.answers import Answers, OutOfTurnError
from contrafact.viewer.reader_study.results import as_csv, plan_words, table
from contrafact.viewer.reader_study.trials import CHOICES, items_of, left_out, picture, question_of
from contrafact.viewer.requests import said, text, whole
from contrafact.viewer.security import LOOPBACK, Guard

REAL = "Is this image real or synthetic?"


@dataclass(frozen=True, slots=True)
class Reading:
    """A reader study of a run: tasks, number of trials, and the file of answers."""

    run: Run
    tasks: tuple[str, ...] = ("real", "worse")
    judgements: int | None = None
    seed: int = 0
    question: str | None = None
    path: Path | None = None

    def items(self) -> dict[str, Any]:
        return {task: items_of(self.run, task) for task in self.tasks}

    def left_out(self) -> int:
        """Return the number of images that are not of a patient and so are not shown as real."""
        return sum(left_out(self.run, task) for task in self.tasks)

    def counts(self) -> dict[str, int]:
        """Return the number of trials of one reader, by task."""
        return {task: len(items[: self.judgements]) for task, items in self.items().items()}

    def answers(self) -> Answers:
        """Return the file of answers, with the study started."""
        answers = Answers(self.path or self.run.folder / "reading.sqlite")
        plain = {"tasks": list(self.tasks), "judgements": self.judgements, "seed": self.seed}
        answers.begin(plain | {"question": self.question})
        return answers


def make_reading_app(
    reading: Reading, *, reader: str, owner: str, hosts: tuple[str, ...] = (), addresses: bool = False
) -> Guard:
    """Return the application. reader, owner: tokens of the links for readers and for results"""
    pages = _Pages(reading)
    routes = [
        Route("/", pages.start),
        Route("/results", pages.results),
        Route("/results.csv", pages.csv),
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
        trial = self.store.trial(name, done)
        asked = self.reading.question or question_of(self.rows[trial.shows[0][0]])
        return JSONResponse(
            {
                "done": done,
                "of": there,
                "finished": False,
                "task": trial.task,
                "question": asked if trial.task == "worse" else REAL,
                "choices": CHOICES[trial.task],
                "pictures": len(trial.shows),
            }
        )

    def picture(self, request: Request) -> Response:
        """Return picture `k` of the next trial."""
        asked = request.query_params
        trial = self.store.trial(asked.get("reader", ""), whole(asked.get("position")))
        k = whole(asked.get("k"))
        if k >= len(trial.shows):
            raise HTTPException(404)
        row, frame = trial.shows[k]
        return Response(picture(self.reading.run, self.rows[row], frame), media_type="image/png")

    async def answer(self, request: Request) -> Response:
        told = await said(request)
        position = told.get("position")
        if not isinstance(position, int) or isinstance(position, bool) or not 0 <= position < 1 << 31:
            raise InputError("expected the position of a trial")
        words = text(told, "reader"), position, text(told, "answer")
        done, there = await run_in_threadpool(self.store.add, *words, _seconds(told))
        return JSONResponse({"done": done, "of": there})

    def results(self, request: Request) -> Response:
        _owner(request)
        rows = table(self.store.lines())
        plan = plan_words(self.reading.counts(), self.reading.left_out())
        return page(
            "results.html", title="Reader study: results", token="", run=self.title, rows=rows, plan=plan
        )

    def csv(self, request: Request) -> Response:
        _owner(request)
        headers = {"content-disposition": 'attachment; filename="reading.csv"'}
        return Response(as_csv(self.store.lines()), media_type="text/csv", headers=headers)


def _owner(request: Request) -> None:
    if "owner" not in request.state.roles:
        raise HTTPException(403, "results need the link for results, so that readers stay blinded")


def _seconds(said: dict[str, Any]) -> float | None:
    """Return the time measured by the page, or None; an invalid time loses no answer."""
    value = said.get("seconds")
    plain = isinstance(value, (int, float)) and math.isfinite(value) and 0 <= value < 1e6
    return float(value) if plain and value is not None else None
