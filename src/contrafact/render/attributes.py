"""Attributes of generators that a run folder holds, as data of pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from contrafact.core import InputError
from contrafact.io.attribute_folder import attribute_folders, flaw_of, place_of, read_attributes
from contrafact.render.outcome import unit_of


def attribute_tables(run: Path) -> list[dict[str, Any]]:
    """Return a table for each folder of attributes of a run; one that cannot be read has its `flaw` alone."""
    tables = []
    for name, folder in attribute_folders(run).items():
        try:
            tables.append(_table(name, read_attributes(folder)))
        except (InputError, OSError) as error:
            tables.append({"folder": name, "title": name, "flaw": f"cannot be shown: {error}", "rows": []})
    return tables


def _table(name: str, stored: dict[str, Any]) -> dict[str, Any]:
    target = str(stored.get("target", ""))
    rows = [_row(row) for row in stored["attributes"] if not flaw_of(row)]
    left_out = len(stored["attributes"]) - len(rows)
    model = str(stored.get("model_name") or stored.get("model", ""))
    return {
        "folder": name,
        "title": f"{stored.get('bundle', '')}, model {model}, {stored.get('target_name') or target}",
        "unit": unit_of(target),
        "images": stored.get("images", "?"),
        "rows": rows,
        "flaw": f"{left_out} damaged rows are left out" if left_out else "",
    }


def _row(row: dict[str, Any]) -> dict[str, Any]:
    low, high = row["interval"]
    return {
        "place": place_of(row),
        "name": str(row.get("name") or ""),
        "effect": f"{row['effect']:+.2f}",
        "interval": f"{low:+.2f} to {high:+.2f}",
        "again": f"{row['again']:+.2f}",
        "second": "no second model" if row["second"] is None else f"{row['second']:+.2f}",
        "follows": row["second"] is None or row["second"] > 0,
        "flips": "–" if row["flips"] is None else f"{100 * row['flips']:.0f} %",
        "strip": row["strip"],
    }
