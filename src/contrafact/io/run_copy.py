"""A run folder copied to an object store and back, so that neither side ever holds less than before."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

from contrafact.core import InputError, is_there
from contrafact.core.reading import one_line
from contrafact.io.remote import store_of
from contrafact.io.weights import write_atomic

LISTS = ".jsonl"  # lines are appended: the lines of both sides are kept
REWRITTEN = (".json", ".csv", ".parquet", ".html")  # may change without changing their size


def sent(folder: Path, address: str) -> int:
    """Copy a run folder to an address, but for arrays of the same size that are there; return how many files
    were copied. The manifest comes first, lists last: a copy that is ended is a run, and names no result
    without its arrays. Lines that only the store has stay there. Links are not followed.

    raises  InputError where a file cannot be written
    """
    copied = 0
    with _said(address, "written"):
        store = store_of(address)
        there = _sizes(store, address)
        for file in sorted((file for file in folder.rglob("*") if _is_own(file)), key=_order):
            name, size = file.relative_to(folder).as_posix(), file.stat().st_size
            if file.suffix == LISTS and name in there:
                theirs = store.cat_file(f"{address}/{name}")
                both = merged(file.read_bytes(), theirs)
                if both != theirs:
                    store.pipe_file(f"{address}/{name}", both)
                    copied += 1
            elif there.get(name) != size or file.suffix in REWRITTEN:
                store.put_file(str(file), f"{address}/{name}")
                copied += 1
    return copied


def brought(address: str, folder: Path) -> int:
    """Copy what lies at an address to a folder: files that are not there, and lines that are not; return how
    many files were written.

    raises  InputError where a file cannot be read
    """
    copied = 0
    with _said(address, "read"):
        store = store_of(address)
        lists = {
            name: store.cat_file(f"{address}/{name}") for name in _sizes(store, address) if name.endswith(LISTS)
        }  # before the others: what they name is there by now
        for name in sorted(_sizes(store, address), key=lambda name: _order(PurePosixPath(name))):
            file = folder / name
            if not _is_inside(name):
                raise InputError(f"expected names within '{address}'; got '{name}'")
            if name not in lists and not is_there(file) and not name.endswith(LISTS):
                write_atomic(file, store.cat_file(f"{address}/{name}"))
                copied += 1
        for name, theirs in lists.items():
            own = (folder / name).read_bytes() if is_there(folder / name) else b""
            both = merged(own, theirs)
            if both != own:
                write_atomic(folder / name, both)
                copied += 1
    return copied


def merged(own: bytes, theirs: bytes) -> bytes:
    """Return the lines of one list, and those of another whose key it has not; an end that was torn off is left
    out."""
    if own.startswith(theirs):
        return own
    lines = [line for line in own.splitlines(keepends=True) if line.endswith(b"\n")]
    known = {_key(line) for line in lines}
    lines += [
        line for line in theirs.splitlines(keepends=True) if line.endswith(b"\n") and _key(line) not in known
    ]
    return b"".join(lines)


def _key(line: bytes) -> Any:
    with suppress(ValueError):
        row = json.loads(line)
        if isinstance(row, dict) and isinstance(row.get("key"), str):
            return row["key"]
    return line


def _is_own(file: Path) -> bool:
    return file.is_file() and not file.is_symlink() and not file.name.startswith(".") and file.suffix != ".part"


def _is_inside(name: str) -> bool:
    return bool(name) and "\\" not in name and ":" not in name and not {"", ".", ".."} & set(name.split("/"))


def _order(file: Path | PurePosixPath) -> tuple[bool, bool, str]:
    return file.suffix == LISTS, file.name != "manifest.json", file.as_posix()


def _sizes(store: Any, address: str) -> dict[str, int]:
    """Return the size of every file below an address, by its name there; empty where there is none."""
    base = store._strip_protocol(address).rstrip("/")
    with suppress(FileNotFoundError):
        store.invalidate_cache()
        found = store.find(address, detail=True)
        return {name[len(base) + 1 :]: int(about["size"]) for name, about in found.items()}
    return {}


@contextmanager
def _said(address: str, what: str) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # every store has errors of its own
        raise InputError(f"'{address}' cannot be {what}: {one_line(error)}") from error
