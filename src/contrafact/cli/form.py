"""`contrafact study --form`: a study file is written and run in the browser."""

from __future__ import annotations

import functools
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from contrafact.core import UNTRUSTED, Trust


def serve_form(
    config: Path | None,
    *,
    root: Path,
    port: int,
    open_: bool,
    trust: Trust = UNTRUSTED,
) -> None:
    """Serve the form on this machine until Ctrl-C, which ends a study that runs as well.

    trust  of all studies that the page runs; the page itself cannot give it
    """
    from contrafact.bundles import list_bundles
    from contrafact.cli.listing import targets
    from contrafact.viewer import pages as serving
    from contrafact.viewer.study_editor.editor import StudyEditor

    server, pages = serving.form_parts()
    path = root / "study.toml" if config is None else config.resolve()
    more = {"targets": targets(), "bundles": list(list_bundles())}
    desk = StudyEditor(root, path, functools.partial(job, trust=trust), more=more)
    place, token = server.bind("127.0.0.1", port), server.new_token()
    link = place.link(token=token)

    def ready() -> None:
        print(f"form: {link}\nCtrl-C stops it", flush=True)
        if open_:
            webbrowser.open(link)

    try:
        server.serve(pages.make_form_app(desk, token=token), place, ready=ready)
    finally:
        desk.close()


def job(path: str, *, trust: Trust = UNTRUSTED) -> Iterator[dict[str, Any]]:
    """A study as the verb does it, said row by row; at the end its report."""
    from contrafact.core import ContrafactError
    from contrafact.io import open_run
    from contrafact.report.page import write_report
    from contrafact.study import read_study
    from contrafact.study.runner import study

    for row in study(path, trust=trust.scripts, trust_code=trust.factories):
        name = f"{Path(row.cell.image).name} {row.cell.label}"
        error = row.failure.error if row.failure else ""
        yield {"done": row.done, "total": row.total, "text": name, "error": error}
    run = open_run(Path(path).parent / read_study(path).out)
    if not run.rows():
        raise ContrafactError(f"every method failed; '{run.folder}/failures.jsonl' says why")
    yield {"text": f"{len(run.rows())} results", "report": str(write_report(run))}
