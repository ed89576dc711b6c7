"""`contrafact export`"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from contrafact.cli.progress import bar, say

DICOM = Parameter(group=Group("DICOM", sort_key=2))
Flag = Annotated[bool, Parameter(negative="")]


def export(
    run: Path,
    *,
    to: str,
    out: Path | None = None,
    kind: str = "signed",
    keep_patient: Annotated[Flag, DICOM] = False,
    banner: Annotated[bool, DICOM] = True,
    share: Annotated[float, DICOM] = 0.5,
    new_uids: Annotated[Flag, DICOM] = False,
    keep_names: Flag = False,
    json: Flag = False,
) -> None:
    """Write the results of a run as files for other programs. The command sends no data.

    Example: `contrafact export runs/explain --to nifti`

    Args:
        run: Run folder.
        to: nifti (on the source's grid), npz, png (overlays and frames, 1,024 pixels and more), figure (for a
            slide or a paper: PNG, SVG, PDF, GIF and MP4), animation (GIF), mp4 (by ffmpeg), html, pdf (by
            Chromium) or dicom.
        out: Folder for the files; default: `exports` in the run folder, for DICOM `exports/dicom`.
        kind: Style of PNG overlays: signed, heat, blended, masked or alpha.
        keep_patient: Copy name, number, birth date and study from the source; else "anonymous".
        banner: Burn SYNTHETIC - NOT FOR DIAGNOSIS into generated slices; captures have it below.
        share: Share of a map's evidence inside the segmented region.
        new_uids: Replace the UIDs of the source; those that belong together are written to a key file
            beside the folder, FOLDER-key.json.
        keep_names: Name images by their files in the exported files, not by number; DICOM never has such names.
        json: Print the paths as JSON.
    """
    from contrafact.export.dicom.export import export_dicom
    from contrafact.export.run_files import export_run
    from contrafact.io import open_run

    opened = open_run(run)
    folder = out or run / "exports" / ("dicom" if to == "dicom" else "")
    written: Iterator[Path]
    if to == "dicom":
        key = folder.with_name(f"{folder.name}-key.json") if new_uids else None
        written = export_dicom(opened, folder, keep_patient=keep_patient, banner=banner, share=share, key=key)
    else:
        written = export_run(opened, to, folder, kind=kind, keep_names=keep_names)
    paths = []
    count = len(opened.done())
    with bar("writing", max(1, count), quiet=json) as move:
        for path in written:
            paths.append(str(path))
            move(min(len(paths), count), text=path.name[:60])
    missing = _missing(folder) if to == "dicom" else []
    result: dict[str, Any] = {"files": paths} | ({"missing": missing} if missing else {})
    say(result, as_json=json, lines=[f"{len(paths)} file(s) in {folder}", *missing])


def _missing(folder: Path) -> list[str]:
    """Return the information that a DICOM export does not contain, image by image."""
    from contrafact.io import read_json

    about = read_json(folder / "about.json")
    return [f"{name}: {line}" for name, lines in about["missing"].items() for line in lines]
