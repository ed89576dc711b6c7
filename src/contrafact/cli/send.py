"""`contrafact send`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from contrafact.cli.progress import bar, say

Flag = Annotated[bool, Parameter(negative="")]


def send(folder: Path, *, to: str, yes_send_to: str = "", json: Flag = False) -> None:
    """Send exported DICOM files to an archive (PACS). Of other commands, only
    `study --log-to` sends results: scores.

    Example: `contrafact send runs/explain/exports/dicom --to 127.0.0.1:4242:ORTHANC`

    Args:
        folder: Folder that `contrafact export RUN --to dicom` has written.
        to: https://host:port/path of a DICOMweb service (STOW-RS), or host:port:AET of a DICOM node (C-STORE).
        yes_send_to: The host again, as confirmation, when it is not this machine.
        json: Print the result as JSON.
    """
    from contrafact.export.dicom.send import read_archive, send

    archive = read_archive(to)
    total = sum(1 for _ in folder.rglob("*.dcm"))
    sent = 0
    with bar("sending", max(1, total), quiet=json) as move:
        for path in send(folder, archive, confirmed=yes_send_to):
            sent += 1
            move(sent, text=path.name[:60])
    say({"sent": sent, "to": to}, as_json=json, lines=[f"{sent} file(s) sent to {to}"])
