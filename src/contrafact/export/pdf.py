"""The report as PDF, printed offline by a browser of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from contrafact.core import ContrafactError, UnsupportedError
from contrafact.io import Run, write_atomic
from contrafact.report.page import write_report

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
ALONE = (
    "--headless",
    "--no-first-run",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--no-pdf-header-footer",
)
SECONDS = 180


def write_pdf(run: Run, path: Path) -> Path:
    """Print the report to `path` and return the path.

    cost    a few seconds, and a browser's memory
    raises  InputError for an empty run; UnsupportedError without Chromium or Chrome; ContrafactError where
            the browser does not print
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise UnsupportedError(
            "a PDF needs Chromium or Chrome on this machine; got neither; export html and print that page"
        )
    with tempfile.TemporaryDirectory() as place:
        page, printed = write_report(run, Path(place) / "report.html"), Path(place) / "report.pdf"
        root = (
            ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        )  # Chromium has no sandbox for root
        own = [f"--user-data-dir={place}/profile", f"--print-to-pdf={printed}", page.as_uri()]
        try:
            done = subprocess.run([browser, *ALONE, *root, *own], capture_output=True, timeout=SECONDS)
        except subprocess.TimeoutExpired as error:
            raise ContrafactError(f"{Path(browser).name} did not print the report in {SECONDS} s") from error
        if not printed.exists():
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()
            raise ContrafactError(f"{Path(browser).name} did not print the report: {said[-1] if said else ''}")
        write_atomic(path, printed.read_bytes())
    return path
