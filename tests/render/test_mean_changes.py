"""Mean changes: the mean that NumPy computes, of images of one size and orientation, in little memory."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from browsing import ramp, strip
from contrafact.core import Grid, Image
from contrafact.io import Run
from contrafact.io.run_cohort import stored_cohort
from contrafact.render.case import thumbnail
from contrafact.render.case_facts import run_facts
from contrafact.render.mean_changes import LAYOUTS, MeanChanges, change_thumbnail
from contrafact.render.run_index import RunIndex
from labelled import labelled_run


def means(run: Run) -> MeanChanges:
    facts = run_facts(RunIndex(run), stored_cohort(run))
    return MeanChanges(run, [(one, "all", {}) for one in facts.cases.values()])


def add(run: Run, name: str, grid: Grid, change: float) -> None:
    values = np.full((1, *grid.shape), 50, np.float32)
    frames = np.stack([values + change * k / 4 for k in range(5)])
    made = strip(name, frames=frames, reconstruction=values, grid=grid)
    run.add(name, Image(values, grid=grid, window=(0, 100), source=name), made, case=name)


def test_means_are_those_of_all_counterfactuals_of_one_direction(tmp_path: Path) -> None:
    found = means(labelled_run(tmp_path / "run", 4))
    assert (found.done, found.total) == (0, 7)
    while found.done < found.total:
        before = found.done
        found.measure(seconds=0)
        assert found.done == before + 1
    up, down = found.groups.values()
    assert (up.towards, down.towards) == ("towards narrow", "towards wide")
    for group, count, change in ((up, 4, 0.05), (down, 3, -0.05)):
        mean = group.mean()
        assert mean is not None and mean.count == count and group.without() == ""
        expected = np.zeros((16, 16))
        expected[:4] = change  # 10 of a window of 200
        np.testing.assert_allclose(mean.change / count, expected, atol=1e-6)
    images = [np.clip(ramp(level=number)[0] / 200, 0, 1) for number in (0, 2, 4, 6)]
    mean = up.mean()
    assert mean is not None
    np.testing.assert_allclose(mean.image / 4, np.mean(images, axis=0), atol=1e-6)
    tiles = found.tiles()
    assert found.scale == pytest.approx(0.05) and [tile["count"] for tile in tiles] == [4, 3]
    drawn = [np.asarray(Picture.open(io.BytesIO(found.picture(tile["picture"]) or b""))) for tile in tiles]
    top, bottom = (part.astype(int).mean(axis=(0, 1)) for part in (drawn[0][:60], drawn[0][-60:]))
    assert (
        top[0] > top[2] + 50 and abs(bottom[0] - bottom[2]) < 1
    )  # orange where it is brighter, grey elsewhere
    assert drawn[1][:60].astype(int).mean(axis=(0, 1))[2] > drawn[1][:60].astype(int).mean(axis=(0, 1))[0] + 50
    assert found.picture("else") is None
    assert not any(group.sums for group in found.groups.values()) and found.tiles() == tiles


def test_other_sizes_orientations_and_damaged_files_are_left_out_and_counted(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", about={})
    turned = np.diag([-1.0, 1, 1, 1])
    grids = [Grid((8, 8))] * 3 + [Grid((8, 8), affine=turned)] * 2 + [Grid((8, 4)), Grid((8, 8))]
    for number, grid in enumerate(grids):
        add(run, f"{number}.png", grid, 10.0 * (number + 1))
    row = run.rows()[-1]
    (run.folder / "arrays" / row["array"]).write_bytes(b"damaged")
    found = means(run)
    found.measure(seconds=60)
    [group] = found.groups.values()
    mean = group.mean()
    assert mean is not None and mean.count == 3
    np.testing.assert_allclose(mean.change / 3, 0.2, atol=1e-6)
    assert group.without() == "Left out: 2 of another orientation, 1 of 8 × 4."


def test_no_more_sums_than_a_few_sizes_are_kept(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", about={})
    for side in range(8, 18):
        add(run, f"{side}.png", Grid((side, side)), 10)
    found = means(run)
    found.measure(seconds=60)
    [group] = found.groups.values()
    assert len(group.sums) == LAYOUTS and sum(group.left_out.values()) == 10 - LAYOUTS
    assert group.without().count("1 of ") == 9


def test_a_volume_shows_the_slice_that_changes_most(tmp_path: Path) -> None:
    run, grid = Run.create(tmp_path / "run", about={}), Grid((6, 8, 8))
    values = np.full((1, 6, 8, 8), 50, np.float32)
    frames = np.stack([values] * 5)
    frames[4, 0, 4, :4] += 30
    made = strip("v", frames=frames, reconstruction=values, grid=grid)
    run.add("v", Image(values, grid=grid, window=(0, 100), source="v"), made, case="v")
    found = means(run)
    found.measure(seconds=60)
    assert [tile["slice"] for tile in found.tiles()] == ["slice 5 of 6"]
    small = np.asarray(Picture.open(io.BytesIO(change_thumbnail(run, run.row(0)))))
    assert small.shape == (8, 8, 3) and (small[..., 0] > small[..., 2]).sum() == 32


def test_thumbnails_of_a_volume_and_its_change_lie_the_same_way(tmp_path: Path) -> None:
    run, grid = Run.create(tmp_path / "run", about={}), Grid((6, 8, 8), affine=np.diag([1.0, 1.0, 1.0, 1.0]))
    values = np.zeros((1, 6, 8, 8), np.float32)
    values[0, :, 0:2, 5:7] = 100
    frames = np.stack([values] * 5)
    frames[4, 0, 3, 0:2, 5:7] -= 50  # the change lies where the image is bright
    made = strip("v", frames=frames, reconstruction=values, grid=grid)
    run.add("v", Image(values, grid=grid, window=(0, 100), source="v"), made, case="v")
    image, change = (
        np.asarray(Picture.open(io.BytesIO(draw(run, run.row(0)))).convert("RGB")).astype(int)
        for draw in (thumbnail, change_thumbnail)
    )
    bright = image[..., 0] > 128
    assert bright.sum() == 4 and ((change[..., 2] - change[..., 0] > 50) == bright).all()


def test_a_thumbnail_shows_the_change_on_the_scale_of_difference_pictures(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", about={})
    for name, change in (("weak", 2.5), ("full", 25.0), ("down", -25.0)):
        add(run, name, Grid((8, 8)), change)
    weak, full, down = (
        np.asarray(Picture.open(io.BytesIO(change_thumbnail(run, row)))).astype(int)[0, 0] for row in run.rows()
    )
    assert full[0] - full[2] > 150 > 40 > weak[0] - weak[2] > 5 and down[2] - down[0] > 100
