"""The cohort in the report: truth and prediction, subgroups, flips outside the anatomy, and mean changes."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from contrafact.io.run_cohort import stored_cohort
from contrafact.render.case import thumbnail
from contrafact.render.case_facts import CaseFacts, RunFacts, run_facts
from contrafact.render.cohort_parts import ALL, parts_of, ways_of
from contrafact.render.cohort_summary import cohort_summary
from contrafact.render.mean_changes import UNREADABLE, MeanChanges
from contrafact.render.run_index import RunIndex

MOST = 500  # counterfactuals that a report reads for means; the viewer reads any number
WAYS = 3  # divisions of the cases whose means are shown
PICTURED = 16  # cells of a grid with thumbnails; a larger one has counts alone
VIEWER = "contrafact view"


def cohort_sections(index: RunIndex) -> list[dict[str, Any]]:
    """Return the parts of the cohort for each model, as text and pictures; none without labels, further columns
    or a marked anatomy."""
    facts = run_facts(index, stored_cohort(index.run))
    models, found = facts.models(), []
    for model in models:
        about = cohort_summary(facts, model)
        if not (about["grid"] or about["columns"] or about["outside"]):
            continue
        found.append(
            {
                "model": model if len(models) > 1 else "",
                "cases": about["total"],
                "grid": _grid(index, about["grid"]),
                "unlabelled": about["total"] - about["labelled"],
                "groups": _groups(about),
                "outside": _outside(about["outside"]),
                "means": _means(index, facts, facts.of_model(model)),
            }
        )
    return found


def percent(share: float) -> str:
    """Return a whole percentage; what only rounds to 0 or 100 is <1 or >99."""
    return f"{_whole(share)} %"


def _whole(share: float) -> str:
    if 0 < share <= 0.005:
        return "<1"
    return ">99" if 0.995 <= share < 1 else f"{100 * share:.0f}"


def _range(interval: Sequence[float] | None) -> str:
    return f"{_whole(interval[0])} to {percent(interval[1])}" if interval else ""


def _grid(index: RunIndex, grid: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the table of labels by predictions, and its sentence."""
    if grid is None:
        return None
    over = f" over {grid['patients']} patients" if grid["patients"] < grid["compared"] else ""
    share = "" if grid["share"] is None else (
        f"{grid['right']} of {grid['compared']} cases right ({percent(grid['share'])}{over}, "
        f"95 % interval {_range(grid['interval'])})"
    )  # fmt: skip
    pictured = len(grid["rows"]) * len(grid["predicted"]) <= PICTURED
    rows = [
        {"truth": row["truth"], "cells": [_cell(index, one, pictured) for one in row["cells"]]}
        for row in grid["rows"]
    ]
    return {"share": share, "predicted": grid["predicted"], "rows": rows, "unknown": grid["unknown"]}


def _cell(index: RunIndex, cell: Mapping[str, Any], pictured: bool) -> dict[str, Any]:
    right = {True: "right", False: "wrong", None: ""}[cell["right"] if cell["count"] else None]
    said = ", ".join(filter(None, (f"{percent(cell['share'])} of the row", right)))
    pictures = [_thumbnail(index, row) for row in cell["thumbnails"]] if pictured else []
    return {"count": cell["count"], "said": said, "is": right, "pictures": list(filter(None, pictures))}


def _thumbnail(index: RunIndex, row: int) -> str:
    try:
        return _uri(thumbnail(index.run, index.row(row)))
    except UNREADABLE:
        return ""


def _uri(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def _groups(about: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the table of figures by subgroup; None without a column."""
    if not about["columns"]:
        return None
    keys = [figure["key"] for figure in about["figures"]]

    def line(group: Mapping[str, Any], name: str) -> dict[str, Any]:
        return {"name": name, "cases": group["cases"], "cells": [_value(group["values"][key]) for key in keys]}

    columns = [
        {"name": column["name"], "rows": [line(group, group["name"]) for group in column["groups"]]}
        for column in about["columns"]
    ]
    first = [
        f"{one['filters']['column']} {one['filters']['group']}: {one['figure']} {percent(one['share'])}, "
        f"others {percent(one['others'])}"
        for one in about["differing"][:8]
    ]
    titles = [figure["title"] for figure in about["figures"]]
    whole = [{"name": "", "rows": [line(about["all"], "all cases")]}]
    return {"titles": titles, "columns": whole + columns, "first": first, "unused": about["unused"]}


def _value(value: Mapping[str, Any]) -> tuple[str, str]:
    """Return a figure, and its interval or why it has none."""
    if value["value"] is None:
        return "–", ""
    few = f"only {value['patients']} patient{'' if value['patients'] == 1 else 's'}: too few"
    return percent(value["value"]), _range(value["interval"]) or (few if value["few"] else "")


def _outside(found: Mapping[str, int] | None) -> str:
    if found is None:
        return ""
    flips = f"{found['outside']} of {found['of']} flip{'' if found['of'] == 1 else 's'}"
    return f"In {flips} most of the change lies outside the anatomy you marked."


def _means(index: RunIndex, facts: RunFacts, cases: Sequence[CaseFacts]) -> dict[str, Any]:
    """Return the mean changes of the first divisions of the cases; a sentence in their place where the run has
    more counterfactuals than a report reads."""
    count = sum(any(change.towards for change in one.changes) for one in cases)
    if count < 2:
        return {"ways": [], "left": ""}
    if count > MOST:
        return {"ways": [], "left": f"The means of {count} counterfactuals are in the viewer: {VIEWER}."}
    ways = ways_of(facts, cases)
    chosen = [way for way in ways if way != ALL][:WAYS] or [ALL]
    return {"ways": [_way(index, cases, way, ways[way]) for way in chosen], "left": ""}


def _way(index: RunIndex, cases: Sequence[CaseFacts], by: str, column: str) -> dict[str, Any]:
    means = MeanChanges(index.run, parts_of(cases, by, column))
    while means.done < means.total:
        means.measure(seconds=60)
    tiles = [
        {
            "picture": _uri(means.picture(tile["picture"]) or b""),
            "words": tile["words"],
            "towards": f"changed {tile['towards']}",
            "said": ", ".join(filter(None, (_cases(tile), tile["slice"]))) + f". {tile['without']}",
        }
        for tile in means.tiles()
    ]
    return {"by": by, "tiles": tiles, "scale": f"{100 * means.scale:.2g}"}


def _cases(tile: Mapping[str, Any]) -> str:
    words = f"{tile['count']} case{'' if tile['count'] == 1 else 's'}"
    return f"only {words}, so single ones stand out" if tile["few"] else words
