"""Changes to valid files: to their members, headers and tables, and to what lies at their place."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import shutil
import sqlite3
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from experiments.evaluate.fuzz_bytes import (
    BYTES,
    SIZES,
    Rng,
    changed_json,
    changed_lines,
    changed_text,
    cut,
    filled,
    flipped,
    overwritten,
    pick,
)

BOMB = 2**30  # bytes that a small member unpacks to


@cache
def bomb() -> bytes:
    """Deflated zeros: a megabyte that unpacks to `BOMB` bytes."""
    packer, block = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS), bytes(2**24)
    return b"".join(packer.compress(block) for _ in range(BOMB // 2**24)) + packer.flush()


def with_bomb(name: str, raw: bytes, *, honest: bool) -> bytes:
    """An archive whose member `name` unpacks to `BOMB` bytes; `honest` ones declare it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(raw)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            if entry.filename != name:
                new.writestr(entry, old.read(entry))
        start = old.read(name)[:128] if name.endswith(".npy") else b""
        packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        content = packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH) + bomb()
        new.writestr(zipfile.ZipInfo(name), b"")
        at = buffer.tell()
        buffer.write(content)
        info = new.infolist()[-1]
        head = info.header_offset
        sizes = (len(content), BOMB + len(start) if honest else 1000)
        info.compress_type, info.CRC, (info.compress_size, info.file_size) = zipfile.ZIP_DEFLATED, 0, sizes
        new.start_dir = at + len(content)
        buffer.seek(head + 8)
        buffer.write(struct.pack("<H", zipfile.ZIP_DEFLATED))
        buffer.seek(head + 14)
        buffer.write(struct.pack("<III", 0, *sizes))
        buffer.seek(new.start_dir)
    return buffer.getvalue()


def changed_archive(raw: bytes, rng: Rng) -> bytes:
    """A member changed, taken out, doubled, renamed, or one that unpacks to a gigabyte."""
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            if any(entry.file_size >= BOMB for entry in archive.infolist()):
                raise zipfile.BadZipFile(
                    "a member of `with_bomb`, whose checksum is wrong"
                )  # not unpacked for it
            members = [(entry, archive.read(entry)) for entry in archive.infolist()]
    except Exception:  # of a file that was changed before
        return flipped(raw, rng)
    if not members:
        return flipped(raw, rng)
    at, how = int(rng.integers(len(members))), int(rng.integers(7))
    entry, content = members[at]
    if how == 0:
        with contextlib.suppress(zipfile.BadZipFile):
            return with_bomb(entry.filename, raw, honest=bool(rng.integers(2)))
    if how <= 1:
        del members[at]
    elif how == 2:
        members.append((entry, pick(rng, BYTES)(content, rng)))
    elif how == 3:
        name = pick(rng, ("../" + entry.filename, entry.filename.upper(), "a" * 300, "x", "é/ÿ", "/etc/x"))
        members[at] = (zipfile.ZipInfo(name), content)
    else:
        is_json = entry.filename.endswith(".json")
        members[at] = (entry, (changed_json if is_json else pick(rng, BYTES))(content, rng))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for info, body in members:
            new = zipfile.ZipInfo(info.filename)
            new.compress_type = info.compress_type
            archive.writestr(new, body)
    return buffer.getvalue()


def changed_safetensors(raw: bytes, rng: Rng) -> bytes:
    size = int.from_bytes(raw[:8], "little")
    head = changed_json(raw[8 : 8 + size], rng)
    return (
        (len(head) if rng.random() < 0.8 else pick(rng, SIZES)).to_bytes(8, "little") + head + raw[8 + size :]
    )


def changed_dicom(raw: bytes, rng: Rng) -> bytes:
    """An attribute taken out, emptied, or with a value that its kind does not have."""
    import pydicom

    try:
        data = pydicom.dcmread(io.BytesIO(raw))
        elements = list(data.iterall())
    except Exception:  # of a file that was changed before
        return flipped(raw, rng)
    if not elements:
        return flipped(raw, rng)
    element = pick(rng, elements)
    holders = [data, *(item for e in elements if e.VR == "SQ" for item in e.value)]
    holder = next(h for h in holders if element.tag in h)
    if rng.random() < 0.25:
        del holder[element.tag]
    else:
        text = pick(rng, ("", "0", "-1", "1e30", "nan", "abc", "9" * 12, "0\\0", "1\\2\\3\\4\\5\\6\\7", "\\"))
        number = pick(rng, SIZES[:9])
        value: Any = {"US": number % 2**16, "SS": number % 2**15, "UL": number % 2**32}.get(element.VR, text)
        if element.VR in ("SQ", "OB", "OW", "OB or OW", "FD", "FL"):
            value = (
                [] if element.VR == "SQ" else b"" if element.VR[0] == "O" else float(pick(rng, (0, -1, 1e300)))
            )
        with_checks = pydicom.config.settings.writing_validation_mode
        pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE
        pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
        try:
            kind = element.VR if element.VR not in ("DS", "IS") else "LO"  # takes any text
            holder[element.tag] = pydicom.DataElement(element.tag, kind, value)
            return _saved(data) or flipped(raw, rng)
        finally:
            pydicom.config.settings.writing_validation_mode = with_checks
            pydicom.config.settings.reading_validation_mode = pydicom.config.WARN
    return _saved(data) or flipped(raw, rng)


