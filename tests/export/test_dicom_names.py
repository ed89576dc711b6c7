"""Which generator a DICOM file names: that of its row, else of its bundle, else the run's model."""

from __future__ import annotations

from typing import Any

import pytest

from contrafact.export.dicom.export import _generator

ONE, TWO = {"bundle": "a", "name": "knee"}, {"bundle": "b", "name": "chest"}


@pytest.mark.parametrize(
    ("row", "manifest", "name"),
    [
        ({"generator_name": "own"}, {"bundles": [ONE]}, "own"),
        ({"record": {"bundle": "b"}}, {"bundles": [ONE, TWO]}, "chest"),
        ({"record": {"bundle": "c"}}, {"bundles": [ONE], "model": "m"}, "knee"),
        ({"record": {}}, {"bundles": [ONE, TWO], "model": "folder/net.pt"}, "net.pt"),
        ({"record": {"bundle": "a"}}, {"bundles": [{"bundle": "a"}], "model": "net"}, "net"),
        ({"record": None}, {}, "unknown generator"),
    ],
)
def test_the_generator_is_the_nearest_that_is_named(row: Any, manifest: Any, name: str) -> None:
    assert _generator(row, manifest) == name
