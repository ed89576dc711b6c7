"""The share of a change in the anatomy: by construction, also on a coarser grid and with chosen labels."""

from __future__ import annotations

import numpy as np
import pytest

from browsing import strip
from contrafact.api.marked_anatomy import change_inside, change_places, on_grid_of
from contrafact.core import Grid, Image


def test_the_share_is_that_of_the_planted_change() -> None:
    values = np.zeros((2, 8, 8), np.float32)
    frames = np.stack([values] * 5)
    frames[4, 0, :2], frames[4, 1, 6:] = 30, -10  # 480 above, 160 below
    grid = Grid((8, 8))
    made = strip("a", frames=frames, reconstruction=values, grid=grid)
    numbers = np.zeros((1, 8, 8), np.float32)
    numbers[0, :4], numbers[0, 7] = 1, 2
    labels = Image(numbers, grid=grid)
    assert change_inside(made, labels) == pytest.approx((480 + 80) / 640)
    assert change_inside(made, labels, [1]) == pytest.approx(0.75)
    assert change_inside(made, labels, [2]) == pytest.approx(0.125)
    assert change_places(made, labels, {2: "rim", 1: "top", 9: "absent"}) == pytest.approx(
        {"top": 0.75, "rim": 0.125}
    )
    assert list(change_places(made, labels, {2: "rim", 1: "top"})) == ["top", "rim"]
    same = strip("a", frames=np.stack([values] * 5), reconstruction=values, grid=grid)
    assert change_inside(same, labels) is None
    assert change_places(same, labels, {1: "top"}) == {}


@pytest.mark.parametrize("shape", [(8, 12), (4, 8, 12)])
def test_a_mask_on_a_finer_grid_lies_at_the_same_place(shape: tuple[int, ...]) -> None:
    fine = Grid(shape)
    coarse = fine.resized(tuple(n // 2 for n in shape))
    rng = np.random.default_rng(0)
    small = rng.uniform(size=coarse.shape) > 0.5
    large = small
    for axis in range(len(shape)):
        large = large.repeat(2, axis=axis)
    np.testing.assert_array_equal(on_grid_of(fine, small, coarse), large)
    np.testing.assert_array_equal(on_grid_of(fine, large, fine), large)
    moved = fine.affine.copy()
    moved[:3, :3][:, -1 if len(shape) == 3 else 1] *= 1
    moved[: len(shape), 3] = 100
    assert not on_grid_of(Grid(shape, affine=moved), np.ones(shape, bool), fine).any()