def _saved(data: Any) -> bytes:
    buffer = io.BytesIO()
    try:
        data.save_as(buffer)
    except Exception:  # what pydicom does not write cannot be in a file
        return b""
    return buffer.getvalue()


def change_tables(path: Path, rng: Rng) -> None:
    """A table of a database dropped, emptied, or with values of another kind."""
    base = sqlite3.connect(path)
    try:
        tables = [row[0] for row in base.execute("select name from sqlite_master where type = 'table'")]
        chosen = pick(rng, tables)
        columns = [row[1] for row in base.execute(f"pragma table_info({chosen})")]
        value = pick(rng, (None, "", "x", b"\xff", -1, "[", "[1]", "[[0, 99]]", "[[99, 0]]", "null", 2**62))
        column = pick(rng, columns)
        base.execute(pick(rng, (
            f"drop table {chosen}", f"delete from {chosen}",
            f"alter table {chosen} rename column {column} to zz",
            *(f"update or ignore {chosen} set {column} = :value",) * 5,
        )), {"value": value})  # fmt: skip
        base.commit()
    except (sqlite3.Error, TypeError, ValueError):  # also of a database without tables
        pass
    finally:
        base.close()


def changed_png(raw: bytes, rng: Rng) -> bytes:
    """A chunk changed, doubled, taken out or moved, with its checksum; pixels before they are packed."""
    chunks, at = [], 8
    while at + 12 <= len(raw):
        size = int.from_bytes(raw[at : at + 4], "big")
        chunks.append((raw[at + 4 : at + 8], raw[at + 8 : at + 8 + size]))
        at += 12 + size
    if not chunks or raw[:4] != b"\x89PNG":
        return flipped(raw, rng)
    place, how = int(rng.integers(len(chunks))), int(rng.integers(8))
    name, data = chunks[place]
    if how == 0:
        del chunks[place]
    elif how == 1:
        chunks.insert(int(rng.integers(len(chunks))), chunks[place])
    elif name == b"IDAT" and how < 5:
        with contextlib.suppress(zlib.error):
            pixels = zlib.decompress(data)
            chunks[place] = (name, zlib.compress(pick(rng, BYTES)(pixels, rng)[: 2**16]))
    else:
        chunks[place] = (name, pick(rng, (flipped, overwritten, cut, filled))(data, rng))
    body = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks]
    return raw[:8] + b"".join(body)


def changed_gzip(raw: bytes, rng: Rng) -> bytes:
    """What is packed changed, then packed again; or much behind it."""
    try:
        inside = gzip.decompress(raw)
    except (OSError, EOFError, zlib.error):
        return flipped(raw, rng)
    if rng.random() < 0.1:
        head = b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + bomb() + struct.pack("<II", 0, BOMB % 2**32)
        return gzip.compress(inside) + head
    return gzip.compress(pick(rng, (flipped, overwritten, overwritten, cut, filled))(inside, rng))


BY_SUFFIX: dict[str, Callable[[bytes, Rng], bytes]] = {
    ".json": changed_json, ".jsonl": changed_lines, ".toml": changed_text, ".csv": changed_text,
    ".mha": changed_text, ".mhd": changed_text, ".nrrd": changed_text, ".nhdr": changed_text,
    ".npz": changed_archive, ".ts": changed_archive, ".pt": changed_archive, ".pt2": changed_archive,
    ".safetensors": changed_safetensors, ".dcm": changed_dicom, ".png": changed_png, ".gz": changed_gzip,
}  # fmt: skip


def misplaced(path: Path, rng: Rng) -> str:
    """Put a pipe, a device, a folder, a circle of links or nothing in the place of a file."""
    how = str(pick(rng, ("pipe", "device", "folder", "circle", "missing")))
    path.unlink()
    if how == "pipe":
        os.mkfifo(path)
    elif how == "device":
        path.symlink_to("/dev/zero")
    elif how == "folder":
        path.mkdir()
    elif how == "circle":
        path.symlink_to(path)
    return how


def change(folder: Path, entry: str, rng: Rng, *, fixed: bool = False) -> tuple[str, str]:
    """Change one file of a folder, once to three times; return the name of what is read, and of what changed.

    fixed  what is read stays as it is, and a file beside it changes
    """
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not (fixed and p == folder / entry))
    path = pick(rng, files) if rng.random() < 0.6 or entry == "." else folder / entry
    path = pick(rng, files) if fixed or path.is_dir() else path
    if rng.random() < 0.04:
        return entry, f"{path.name} ({misplaced(path, rng)})"
    if not fixed and rng.random() < 0.02 and (folder / entry).is_file():
        bad = os.fsdecode(b"caf\xe9" + os.fsencode(Path(entry).suffix))
        shutil.move(folder / entry, folder / bad)
        return bad, "name"
    for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
        if path.suffix == ".sqlite" and rng.random() < 0.6:
            change_tables(path, rng)
            continue
        own = BY_SUFFIX.get(path.suffix)
        how = own if own is not None and rng.random() < 0.75 else pick(rng, BYTES)
        path.write_bytes(how(path.read_bytes(), rng))
    return entry, path.name
