"""Pages in a browser: the viewer of a run, and the reader study. Needs the extra `contrafact[view]`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from contrafact.core import UnsupportedError
from contrafact.io import write_atomic
from contrafact.viewer.judgements import Judgements, judgements_csv
from contrafact.viewer.reader_study.decide_results import summary_csv
from contrafact.viewer.reader_study.results import as_csv


def parts() -> tuple[Any, Any]:
    """Return the modules `server` and `app`, imported here so that reports need no server."""
    try:
        from contrafact.viewer import app, server
    except ModuleNotFoundError as error:
        raise UnsupportedError(
            f"pages in a browser need {error.name}: pip install 'contrafact[view]'"
        ) from error
    return server, app


def reading_parts() -> tuple[Any, Any]:
    """Return the modules `server` and `reader_app`."""
    server, _ = parts()
    from contrafact.viewer.reader_study import app as reader_app

    return server, reader_app


def form_parts() -> tuple[Any, Any]:
    """Return the modules `server` and `form_app`."""
    server, _ = parts()
    from contrafact.viewer.study_editor import app as form_app

    return server, form_app


def plan_of(reading: Any) -> list[str]:
    """Return the statistical power of a reader study, to be read before it begins."""
    plan: list[str] = reading.plan()
    return plan


def write_csv(reading: Any, path: Path) -> dict[str, Path]:
    """Write all answers to a file; beside it, where there are any, the results of decisions and the judgements
    made in the viewer. Return the files by what they hold."""
    lines = reading.answers().lines()
    tables = {"answers": (path, as_csv(lines))}
    decided = reading.decisions(lines)
    if decided is not None:
        tables["results"] = path.with_name(f"{path.stem}-summary.csv"), summary_csv(decided)
    judged = Judgements.of(reading.run.folder).lines()
    if judged:
        tables["judgements"] = path.with_name(f"{path.stem}-judgements.csv"), judgements_csv(judged)
    for file, content in tables.values():
        write_atomic(file, content.encode())
    return {name: file for name, (file, _) in tables.items()}
