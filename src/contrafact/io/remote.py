"""Files behind an address (`s3://bucket/knee.png`): each is fetched once, to a folder of this machine.

A path holds an address as `s3:/bucket/knee.png`, which is what `Path` makes of it; so it is the same on every
machine, in tables and in results. `fetched` gives the file behind it.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from contrafact.core import InputError, UnsupportedError, is_there
from contrafact.core.reading import one_line

ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+([^/\s].*)")  # two letters or more: no drive
LOCAL = ("file", "local", "memory")  # paths of this machine are written as paths
AT_ONCE = 16  # files that are fetched at the same time
TRIES = 3


class AbsentError(InputError):
    """There is no file behind an address."""


def is_address(text: str) -> bool:
    """Whether a text is the address of a remote file, such as s3://bucket/knee.png, and not a path."""
    return ADDRESS.fullmatch(text) is not None


def address_of(path: str | Path) -> str | None:
    """Return the address that a path or a text holds, or None for any other path.

    raises  InputError for an address that fsspec would take for a path of this machine, for several in one
            (`zip::…`), and for one with a user, a query or parts such as `..`
    """
    text = path.as_posix() if isinstance(path, Path) else path
    match = ADDRESS.fullmatch(text)
    if match is None:
        return None
    scheme, rest = match[1].lower(), match[2]
    parts = rest.split("/")
    if scheme in LOCAL or any(part in ("", ".", "..") for part in parts) or "\\" in rest:
        raise InputError(
            f"expected an address such as s3://bucket/knee.png; got '{text[:200]}'; files of this machine are "
            "named by their path"
        )
    if "::" in text or "@" in parts[0] or "?" in rest or "#" in rest:
        raise InputError(
            "expected an address such as s3://bucket/knee.png, without user, query or second address; got one "
            f"of {scheme}: keys belong to the settings of its library"
        )
    return f"{scheme}://{rest}"


def path_of(address: str) -> Path:
    """Return the path that holds an address. Raise InputError as `address_of`."""
    return Path(str(address_of(address)).replace("://", ":/", 1))


def local(path: Path) -> Path:
    """Return where the file of an address lies once it is fetched, or any other path as it is."""
    address = address_of(path)
    if address is None or is_there(path):
        return path
    name = quote(address.rsplit("/", 1)[1], safe=" ()+,=@")
    return _root() / hashlib.sha256(address.encode()).hexdigest()[:24] / name


def fetched(path: Path) -> Path:
    """Return `local`, after the file is fetched if it is not there yet.

    raises  AbsentError where there is no such file; InputError, in one line, where it cannot be fetched;
            UnsupportedError where a library is missing
    """
    place = local(path)
    if place == path or is_there(place):
        return place
    address = str(address_of(path))
    part = place.with_name(f"{secrets.token_hex(6)}.part")
    try:
        store = store_of(address)
        place.parent.mkdir(parents=True, exist_ok=True)
        store.get_file(address, str(part))
        part.replace(place)
    except (InputError, UnsupportedError):
        raise
    except FileNotFoundError as error:
        raise AbsentError(f"'{address}' cannot be fetched: there is no such file") from error
    except Exception as error:  # every store has errors of its own
        raise InputError(f"'{address}' cannot be fetched: {one_line(error)}") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    return place


def fetch_all(paths: Iterable[Path]) -> None:
    """Fetch the files of all addresses that are not there yet, several at a time. One that does not exist is
    left out, and tells so when it is read.

    raises  InputError where one cannot be fetched after three tries
    """

    def one(path: Path) -> None:
        for left in reversed(range(TRIES)):
            try:
                fetched(path)
                return
            except AbsentError:
                return
            except InputError:
                if not left:
                    raise

    remote = [path for path in dict.fromkeys(paths) if address_of(path) is not None]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in pool.map(one, remote):
            pass


def listed(pattern: str) -> list[Path]:
    """Return the paths of all files that match an address with `*`, or of the one that it names, in order.
    Raise InputError where the store cannot be asked."""
    if "*" not in pattern:
        return [path_of(pattern)]
    asked = str(address_of(pattern))
    store = store_of(asked)
    try:
        found = store.glob(asked, detail=True)
        names = [store.unstrip_protocol(name) for name, about in found.items() if about["type"] == "file"]
    except Exception as error:  # every store has errors of its own
        raise InputError(f"'{asked}' cannot be listed: {one_line(error)}") from error
    begin = asked.split("*", 1)[0]
    if any(not name.startswith(begin) for name in names):
        raise InputError(f"'{asked}' cannot be listed: this kind of store needs its files named one by one")
    return [path_of(name) for name in sorted(names)]


def store_of(address: str) -> Any:
    """Return the file system of an address, as fsspec has it. Raise InputError or UnsupportedError."""
    address = str(address_of(address))
    try:
        import fsspec

        return fsspec.core.url_to_fs(address)[0]
    except ImportError as error:
        raise UnsupportedError(
            f"'{address}' needs a library: {one_line(error)}; for S3 and HTTP: pip install 'contrafact[remote]'"
        ) from error
    except Exception as error:  # every store has errors of its own
        raise InputError(f"'{address}' cannot be reached: {one_line(error)}") from error


def _root() -> Path:
    given = os.environ.get("CONTRAFACT_REMOTE")
    base = Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "contrafact-remote"
