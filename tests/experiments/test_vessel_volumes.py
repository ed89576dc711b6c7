"""Phantoms of vessels: what is planted is where the mask says, and as bright and thick as it should be."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from contrafact.study import read_study
from experiments.evaluate import vessels
from experiments.evaluate.vessel_volumes import RADII, SIGMA, VesselVolume, vessel_volume

SMALL = (32, 96, 96)


@pytest.fixture(scope="module")
def volume() -> VesselVolume:
    return vessel_volume(np.random.default_rng(1), SMALL)


def test_vessels_are_brighter_than_the_brain_and_as_thick_as_said(volume: VesselVolume) -> None:
    inside = ndimage.binary_erosion(volume.mask)
    brain = ~ndimage.binary_dilation(volume.mask, iterations=3)
    middle = np.zeros(SMALL, bool)
    middle[:, 30:66, 30:66] = True
    assert np.median(volume.values[inside]) > np.percentile(volume.values[brain & middle], 99)
    assert 0.002 < volume.mask.mean() < 0.2
    depth = ndimage.distance_transform_edt(volume.mask)
    alone = depth[volume.mask].max()  # where branches meet they are thicker
    assert alone < 2.5 * RADII[1]


def test_the_noise_is_rician(volume: VesselVolume) -> None:
    """In air, almost without signal, magnitudes are Rayleigh's: never negative, of mean 1.25 sigma."""
    air = volume.values[:, :6, :6]
    assert volume.values.min() >= 0
    assert 1.2 * SIGMA < air.mean() < 1.45 * SIGMA
    assert air.std() == pytest.approx(0.655 * SIGMA, rel=0.15)


def test_the_same_numbers_give_the_same_volume(volume: VesselVolume) -> None:
    again = vessel_volume(np.random.default_rng(1), SMALL)
    np.testing.assert_array_equal(again.values, volume.values)
    assert not np.array_equal(vessel_volume(np.random.default_rng(2), SMALL).mask, volume.mask)


def test_every_second_crop_holds_a_vessel(volume: VesselVolume) -> None:
    batches = vessels.crops([volume], np.random.default_rng(0))
    for _ in range(4):
        values, masks = next(batches)
        assert values.shape == masks.shape == (4, 1, 32, 32, 32)
        assert masks[1::2].flatten(1).any(dim=1).all()


def test_the_studies_are_written_as_studies_are_read(tmp_path: Path) -> None:
    for name, methods in (("whole", vessels.WHOLE), ("patch", vessels.ON_A_PATCH)):
        config = read_study(vessels.write_study(tmp_path, name, methods))
        assert set(config.methods) == set(methods)
        assert [choice.patch for choice in config.choices.values()] == [
            (64, 64, 64) if name == "whole" else ()
        ] * 2


def test_the_last_cost_of_a_part_counts(tmp_path: Path) -> None:
    lines = [{"model": "unet", "label": "gradient", "seconds": s, "mb": 1.0} for s in (1.0, 2.0)]
    (tmp_path / "costs_patch.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert vessels.costs_of(tmp_path, "patch")["unet", "gradient"]["seconds"] == 2.0
