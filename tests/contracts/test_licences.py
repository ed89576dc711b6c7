"""Every dependency has a licence of the list, by its own metadata and in docs/licences.md."""

from __future__ import annotations

import importlib.util
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest


def table() -> ModuleType:
    path = Path(__file__).parents[2] / "docs" / "licence_table.py"
    spec = importlib.util.spec_from_file_location("licence_table", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TABLE = table()
ROWS = {row[0]: row[2] for row in TABLE.ROW.findall(TABLE.PAGE.read_text(encoding="utf-8"))}


def test_every_dependency_of_the_project_is_in_the_table() -> None:
    assert len(ROWS) > 100 and not set(TABLE.direct()) - set(ROWS)


def test_every_licence_of_the_table_is_allowed() -> None:
    assert not {name: licence for name, licence in ROWS.items() if not TABLE.is_allowed(licence)}


@pytest.mark.parametrize("name", sorted(TABLE.direct()))
def test_a_dependency_has_the_licence_of_the_table(name: str) -> None:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        pytest.skip(f"{name} is not installed here: its licence is in the table from where it was")
    assert TABLE.licence_of(name) == ROWS[name]


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("MIT", True),
        ("BSD-3-Clause AND (MIT OR GPL-3.0-only)", True),
        ("MIT AND GPL-3.0-only", False),
        ("(MIT OR Apache-2.0) AND GPL-3.0-only", False),
        ("(MIT OR GPL-3.0-only)", True),
        ("GPL-3.0-or-later", False),
        ("not stated", False),
        ("LicenseRef-NVIDIA-Proprietary", False),
    ],
)
def test_what_is_not_on_the_list_is_refused(licence: str, allowed: bool) -> None:
    assert TABLE.is_allowed(licence) == allowed
