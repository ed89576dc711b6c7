"""Cohorts of drawn files: no patient lies in two parts, and every part is read from either folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from contrafact.phantoms import KneeFactors, knee_phantom
from experiments.data import Cohort, balanced, chest_patient, load, phantoms
from experiments.evaluate.engines import page_of, places, planted_rows
from experiments.reading import FOLDERS
from experiments.stains import air_of, alike, stain_of, with_stain


def draw(path: Path, rng: np.random.Generator) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(rng.integers(0, 255, (16, 16), dtype=np.uint8)).save(path)


def files(root: Path, name: str) -> None:
    """Sixty patients with two images each, in the folders and under the names of the real cohort."""
    rng = np.random.default_rng(0)
    for number in range(60):
        for image in (1, 2):
            if name == "knee":
                part = "val" if number % 4 == 0 else "train"
                draw(root / FOLDERS[name] / part / str(number % 5) / f"9{number:03d}{'LR'[image - 1]}.jpg", rng)
            elif name == "brain":
                kind = ("glioma", "notumor")[number % 2]
                draw(root / FOLDERS[name] / kind / f"{number:03d}-{image}.jpg", rng)
            elif number % 2:
                draw(root / FOLDERS[name] / "train/PNEUMONIA" / f"person{number}_virus_{image}.jpeg", rng)
            else:
                draw(root / FOLDERS[name] / "train/NORMAL" / f"IM-{number:04d}-0001-000{image}.jpeg", rng)


@pytest.mark.parametrize("name", ["knee", "chest", "brain"])
def test_no_patient_lies_in_two_parts_and_no_image_in_none(tmp_path: Path, name: str) -> None:
    """Some chest radiographs of one patient differ in their last number alone."""
    files(tmp_path, name)
    parts = {part: load(name, tmp_path, part, side=16) for part in ("fit", "choice", "val", "train")}
    own = {part: set(cohort.patients) for part, cohort in parts.items()}
    assert all(own.values())
    assert not own["fit"] & own["choice"] and not own["train"] & own["val"]
    assert own["fit"] | own["choice"] == own["train"]
    assert len(parts["train"]) + len(parts["val"]) == 120
    assert len(own["train"] | own["val"]) == (120 if name == "brain" else 60), "brain slices name no patient"
    again = load(name, tmp_path / FOLDERS[name], "val", side=16)
    assert again.names == parts["val"].names and again.paths == parts["val"].paths


def test_the_patient_of_a_chest_radiograph() -> None:
    told = {
        "person63_bacteria_306": "person63",
        "IM-0115-0001": "IM-0115",
        "IM-0437-0001-0002": "IM-0437",
        "NORMAL2-IM-0115-0001": "NORMAL2-IM-0115",
    }
    assert {stem: chest_patient(Path(f"{stem}.jpeg")) for stem in told} == told


def test_grades_are_learned_as_cumulative_labels(tmp_path: Path) -> None:
    files(tmp_path, "knee")
    cohort = load("knee", tmp_path, "train", side=16)
    assert cohort.goals.shape == (len(cohort), 4)
    assert np.array_equal(cohort.goals.sum(dim=1).numpy(), cohort.levels)
    assert np.array_equal(cohort.goals[:, 1].numpy() > 0, cohort.labels > 0)


def test_a_balanced_choice_has_one_image_a_patient_and_as_many_of_each_label(tmp_path: Path) -> None:
    files(tmp_path, "chest")
    cohort: Cohort = load("chest", tmp_path, "train", side=16)
    chosen = balanced(cohort, 20)
    assert len(set(chosen.patients)) == len(chosen) == 20
    assert int(chosen.labels.sum()) == 10
    assert chosen.names != balanced(cohort, 20, seed=2).names


def test_each_class_has_as_many_crops_for_every_tenth_of_air() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [200, 400])
    air = np.where(labels == 0, rng.random(600), rng.random(600) ** 3)
    rows = alike(labels, air, rng)
    kept, tenth = labels[rows], (air[rows] * 10).astype(int)
    assert len(rows) > 100 and rows == sorted(set(rows))
    for k in range(10):
        assert (kept[tenth == k] == 0).sum() == (kept[tenth == k] == 1).sum()


def test_air_is_what_is_as_bright_as_the_background_of_the_tile_whatever_its_stain() -> None:
    tile = np.full((40, 40, 3), (240, 235, 238), np.uint8)
    tile[:, :10] = (150, 60, 140)
    pale = with_stain(tile, stain_of(tile), (np.array([0.3, 0.2, 0.25]), np.array([0.5, 0.6, 0.4])))
    assert air_of(tile, stain_of(tile)) == air_of(pale, stain_of(pale)) == 0.75


def test_phantoms_are_others_in_each_part_and_their_label_is_planted(tmp_path: Path) -> None:
    parts = {part: load("phantom", tmp_path, part, side=32) for part in ("fit", "choice", "val")}
    train = load("phantom", tmp_path, "train", side=32)
    assert train.patients == parts["fit"].patients + parts["choice"].patients
    assert (train.labels == np.concatenate([parts["fit"].labels, parts["choice"].labels])).all()
    assert not set(train.patients) & set(parts["val"].patients)
    seen = [image.numpy().tobytes() for cohort in parts.values() for image in cohort.images]
    assert len(set(seen)) == len(seen)
    for part, cohort in parts.items():
        planted = np.array([one.factors["joint_space"] for one in phantoms(part, 32).values()])
        np.testing.assert_array_equal(cohort.labels, planted < 3)
        assert 0.4 < cohort.labels.mean() < 0.6


def test_the_place_of_a_phantom_is_its_own_joint_and_what_moves_is_measured(tmp_path: Path) -> None:
    cohort, drawn = balanced(load("phantom", tmp_path, "choice", side=32), 20), phantoms("choice", 32)
    for name, where in zip(cohort.names, places("phantom", cohort, tmp_path, "choice"), strict=True):
        assert where is not None and (where == drawn[name].masks["joint_space"]).all()
    rng = np.random.default_rng(0)
    wide, narrow, marked = (
        knee_phantom(KneeFactors(joint_space=width, marker=marker), rng).image.values[0]
        for width, marker in ((4.5, 0.0), (1.5, 0.0), (4.5, 1.0))
    )
    rows = planted_rows([wide, narrow, wide], [narrow, wide, marked], np.array([True, False, False]))
    assert "narrower in 100%" in rows["joint to narrow, px of 32"]
    assert "wider in" in rows["joint to wide, px of 32"]
    assert float(rows["marker moves, share of its range (no cause)"].split(" ")[0]) > 0.25


def test_the_table_of_engines_has_figures_where_the_first_engine_made_nothing() -> None:
    text = page_of([{"engine": "translator"}, {"engine": "walk", "images": "7"}])
    assert "| images | – | 7 |" in text
