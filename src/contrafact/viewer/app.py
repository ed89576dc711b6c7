"""The viewer of a run as an ASGI application."""

from __future__ import annotations

import re
import secrets
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp

from contrafact import render
from contrafact.core import ContrafactError, InputError
from contrafact.io import Run
from contrafact.io.attribute_folder import attribute_folders, name_attribute, picture_of
from contrafact.render.attributes import attribute_tables
from contrafact.render.case import case_page, holds_volumes, pixels, thumbnail
from contrafact.render.run_index import CaseResults, RunIndex
from contrafact.report.page import environment
from contrafact.viewer.cohort import CohortPages
from contrafact.viewer.compare import ComparePages
from contrafact.viewer.judgements import summary_of_run
from contrafact.viewer.judging import JudgementPages
from contrafact.viewer.requests import said, text, whole
from contrafact.viewer.security import LOOPBACK, Guard
from contrafact.viewer.volumes import volume

WEB = Path(render.__file__).parent / "web" / "dist"
TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".txt": "text/plain"}
PAGE = 100  # cases per request at most


def make_app(
    run: Run,
    live: ASGIApp | None = None,
    *,
    token: str | None = None,
    hosts: Sequence[str] = (),
    addresses: bool = False,
) -> Guard:
    """Return the viewer of one run. It reads the run folder and writes nothing but names of attributes and
    judgements.

    live       application for live explanations, mounted under /live; None: stored results only
    token      required for every page, also on this machine, which others may use too; None: a new one, the
               only key of `tokens` of the application
    hosts      further names allowed in the Host header
    addresses  whether numeric addresses are allowed too
    """
    pages = _Pages(run, live is not None, token or secrets.token_urlsafe(24))
    routes: list[BaseRoute] = [
        Route("/", pages.cohort),
        Route("/case/{id}", pages.case),
        Route("/api/cases", pages.lines),
        Route("/api/case/{id}", pages.about),
        Route("/array/{row:int}/{name}", pages.array),
        Route("/thumbnail/{row:int}.png", pages.thumbnail),
        Route("/volume/{row:int}/{name}.nii.gz", pages.volume),
        Route("/attributes", pages.attributes),
        Route("/attributes/{folder}/{name}", pages.attribute_picture),
        Route("/api/attributes", pages.name_attribute, methods=["POST"]),
        Route("/web/{name}", web_file),
    ]
    routes += [*pages.compare.routes(), *pages.above.routes(), *pages.judging.routes()]
    if live is not None:
        routes.append(Mount("/live", live))
    return Guard(
        Starlette(routes=routes, exception_handlers=HANDLERS),
        tokens={pages.token: "owner"},
        hosts=(*LOOPBACK, *(name.lower() for name in hosts)),
        addresses=addresses,
    )


def page(template: str, **words: Any) -> Response:
    return HTMLResponse(environment().get_template(template).render(**words))


async def web_file(request: Request) -> Response:
    """Return a built file of the front end; other names are not found."""
    name = request.path_params["name"]
    if name not in {path.name for path in WEB.iterdir()}:
        raise HTTPException(404)
    kind = TYPES.get(Path(name).suffix, "application/octet-stream")
    return Response((WEB / name).read_bytes(), media_type=kind)


def wrong(_: Request, error: Exception) -> Response:
    return PlainTextResponse(" ".join(str(error).split()), 400)


def failed(_: Request, error: Exception) -> Response:
    return PlainTextResponse(" ".join(str(error).split()), 500)


def unreadable(_: Request, error: Exception) -> Response:
    """Answer that the run is incomplete or damaged."""
    return PlainTextResponse(f"the run could not be read ({type(error).__name__})", 404)


UNREADABLE = (OSError, LookupError, TypeError, ValueError)
HANDLERS: dict[Any, Any] = {InputError: wrong, ContrafactError: failed, **dict.fromkeys(UNREADABLE, unreadable)}


def live_command(run: Run) -> str:
    """Return the command that starts the viewer with a model to ask, to copy into a shell; it names a bundle of
    the run only where that is a plain name."""
    named = [card.get("name") for card in run.manifest().get("bundles") or () if isinstance(card, dict)]
    plain = [
        name for name in named if isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name)
    ]
    return f"contrafact view {shlex.quote(str(run.folder))} --live {(plain or ['BUNDLE'])[0]}"


