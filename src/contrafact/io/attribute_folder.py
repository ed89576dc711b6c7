"""Attributes of a generator in a folder: a table, to which readers add names, and a picture of each.

RUN/attributes/NAME/attributes.json   the request, and a row for each attribute
RUN/attributes/NAME/attribute-01.png  its picture: synthetic patients at shares of the move
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from contrafact.core import InputError, inside
from contrafact.io.lock import sole_writer
from contrafact.io.weights import read_json, write_atomic, write_json

FILE, PICTURE = "attributes.json", re.compile(r"attribute-\d{2,6}\.png")
SAME = ("bundle", "generator", "model", "target")  # of the attributes that a name belongs to
LONGEST = 80  # letters of a name
MEASURED = {"effect": False, "again": False, "second": True, "flips": True}  # and whether it may be absent


def read_attributes(folder: Path) -> dict[str, Any]:
    """Return the table of a folder.

    raises  InputError for a missing file, and one of another kind
    """
    table = read_json(inside(folder, FILE, what=f"'{FILE}'"))
    rows = table.get("attributes") if isinstance(table, dict) else None
    if (
        not isinstance(rows, list)
        or not all(isinstance(row, dict) for row in rows)
        or not isinstance(table.get("further_names", {}), dict)
    ):
        raise InputError(f"expected attributes in '{folder / FILE}', as `contrafact attributes` writes them")
    return table


def flaw_of(row: Mapping[str, Any]) -> str:
    """Return why a row of a table cannot be shown; else an empty text."""
    for name, absent in MEASURED.items():
        value = row.get(name)
        if not (_is_number(value) or (absent and value is None)):
            return f"its '{name}' is no number"
    interval = row.get("interval")
    if not isinstance(interval, list) or len(interval) != 2 or not all(map(_is_number, interval)):
        return "its 'interval' is no pair of numbers"
    if not all(isinstance(row.get(name), int) for name in ("layer", "coordinate")):
        return "its 'layer' or 'coordinate' is no whole number"
    return "" if PICTURE.fullmatch(str(row.get("strip"))) else "its 'strip' is no picture of an attribute"


def place_of(row: Mapping[str, Any]) -> str:
    """Return where an attribute lies in style space: LAYER.COORDINATE."""
    return f"{row.get('layer')}.{row.get('coordinate')}"


def kept_names(folder: Path, about: Mapping[str, Any]) -> dict[str, str]:
    """Return the names in a folder of an earlier run, by place, also of attributes that a run did not rank.

    raises  InputError for a file of another kind, and for names of another generator, model or target
    """
    if not (folder / FILE).exists():
        return {}
    before = read_attributes(folder)
    named = {place_of(row): row["name"] for row in before["attributes"] if row.get("name")}
    names = {**before.get("further_names", {}), **named}
    other = [key for key in SAME if before.get(key, about[key]) != about[key]]
    if other and names:
        raise InputError(
            f"'{folder / FILE}' holds the names of attributes of another {' and '.join(other)}; choose another "
            "folder with --out"
        )
    return {} if other else names


def write_attributes(
    folder: Path, about: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], pictures: Sequence[bytes]
) -> list[dict[str, Any]]:
    """Write a table and its pictures, with the names that readers gave before; return the stored rows.

    Pictures of an earlier run that has more attributes are removed.
    raises  as `kept_names`
    """
    with sole_writer(folder):
        names = kept_names(folder, about)
        stored = []
        for number, (row, picture) in enumerate(zip(rows, pictures, strict=True), start=1):
            name = f"attribute-{number:02}.png"
            write_atomic(folder / name, picture)
            stored.append({**row, "name": names.pop(place_of(row), ""), "strip": name})
        write_json(folder / FILE, {**about, "attributes": stored, "further_names": names})
        shown = {row["strip"] for row in stored}
        for path in folder.glob("attribute-*.png"):
            if PICTURE.fullmatch(path.name) and path.name not in shown:
                path.unlink()
    return stored


def name_attribute(folder: Path, place: str, name: str) -> str:
    """Store a reader's name of the attribute at a place; return it as it is stored, without needless spaces.

    raises  InputError for an unknown place, a name of more than 80 letters, and while another process writes
    """
    name = " ".join(name.split())
    if len(name) > LONGEST:
        raise InputError(f"expected a name of at most {LONGEST} letters; got {len(name)}")
    with sole_writer(folder):
        table = read_attributes(folder)
        rows = {place_of(row): row for row in table["attributes"]}
        if place not in rows:
            raise InputError(f"expected one of {', '.join(rows) or 'no attributes'}; got '{place:.40}'")
        rows[place]["name"] = name
        write_json(folder / FILE, table)
    return name


def attribute_folders(run: Path) -> dict[str, Path]:
    """Return the folders of attributes in a run folder, by name, without links that lead out of it."""
    found: dict[str, Path] = {}
    for path in sorted((run / "attributes").glob(f"*/{FILE}")):
        with contextlib.suppress(InputError):
            inside(run, str(path.relative_to(run)), what="attributes of a run")
            found[path.parent.name] = path.parent
    return found


def picture_of(folder: Path, name: str) -> bytes:
    """Return the picture of an attribute as PNG.

    raises  InputError for any other file
    """
    if not PICTURE.fullmatch(name):
        raise InputError(f"expected a picture of an attribute; got '{name:.40}'")
    try:
        content = inside(folder, name, what="a picture of attributes").read_bytes()
    except OSError as error:
        raise InputError(f"the picture '{name}' of '{folder.name}' cannot be read") from error
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        raise InputError(f"expected a PNG as '{name}' of '{folder.name}'; got another file")
    return content


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
