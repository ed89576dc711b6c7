"""The material of a reader study: a run that the reader study opens, and phantoms that are never real."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("starlette", reason="the viewer needs contrafact[view]")

import contrafact as cf
from contrafact.core import Image, InputError
from contrafact.io import Run
from contrafact.viewer.reader_study.app import Reading
from contrafact.viewer.reader_study.trials import items_of, left_out, picture
from experiments.evaluate.reader_material import images_of, material


def test_phantoms_make_pairs_of_which_none_is_shown_as_real(tmp_path: Path) -> None:
    bundle = cf.load_bundle("phantom")
    images = images_of("phantom", None, bundle, count=3, seed=4)
    again = images_of("phantom", None, bundle, count=3, seed=4)
    assert all(np.array_equal(a.values, b.values) for (_, a), (_, b) in zip(images, again, strict=True))
    run = Run.create(tmp_path / "run", about={"title": "t"})
    small = Image(np.zeros((1, 8, 8), np.float32), window=(0.0, 255.0), source="small")
    assert material(run, bundle, [*images, ("small", small)]) == 1  # named, and the others go on
    assert [row["case"] for row in run.rows()] == ["Phantom 1", "Phantom 2", "Phantom 3"]
    assert run.failures()[0]["source"] == "small" and material(run, bundle, images) == 1  # goes on where it was
    reading = Reading(run, tasks=("worse",))
    assert reading.counts() == {"worse": 3}
    assert left_out(run, "real") == 3
    with pytest.raises(InputError, match="never shown as real"):
        items_of(run, "real")
    item = items_of(run, "worse")[0]
    row = run.rows()[item.row]
    assert picture(run, row, item.first).startswith(b"\x89PNG") and item.first != item.second
