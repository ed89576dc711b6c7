"""A reader's box: read, refused, and turned into the voxels that may change."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from contrafact.core import Grid, InputError
from contrafact.render.boxes import Box, box_about, shown_shape
from contrafact.render.case import plane_of

SAID = {"mode": "only", "columns": [2, 4], "rows": [1, 1]}


def test_a_box_is_what_may_change_or_what_may_not() -> None:
    box, grid = Box.read(SAID), Grid((5, 8))
    inside = np.zeros((5, 8), dtype=bool)
    inside[1, 2:5] = True
    np.testing.assert_array_equal(box.mask(grid), inside)
    np.testing.assert_array_equal(Box.read(SAID | {"mode": "keep"}).mask(grid), ~inside)
    assert box.words() == "Change only here: columns 2 to 4, rows 1 to 1"
    assert Box.read(box.stored()) == box


@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, -1), (1, -1, -1), (-1, -1, 1)])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0)])
def test_of_a_volume_the_box_is_in_the_slices_as_they_are_shown(
    order: tuple[int, ...], flips: tuple[int, ...]
) -> None:
    affine = np.zeros((4, 4))
    affine[3, 3] = 1
    for axis, (row, sign) in enumerate(zip(order, flips, strict=True)):
        affine[row, axis] = sign * (axis + 1.0)
    grid = Grid((3, 5, 7), affine=affine)
    shape = shown_shape(grid)
    box = Box.read({"mode": "only", "columns": [0, 1], "rows": [2, 4], "slices": [1, 2]})
    mask = box.mask(grid)
    for at in range(3):
        shown = plane_of(mask, grid, at)
        assert shown.shape == shape[1:]
        expected = np.zeros(shape[1:], dtype=bool)
        expected[2:5, 0:2] = at > 0
        np.testing.assert_array_equal(shown, expected)
    assert box.words().endswith("slices 2 to 3")  # as numbered on the page


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mode": "x"}, "expected only or keep as the mode of a box; got 'x'"),
        ({"mode": None}, "got None"),
        ({"mode": ["only"]}, "got ['only']"),
        ({"columns": [4, 2]}, "expected the first and the last of the columns of a box; got (4, 2)"),
        ({"columns": [-1, 2]}, "got (-1, 2)"),
        ({"columns": [1.5, 2]}, "got (1.5, 2)"),
        ({"columns": [True, 2]}, "got (True, 2)"),
        ({"rows": [1]}, "the last of the rows of a box; got (1,)"),
        ({"rows": "12"}, "expected a box with its mode, columns and rows"),
        ({"rows": None}, "expected a box with its mode"),
        ({"columns": [0, 8]}, "expected columns from 0 to 7; got 8"),
        ({"slices": [0, 0]}, "expected a box with slices on a volume, and without on an image"),
        ({"mode": "keep", "columns": [0, 7], "rows": [0, 4]}, "got the whole image"),
    ],
)
def test_what_is_no_box_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        Box.read(SAID | changes).mask(Grid((5, 8)))
    assert words in str(caught.value)


@pytest.mark.parametrize("said", [None, 7, "box", [1], {}])
def test_what_is_no_object_is_no_box(said: Any) -> None:
    with pytest.raises(InputError, match="expected a box with its mode"):
        Box.read(said)


def test_a_row_tells_its_box() -> None:
    assert box_about({}) is None
    told = box_about({"box": {**SAID, "exact": True}})
    assert told is not None and told["words"].startswith(
        "Change only here: columns 2 to 4, rows 1 to 1. Every pixel"
    )
    with pytest.raises(InputError):
        box_about({"box": {"mode": "<b>"}})
