"""Checksums that a file has and its library does not look at: without them, damaged values would be read."""

from __future__ import annotations

import zlib
from pathlib import Path

from contrafact.core import InputError
from contrafact.io.bounded import BoundedFile

BLOCK = 2**16  # bytes
EITHER = 32 + zlib.MAX_WBITS  # zlib or gzip, as the first bytes say


def check_png(path: Path) -> None:
    """Raise InputError where a part of a PNG that holds pixels or their meaning has another checksum."""
    with BoundedFile(path) as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            size, name = int.from_bytes(head[:4], "big"), head[4:]
            content, stored = file.read(size), file.read(4)
            if name[:1].isupper() and zlib.crc32(name + content) != int.from_bytes(stored, "big"):
                raise InputError(f"'{path.name}' is damaged: its part {name!a} has another checksum")
            if name == b"IEND":
                return


def check_packed(path: Path, start: int, *, most: int) -> None:
    """Raise InputError where packed values (zlib or gzip) are cut, or have another checksum than they declare.

    start  where they begin in the file
    most   bytes to which they may unpack
    cost   they are unpacked once, in pieces
    """
    packer, count = zlib.decompressobj(EITHER), 0
    with path.open("rb") as file:
        file.seek(start)
        try:
            while not packer.eof and count <= most:
                block = packer.unconsumed_tail or file.read(BLOCK)
                if not block:
                    raise zlib.error("they end too early")
                count += len(packer.decompress(block, 2**20))
        except zlib.error as error:
            raise InputError(f"'{path.name}' is damaged: its values cannot be unpacked ({error})") from error
    if count > most:
        raise InputError(f"'{path.name}' unpacks to more than it declares; save it anew")
