"""Send DICOM files to an archive by STOW-RS or C-STORE. Only this module sends data, and only on request."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contrafact.core import ContrafactError, InputError, UnsupportedError
from contrafact.core.reading import reading
from contrafact.io.bounded import read_dataset

HOST = r"\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+"
URL = re.compile(rf"(https?)://({HOST})(?::(\d{{1,5}}))?((?:/[A-Za-z0-9._~%-]*)*)")
NODE = re.compile(rf"({HOST}):(\d{{1,5}}):([A-Za-z0-9_. -]{{1,16}})")
SECONDS = 60


@dataclass(frozen=True, slots=True)
class Archive:
    """A destination: `title` is the application entity of a DICOM node, `url` the address of a web service."""

    host: str
    port: int
    title: str = ""
    url: str = ""

    @property
    def loopback(self) -> bool:
        """Return whether the literal address is of this machine; a host name could point anywhere."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def read_archive(to: str) -> Archive:
    """Read `https://host[:port]/path` or `host:port:AET`. User names, queries and special characters, which
    programs interpret differently, are refused.

    raises  InputError for anything else
    """
    if found := URL.fullmatch(to):
        port = int(found[3] or {"http": 80, "https": 443}[found[1]])
        archive = Archive(found[2].strip("[]"), port, url=to.rstrip("/"))
    elif found := NODE.fullmatch(to):
        archive = Archive(found[1].strip("[]"), int(found[2]), title=found[3].strip())
    else:
        raise InputError(f"expected https://host:port/path or host:port:AET; got '{to}'")
    if not 0 < archive.port < 65536 or not (archive.title or archive.url):
        raise InputError(f"expected https://host:port/path or host:port:AET; got '{to}'")
    return archive


def send(folder: Path, archive: Archive, *, confirmed: str = "") -> Iterator[Path]:
    """Send every DICOM file (`*.dcm`) of a folder; yield each path when the archive has stored it.

    confirmed  the host again, required for any host but this machine
    raises     InputError for an unconfirmed host or a folder without files; ContrafactError when the
               archive refuses a file or cannot be reached
    """
    if not archive.loopback and confirmed != archive.host:
        raise InputError(
            f"'{archive.host}' is another machine: images leave this one; "
            f"to do that, add --yes-send-to {archive.host}"
        )
    files = sorted(p for p in folder.rglob("*.dcm") if p.is_file() and not p.is_symlink())
    if not files:
        raise InputError(f"expected DICOM files (*.dcm) in '{folder}'; got none")
    yield from (_by_web if archive.url else _by_association)(files, archive)


def _by_web(files: Sequence[Path], archive: Archive) -> Iterator[Path]:
    try:
        import requests
        from dicomweb_client.api import DICOMwebClient
    except ImportError as error:
        raise UnsupportedError("sending needs: pip install 'contrafact[pacs]'") from error
    session = requests.Session()
    session.trust_env = False  # no proxy, which would be another machine
    session.max_redirects = 0  # no redirects to other hosts
    client = DICOMwebClient(url=archive.url, session=session)
    client.set_http_retry_params(retry=False)
    for path in files:
        try:
            answer = client.store_instances([_opened(path)])
        except (requests.RequestException, OSError, ValueError) as error:
            raise ContrafactError(f"'{path.name}' was not sent to {archive.url}: {error}") from error
        if answer is not None and answer.get("FailedSOPSequence"):  # Orthanc sends an empty sequence for none
            reason = answer.FailedSOPSequence[0].get("FailureReason", "no reason given")
            raise ContrafactError(f"{archive.url} refused '{path.name}' (reason {reason})")
        yield path


def _by_association(files: Sequence[Path], archive: Archive) -> Iterator[Path]:
    try:
        from pynetdicom import AE
    except ImportError as error:
        raise UnsupportedError("sending needs: pip install 'contrafact[pacs]'") from error
    entity: Any = AE(ae_title="CONTRAFACT")
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = SECONDS
    kinds = {_kind(path) for path in files}
    for sop_class, syntax in sorted(kinds):
        entity.add_requested_context(sop_class, syntax)
    link = entity.associate(archive.host, archive.port, ae_title=archive.title)
    if not link.is_established:
        raise ContrafactError(f"{archive.title} at {archive.host}:{archive.port} did not accept the connection")
    try:
        for path in files:
            try:
                status = link.send_c_store(_opened(path))
            except (ValueError, RuntimeError, AttributeError) as error:
                raise ContrafactError(f"'{path.name}' was not sent: {error}") from error
            code = status.get("Status", -1) if status else -1
            if code != 0 and code & 0xF000 != 0xB000:  # a warning means stored
                raise ContrafactError(f"{archive.title} refused '{path.name}' (status {code:#06x})")
            yield path
    finally:
        link.release()


def _kind(path: Path) -> tuple[str, str]:
    data = _opened(path, headers_only=True)
    with reading(path, "a readable DICOM file"):
        return str(data.SOPClassUID), str(data.file_meta.TransferSyntaxUID)


def _opened(path: Path, *, headers_only: bool = False) -> Any:
    with reading(path, "a readable DICOM file"):
        return read_dataset(path, headers_only=headers_only)
