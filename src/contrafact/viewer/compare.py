"""Pages that compare two models of a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from contrafact.core import InputError
from contrafact.render.case import finite
from contrafact.render.comparison import Apart, Comparison, Pair, answers_apart, pair_page, sorted_pairs
from contrafact.render.run_index import CaseResults, RunIndex
from contrafact.render.text import few
from contrafact.viewer.requests import whole

SECONDS = 2.0  # limit for comparing maps per request; the page sends further requests for the rest
PAGE = 100


class ComparePages:
    """Pages of the comparison. page: function from a template and its values to a response"""

    def __init__(self, table: RunIndex, title: str, page: Callable[..., Response]) -> None:
        self.comparison, self.title, self.page = Comparison(table), title, page

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/compare", self.table),
            Route("/compare/{id}", self.pair),
            Route("/api/compare", self.lines),
            Route("/api/compare/{id}", self.about),
        ]

    def possible(self) -> bool:
        """Whether two models of the run have results of one image."""
        return any(len(by_model) > 1 for by_model in self.comparison.index().images.values())

    def link(self, case: CaseResults) -> str | None:
        """Return the address that compares a case with another model."""
        found = self.comparison.beside(case)
        return found and f"/compare/{found[0]}?" + urlencode({"a": found[1], "b": found[2]})

    def table(self, request: Request) -> Response:
        models = self._models(request)
        return self.page("compare.html", title=f"{' and '.join(models)}", run=self.title, token="")

    def pair(self, request: Request) -> Response:
        pair = self._pair(request)
        return self.page("pair.html", title=pair.first.name, run=self.title, id=pair.id, token="")

    def lines(self, request: Request) -> Response:
        """Return a page of the list: /api/compare?a=&b=&method=&sort=&q=&from=&count="""
        asked, (first, second) = request.query_params, self._models(request)
        found, method, left = self._found(request)
        start, count = (whole(asked.get(name, text)) for name, text in (("from", "0"), ("count", "50")))
        shown = found[start : start + min(PAGE, count)]
        left = left or self.comparison.measure(shown, method, seconds=SECONDS)
        pairs = self.comparison.pairs(first, second)
        return JSONResponse(
            finite(
                {
                    "lines": [self._line(pair, method) for pair in shown],
                    "found": len(found),
                    "all": len(pairs),
                    "left": left,
                    "models": self.comparison.models(),
                    "chosen": [first, second],
                    "methods": self.comparison.methods(pairs.values()),
                    "method": method,
                }
            )
        )

    def about(self, request: Request) -> Response:
        """Return a pair, with its neighbours in the current order of the list."""
        pair, (found, _, _) = self._pair(request), self._found(request)
        ids = [other.id for other in found]
        at = ids.index(pair.id) if pair.id in ids else -1
        return JSONResponse(
            pair_page(self.comparison, pair)
            | {
                "models": self._models(request),
                "number": at + 1,
                "of": len(ids),
                "previous": ids[at - 1] if at > 0 else None,
                "next": ids[at + 1] if 0 <= at < len(ids) - 1 else None,
            }
        )

    def _found(self, request: Request) -> tuple[list[Pair], str, int]:
        """Return the requested list, the method of its maps, and the number of pairs still to compare."""
        asked, comparison = request.query_params, self.comparison
        words = asked.get("q", "").casefold().split()
        every = comparison.pairs(*self._models(request)).values()
        pairs = [p for p in every if all(word in f"{p.first.words()}\n{p.second.words()}" for word in words)]
        methods, sort = comparison.methods(every), asked.get("sort", "answers")
        method = asked.get("method") or (methods[0] if methods else "")
        if method and method not in methods:
            raise InputError(f"expected one of {', '.join(methods)}; got '{method}'")
        left = comparison.measure(pairs, method, seconds=SECONDS) if sort == "maps" else 0
        return sorted_pairs(pairs, sort, {p.id: comparison.apart(p, method) for p in pairs}), method, left

    def _line(self, pair: Pair, method: str) -> dict[str, Any]:
        said = answers_apart(pair.first.answers, pair.second.answers)
        return {
            "id": pair.id,
            "name": pair.first.name,
            "source": pair.first.source,
            "thumbnail": min([*pair.first.maps, *pair.first.strips]),
            "answers": [few(case.answers) for case in pair.cases],
            "apart": said and {name: getattr(said, name) for name in Apart.__slots__},
            "maps": self.comparison.apart(pair, method),
            "doubts": [len(case.doubts) for case in pair.cases],
            "failures": [len(case.failures) for case in pair.cases],
        }

    def _models(self, request: Request) -> tuple[str, str]:
        asked = request.query_params
        return self.comparison.chosen(asked.get("a"), asked.get("b"))

    def _pair(self, request: Request) -> Pair:
        pair = self.comparison.pairs(*self._models(request)).get(request.path_params["id"])
        if pair is None:
            raise HTTPException(404)
        return pair
