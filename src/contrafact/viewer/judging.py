"""Readers' judgements of results: the routes of the case page, and a page and a CSV of all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from contrafact.core import InputError
from contrafact.render.run_index import CaseResults, RunIndex
from contrafact.viewer.judgements import ANSWERS, Judgements, judgements_csv, summary_of
from contrafact.viewer.requests import said, text

SHOWN = ("reader", "answer", "confidence", "at")


class JudgementPages:
    """Judgements of a run. They are written beside the results, one transaction each.

    page   renders a template
    """

    def __init__(self, table: RunIndex, title: str, page: Callable[..., Response]) -> None:
        self.table, self.title, self.page = table, title, page
        self.kept = Judgements.of(table.run.folder)

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/judgements", self.overview),
            Route("/judgements.csv", self.csv),
            Route("/api/judgements/{id}", self.of_case),
            Route("/api/judgements", self.add, methods=["POST"]),
        ]

    def overview(self, request: Request) -> Response:
        """Return the page of all judgements, or of those with one answer: /judgements?answer="""
        lines, chosen = self.kept.current(), request.query_params.get("answer", "")
        counts, known = Counter(line["answer"] for line in lines), self.table.cases()
        shown = [{**line, "there": line["case_id"] in known} for line in lines]
        return self.page(
            "judgements.html",
            title="Judgements",
            run=self.title,
            token="",
            summary=summary_of(lines),
            answers=[(answer, counts[answer]) for answer in ANSWERS],
            chosen=chosen if chosen in ANSWERS else "",
            lines=[line for line in shown if chosen not in ANSWERS or line["answer"] == chosen],
        )

    def csv(self, request: Request) -> Response:
        headers = {"content-disposition": 'attachment; filename="judgements.csv"'}
        return Response(judgements_csv(self.kept.lines()), media_type="text/csv", headers=headers)

    def of_case(self, request: Request) -> Response:
        """Return the last judgement of each reader on each result of a case."""
        case = self._case(request.path_params["id"])
        rows = {self._key(number): number for number in (*case.maps, *case.strips)}
        found = [
            {name: line[name] for name in SHOWN} | {"row": rows[line["result"]]}
            for line in self.kept.current()
            if line["case_id"] == case.id and line["result"] in rows
        ]
        return JSONResponse({"judgements": found})

    async def add(self, request: Request) -> Response:
        """Store a judgement, before the page says that it is kept."""
        told = await said(request)
        case, row = self._case(text(told, "case")), told.get("row")
        if type(row) is not int or row not in (*case.maps, *case.strips):
            raise InputError("expected a result of this case")
        words = text(told, "reader"), text(told, "answer"), told.get("confidence")
        line = await run_in_threadpool(lambda: self.kept.add(*words, about=self._about(case, row)))
        return JSONResponse({name: line[name] for name in SHOWN} | {"row": row})

    def _about(self, case: CaseResults, number: int) -> dict[str, str]:
        row = self.table.row(number)
        method, target = (str(row["record"].get(name) or "") for name in ("method", "target"))
        about = {"case_id": case.id, "case_name": case.name, "method": method, "target": target}
        return about | {"result": self._key(number), "image": case.image, "model": case.digest}

    def _key(self, number: int) -> str:
        return str(self.table.row(number).get("key") or "")

    def _case(self, name: str) -> CaseResults:
        case = self.table.cases().get(name)
        if case is None:
            raise HTTPException(404)
        return case
