"""The measures of experiments/evaluate/findings.py: closed forms on drawn heads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from contrafact.core import Counterfactual, Grid
from experiments.evaluate import findings


def disc(radius: float, *, centre: tuple[float, float] = (31.5, 31.5)) -> np.ndarray[Any, Any]:
    y, x = np.mgrid[:64, :64]
    return np.hypot(y - centre[0], x - centre[1]) <= radius


def drawn() -> np.ndarray[Any, Any]:
    """A head of radius 24: grey 100 inside, a rim of grey 150 and 3 pixels, a black hole within."""
    values = np.where(disc(24), 150.0, 0.0)
    values[disc(21)] = 100.0
    values[disc(4)] = 0.0
    return values


def test_the_head_is_the_whole_disc_its_hole_filled_and_a_mark_beside_it_is_not() -> None:
    values = drawn()
    values[2:5, 2:8] = 255.0  # letters in the corner
    found = findings.head(values)
    assert found[31, 31]
    assert not found[3, 5]
    assert abs(int(found.sum()) - int(disc(24).sum())) < 2 * np.pi * 24 * 1.5, "to a pixel or so of blur"
    assert findings.head(np.zeros((64, 64))).all()


def test_measures_of_a_slice_are_what_was_drawn() -> None:
    look = findings.look_of(np.where(disc(24), np.where(disc(21), 100.0, 200.0), 0.0))
    assert look["share of the slice that is head"] == pytest.approx(disc(24).mean(), rel=0.1)
    assert look["height of the head by its width"] == pytest.approx(1.0)
    assert look["share of the border that is head"] == 0.0
    assert look["share of its box that the head fills"] == pytest.approx(np.pi / 4, abs=0.05)
    assert look["mean grey inside the head"] == pytest.approx(100.0, rel=0.1)
    assert look["mean grey of the rim by that inside"] > 1.2
    assert findings.look_of(np.where(disc(24), 100.0, 0.0))["contrast inside the head (standard deviation)"] < 1


def test_the_shares_of_a_change_are_where_it_was_made() -> None:
    first = np.where(disc(24), 100.0, 0.0)
    last = first + 50.0 * disc(6)  # well inside
    last[0, 0] += 50.0  # and one pixel outside
    frames = np.stack([first, last])[:, None].astype(np.float32)
    strip = Counterfactual(
        frames=frames,
        requested=np.array([0.0, 4.0]),
        scores=np.array([-2.0, 2.0]),
        latent_distance=np.array([0.0, 1.0]),
        origin=0,
        reconstruction_error=0.0,
        above_tolerance=False,
        outcome="reached",
        goal=2.0,
        reconstruction=frames[0],
        grid=Grid((64, 64)),
    )
    rows: dict[str, float] = {}

    def add(what: str, figure: Any, **_: Any) -> None:
        rows[what] = figure(np.array([0]))

    findings.place_rows(add, findings.Strips([strip], np.array([1.0]), 0.0))
    inside = next(v for k, v in rows.items() if k.startswith("finding added: share of the change inside"))
    outside = next(v for k, v in rows.items() if "added: share of the change outside" in k)
    count = int(disc(6).sum())
    assert inside == pytest.approx(count / (count + 1), abs=1e-4)
    assert outside == pytest.approx(1 / (count + 1), abs=1e-4)
    small = {k: float(v[0]) for k, v in findings._smallness([strip]).items()}
    assert small["median mean change of a pixel, grey levels of 255"] == pytest.approx((count + 1) * 50 / 4096)
    assert small["median SSIM outside the change (where 90 % of it lies)"] > 0.9
