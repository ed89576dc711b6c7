"""Results of a study for the report: performance, intervals, ranks, pairs, models, subgroups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from contrafact.core import InputError
from contrafact.io import Run, read_json
from contrafact.io.stored_rows import is_number
from contrafact.render.charts import Dots, dots

NAMED = {"model": "text", "method": "text"}
INTERVAL = {"low": "maybe", "high": "maybe"}
MEANS = {**NAMED, "metric": "text", "mean": "maybe", **INTERVAL, "patients": "number", "failed": "number"}
PAIR = {"metric": "text", "first": "text", "second": "text", "difference": "maybe", "holm": "maybe"}
# Fields that the page needs of every row of a table in summary.json.
TABLES = {
    "performance": {"model": "text", "class": "number", "auc": "maybe"},
    "summary": MEANS,
    "subgroups": {**MEANS, "subgroup": "text", "of": "text"},
    "ranks": {**NAMED, "metric": "text", "rank": "number"},
    "families": {**NAMED, "families": "numbers", "rank": "number", "apart": "maybe"},
    "disagreement": {
        "first": "text",
        "second": "text",
        "correlation": "maybe",
        "methods": "number",
        "model": "text",
    },
    "methods": PAIR,
    "models": {**PAIR, "method": "text", **INTERVAL},
}
UNKNOWN = {"reason": "", "low": None, "high": None, "cases": "?", "patients": "?"}


def study_section(run: Run) -> dict[str, Any] | None:
    """Return tables and charts from the run's summary; None if the run has no metrics."""
    if not (run.folder / "summary.json").exists():
        return None
    found, unreadable = _summary_of(run)
    better = found["better"]
    return {
        "unreadable": unreadable,
        "performance": [{**UNKNOWN, **row} for row in found["performance"]],
        "charts": [
            {
                "metric": metric,
                "word": found.get("words", {}).get(metric, ""),
                "better": better[metric],
                "chart": chart(found["summary"], metric, better[metric]),
            }
            for metric in better
        ],
        "figures": [{"noted": 0, **row} for row in found["summary"] if row["mean"] is not None],
        "ranks": _ranks(found["ranks"], list(better), found.get("families", ())),
        "families": list(dict.fromkeys(name for row in found.get("families", ()) for name in row["families"])),
        "disagreement": [row for row in found.get("disagreement", ()) if row["correlation"] is not None],
        "built": found.get("by_construction", []),
        "noted": sum(row.get("noted") or 0 for row in found["summary"]),
        "pairs": [
            row
            for row in found["methods"]
            if row.get("differs") and None not in (row["difference"], row["holm"])
        ],
        "tested": len(found["methods"]),
        "models": sorted(
            ({"differs": False, **row} for row in found["models"]), key=lambda row: not row["differs"]
        ),
        "subgroups": found["subgroups"],
        "failed": sum(row["failed"] for row in found["summary"]),
        "patients": max((row["patients"] for row in found["summary"]), default=0),
    }


def _summary_of(run: Run) -> tuple[dict[str, Any], int]:
    """Return the tables of `summary.json` without the rows that are damaged, and how many these are."""
    try:
        stored = read_json(run.folder / "summary.json")
    except InputError:
        stored = None
    whole = isinstance(stored, dict)
    found: dict[str, Any] = stored if isinstance(stored, dict) else {}
    better = found.get("better")
    names = {k: v for k, v in better.items() if isinstance(v, str)} if isinstance(better, dict) else {}
    tables, left_out = {}, 0 if whole and isinstance(better, dict) else 1
    for name, needed in TABLES.items():
        rows = found.get(name)
        kept = [row for row in rows if _has(row, needed)] if isinstance(rows, list) else []
        left_out += len(rows) - len(kept) if isinstance(rows, list) else name in found
        tables[name] = kept
    words = found.get("words") if isinstance(found.get("words"), dict) else {}
    built = found.get("by_construction")
    more = {"words": words, "by_construction": list(map(str, built)) if isinstance(built, list) else []}
    return {**more, **tables, "better": names}, left_out


def _has(row: Any, needed: Mapping[str, str]) -> bool:
    """Whether a row of a table has its fields: text, number, number or null ("maybe"), or numbers by name."""
    if not isinstance(row, dict):
        return False
    value: Any = row.get
    kinds = {
        "text": lambda name: isinstance(value(name), str),
        "number": lambda name: is_number(value(name)),
        "maybe": lambda name: name in row and (value(name) is None or is_number(value(name))),
        "numbers": lambda name: isinstance(value(name), dict) and all(map(is_number, value(name).values())),
    }
    paired = row.get("low") is None or row.get("high") is not None
    plain = all(value(name) is None or is_number(value(name)) for name in ("low", "high", "median", "noted"))
    return paired and plain and all(kinds[kind](name) for name, kind in needed.items())


def chart(summary: Sequence[Mapping[str, Any]], metric: str, better: str) -> Dots | None:
    """Return mean and interval of every method, the best first; None if no method has a value."""
    rows = [row for row in summary if row["metric"] == metric and row["mean"] is not None]
    rows.sort(key=lambda row: row["mean"], reverse=better == "higher")
    return dots([(_name(row), row["mean"], row["low"], row["high"]) for row in rows]) if rows else None


def _ranks(
    rows: Sequence[Mapping[str, Any]], metrics: list[str], families: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return one row per method, the best first: mean rank for each metric and family, and over all.

    families  ranks by families of metrics; empty for older runs, whose mean is over the metrics
    """
    by_family = {_name(row): row for row in families}
    lines: dict[str, dict[str, float]] = {}
    for row in rows:
        lines.setdefault(_name(row), {})[row["metric"]] = row["rank"]
    table = [
        {
            "name": name,
            "ranks": [found.get(metric) for metric in metrics],
            "families": by_family[name]["families"] if name in by_family else {},
            "apart": by_family[name]["apart"] if name in by_family else None,
            "mean": by_family[name]["rank"] if name in by_family else sum(found.values()) / len(found),
        }
        for name, found in lines.items()
    ]
    return sorted(table, key=lambda line: line["mean"])


def _name(row: Mapping[str, Any]) -> str:
    return f"{row['model']}: {row['method']}" if row["model"] else str(row["method"])
