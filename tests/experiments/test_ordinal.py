"""The reading of ordinal frames: closed forms of its rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from experiments.data import Cohort
from experiments.evaluate.ordinal import GRADES, hog_grades, rows_of_page


def cohort(levels: list[int]) -> Cohort:
    found = np.array(levels)
    names = [str(k) for k in range(len(levels))]
    images = torch.from_numpy(20 * found).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 4, 4)
    return Cohort(images, (found > 1).astype(np.int64), found, names, names, ("none", "some"))


def test_a_reading_is_compared_with_the_grade_and_with_real_images_of_it() -> None:
    """A judge that reads half a grade too much reads real images so too: the second difference is 0."""
    whole = cohort([0, 1, 2, 3, 4] * 2)
    frames = np.stack([np.full((1, 4, 4), 20.0 * grade, np.float32) for grade in GRADES])[None].repeat(
        3, axis=0
    )
    met = np.array([[True] * 4 + [False]] * 3)
    rows = rows_of_page(frames, met, lambda x: x.mean(axis=(1, 2, 3)) / 20 + 0.5, whole)
    assert [row[0] for row in rows] == ["0", "1", "2", "3", "4", "all"]
    assert rows[3][2] == "3.50 (3.50 to 3.50)" and rows[3][3] == "3.50"
    assert {row[4][:4] for row in rows} == {"0.50"} and {row[5][:4] for row in rows} == {"0.00"}
    assert rows[4][1] == "0.00" and rows[5][1] == "0.80"


def test_the_judge_without_a_network_reads_a_planted_grade() -> None:
    """Stripes grow finer with the grade, and nothing else does."""
    rng = np.random.default_rng(0)
    levels = [int(level) for level in rng.integers(0, 5, 200)]
    x = np.arange(64)
    stripes = [np.tile(np.sin(x * (0.2 + 0.25 * level)), (64, 1)) * 60 + 128 for level in levels]
    images = np.stack(stripes) + rng.normal(0, 8, (200, 64, 64))
    fit = Cohort(
        torch.from_numpy(images[:, None].clip(0, 255)).to(torch.uint8),
        np.zeros(200, np.int64), np.array(levels),
        ["p"] * 200, ["n"] * 200, ("a", "b"),
    )  # fmt: skip
    read = hog_grades(fit, count=150)(fit.images[150:].float().numpy())
    assert np.corrcoef(read, levels[150:])[0, 1] > 0.9
    assert (
        read.min() >= 0
        and read.max() <= 4
        and np.median(np.abs(read - levels[150:])) == pytest.approx(0, abs=0.5)
    )
