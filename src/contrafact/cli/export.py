"""`contrafact export`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from contrafact.cli.screen import bar, say

Flag = Annotated[bool, Parameter(negative="")]


def export(run: Path, *, to: str, out: Path | None = None, kind: str = "signed", json: Flag = False) -> None:
    """Write the results of a run as files that other programs open.

    Example: `contrafact export runs/explain --to nifti`

    Parameters
    ----------
    run: Run folder.
    to: nifti (on the source's grid, with its header), npz, png, animation (GIF) or html.
    out: Folder for the files; default: `exports` in the run folder.
    kind: Of the PNG overlays: signed, heat, blended, masked or alpha.
    json: Print the paths as JSON.
    """
    from contrafact.io import open_run
    from contrafact.views import export_run

    opened = open_run(run)
    folder = out or run / "exports"
    paths = []
    with bar("writing", max(1, len(opened.rows())), quiet=json) as move:
        for path in export_run(opened, to, folder, kind=kind):
            paths.append(str(path))
            move(min(len(paths), len(opened.rows())), text=path.name[:60])
    say({"files": paths}, as_json=json, lines=[f"{len(paths)} file(s) in {folder}"])
