"""Attributes of style space: the planted causes of phantoms, what a move changes, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import contrafact as cf
from contrafact.cli import main
from contrafact.core import InputError, UnsupportedError
from contrafact.counterfactual.attributes import Attribute, StyleSpace, _flips, find_attributes, frames_of
from contrafact.models import TorchPredictor
from contrafact.phantoms import measure_joint_space, measure_marker


@pytest.fixture(scope="module")
def bundle() -> cf.Bundle:
    return cf.load_bundle("phantom")


def found(bundle: cf.Bundle, name: str, **settings: object) -> list[Attribute]:
    predictor = bundle.predictors[name]
    asked = {"count": 3, "images": 16, **settings}
    return find_attributes(bundle, predictor, predictor.target("class:1"), **asked)  # type: ignore[arg-type]


def test_the_first_attribute_of_each_model_is_what_it_was_made_to_read(bundle: cf.Bundle) -> None:
    """The honest model reads the joint space, the cheating one the marker; both are planted."""
    latents = bundle.latent.generator.sample(24, torch.Generator().manual_seed(5), psi=0.7)
    changed = {}
    for name in ("honest", "cheat"):
        best = found(bundle, name)[0]
        frames = frames_of(bundle, best, latents, (0.0, 1.0)).numpy()[:, :, 0]
        joint = np.mean([abs(measure_joint_space(b) - measure_joint_space(a)) for a, b in frames])
        marker = np.mean([abs(measure_marker(b) - measure_marker(a)) for a, b in frames])
        changed[name] = (joint / 4.0, marker)  # as shares of the planted ranges
    assert changed["honest"][0] > 2 * changed["honest"][1], changed
    assert changed["cheat"][1] > 2 * changed["cheat"][0], changed


def test_attributes_are_ordered_and_measured_again_on_other_images(bundle: cf.Bundle) -> None:
    rows = found(bundle, "honest", count=4)
    effects = [row.effect for row in rows]
    assert effects == sorted(effects, reverse=True) and min(effects) > 0
    for row in rows:
        assert row.interval[0] < row.effect < row.interval[1]
        assert row.again > 0 and 0 <= row.flips <= 1
        assert row.second is not None
    assert found(bundle, "honest", count=4) == rows  # the same seed, the same rows
    other = found(bundle, "honest", count=4, seed=1)
    places = [{(row.layer, row.coordinate) for row in some} for some in (rows, other)]
    assert len(places[0] & places[1]) >= 2


def test_a_move_changes_one_style_and_leaves_nothing_behind(bundle: cf.Bundle) -> None:
    space = StyleSpace(bundle)
    latents = bundle.latent.generator.sample(3, torch.Generator().manual_seed(5))
    plain = bundle.latent.generator.decode(latents)
    styles = space.styles(latents)
    assert len(styles) == len(space.layers) and all(len(s) == 3 for s in styles)
    assert torch.equal(space.moved(latents, (2, 1), 0.0), plain)
    assert not torch.allclose(space.moved(latents, (2, 1), 2.0), plain, atol=1e-3)
    assert torch.equal(bundle.latent.generator.decode(latents), plain)

    def total(images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1).double().sum(dim=1)

    gradient = space.gradients(latents, total)[2][:, 1]
    step = 1e-2
    finite = (total(space.moved(latents, (2, 1), step)) - total(space.moved(latents, (2, 1), -step))) / (
        2 * step
    )
    torch.testing.assert_close(gradient.double(), finite, rtol=0.02, atol=1e-2)


def test_what_has_no_style_space_is_refused(bundle: cf.Bundle) -> None:
    predictor = bundle.predictor
    target = predictor.target("class:1")
    with pytest.raises(InputError, match="count from 1"):
        find_attributes(bundle, predictor, target, count=0)
    legacy = type("Legacy", (), {"generator": object()})()
    with pytest.raises(UnsupportedError, match="a generator with style space"):
        StyleSpace(type("Other", (), {"latent": legacy, "name": "other"})())  # type: ignore[arg-type]


def test_a_segmenters_target_is_refused_in_its_own_words(bundle: cf.Bundle) -> None:
    segmenter = TorchPredictor(torch.nn.Conv2d(1, 3, 3, padding=1), classes=("none", "bone", "joint"))
    with pytest.raises(UnsupportedError, match="attributes need a target that is the same place"):
        find_attributes(bundle, segmenter, segmenter.target("region:1"), images=4)


def test_the_verb_writes_rows_and_strips_and_keeps_the_names_of_a_reader(tmp_path: Path) -> None:
    words = ["attributes", "phantom", "--count", "2", "--images", "8", "--out", str(tmp_path / "a"), "--quiet"]
    assert main(words) == 0
    file = tmp_path / "a" / "attributes.json"
    table = json.loads(file.read_text())
    assert table["bundle"] == "phantom" and table["target"] == "class:1" and len(table["attributes"]) == 2
    row = table["attributes"][0]
    assert (tmp_path / "a" / row["strip"]).stat().st_size > 1000
    row["name"] = "joint space"
    file.write_text(json.dumps(table))
    assert main(words) == 0
    assert json.loads(file.read_text())["attributes"][0]["name"] == "joint space"
    assert main(["attributes", "phantom", "--target", "class:7", "--out", str(tmp_path / "b")]) == 2


def test_names_outlive_a_shorter_list_and_no_other_target_takes_their_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "attributes.json"
    words = ["attributes", "phantom", "--images", "8", "--out", str(tmp_path), "--quiet", "--count"]
    assert main([*words, "2"]) == 0
    table = json.loads(file.read_text())
    for row, name in zip(table["attributes"], ("first", "second"), strict=True):
        row["name"] = name
    file.write_text(json.dumps(table))
    assert main([*words, "1"]) == 0 and main([*words, "2"]) == 0
    assert [row["name"] for row in json.loads(file.read_text())["attributes"]] == ["first", "second"]
    before = file.read_bytes()
    assert main([*words, "1", "--target", "class:0"]) == 2 and file.read_bytes() == before
    assert "another target" in capsys.readouterr().err
    table = json.loads(before)
    file.write_text(json.dumps({**table, "generator": "of another training"}))
    assert main([*words, "1"]) == 2 and "another generator" in capsys.readouterr().err
    for damaged in ("[1]", '{"attributes": [1]}', '{"attributes": [], "further_names": 3}'):
        file.write_text(damaged)
        assert main([*words, "1"]) == 2 and "expected attributes" in capsys.readouterr().err


def test_the_knees_latent_space_is_asked_through_its_own_model_and_a_model_of_larger_images_is_refused() -> (
    None
):
    """The bundle holds two sizes of images: its classifier takes 128 pixels, its generator makes 64."""
    knee = cf.load_bundle("knee")
    [best] = cf.find_attributes(knee, count=1, images=4)
    [same] = cf.find_attributes(knee, knee.predictors["classifier_64"], "class:1", count=1, images=4)
    assert best == same
    with pytest.raises(InputError, match="expected a model of that size.*classifier_64"):
        cf.find_attributes(knee, knee.predictor, "class:1", images=4)


@pytest.mark.parametrize(
    ("target", "expected"),
    [("class:1", 0.5), ("margin:1,0", 0.5), ("probability:1", 1.0), ("value:0", None), ("grade", None)],
)
def test_flips_are_those_of_a_decision_and_a_value_has_none(target: str, expected: float | None) -> None:
    """A logit decides at 0 and a probability at one half; a value or a grade decides nothing."""
    before, after = torch.tensor([-0.5, -0.2, 0.4, 0.7]), torch.tensor([0.6, -0.1, 0.6, 0.8])
    if target.startswith("probability"):
        before, after = torch.tensor([0.2, 0.4, 0.7]), torch.tensor([0.6, 0.7, 0.9])
    assert _flips(before, after, target) == expected
    assert _flips(after.abs() + 1, after.abs() + 2, target) is None  # nobody is on the other side


def test_a_probability_has_flips_and_a_value_has_none(bundle: cf.Bundle) -> None:
    predictor = bundle.predictors["honest"]
    odds, share = (
        find_attributes(bundle, predictor, target, count=1, images=16)
        for target in ("class:1", "probability:1")
    )
    assert share[0].flips and odds[0].flips
    numbers = TorchPredictor(
        torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(32 * 32, 1)),
        classes=("size",),
        output="regression",
        preprocessing=cf.Preprocessing(window=(0, 255)),
    )
    [row] = find_attributes(bundle, numbers, "value:0", count=1, images=4)
    assert row.flips is None and row.second is None
