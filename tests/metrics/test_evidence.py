"""Where a map's evidence lies, in named places, and the sentence that says so."""

from __future__ import annotations

import numpy as np
import pytest

from contrafact.core import Grid, InputError
from contrafact.metrics.evidence import OUTSIDE, Place, across, body, evidence, in_words, places_of


def scene() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A bright disc in air; a lesion of 3 x 3 left of the middle; the labels."""
    y, x = np.mgrid[:40, :40] - 19.5
    image = np.where(np.hypot(y, x) < 15, 100.0, 0.0)[None]
    labels = np.zeros((40, 40))
    labels[18:21, 10:13] = 1
    return image, labels, np.zeros((40, 40))


def test_shares_are_counted_where_they_lie() -> None:
    image, labels, values = scene()
    values[19, 11], values[19, 28], values[0, 0], values[20, 20] = 6.0, 1.0, 2.0, 1.0
    values[18, 10] = -3.0
    places = places_of(labels, {1: "lesion"}, Grid((40, 40)), image)
    assert set(places) == {"lesion", "the other side of lesion", OUTSIDE}
    found = {p.name: p for p in evidence(values, places)}
    assert found["lesion"].share == pytest.approx(0.6)
    assert found["lesion"].against == 1
    assert found["lesion"].size == pytest.approx(9 / 1600)
    assert found["the other side of lesion"].share == pytest.approx(0.1)
    assert found[OUTSIDE].share == pytest.approx(0.2)
    words = in_words(evidence(values, places), "pneumonia")
    assert words.startswith(
        "60 % of the evidence for pneumonia lies in the lesion, which is under 1 % of the image"
    )
    assert "20 % outside the body" in words and "10 % on the other side of lesion" in words
    assert words.endswith("The model uses image content outside the patient.")


def test_the_body_is_the_bright_thing_with_its_holes() -> None:
    image, _, _ = scene()
    image[0, 18:22, 18:22] = 0  # air inside
    y, x = np.mgrid[:40, :40] - 19.5
    found = body(image)
    assert found[19, 19] and not found[0, 0]
    assert abs(found.sum() - (np.hypot(y, x) < 15).sum()) < 130  # to a voxel at the edge
    assert body(np.ones((1, 8, 8))).all()


def test_left_and_right_follow_the_affine() -> None:
    assert across(Grid((4, 5))) == 1
    affine = np.eye(4)
    assert across(Grid((4, 5, 6), affine=affine)) == 0
    affine[:3, :3] = [[0.1, 0, -2], [0, 3, 0], [1, 0, 0]]  # the last array axis runs from right to left
    assert across(Grid((4, 5, 6), affine=affine)) == 2


def test_a_place_across_the_middle_has_no_other_side() -> None:
    _, labels, _ = scene()
    labels[18:21, 10:30] = 1
    assert set(places_of(labels, {1: "heart"}, Grid((40, 40)))) == {"heart"}


def test_the_other_side_of_a_place_is_no_other_place() -> None:
    labels = np.zeros((40, 40))
    labels[18:21, 10:13], labels[18:21, 28:30] = 1, 2
    places = places_of(labels, {1: "left lung", 2: "right lung"}, Grid((40, 40)))
    assert set(places) == {"left lung", "right lung", "the other side of left lung"}
    rows, columns = np.nonzero(places["the other side of left lung"])
    assert (set(rows.tolist()), set(columns.tolist())) == ({18, 19, 20}, {27})


def test_what_cannot_be_placed_is_said() -> None:
    image, labels, values = scene()
    with pytest.raises(InputError, match=r"the labels hold \[1\]; got names for \[2\]"):
        places_of(labels, {2: "spleen"}, Grid((40, 40)))
    with pytest.raises(InputError, match="zero everywhere"):
        evidence(values, places_of(labels, {1: "lesion"}, Grid((40, 40)), image))
    with pytest.raises(InputError, match="'lesion' must be"):
        evidence(np.ones((8, 8)), places_of(labels, {1: "lesion"}, Grid((40, 40))))
    values[0, 0] = 1
    assert "None of the evidence" in in_words(evidence(values, {"lesion": labels == 1}))


def test_the_place_with_most_evidence_is_said_as_the_others_are() -> None:
    def said(name: str) -> str:
        place = Place(name=name, share=0.6, against=0.0, size=0.3)
        return in_words([place], "pneumonia")

    assert said(OUTSIDE).startswith("60 % of the evidence for pneumonia lies outside the body, which is 30 %")
    assert "lies on the other side of femur, which" in said("the other side of femur")
    assert "lies in the femur, which" in said("femur")
