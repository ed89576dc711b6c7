"""Tables as CSV, whose cells no spreadsheet takes for formulas."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def csv_table(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None, *, newline: str = "\n"
) -> str:
    """Return rows as CSV, with empty fields for None and NaN; `columns` chooses and orders the fields."""
    names = list(columns or dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=newline)
    writer.writerow([plain_cell(name) for name in names])
    writer.writerows([plain_cell(row.get(name)) for name in names] for row in rows)
    return text.getvalue()


def plain_cell(value: Any) -> Any:
    """Return a cell; an apostrophe is put before a text that a spreadsheet would run as a formula."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str):
        value = value.replace("\r\n", "\n").replace("\r", "\n")  # a bare one would begin a row
    if not isinstance(value, str) or len(value) < 2 or not value.lstrip(" ").startswith(FORMULA):
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value
