"""The pages of the study editor. Reading, checking and running studies is done by an `Editor`."""

from __future__ import annotations

from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from contrafact.core import ContrafactError, InputError
from contrafact.viewer.app import page, web_file, wrong
from contrafact.viewer.requests import said
from contrafact.viewer.security import LOOPBACK, Guard


class Editor(Protocol):
    """Functions that the form needs; results are JSON."""

    def choices(self) -> dict[str, Any]: ...
    def opened(self, path: str | None = None) -> dict[str, Any]: ...
    def examine(self, path: str, draft: dict[str, Any]) -> dict[str, Any]: ...
    def save(self, path: str, draft: dict[str, Any], *, replace: bool = False) -> dict[str, Any]: ...
    def begin(self, path: str) -> dict[str, Any]: ...
    def state(self) -> dict[str, Any]: ...
    def cancel(self) -> dict[str, Any]: ...


def make_form_app(desk: Editor, *, token: str) -> Guard:
    """Return the application. Every page needs the token, and every write needs it in a header that no other
    site can send. Only host names of this machine are allowed."""
    pages = _Pages(desk, token)
    routes = [
        Route("/", pages.form),
        Route("/api/choices", pages.choices),
        Route("/api/draft", pages.opened),
        Route("/api/examine", pages.examine, methods=["POST"]),
        Route("/api/save", pages.save, methods=["POST"]),
        Route("/api/run", pages.state),
        Route("/api/run", pages.begin, methods=["POST"]),
        Route("/api/cancel", pages.cancel, methods=["POST"]),
        Route("/web/{name}", web_file),
    ]
    handlers: dict[Any, Any] = {ContrafactError: wrong, InputError: wrong, OSError: _unwritable}
    return Guard(Starlette(routes=routes, exception_handlers=handlers), tokens={token: "owner"}, hosts=LOOPBACK)


def _unwritable(_: Request, error: Exception) -> Response:
    return PlainTextResponse(f"expected a file that can be read and written; got an error: {error}", 400)


class _Pages:
    def __init__(self, desk: Editor, token: str) -> None:
        self.desk, self.token = desk, token

    def form(self, request: Request) -> Response:
        return page("form.html", title="Study editor", token=self.token)

    def choices(self, request: Request) -> Response:
        return JSONResponse(self.desk.choices())

    def opened(self, request: Request) -> Response:
        return JSONResponse(self.desk.opened(request.query_params.get("path")))

    def state(self, request: Request) -> Response:
        return JSONResponse(self.desk.state())

    async def examine(self, request: Request) -> Response:
        asked = await said(request)
        return JSONResponse(await run_in_threadpool(self.desk.examine, _path(asked), _draft(asked)))

    async def save(self, request: Request) -> Response:
        asked = await said(request)
        replace = asked.get("replace") is True
        return JSONResponse(
            await run_in_threadpool(self.desk.save, _path(asked), _draft(asked), replace=replace)
        )

    async def begin(self, request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(self.desk.begin, _path(await said(request))))

    async def cancel(self, request: Request) -> Response:
        return JSONResponse(await run_in_threadpool(self.desk.cancel))


def _path(asked: dict[str, Any]) -> str:
    if not isinstance(asked.get("path"), str):
        raise InputError("expected the path of the study file as text")
    return str(asked["path"])


def _draft(asked: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(asked.get("draft"), dict):
        raise InputError("expected a draft")
    return dict(asked["draft"])
