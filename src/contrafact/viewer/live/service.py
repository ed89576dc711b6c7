"""Service for live explanations: sessions, jobs, and results until they are stored or dropped."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from contrafact.core import (
    ContrafactError,
    Grid,
    Heatmap,
    Image,
    InputError,
    Request,
    fingerprint,
    nearest,
)
from contrafact.core.request import digest_of_image
from contrafact.io import Run, stored_form, stored_grid
from contrafact.io.lock import sole_writer
from contrafact.render.boxes import Box
from contrafact.render.case import finite, grid_of, map_about, shown, strip_about
from contrafact.render.figures import aspect_of
from contrafact.render.run_index import CaseResults, RunIndex
from contrafact.viewer.live.queue import ENDED, Job, JobQueue, start
from contrafact.viewer.live.tasks import Latents, LiveResult, LiveSetting, Task

SESSIONS, JOBS, LATENTS = 128, 24, 256  # numbers kept; the oldest are dropped first
MOST = 1000.0  # largest amount, unless the range of the target is larger


class BusyError(ContrafactError):
    """The page has another job running, or a result it needs is not available yet."""


@dataclass(frozen=True, slots=True)
class LiveJob:
    """A job with its session and case."""

    session: str
    case: str
    job: Job
    kept: list[str]


class LiveService:
    """Live explanations of one run with two workers: one for single frames, one for long jobs."""

    def __init__(
        self, run: Run, setting: LiveSetting, *, begin: Callable[..., Any] = start, limit_seconds: float = 600.0
    ) -> None:
        self.run, self._cohort = run, RunIndex(run)
        self.quick = JobQueue(begin, setting, limit_seconds=limit_seconds)
        self.long = JobQueue(begin, setting, limit_seconds=limit_seconds)
        self._lock = threading.Lock()
        self._sessions: OrderedDict[str, None] = OrderedDict()
        self._jobs: OrderedDict[str, LiveJob] = OrderedDict()
        self._latents: OrderedDict[tuple[str, ...], Latents] = OrderedDict()
        self._abouts: dict[str, dict[str, Any]] = {}

    def close(self) -> None:
        self.quick.close()
        self.long.close()

    def enter(self) -> str:
        """Open a session for a page and return its id."""
        session = secrets.token_urlsafe(16)
        with self._lock:
            self._sessions[session] = None
            while len(self._sessions) > SESSIONS:
                self._sessions.popitem(last=False)
        return session

    def about(self, case_id: str) -> dict[str, Any]:
        """Return the methods available for a case, with state "loading", "ready", or "none" and the reason."""
        self.quick.wake()
        self.long.wake()
        if self.quick.failure:
            return {"state": "none", "reason": self.quick.failure}
        if not self.quick.ready:
            return {"state": "loading"}
        try:
            return {"state": "ready", **self._about(case_id)}
        except ContrafactError as error:
            return {"state": "none", "reason": " ".join(str(error).split())}

    def move(self, said: dict[str, Any]) -> dict[str, Any]:
        """Return one generated frame with its score; with `follow`, the latent path follows the model."""
        self._entered(said)
        task = self._task("reach" if said.get("follow") is True else "move", said)
        if not task.latents:
            raise BusyError("the image is not inverted yet; run 'find' first")
        found = self.quick.put(Job(task)).answer(60)[0]
        at = said.get("slice")
        arrays, of = found["arrays"], task.image.values.shape[1]
        values = shown(arrays, "frames", at=at if isinstance(at, int) else None, of=of)
        aspect = aspect_of(grid_of(arrays, "frames"))
        plain = {name: found[name] for name in ("score", "length", "spent", "held")}
        return finite(plain) | {"shape": list(values.shape[1:]), "aspect": aspect, "frame": values[0].tobytes()}

    def ask(self, said: dict[str, Any]) -> str:
        """Start a long job and return its id."""
        session = self._entered(said)
        kind = "find" if said.get("method") == "find" else "explain"
        task = self._task(kind, said)
        with self._lock:
            if any(a.session == session and a.job.state not in ENDED for a in self._jobs.values()):
                raise BusyError("a job of this page is running already; cancel it first, or wait")
            job, name = Job(task), secrets.token_urlsafe(16)
            self._jobs[name] = LiveJob(session, said["case"], job, [])
            over = [n for n, a in self._jobs.items() if a.job.state in ENDED][: max(0, len(self._jobs) - JOBS)]
            for old in over:
                del self._jobs[old]
        self.long.put(job)
        return name

    def progress(self, name: str) -> dict[str, Any]:
        """Return the progress of a job, and its result once it is done."""
        asked = self._asked(name)
        job, line = asked.job, self.long
        told = {"state": job.state, "error": job.error, "kept": bool(asked.kept)}
        told["seconds"] = round(job.seconds, 2)
        if job.state == "waiting":
            ahead = line.ahead(job)
            waits = f"waiting, {ahead} before this one" if ahead or line.ready else "loading the model"
            return told | {"words": waits}
        if job.state == "running":
            return told | {"words": job.words, "count": job.count, "of": job.of}
        return told | (self._finished(name, job) if job.state == "done" else {})

    def cancel(self, name: str) -> None:
        self.long.cancel(self._asked(name).job)

    def array(self, name: str, array: str, at: int | None) -> Any:
        """Return an array of a result for the screen."""
        job = self._asked(name).job
        return shown(stored_form(job.task.image, self._found(job).result)[1], array, at=at)

    def keep(self, name: str) -> str:
        """Store a result in the run and return its key. Raise InputError while another process writes it."""
        asked = self._asked(name)
        with self._lock:
            if asked.kept:
                raise InputError("this result is already stored in the run")
            found, task = self._found(asked.job), asked.job.task
            record = found.result.record
            request = Request(
                image=digest_of_image(task.image),
                model=task.model,
                method=record.parameters if record else {},
                target=task.target,
                bundle=record.bundle if record else "",
                region="" if task.box is None else fingerprint(task.box.stored()),
                seed=record.seed if record else 0,
            )
            key = f"{task.case}/live/{task.method}/{task.target}/{request.key}"
            name_of_model = self._first(self._case(asked.case)).get("model_name", "")
            about = {**found.extra, "model_name": name_of_model, "label": f"{task.method} (live)"}
            with sole_writer(self.run.folder):
                self.run.add_methods(found.cards)
                self.run.add(key, task.image, found.result, **about)
            asked.kept.append(key)
        return key

    def _finished(self, name: str, job: Job) -> dict[str, Any]:
        task = job.task
        with self._lock:
            if job.result[1]:
                self._latents[_key(task)] = job.result[1]
                while len(self._latents) > LATENTS:
                    self._latents.popitem(last=False)
        if not isinstance(job.result[0], LiveResult):
            return {"kind": "latent", **finite(job.result[0])}
        found = self._found(job)
        row, arrays = stored_form(task.image, found.result, **found.extra)
        if isinstance(found.result, Heatmap):
            values = found.result.values
            one = map_about(row, values, self._cohort.map_scale(row, values))
            return {"kind": "map", "about": finite(one) | {"row": name}}
        about = strip_about(row, grid_of(arrays, "frames"), arrays["frames"])
        return {"kind": "strip", "about": finite(about) | {"row": name}, "held": finite(found.held)}

    def _asked(self, name: str) -> LiveJob:
        with self._lock:
            if name not in self._jobs:
                raise KeyError("this result is no longer available: compute it again")
            return self._jobs[name]

    def _found(self, job: Job) -> LiveResult:
        if job.state != "done" or not isinstance(job.result[0], LiveResult):
            raise InputError("there is no result to show")
        return job.result[0]

    def _entered(self, said: dict[str, Any]) -> str:
        session = said.get("session")
        with self._lock:
            if not isinstance(session, str) or session not in self._sessions:
                raise InputError("expected the session of this page; load the page again")
            self._sessions.move_to_end(session)
        return session

    def _about(self, case_id: str) -> dict[str, Any]:
        if case_id not in self._abouts:
            self._abouts[case_id] = self.quick.put(Job(self._image_task("about", case_id))).answer(60)[0]
        return self._abouts[case_id]

    def _image_task(self, kind: str, case_id: Any, **more: Any) -> Task:
        """Return a task with the image and model of the first result of the case."""
        case = self._case(case_id)
        row = self._first(case)
        arrays = self.run.arrays(row)
        values = arrays["image"]
        image = Image(
            values,
            grid=stored_grid(row, values.shape[1:], arrays["affine"]),
            window=tuple(float(v) for v in row["window"]),  # type: ignore[arg-type]
            source=str(row.get("source", "")),
            about=dict(row.get("about") or {}),
        )
        return Task(kind=kind, case=case.name, image=image, model=str(row["record"]["model"]), **more)

    def _case(self, case_id: Any) -> CaseResults:
        case = self._cohort.cases().get(case_id) if isinstance(case_id, str) else None
        if case is None:
            raise InputError("expected a case of this run")
        return case

    def _first(self, case: CaseResults) -> dict[str, Any]:
        rows = sorted([*case.maps, *case.strips])
        if not rows:
            raise InputError("the run holds no image of this case")
        return self._cohort.row(rows[0])

    def _task(self, kind: str, said: dict[str, Any]) -> Task:
        """Return a task, checked against the choices offered to the page."""
        plain = self._image_task(kind, said.get("case"))
        about = self._about(said["case"])
        target = _one_of("target", said.get("target"), {t["text"]: t for t in about["targets"]})
        methods = dict.fromkeys([*target["strips"], *about["maps"]])
        if kind != "explain":
            needed = "latent" if kind == "find" else "slides"
            methods = dict.fromkeys(m for m in target["strips"] if about["methods"][m][needed])
            if not methods:
                raise InputError(about["why_not"] or f"this bundle has no direction for '{target['text']}'")
        method = said.get("method") if kind == "explain" else next(iter(methods))
        _one_of("method", method, methods)
        hold = said.get("hold", [])
        if not isinstance(hold, list) or len(hold) > 20:
            raise InputError("expected a list of scores to keep constant")
        for name in hold:
            _one_of("hold", name, dict.fromkeys(target["holds"]))
        if hold and method in target["strips"] and not about["methods"][method]["holds"]:
            able = [m for m in target["strips"] if about["methods"][m]["holds"]]
            raise InputError(f"{method} cannot keep scores constant; use {' or '.join(able) or 'no hold'}")
        by = said.get("by", "asked")
        _one_of("by", by, {"asked": None, "reached": None})
        strip = kind in ("move", "reach") or (kind == "explain" and method in target["strips"])
        amount = _amount(said.get("amount"), by, target) if strip else 0.0
        task = Task(
            kind=kind,
            case=plain.case,
            image=plain.image,
            model=plain.model,
            target=target["text"],
            method=str(method),
            by=by,
            amount=amount,
            hold=tuple(sorted(set(hold))) if strip else (),
            box=None if kind == "find" else _box(said.get("box"), plain.image.grid, strip),
        )
        with self._lock:
            latents = self._latents.get(_key(task), {}) if strip or kind == "find" else {}
        return Task(**{n: getattr(task, n) for n in Task.__slots__ if n != "latents"}, latents=latents)


def _key(task: Task) -> tuple[str, ...]:
    return task.image.digest, task.model, task.target


def _one_of(what: str, value: Any, known: dict[str, Any]) -> Any:
    if not isinstance(value, str) or value not in known:
        text = value[:60] if isinstance(value, str) else type(value).__name__
        names = ", ".join(known) or "none"
        raise InputError(f"{what} must be one of {names}; got '{text}'{nearest(text, known)}")
    return known[value]


def _box(said: Any, grid: Grid, strip: bool) -> Box | None:
    if said is None:
        return None
    if not strip:
        raise InputError("expected a box with a counterfactual; a heatmap is not limited to one here")
    box = Box.read(said)
    box.mask(grid)  # refuses one that leaves the image, or leaves nothing to change
    return box


def _amount(value: Any, by: str, target: dict[str, Any]) -> float:
    plain = isinstance(value, (int, float)) and not isinstance(value, bool)
    most = max(MOST, abs(target["start"]) + target["span"])  # the range of the page's slider
    if not plain or not abs(value) <= most:  # also refuses NaN
        raise InputError(f"expected a finite number from {-most:g} to {most:g} as amount; got {value!r:.40}")
    if by == "reached" and target["odds"] and not 0 < value < 1:
        raise InputError(f"goal must be a probability above 0 and below 1; got {value:g}")
    return float(np.float64(value))
