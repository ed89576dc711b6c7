"""Live explanations in the viewer, computed in worker processes.

The server process holds jobs and results and never imports torch; the workers import `answers`, which does.
"""

from __future__ import annotations

from typing import Any

from contrafact.core import Trust
from contrafact.io import Run
from contrafact.viewer.live.service import LiveService
from contrafact.viewer.live.tasks import LiveSetting

__all__ = ["LiveService", "make_live"]


def make_live(
    run: Run, bundle: str | None = None, *, trust: bool = False, trust_code: bool = False
) -> tuple[Any, LiveService] | None:
    """Return an application for `make_app(run, live=…)` and its service, which the caller must close.

    bundle  a name or a folder; None: the bundles that the run names, if they ship with the package
    trust, trust_code  for its predictors, as in `load_predictor`; pages cannot set them
    gives   None if no bundle is named
    raises  InputError for an unknown bundle
    """
    named = [card.get("name") for card in run.manifest().get("bundles") or () if isinstance(card, dict)]
    names = (
        (bundle,) if bundle else tuple(dict.fromkeys(name for name in named if isinstance(name, str) and name))
    )
    if not names:
        return None
    if bundle is not None:
        from contrafact.bundles import find_bundle

        find_bundle(bundle)
    from contrafact.viewer.live.app import live_app

    desk = LiveService(run, LiveSetting(bundles=names, shipped=bundle is None, trust=Trust(trust, trust_code)))
    return live_app(desk), desk
