"""`contrafact view`"""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter

from contrafact.cli.trust_flags import SERVER, TrustCode, TrustFile

LIVE = Parameter(group=Group("Live explanations", sort_key=2))
Flag = Annotated[bool, Parameter(negative="")]
Open = Annotated[bool, Parameter(name="--open", negative="")]


def view(
    run: Path,
    *,
    live: Annotated[str | None, LIVE] = None,
    no_live: Annotated[Flag, LIVE] = False,
    host: Annotated[str, SERVER] = "127.0.0.1",
    port: Annotated[int, SERVER] = 0,
    open_: Annotated[Open, SERVER] = False,
    trust: TrustFile = False,
    trust_code: TrustCode = False,
) -> None:
    """Show a run in the browser: its cases, with their heatmaps and counterfactuals.

    A case page can compute live explanations where the run's bundle is available. Only this
    machine can reach the pages, unless --host is set; the link contains a token, without which none opens.
    Example: `contrafact view runs/demo`

    Args:
        run: Run folder.
        live: Bundle for live explanations, by name or folder; default: the shipped bundles that the run names.
        no_live: Show the stored results only.
        host: Address of the server.
        port: Port of the server; default: any free port.
        open_: Open the browser too.
        trust: For the bundle of --live: load TorchScript files, which are code (docs/security.md).
        trust_code: For the bundle of --live: import and call any factory of its descriptions.
    """
    from contrafact.core import InputError
    from contrafact.io import open_run
    from contrafact.viewer import live as live_questions
    from contrafact.viewer import pages as serving

    if live is not None and no_live:
        raise InputError("expected --live BUNDLE or --no-live; got both")
    opened = open_run(run)
    server, pages = serving.parts()
    app_and_service = (
        None if no_live else live_questions.make_live(opened, live, trust=trust, trust_code=trust_code)
    )
    answers, service = app_and_service or (None, None)
    place = server.bind(host, port)
    token = server.new_token()
    app = pages.make_app(opened, answers, token=token, hosts=place.names, addresses=not place.loopback)
    link = place.link(token=token)

    def ready() -> None:
        print(f"viewer: {link}\nCtrl-C stops it", flush=True)
        if open_:
            webbrowser.open(link)

    try:
        server.serve(app, place, ready=ready)
    finally:
        if service is not None:
            service.close()
