"""`contrafact study --form`: write and run a study file in the browser."""

from __future__ import annotations

import functools
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from contrafact.core import UNTRUSTED, Trust, resolved


def serve_form(
    config: Path | None,
    *,
    root: Path,
    port: int,
    open_: bool,
    trust: Trust = UNTRUSTED,
) -> None:
    """Serve the form on this machine until Ctrl-C, which also ends a running study.

    trust  trust in the files of all studies that the page runs; the page itself cannot grant it
    """
    from contrafact.bundles import list_bundles
    from contrafact.cli.listing import targets
    from contrafact.viewer import pages as serving
    from contrafact.viewer.study_editor.editor import StudyEditor

    server, pages = serving.form_parts()
    path = root / "study.toml" if config is None else resolved(config, "a study file")
    more = {"targets": targets(), "bundles": list(list_bundles())}
    editor = StudyEditor(root, path, functools.partial(job, trust=trust), more=more)
    place, token = server.bind("127.0.0.1", port), server.new_token()
    link = place.link(token=token)

    def ready() -> None:
        print(f"form: {link}\nCtrl-C stops it", flush=True)
        if open_:
            webbrowser.open(link)

    try:
        server.serve(pages.make_form_app(editor, token=token), place, ready=ready)
    finally:
        editor.close()


def job(path: str, *, trust: Trust = UNTRUSTED) -> Iterator[dict[str, Any]]:
    """Run a study as the command does, yield its progress task by task, and write its report.

    raises  ContrafactError where every method fails
    """
    from contrafact.core import ContrafactError
    from contrafact.io import open_run
    from contrafact.report.page import write_report
    from contrafact.study import read_study
    from contrafact.study.runner import study

    for row in study(path, trust=trust.scripts, trust_code=trust.factories):
        name = f"{Path(row.task.image).name} {row.task.label}"
        error = row.failure.error if row.failure else ""
        yield {"done": row.done, "total": row.total, "text": name, "error": error}
    run = open_run(Path(path).parent / read_study(path).out)
    if not run.done():
        raise ContrafactError(f"every method failed; see '{run.folder}/failures.jsonl' for the reasons")
    yield {"text": f"{len(run.done())} results", "report": str(write_report(run))}
