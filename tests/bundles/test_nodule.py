"""The bundle `nodule` on windows of patients who are held out, beside the masks of their readers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import contrafact as cf
from contrafact.core import Image
from experiments import nodule_windows
from experiments.evaluate.anatomy import near
from experiments.evaluate.nodules import large

pytestmark = pytest.mark.slow


def windows_of(shared: Path, *, nodule: bool, count: int) -> list[nodule_windows.NoduleWindow]:
    """Windows of different patients whose nodule is small enough to have surroundings."""
    found: dict[str, nodule_windows.NoduleWindow] = {}
    for one in nodule_windows.nodule_windows(shared, "val"):
        if one.nodule == nodule and (one.readers > 0).sum() < 250:
            found.setdefault(one.patient, one)
    return list(found.values())[:count]


def test_a_window_of_48_pixels_is_enlarged_inside() -> None:
    bundle = cf.load_bundle("nodule")
    window = np.random.default_rng(0).integers(0, 256, (2, 1, 48, 48)).astype(np.float32)
    shares = bundle.predict(window)
    assert shares.shape == (2, 2) and np.allclose(shares.sum(dim=1), 1)
    image = Image(window[0], window=(0.0, 255.0))
    strip = cf.explain("counterfactual", bundle.predictor, image, target="class:1", bundle=bundle)
    assert strip.frames.shape[1:] == (1, 64, 64) and strip.record.engine == "translate"


def test_a_nodule_is_removed_where_the_readers_saw_it(shared: Path) -> None:
    bundle, places, gone = cf.load_bundle("nodule"), list[float](), list[bool]()
    for one in windows_of(shared, nodule=True, count=12):
        image = Image(one.values[None].astype(np.float32), window=(0.0, 255.0))
        if float(bundle.predict([image])[0, 1]) < 0.5:
            continue  # the model does not see it
        strip = cf.explain("counterfactual", bundle.predictor, image, target="class:1", bundle=bundle, goal=0.1)
        change = np.abs(strip.frames[strip.end] - strip.frames[strip.origin])[0]
        places.append(float(change[near(large(one.readers > 0, 64), 3)].sum() / change.sum()))
        gone.append(bool(strip.scores[strip.end] < 0))
    assert len(places) >= 8
    assert np.median(places) > 0.7 and np.mean(gone) > 0.8


def test_an_added_nodule_is_one_spot_that_the_second_model_sees(shared: Path) -> None:
    bundle, spots, seen = cf.load_bundle("nodule"), list[float](), list[bool]()
    for one in windows_of(shared, nodule=False, count=8):
        image = Image(one.values[None].astype(np.float32), window=(0.0, 255.0))
        if float(bundle.predict([image])[0, 1]) > 0.5:
            continue
        strip = cf.explain("counterfactual", bundle.predictor, image, target="class:1", bundle=bundle, goal=0.9)
        change = np.abs(strip.frames[strip.end] - strip.frames[strip.origin])[0]
        spots.append(float((change > 0.5 * change.max()).mean()))
        seen.append(strip.confirmed is True)
    assert len(spots) >= 5
    assert np.median(spots) < 0.15 and np.mean(seen) > 0.8


def test_a_lesion_of_the_segmenter_is_taken_out_and_a_volume_halved(shared: Path) -> None:
    bundle = cf.load_bundle("nodule")
    segmenter, gone, followed, shares = (
        bundle.predictors["segmenter"],
        list[bool](),
        list[float](),
        list[float](),
    )
    for one in windows_of(shared, nodule=True, count=12):
        image = Image(one.values[None].astype(np.float32), window=(0.0, 255.0))
        ask = {"bundle": bundle, "target": "lesion:1"}
        try:
            strip = cf.explain("counterfactual", segmenter, image, goal=0.1, **ask)
        except cf.ContrafactError:  # it finds nothing
            continue
        gone.append(strip.flips)
        assert strip.second is not None
        followed.append(float(strip.second[strip.end] - strip.second[strip.origin]))
        whole = cf.explain(
            "counterfactual", segmenter, image, target="volume:1", bundle=bundle, goal=1.0
        ).scores[0]
        half = cf.explain(
            "counterfactual", segmenter, image, target="volume:1", bundle=bundle, goal=float(whole) / 2
        )
        shares.append(float(half.scores[half.end] / whole))
    assert len(gone) >= 6 and np.mean(gone) >= 0.8
    assert np.mean(np.array(followed) < 0) >= 0.9
    assert np.median(shares) == pytest.approx(0.5, abs=0.1)
