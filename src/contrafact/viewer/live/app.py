"""Live explanations as an ASGI application, mounted under /live behind the viewer's access control."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from contrafact.core import ContrafactError
from contrafact.viewer.app import HANDLERS
from contrafact.viewer.live.service import BusyError, LiveService
from contrafact.viewer.requests import said, text, whole


def live_app(desk: LiveService) -> Starlette:
    """Return the application: POST about, move, ask, cancel, keep; GET job/ID and array/ID/NAME. Only the page
    that started a job knows its id."""
    pages = _Pages(desk)
    routes = [
        Route("/about", _posted(pages.about), methods=["POST"]),
        Route("/move", _posted(pages.move), methods=["POST"]),
        Route("/ask", _posted(pages.ask), methods=["POST"]),
        Route("/cancel", _posted(pages.cancel), methods=["POST"]),
        Route("/keep", _posted(pages.keep), methods=["POST"]),
        Route("/job/{id}", pages.job),
        Route("/array/{id}/{name}", pages.array),
    ]
    handlers = HANDLERS | {BusyError: _line(409), ContrafactError: _line(500), KeyError: _line(404)}
    return Starlette(routes=routes, exception_handlers=handlers)


def _line(status: int) -> Callable[[Request, Exception], Response]:
    """Return a handler that answers errors as one line."""

    def answer(_: Request, error: Exception) -> Response:
        words = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
        return PlainTextResponse(" ".join(words.split()), status)

    return answer


def _posted(answer: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(answer, await said(request)))

    return endpoint


class _Pages:
    def __init__(self, desk: LiveService) -> None:
        self.desk = desk

    def about(self, found: dict[str, Any]) -> dict[str, Any]:
        return self.desk.about(text(found, "case")) | {"session": found.get("session") or self.desk.enter()}

    def move(self, found: dict[str, Any]) -> dict[str, Any]:
        moved = self.desk.move(found)
        return moved | {"frame": base64.b64encode(moved["frame"]).decode()}

    def ask(self, found: dict[str, Any]) -> dict[str, Any]:
        return {"job": self.desk.ask(found)}

    def cancel(self, found: dict[str, Any]) -> dict[str, Any]:
        self.desk.cancel(text(found, "job"))
        return {}

    def keep(self, found: dict[str, Any]) -> dict[str, Any]:
        return {"key": self.desk.keep(text(found, "job"))}

    def job(self, request: Request) -> Response:
        return JSONResponse(self.desk.progress(request.path_params["id"]))

    def array(self, request: Request) -> Response:
        at = request.query_params.get("slice")
        values = self.desk.array(
            request.path_params["id"], request.path_params["name"], None if at is None else whole(at)
        )
        shape = ",".join(map(str, values.shape))
        return Response(values.tobytes(), media_type="application/octet-stream", headers={"x-shape": shape})
