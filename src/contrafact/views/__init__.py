"""What people see. Never imports torch."""

from __future__ import annotations

from typing import Any

from contrafact.io import Run
from contrafact.views import serving
from contrafact.views.dicom_exports import export_dicom
from contrafact.views.exports import FORMS, export_run
from contrafact.views.figures import KINDS
from contrafact.views.report import write_report

__all__ = ["FORMS", "KINDS", "export_dicom", "export_run", "make_app", "write_report"]


def make_app(run: Run, live: Any = None, **settings: Any) -> Any:
    """The viewer of a run as an ASGI application: `views.serving.app.make_app`, which needs the extra
    `contrafact[view]`."""
    return serving.parts()[1].make_app(run, live, **settings)