class _Pages:
    def __init__(self, run: Run, live: bool, token: str) -> None:
        self.run, self.live, self.token = run, live, token
        self.table = RunIndex(run)
        self.title = str(run.manifest().get("title") or run.folder.name)
        self.command = live_command(run)
        self.compare = ComparePages(self.table, self.title, page)
        self.judging = JudgementPages(self.table, self.title, page)
        self.above = CohortPages(self.table)

    def cohort(self, request: Request) -> Response:
        comparable = self.compare.possible()
        attributes = attribute_folders(self.run.folder)
        words = {"comparable": comparable, "attributes": bool(attributes)}
        judged = summary_of_run(self.run.folder)
        return page("cohort.html", title=self.title, token=self.token, judged=judged, **words)

    def case(self, request: Request) -> Response:
        case = self._found(request)
        request.state.volumes = holds_volumes(self.table, case)
        words = {"title": case.name, "id": case.id, "beside": self.compare.link(case)}
        return page(
            "case.html", run=self.title, token=self.token, live=self.live, command=self.command, **words
        )

    def lines(self, request: Request) -> Response:
        """Return a page of the table: /api/cases?q=&show=&sort=&from=&count=, and fields of `CaseFilter`"""
        asked = request.query_params
        first, count = whole(asked.get("from", "0")), min(PAGE, whole(asked.get("count", "50")))
        found = self.above.chosen(asked)
        cases = self.table.cases().values()
        return JSONResponse(
            {
                "cases": [self.above.line(case) for case in found[first : first + count]],
                "found": len(found),
                "all": len(cases),
                "failures": sum(bool(case.failures) for case in cases),
                "doubts": sum(bool(case.doubts) for case in cases),
            }
        )

    def about(self, request: Request) -> Response:
        """Return a case, with its neighbours in the current order of the table."""
        case, asked = self._found(request), request.query_params
        found = self.above.chosen(asked)
        ids = [other.id for other in found]
        at = ids.index(case.id) if case.id in ids else -1
        beside = {
            "number": at + 1,
            "of": len(ids),
            "previous": ids[at - 1] if at > 0 else None,
            "next": ids[at + 1] if 0 <= at < len(ids) - 1 else None,
        }
        return JSONResponse(case_page(self.table, case) | beside)

    def array(self, request: Request) -> Response:
        row, at = self.table.row(request.path_params["row"]), request.query_params.get("slice")
        name = request.path_params["name"]
        values: np.ndarray[Any, Any] = pixels(self.run, row, name, at=None if at is None else whole(at))
        shape = ",".join(map(str, values.shape))
        return Response(values.tobytes(), media_type="application/octet-stream", headers={"x-shape": shape})

    def thumbnail(self, request: Request) -> Response:
        return Response(thumbnail(self.run, self.table.row(request.path_params["row"])), media_type="image/png")

    def volume(self, request: Request) -> Response:
        """Return a volume: /volume/ROW/NAME.nii.gz?frame=&channel="""
        row, asked = self.table.row(request.path_params["row"]), request.query_params
        which = {name: whole(asked.get(name, "0")) for name in ("frame", "channel")}
        content = volume(self.run, row, request.path_params["name"], **which)
        return Response(content, media_type="application/gzip")

    def attributes(self, request: Request) -> Response:
        words = {"title": "Attributes", "run": self.title, "tables": attribute_tables(self.run.folder)}
        return page("attributes.html", token=self.token, pictures="/attributes/{}/{}".format, **words)

    def attribute_picture(self, request: Request) -> Response:
        return Response(
            picture_of(self._folder(request.path_params["folder"]), request.path_params["name"]),
            media_type="image/png",
        )

    async def name_attribute(self, request: Request) -> Response:
        """Store the name that a reader gives to an attribute, before the page says that it is kept."""
        told = await said(request)
        folder = self._folder(text(told, "folder"))
        name = await run_in_threadpool(name_attribute, folder, text(told, "place"), text(told, "name"))
        return JSONResponse({"name": name})

    def _folder(self, name: str) -> Path:
        folder = attribute_folders(self.run.folder).get(name)
        if folder is None:
            raise HTTPException(404)
        return folder

    def _found(self, request: Request) -> CaseResults:
        case = self.table.cases().get(request.path_params["id"])
        if case is None:
            raise HTTPException(404)
        return case
