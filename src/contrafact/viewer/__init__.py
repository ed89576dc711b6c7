"""Pages in a browser: the viewer of a run, the study editor, the reader study. Needs the extra
`contrafact[view]`; only the workers of live explanations import torch."""

from __future__ import annotations

from typing import Any

from contrafact.io import Run
from contrafact.viewer import pages

__all__ = ["make_app"]


def make_app(run: Run, live: Any = None, **settings: Any) -> Any:
    """Return the viewer of a run as an ASGI application (`viewer.app.make_app`); needs the extra
    `contrafact[view]`."""
    return pages.parts()[1].make_app(run, live, **settings)
