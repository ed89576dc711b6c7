"""Files behind an address (`s3://bucket/knee.png`): each is fetched once, to a folder of this machine whose
paths say where it came from."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from contrafact.core import InputError, UnsupportedError, is_there
from contrafact.core.reading import one_line

FOLDER = "contrafact-remote"
ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://\S.*")  # two letters: no drive
LOCAL = ("file", "local", "memory")  # paths of this machine are written as paths
AT_ONCE = 16  # files that are fetched at the same time


def is_address(text: str) -> bool:
    """Whether a text is the address of a remote file, such as s3://bucket/knee.png, and not a path."""
    return "://" in text and ADDRESS.fullmatch(text) is not None


def place_of(address: str) -> Path:
    """Return where the file of an address lies once it is fetched; the same address, the same place.

    raises  InputError for an address that fsspec would take for a path of this machine, for several in one
            (`zip::…`), and for parts such as `..`
    """
    scheme, rest = address.split("://", 1)
    parts = rest.split("/")
    if scheme in LOCAL or "::" in address or any(part in ("", ".", "..") for part in parts):
        raise InputError(
            f"expected an address such as s3://bucket/knee.png; got '{address}'; files of this machine are "
            "named by their path"
        )
    return _root() / scheme / Path(*parts)


def address_of(path: Path) -> str | None:
    """Return the address of a place, or None for any other path."""
    parts = path.parts
    if FOLDER not in parts[:-2]:
        return None
    scheme, *rest = parts[parts.index(FOLDER) + 1 :]
    return f"{scheme}://{'/'.join(rest)}"


def fetched(path: Path) -> Path:
    """Return a path, after the file of a place is fetched if it is not there yet.

    raises  InputError, in one line, where it cannot be fetched; UnsupportedError where a library is missing
    """
    address = address_of(path)
    if address is None or is_there(path):
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part{os.getpid()}")
    try:
        _store(address).get_file(address, str(part))
        part.replace(path)
    except (InputError, UnsupportedError):
        raise
    except Exception as error:  # every store has errors of its own
        raise InputError(f"'{address}' cannot be fetched: {one_line(error)}") from error
    finally:
        part.unlink(missing_ok=True)
    return path


def as_given(path: Path) -> Path:
    """Return a path of the command line, or, where an address was given (whose `//` a path makes `/`), the path
    of its file, which is fetched. Raise InputError as `fetched`."""
    found = re.fullmatch(r"([a-z][a-z0-9+.-]+):/([^/].*)", str(path))
    return fetched(place_of(f"{found[1]}://{found[2]}")) if found and not is_there(path) else path


def fetch_all(paths: Sequence[Path]) -> None:
    """Fetch the files of all places that are not there yet, several at a time. One that cannot be fetched is
    left out: it tells why when it is read."""

    def one(path: Path) -> None:
        with suppress(InputError):
            fetched(path)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(one, [path for path in paths if address_of(path) is not None]))


def listed(pattern: str) -> list[Path]:
    """Return the places of all files that match an address with `*`, or of the one that it names, in order.
    Raise InputError where the store cannot be asked."""
    if "*" not in pattern:
        return [place_of(pattern)]
    place_of(pattern)
    store = _store(pattern)
    try:
        found = [store.unstrip_protocol(name) for name in store.glob(pattern)]
    except Exception as error:  # every store has errors of its own
        raise InputError(f"'{pattern}' cannot be listed: {one_line(error)}") from error
    return [place_of(name) for name in sorted(found)]


def sent(folder: Path, address: str) -> int:
    """Copy a run folder to an address, but for the files of the same size that are there; return how many were
    copied. Its lists come last, so that a copy that is ended names no result without its arrays.

    raises  InputError where a file cannot be written
    """
    store, copied = _store(address), 0
    try:
        there = _sizes(store, address)
        for file in sorted((file for file in folder.rglob("*") if file.is_file()), key=_last):
            name, size = file.relative_to(folder).as_posix(), file.stat().st_size
            if file.name.startswith(".") or file.suffix == ".part":
                continue
            if there.get(name) != size or file.suffix in REWRITTEN:
                store.put_file(str(file), f"{address}/{name}")
                copied += 1
    except Exception as error:  # every store has errors of its own
        raise InputError(f"'{address}' cannot be written: {one_line(error)}") from error
    return copied


def brought(address: str, folder: Path) -> int:
    """Copy what lies at an address to a folder: files that are not there, and lists that are longer; return how
    many were copied. What is there already is never replaced by less.

    raises  InputError where a file cannot be read
    """
    store, copied = _store(address), 0
    try:
        for name, size in sorted(_sizes(store, address).items(), key=lambda one: _last(Path(one[0]))):
            file = folder / name
            if not file.resolve().is_relative_to(folder.resolve()):
                raise InputError(f"expected names within '{address}'; got '{name}'")
            mine = file.stat().st_size if is_there(file) else -1
            if mine < 0 or (file.suffix == ".jsonl" and mine < size):
                file.parent.mkdir(parents=True, exist_ok=True)
                part = file.with_name(f"{file.name}.part")
                store.get_file(f"{address}/{name}", str(part))
                part.replace(file)
                copied += 1
    except InputError:
        raise
    except Exception as error:  # every store has errors of its own
        raise InputError(f"'{address}' cannot be read: {one_line(error)}") from error
    return copied


REWRITTEN = (".json", ".csv", ".parquet", ".html")  # may change without changing their size


def _last(file: Path) -> tuple[bool, bool, str]:
    return file.suffix == ".jsonl", file.name == "manifest.json", str(file)


def _sizes(store: Any, address: str) -> dict[str, int]:
    """Return the size of every file below an address, by its name there; empty where there is none."""
    base = store._strip_protocol(address).rstrip("/")
    with suppress(FileNotFoundError):
        store.invalidate_cache()
        found = store.find(address, detail=True)
        return {name[len(base) + 1 :]: int(about["size"]) for name, about in found.items()}
    return {}


def _store(address: str) -> Any:
    place_of(address.rstrip("/*") or address)
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
    return base / FOLDER
