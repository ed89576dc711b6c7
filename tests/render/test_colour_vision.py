"""Orange and blue stay apart with every kind of colour blindness."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from contrafact import render
from contrafact.render import pixels
from contrafact.render.pixels import AGAINST, FOR
from experiments.evaluate.colour_vision import GREYS, MATRICES, OVERLAYS, distances, simulated, table

PAGE = Path(__file__).parents[2] / "docs/viewer.md"


@pytest.mark.parametrize("kind", MATRICES)
def test_the_simulation_leaves_greys_and_changes_colours(kind: str) -> None:
    greys = np.repeat(np.arange(0, 256, 15)[:, None], 3, axis=1)
    np.testing.assert_allclose(simulated(greys, kind), greys, atol=1)
    assert np.abs(simulated(np.array([[255, 0, 0], [0, 0, 255]]), kind) - [[255, 0, 0], [0, 0, 255]]).max() > 90


@pytest.mark.parametrize("kind", ["", *MATRICES])
@pytest.mark.parametrize("form", OVERLAYS)
def test_evidence_for_and_against_stays_apart(kind: str, form: str) -> None:
    """Distances in CIE Lab; about 2 are just seen side by side."""
    for grey in GREYS:
        ends, bare = distances(form, grey, 1.0, kind)
        assert ends > 80 and bare > 35
        assert distances(form, grey, 0.25, kind)[0] > 20


@pytest.mark.parametrize(("kind", "pair"), [("deuteranopia", "red, green"), ("protanopia", "red, green")])
def test_a_bad_pair_of_colours_would_be_noticed(kind: str, pair: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels, "FOR", np.array([200.0, 80.0, 40.0]))
    monkeypatch.setattr(pixels, "AGAINST", np.array([90.0, 140.0, 40.0]))
    assert min(distances("heatmap", grey, 1.0, kind)[0] for grey in GREYS) < 40, pair


def test_pages_draw_in_the_same_colours() -> None:
    source = "".join(p.read_text() for p in (Path(render.__file__).parent / "web/source").glob("*.ts"))
    found = {tuple(int(n) for n in match) for match in re.findall(r"\[(\d+), (\d+), (\d+)\]", source)}
    assert {tuple(FOR.astype(int)), tuple(AGAINST.astype(int))} <= found


def test_the_page_gives_these_distances() -> None:
    words = PAGE.read_text()
    assert all(row in words for row in table())
