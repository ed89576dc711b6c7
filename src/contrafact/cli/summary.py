"""The table at the end of `explain`: one row per image."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from contrafact.render.outcome import CONFIRMED, NOT_ASKED, flips, second_words, short
from contrafact.render.text import check_title, few

Rows = Sequence[Mapping[str, Any]]
COLUMNS = ("image", "prediction", "counterfactual", "second model", "warnings")


def summary(images: Sequence[tuple[Path, Rows]], *, terminal: bool | None = None) -> list[str]:
    """Return the lines of the table; `images` has each file with its rows of the run.

    terminal  draw a frame, and wrap to the width of the terminal; None: whether stdout is one
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    terminal = sys.stdout.isatty() if terminal is None else terminal
    table = Table(box=box.SIMPLE_HEAD if terminal else None, pad_edge=False)
    for name in COLUMNS:
        table.add_column(name, overflow="fold")
    for path, rows in images:
        table.add_row(*(Text(words) for words in _words(path, rows)))
    page = io.StringIO()
    width = shutil.get_terminal_size().columns if terminal else 10_000
    Console(file=page, width=width, color_system=None).print(table)
    return [line.rstrip() for line in page.getvalue().splitlines() if line.strip()]


def _words(path: Path, rows: Rows) -> tuple[str, ...]:
    """Return the cells of one image."""
    answers = next((row["answers"] for row in rows if row.get("answers")), ())
    changed = [row for row in rows if row["kind"] == "strip" and not row.get("picture")]
    several = len({row["record"]["method"] for row in changed}) > 1
    ends = [short(row) for row in changed]
    second = [_second(row) for row in changed]
    if several:
        ends = [f"{row['record']['method']}: {end}" for row, end in zip(changed, ends, strict=True)]
    said = ", ".join(few([str(answer) for answer in answers]))
    return path.name, said, _lines(ends), _lines(second), _lines(_warnings(rows))


def _second(row: Mapping[str, Any]) -> str:
    """Return in a word or two whether the second model confirms a counterfactual."""
    if row["outcome"] == "already":
        return "–"
    words = {True: "confirms", False: "does not confirm"}
    said = second_words(row)
    if said == NOT_ASKED:
        return "not asked"
    return words[said == CONFIRMED] if flips(row) else "no flip to confirm"


def _warnings(rows: Rows) -> list[str]:
    """Return the failed checks of each method."""
    found = []
    for row in rows:
        failed = [check_title(str(c["name"])) for c in row.get("trust") or () if c["passed"] is False]
        failed += ["reconstruction error"] if row.get("above_tolerance") and not row.get("trust") else []
        found += [f"{row['record']['method']}: {', '.join(failed)}"] if failed else []
    return found


def _lines(words: Sequence[str]) -> str:
    return "; ".join(dict.fromkeys(words)) or "–"
