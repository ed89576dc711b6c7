"""What the cohort page shows above its list: truth and prediction, subgroups, and mean changes."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from contrafact.core import InputError, nearest
from contrafact.io.run_cohort import FILE, stored_cohort
from contrafact.render.case import finite
from contrafact.render.case_facts import CaseFilter, RunFacts, run_facts
from contrafact.render.changes import best_change, change_of
from contrafact.render.cohort_parts import ALL, parts_of, ways_of
from contrafact.render.cohort_summary import cohort_summary
from contrafact.render.mean_changes import MeanChanges, change_thumbnail
from contrafact.render.outcome import misses
from contrafact.render.run_index import CaseResults, RunIndex

SECONDS = 1.5  # limit for summing changes per request; the page sends further requests for the rest
KEPT = 8  # divisions of the cases whose means are kept


class CohortPages:
    """Facts of the cases and what is computed of them, until the run or its labels change."""

    def __init__(self, table: RunIndex) -> None:
        self.table = table
        self._lock = threading.Lock()
        self._summing = threading.Lock()  # apart, so that other requests do not wait for sums
        self._facts: tuple[Any, RunFacts] | None = None
        self._means: dict[tuple[str, str], MeanChanges] = {}

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/api/cohort", self.summary),
            Route("/api/means", self.means),
            Route("/mean/{name}.png", self.mean),
            Route("/change/{row:int}.png", self.change),
        ]

    def facts(self) -> RunFacts:
        """Return the facts of all cases, read anew when the run or its labels have changed."""
        cases = self.table.cases()
        with self._lock:
            stamp = [(path.stat().st_mtime_ns if path.exists() else 0) for path in self._files()]
            if self._facts is None or self._facts[0][0] is not cases or self._facts[0][1] != stamp:
                self._facts = (cases, stamp), run_facts(self.table, stored_cohort(self.table.run))
                self._means = {}
            return self._facts[1]

    def _files(self) -> Sequence[Any]:
        return [self.table.run.folder / name for name in (FILE, "scores.jsonl")]

    def chosen(self, asked: Mapping[str, str]) -> list[CaseResults]:
        """Return the cases that a request filters and sorts: q, show, sort, and the fields of `CaseFilter`."""
        found = self.table.chosen(
            words=asked.get("q", ""), show=asked.get("show", "all"), sort=asked.get("sort", "problems")
        )
        wanted = CaseFilter(**{name: asked.get(name, "") for name in CaseFilter.__slots__})
        return list(wanted.kept(self.facts(), found)) if wanted else found

    def line(self, case: CaseResults) -> dict[str, Any]:
        """Return the fields of a line of the list."""
        rows = [(number, self.table.row(number)) for number in case.strips]
        changes = [change_of(number, row) for number, row in rows if not row.get("picture")]
        ends = ["flips" if misses(row) else str(row["outcome"]) for _, row in rows]
        return case.line() | {"change": best_change(changes), "ends": ends}

    def summary(self, request: Request) -> Response:
        """Return what stands above the list: /api/cohort?model="""
        facts = self.facts()
        model = self._model(facts, request)
        known = facts.summaries
        if model not in known:
            ways = ways_of(facts, facts.of_model(model))
            known[model] = finite({**cohort_summary(facts, model), "ways": list(ways)})
        return JSONResponse(known[model])

    def means(self, request: Request) -> Response:
        """Return mean changes, or how far they are: /api/means?model=&by="""
        facts = self.facts()
        model, by = self._model(facts, request), request.query_params.get("by", ALL)
        cases = facts.of_model(model)
        ways = ways_of(facts, cases)
        if by not in ways:
            raise InputError(f"by must be one of {', '.join(ways)}; got '{by[:60]}'{nearest(by, ways)}")
        with self._lock:
            known = self._means.pop((model, by), None) or MeanChanges(
                self.table.run, parts_of(cases, by, ways[by])
            )
            self._means[model, by] = known  # the latest request
            for old in list(self._means)[:-KEPT]:
                del self._means[old]
        with self._summing:
            known.measure(seconds=SECONDS)
            tiles = known.tiles() if known.done == known.total else []
        return JSONResponse(
            finite({"done": known.done, "of": known.total, "tiles": tiles, "scale": known.scale})
        )

    def mean(self, request: Request) -> Response:
        name = request.path_params["name"]
        with self._lock:
            picture = next(filter(None, (one.picture(name) for one in self._means.values())), None)
        if picture is None:
            raise HTTPException(404)
        return Response(picture, media_type="image/png")

    def change(self, request: Request) -> Response:
        row = self.table.row(request.path_params["row"])
        if row.get("kind") != "strip":
            raise InputError("expected a counterfactual; got a heatmap")
        return Response(change_thumbnail(self.table.run, row), media_type="image/png")

    def _model(self, facts: RunFacts, request: Request) -> str:
        models = facts.models()
        model = request.query_params.get("model", "") or (models[0] if models else "")
        if models and model not in models:
            raise InputError(f"model must be one of {', '.join(models)}; got '{model}'{nearest(model, models)}")
        return model
