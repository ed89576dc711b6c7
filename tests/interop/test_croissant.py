"""The description of a cohort: valid Croissant, read by MLCommons' own library, without names."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture

from contrafact.core import InputError
from contrafact.interop import cohort_card
from contrafact.io.images import DICOM, SUFFIXES

TEXTS = {
    "name": "phantoms",
    "description": "Two phantoms.",
    "licence": "https://creativecommons.org/publicdomain/zero/1.0/",
    "url": "https://example.org/phantoms",
}


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    for name in ("healthy/SMITH.png", "ill/JONES.png"):
        (tmp_path / name).parent.mkdir()
        Picture.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / name)
    rows = ["path,patient,label,split", "healthy/SMITH.png,p1,no,train", "ill/JONES.png,p2,yes,test"]
    (tmp_path / "cohort.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "cohort.csv"


def test_a_table_is_named_with_its_digest_its_columns_and_its_counts(cohort: Path) -> None:
    card = cohort_card(cohort, **TEXTS, more={"version": "1.0.0"})
    table, images = card["distribution"]
    assert table["sha256"] == hashlib.sha256(cohort.read_bytes()).hexdigest()
    assert images["includes"] == "**/*.png" and images["encodingFormat"] == "image/png"
    columns = [field["source"]["extract"]["column"] for field in card["recordSet"][0]["field"]]
    assert columns == ["path", "patient", "label", "split"] and card["version"] == "1.0.0"
    said = "2 images of 2 patients; labels no (1), yes (1); splits test (1), train (1)."
    assert card["description"] == f"Two phantoms. {said}"


def test_no_name_of_a_file_or_of_a_patient_is_in_it(cohort: Path) -> None:
    for path in (cohort, cohort.parent):
        text = json.dumps(cohort_card(path, **TEXTS))
        assert not [name for name in ("SMITH", "JONES", "p1", "p2") if name in text]


def test_every_kind_of_file_that_is_read_has_its_type_and_no_part_of_a_name(cohort: Path) -> None:
    names = [f"JONES.7{ending}" for ending in SUFFIXES] + ["JONES.1.2.840", "SMITH.PNG"]
    for name in names:
        (cohort.parent / name).write_bytes(b"")
    cohort.write_text("\n".join(["path,patient,label", *(f"{name},1,a" for name in names)]) + "\n")
    _, *kinds = cohort_card(cohort, **TEXTS)["distribution"]
    types = {kind["includes"].removeprefix("**/*"): kind["encodingFormat"] for kind in kinds}
    assert set(types) == {*SUFFIXES, "", ".PNG"}
    assert {ending for ending, kind in types.items() if kind == "application/dicom"} == {"", *DICOM}
    assert types[".nii.gz"] == "application/gzip" and types[".bmp"] == "image/bmp"
    assert types[".PNG"] == types[".png"] == "image/png" and types[".npy"] == "application/octet-stream"


def test_a_folder_has_its_images_and_labels(cohort: Path) -> None:
    cohort.unlink()
    card = cohort_card(cohort.parent, **TEXTS)
    assert len(card["distribution"]) == 1 and "recordSet" not in card
    assert "labels healthy (1), ill (1)" in card["description"]


@pytest.mark.filterwarnings("default")  # of the library
def test_mlcommons_library_validates_it_and_reads_the_records(cohort: Path) -> None:
    croissant: Any = pytest.importorskip("mlcroissant", reason="needs mlcroissant: pip install mlcroissant")
    more = {"version": "1.0.0", "datePublished": "2026-01-31", "citeAs": "Nobody."}
    for path in (cohort, cohort.parent):
        file = cohort.parent / f"{path.stem}.json"
        file.write_text(json.dumps(cohort_card(path, **TEXTS, more=more)))
        read = croissant.Dataset(file)
        assert not read.metadata.issues.errors and not read.metadata.issues.warnings
    records = list(croissant.Dataset(cohort.parent / "cohort.json").records("cases"))
    assert [record["cases/label"] for record in records] == [b"no", b"yes"]


def test_an_empty_text_is_refused(cohort: Path) -> None:
    with pytest.raises(InputError, match="expected a licence of the cohort; got an empty text"):
        cohort_card(cohort, **{**TEXTS, "licence": " "})
