"""Results of a study for the report: performance, intervals, ranks, pairs, models, subgroups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from contrafact.io import Run, read_json
from contrafact.render.charts import Dots, dots


def study_section(run: Run) -> dict[str, Any] | None:
    """Return tables and charts from the run's summary; None if the run has no metrics."""
    path = run.folder / "summary.json"
    if not path.exists():
        return None
    found = read_json(path)
    better = found["better"]
    return {
        "performance": found["performance"],
        "charts": [
            {
                "metric": metric,
                "word": found.get("words", {}).get(metric, ""),
                "better": better[metric],
                "chart": chart(found["summary"], metric, better[metric]),
            }
            for metric in better
        ],
        "figures": [row for row in found["summary"] if row["mean"] is not None],
        "ranks": _ranks(found["ranks"], list(better), found.get("families", ())),
        "families": list(dict.fromkeys(name for row in found.get("families", ()) for name in row["families"])),
        "disagreement": [row for row in found.get("disagreement", ()) if row["correlation"] is not None],
        "built": found.get("by_construction", []),
        "noted": sum(row.get("noted", 0) for row in found["summary"]),
        "pairs": [row for row in found["methods"] if row["differs"]],
        "tested": len(found["methods"]),
        "models": sorted(found["models"], key=lambda row: not row["differs"]),
        "subgroups": found["subgroups"],
        "failed": sum(row["failed"] for row in found["summary"]),
        "patients": max((row["patients"] for row in found["summary"]), default=0),
    }


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
