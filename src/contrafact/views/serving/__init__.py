"""Pages in a browser: the viewer of a run, and the reader study. Needs the extra `contrafact[view]`."""

from __future__ import annotations

from typing import Any

from contrafact.core import UnsupportedError


def parts() -> tuple[Any, Any]:
    """The modules `server` and `app`; they are loaded here, so that reports need no server."""
    try:
        from contrafact.views.serving import app, server
    except ModuleNotFoundError as error:
        raise UnsupportedError(
            f"pages in a browser need {error.name}: pip install 'contrafact[view]'"
        ) from error
    return server, app
