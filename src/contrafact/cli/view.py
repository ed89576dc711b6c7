"""`contrafact view`"""

from __future__ import annotations

import webbrowser
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

Open = Annotated[bool, Parameter(name="--open", negative="")]


def view(run: Path, *, host: str = "127.0.0.1", port: int = 0, open_: Open = False) -> None:
    """Look at a run in the browser: its cases, and every case with its maps and counterfactuals.

    Only this machine sees the pages unless --host says otherwise; then the link holds a token.
    Example: `contrafact view runs/demo`

    Parameters
    ----------
    run: Run folder.
    host: Address to serve on.
    port: Default: any that is free.
    open_: Open the browser too.
    """
    from contrafact.io import open_run
    from contrafact.views import serving

    opened = open_run(run)
    server, pages = serving.parts()
    place = server.bind(host, port)
    token = None if place.loopback else server.new_token()
    app = pages.make_app(opened, token=token, hosts=place.names, addresses=not place.loopback)
    link = place.link(token=token)

    def ready() -> None:
        print(f"viewer: {link}\nCtrl-C stops it", flush=True)
        if open_:
            webbrowser.open(link)

    server.serve(app, place, ready=ready)
