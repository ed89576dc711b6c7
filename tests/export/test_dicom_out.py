"""Runs as DICOM: every voxel where the source has it, nothing private, synthetic said to be synthetic."""

from __future__ import annotations

import dataclasses
import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image as Picture
from pydicom.data import get_testdata_file

from contrafact.cli import main
from contrafact.core import ContrafactError, Counterfactual, Grid, Heatmap, Image, InputError, Record
from contrafact.export.dicom.export import export_dicom
from contrafact.export.run_files import export_run
from contrafact.io import Run, read_image
from contrafact.render.pixels import signed_scale

pytest.importorskip("highdicom", reason="pip install 'contrafact[dicom]'")
from contrafact.export.dicom.images import Levels, burnt, levels_for, text
from contrafact.export.dicom.maps import quantity_of, strongest
from contrafact.export.dicom.send import Archive, read_archive, send
from contrafact.export.dicom.source import flipped, places, upright_flips

MAP, REGION = "1.2.840.10008.5.1.4.1.1.30", "1.2.840.10008.5.1.4.1.1.66.4"
CAPTURE, REPORT = "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.88.34"
CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
PRIVATE = ("Müller", "PID-77", "19610101", "ACC-5", "Dr^House", "St. Elsewhere", "secret words", "20200229")
# dciodvfy of 2022 does not know (0008,001C) Synthetic Data, which the standard has since 2023.
TOO_NEW = ("(0x0008,0x001c)",)


def series(folder: Path, *, modality: str = "CT", slices: int = 4, **changes: object) -> Path:
    """A tilted series of a patient with a name, in a shuffled order of files."""
    folder.mkdir(parents=True)
    turn = 0.3
    across, down = [np.cos(turn), np.sin(turn), 0.0], [0.0, 0.0, -1.0]
    for number in range(slices):
        data = pydicom.dcmread(get_testdata_file("CT_small.dcm" if modality == "CT" else "MR_small.dcm"))
        data.SpecificCharacterSet = "ISO_IR 100"
        data.PatientName, data.PatientID, data.PatientBirthDate = "Müller^Jürgen", "PID-77", "19610101"
        data.AccessionNumber, data.ReferringPhysicianName = "ACC-5", "Dr^House"
        data.InstitutionName, data.StudyDescription, data.StudyDate = (
            "St. Elsewhere",
            "secret words",
            "20200229",
        )
        data.ImageComments = data.SeriesDescription = data.StudyDescription = "secret words"
        data.ImageOrientationPatient = [*across, *down]
        start = np.array([-20.5, 30.25, 7.0]) + number * 2.5 * np.cross(across, down)
        data.ImagePositionPatient = [round(float(v), 6) for v in start]
        data.PixelSpacing = [0.7, 0.9]
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
        data.add_new(0x00091001, "LO", "secret words")
        for name, value in changes.items():
            setattr(data, name, value)
        data.save_as(folder / f"{(number * 3) % slices}.dcm")
    return folder


def record(image: Image, method: str = "gradcam", target: str = "class:1") -> Record:
    return Record(
        method=method,
        parameters={"name": method},
        target=target,
        model="m" * 16,
        image=image.digest,
        source=image.source,
        versions={"contrafact": "0.1.0"},
        notes={"completeness": 0.01},
    )


def values_for(image: Image) -> np.ndarray:
    return np.random.default_rng(0).normal(size=image.grid.shape).astype(np.float32)


def add_map(run: Run, image: Image, key: str = "map", values: np.ndarray | None = None, **extra: Any) -> None:
    values = values_for(image) if values is None else values
    card = {
        "name": "small noise",
        "value": 0.1,
        "threshold": 0.5,
        "passed": True,
        "sentence": "Hardly changes.",
    }
    open_ = {
        "name": "other seeds",
        "value": None,
        "threshold": None,
        "passed": None,
        "sentence": "Not checked.",
    }
    extra = {"answers": ["yes 97 %", "no 3 %"], "target_name": "yes", "trust": [card, open_]} | extra
    run.add(key, image, Heatmap(values=values, grid=image.grid, record=record(image)), **extra)


def add_strip(run: Run, image: Image, key: str = "strip", grid: Grid | None = None) -> np.ndarray:
    grid = grid or image.grid
    low, high = image.values.min(), image.values.max()
    share = np.random.default_rng(1).uniform(0, 1, (3, image.channels, *grid.shape))
    frames = np.round(low + share * (high - low)).astype(np.float32)
    steps = np.array([-1.0, 0.0, 1.0])
    strip = Counterfactual(
        frames=frames, requested=steps, scores=2 * steps, latent_distance=abs(steps), origin=1,
        reconstruction_error=0.1, above_tolerance=False,
        outcome="reached", goal=2.0, reconstruction=frames[1], grid=grid,
        record=dataclasses.replace(record(image, "latent-walk"), bundle="b" * 16, generator="a" * 16),
    )  # fmt: skip
    run.add(key, image, strip, target_name="yes")
    return frames


def exported(tmp_path: Path, *images: Image, strip: bool = False, **choices: Any) -> dict[str, list[Any]]:
    """Files by SOP class, of a run with one map (and one strip) of every image."""
    run = Run.create(tmp_path / "run", about={"title": "t", "bundles": [{"name": "toy"}]})
    for number, image in enumerate(images):
        add_map(run, image, f"map{number}")
        if strip:
            add_strip(run, image, f"strip{number}")
    return written(export_dicom(run, tmp_path / "dicom", **choices))


def written(paths: Iterator[Path]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for path in paths:
        if path.suffix == ".dcm":
            data = pydicom.dcmread(path)
            found.setdefault(str(data.SOPClassUID), []).append(data)
    return found


def missing(tmp_path: Path) -> str:
    return json.dumps(json.loads((tmp_path / "dicom" / "about.json").read_text())["missing"])


def frames_at(data: Any) -> list[list[float]]:
    return [
        [float(v) for v in frame.PlanePositionSequence[0].ImagePositionPatient]
        for frame in data.PerFrameFunctionalGroupsSequence
    ]


def slices_of(data: Any, grid: Grid) -> list[int]:
    """Which slice of the grid every frame is, by its position: the order of frames is free."""
    known = np.array([p["ImagePositionPatient"] for p in places(grid)], dtype=float)
    distances = np.linalg.norm(known[None] - np.array(frames_at(data))[:, None], axis=-1)
    assert distances.min(axis=1).max() < 1e-3
    return [int(k) for k in distances.argmin(axis=1)]


def in_place(data: Any, grid: Grid) -> np.ndarray:
    return np.asarray(data.pixel_array[np.argsort(slices_of(data, grid))])


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_a_volume_becomes_a_float_map_a_region_and_figures_where_the_source_lies(
    tmp_path: Path, modality: str
) -> None:
    image = read_image(series(tmp_path / "source", modality=modality))
    found = exported(tmp_path, image)
    assert {k: len(v) for k, v in found.items()} == {MAP: 1, REGION: 1, CAPTURE: 1, REPORT: 1}
    (data,) = found[MAP]
    np.testing.assert_array_equal(in_place(data, image.grid), values_for(image))
    assert "FloatPixelData" in data and data.ContentQualification == "RESEARCH"
    sources = sorted(
        (pydicom.dcmread(p) for p in (tmp_path / "source").iterdir()), key=lambda d: d.SOPInstanceUID
    )
    shared = data.SharedFunctionalGroupsSequence[0]
    order = [list(map(float, d.ImagePositionPatient)) for d in sources]
    assert frames_at(data) == order or frames_at(data) == order[::-1]
    assert list(shared.PlaneOrientationSequence[0].ImageOrientationPatient) == pytest.approx(
        list(sources[0].ImageOrientationPatient), abs=1e-9
    )
    assert list(shared.PixelMeasuresSequence[0].PixelSpacing) == [0.7, 0.9]
    for one in (data, *found[REGION]):
        assert one.FrameOfReferenceUID == sources[0].FrameOfReferenceUID
        assert one.StudyInstanceUID == sources[0].StudyInstanceUID
        assert one.SeriesInstanceUID != sources[0].SeriesInstanceUID
        assert one.SeriesNumber > 900
        assert "SyntheticData" not in one
    # The affine of the source itself, from positions, orientation and spacing that were written.
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.grid.affine
    second = frames_at(data)[slices_of(data, image.grid).index(1)]
    np.testing.assert_allclose(second, affine[:3, 3] + affine[:3, 0], atol=1e-4)
    mapping = shared.RealWorldValueMappingSequence[0]
    assert mapping.QuantityDefinitionSequence[0].ConceptCodeSequence[0].CodeValue == "130403"
    references = data.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert {r.ReferencedSOPInstanceUID for r in references} == {d.SOPInstanceUID for d in sources}


def test_the_region_holds_half_of_the_evidence_in_the_fewest_voxels(tmp_path: Path) -> None:
    values = np.array([[4.0, 3.0, 2.0, 1.0, -5.0, -1.0]])
    evidence_for, against = strongest(values)
    np.testing.assert_array_equal(evidence_for, [[1, 1, 0, 0, 0, 0]])
    np.testing.assert_array_equal(against, [[0, 0, 0, 0, 1, 0]])
    assert strongest(values, 1.0)[0].sum() == 4
    assert not strongest(np.zeros((2, 2)))[0].any()
    image = read_image(series(tmp_path / "source"))
    (data,) = exported(tmp_path, image)[REGION]
    masks = strongest(values_for(image))
    places_of = [list(map(float, h)) for h in frames_at(data)]
    grid = {tuple(map(float, p["ImagePositionPatient"])): k for k, p in enumerate(places(image.grid))}
    for frame, place, item in zip(
        data.pixel_array, places_of, data.PerFrameFunctionalGroupsSequence, strict=True
    ):
        k = min(grid, key=lambda known: float(np.abs(np.subtract(known, place)).sum()))
        segment = item.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        np.testing.assert_array_equal(frame, masks[segment - 1][grid[k]])
    assert [s.SegmentLabel for s in data.SegmentSequence] == [
        "Evidence for: gradcam for class:1 (yes)",
        "Evidence against: gradcam for class:1 (yes)",
    ]


def test_figures_checks_and_probabilities_are_in_the_report(tmp_path: Path) -> None:
    found = exported(tmp_path, read_image(series(tmp_path / "source")), strip=True)
    (report,) = found[REPORT]
    shown, numbers, said = str(report), [], []

    def walk(items: Any) -> None:
        for item in items:
            if item.ValueType == "NUM":
                name = item.ConceptNameCodeSequence[0].CodeMeaning
                numbers.append((name, float(item.MeasuredValueSequence[0].NumericValue)))
            said.append(str(item.get("TextValue", "")))
            walk(item.get("ContentSequence", ()))

    walk(report.ContentSequence)
    for wanted in (("Probability of yes", 97), ("completeness", 0.01), ("Score after", 2)):
        assert wanted in numbers
    for wanted in (("Change requested", 1), ("Change achieved", 2), ("Reconstruction error", 0.1)):
        assert wanted in numbers
    assert ("Probability before", 50.0) in numbers
    assert ("Check: robustness to noise, measured", 0.1) in numbers
    for words in ("Check: seed stability", "not checked", "passed"):
        assert words in shown
    assert "robustness to noise: Hardly changes." in said
    drawn = [words for words in said if words.startswith("Generated by")]
    assert drawn == [f"Generated by toy, generator hash {'a' * 16}, bundle hash {'b' * 16}"]  # not of the map
    evidence = report.CurrentRequestedProcedureEvidenceSequence[0].to_json() + json.dumps(
        [e.to_json() for e in report.get("PertinentOtherEvidenceSequence", ())]
    )
    for one in (*found[MAP], *found[REGION]):
        assert one.SOPInstanceUID in evidence


@pytest.mark.parametrize(("modality", "sop_class"), [("CT", CT), ("MR", MR)])
def test_drawn_frames_are_a_derived_series_with_every_flag(
    tmp_path: Path, modality: str, sop_class: str
) -> None:
    image = read_image(series(tmp_path / "source", modality=modality, BodyPartExamined="HEAD"))
    run = Run.create(tmp_path / "run", about={"bundles": [{"name": "toy"}]})
    frames = add_strip(run, image)
    drawn = written(export_dicom(run, tmp_path / "dicom", banner=False))[sop_class]
    assert len(drawn) == 3 * 4
    assert len({d.SeriesInstanceUID for d in drawn}) == 3
    assert len({d.SOPInstanceUID for d in drawn}) == 12
    source = pydicom.dcmread(tmp_path / "source" / "0.dcm")
    original = [d for d in drawn if "SyntheticData" not in d]
    assert len(original) == 4 and len({d.SeriesInstanceUID for d in original}) == 1
    for data in original:  # frame 1 of the toy is the image itself
        assert data.SeriesDescription.startswith("Original") and "Original image, frame 1" in (
            data.DerivationDescription
        )
        assert "DerivationCodeSequence" not in data and "ContributingEquipmentSequence" not in data
        assert "SYNTHETIC" not in str(data) and data.StudyInstanceUID == source.StudyInstanceUID
    for data in (d for d in drawn if d not in original):
        assert data.SyntheticData == "YES"
        assert data.ImageType[:2] == ["DERIVED", "SECONDARY"]
        equipment = data.ContributingEquipmentSequence[0]
        assert equipment.PurposeOfReferenceCodeSequence[0].CodeValue == "109100"
        assert (equipment.Manufacturer, equipment.ManufacturerModelName) == ("Contrafact", "toy")
        assert equipment.SoftwareVersions == "0.1.0" and equipment.ContributionDateTime
        assert data.DerivationCodeSequence[0].CodingSchemeDesignator.startswith("99")
        reference = data.SourceImageSequence[0]
        assert reference.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
        assert reference.ReferencedSOPInstanceUID.startswith("1.2.3.")
        assert data.ContentQualification == "RESEARCH"
        assert data.BurnedInAnnotation == "NO" and data.RecognizableVisualFeatures == "YES"
        assert data.SeriesDescription.startswith("SYNTHETIC") and data.SeriesNumber > 900
        assert data.StudyInstanceUID == source.StudyInstanceUID
        assert data.FrameOfReferenceUID == source.FrameOfReferenceUID
        assert data.SeriesInstanceUID != source.SeriesInstanceUID
    assert "class:1 (yes)" in drawn[-1].DerivationDescription
    assert "50 % before, 88 % here" in drawn[-1].DerivationDescription
    hashes = f"generator toy, generator hash {'a' * 16}, bundle hash {'b' * 16}"
    assert drawn[-1].DerivationDescription.endswith(hashes)
    folders = sorted(p for p in (tmp_path / "dicom" / "image-000").iterdir() if p.is_dir())
    for folder, frame in zip(folders, frames, strict=True):
        again = read_image(folder)
        assert again.grid == image.grid
        np.testing.assert_allclose(again.values, frame, atol=0.51)


def test_frames_of_their_own_size_lie_in_the_same_place(tmp_path: Path) -> None:
    image = read_image(series(tmp_path / "source"))
    run = Run.create(tmp_path / "run", about={})
    small = image.grid.resized((4, 32, 32))
    add_strip(run, image, grid=small)
    list(export_dicom(run, tmp_path / "dicom", banner=False))
    folder = next(p for p in (tmp_path / "dicom" / "image-000").iterdir() if p.is_dir())
    assert read_image(folder).grid == small
    data = pydicom.dcmread(folder / "slice-0000.dcm")
    assert len(data.SourceImageSequence) == 4


def test_frames_of_a_stretched_image_are_written_in_the_units_of_the_file(tmp_path: Path) -> None:
    image = read_image(series(tmp_path / "source", WindowCenter=40, WindowWidth=400))
    run = Run.create(tmp_path / "run", about={"model": "/home/somebody/net.onnx"})
    frames = add_strip(run, image.rescaled(0, 255))
    drawn = written(export_dicom(run, tmp_path / "dicom", banner=False))[CT]
    folder = next(p for p in sorted((tmp_path / "dicom" / "image-000").iterdir()) if p.is_dir())
    again = read_image(folder)
    np.testing.assert_allclose(again.values, -160 + frames[0] / 255 * 400, atol=0.51)
    assert again.window == (-160, 240)
    assert "somebody" not in str(drawn[0])


@pytest.mark.parametrize("width", [20, 34, 64, 128, 512])
def test_the_banner_is_burnt_in_unless_switched_off(tmp_path: Path, width: int) -> None:
    grey = np.full((width, width), 50.0)
    marked = burnt(grey, low=0.0, high=100.0)
    assert (marked[:12] == 100).sum() > 10 and (marked[:8] == 0).sum() > 10
    assert (marked == 50).mean() > 0.4
    np.testing.assert_array_equal(burnt(np.repeat(grey[..., None], 3, 2), low=0, high=100)[..., 1], marked)
    if width == 128:
        image = read_image(series(tmp_path / "source"))
        first, second = (
            exported(tmp_path / name, image, strip=True, banner=banner)[CT][0].pixel_array
            for name, banner in (("with", True), ("without", False))
        )
        assert (first != second).any(axis=1)[:6].all()
        assert not (first != second).any(axis=1)[20:100].any()


def test_nothing_private_leaves_unless_told(tmp_path: Path) -> None:
    image = read_image(series(tmp_path / "Müller Jürgen PID-77"))
    found = exported(tmp_path, image, strip=True)
    for path in (tmp_path / "dicom").rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        for words in PRIVATE:
            for charset in ("utf-8", "latin-1"):
                assert words.encode(charset) not in content + str(path.relative_to(tmp_path)).encode(), path
    for data in (d for group in found.values() for d in group):
        assert data.PatientName == "anonymous" and data.PatientID.startswith("anonymous-")
        assert data.PatientIdentityRemoved == "YES"
        assert not any(e.tag.is_private for e in data)
    kept = exported(tmp_path / "kept", image, strip=True, keep_patient=True)
    for data in (d for group in kept.values() for d in group):
        assert data.PatientName == "Müller^Jürgen" and data.PatientID == "PID-77"
        assert data.AccessionNumber == "ACC-5" and data.StudyDate == "20200229"
        assert "PatientIdentityRemoved" not in data
        assert "St. Elsewhere" not in str(data)  # never copied
        assert not any(e.tag.is_private for e in data)
    assert "anonymous" in (tmp_path / "dicom" / "about.json").read_text()


def uids_in(data: Any) -> set[str]:
    """Every UID of a file that is not DICOM's own."""
    found = {str(e.value) for e in data.iterall() if e.VR == "UI" and e.VM == 1}
    return {uid for uid in found if not uid.startswith("1.2.840.10008.")}


def test_new_uids_lead_nowhere_without_their_key(tmp_path: Path) -> None:
    image = read_image(series(tmp_path / "source"))
    own = set[str]()
    for path in (tmp_path / "source").iterdir():
        own |= uids_in(pydicom.dcmread(path))
    key = tmp_path / "key.json"
    found = [d for group in exported(tmp_path, image, strip=True, key=key).values() for d in group]
    used = set[str]().union(*map(uids_in, found))
    assert found and not used & own
    back = json.loads(key.read_text())["uids"]
    assert set(back.values()) <= own and set(back) & used and key.stat().st_mode & 0o077 == 0
    assert len({d.StudyInstanceUID for d in found}) == 1 and back[found[0].StudyInstanceUID] in own
    for data in found:
        for item in data.get("SourceImageSequence", ()):
            assert item.ReferencedSOPInstanceUID in back
    assert all("UIDs replaced" in d.DeidentificationMethod for d in found)
    again = dict(back)
    list(export_dicom(Run(tmp_path / "run"), tmp_path / "second", key=key))
    assert json.loads(key.read_text())["uids"] == again  # the same UIDs for the same study
    with pytest.raises(InputError, match="outside"):
        list(export_dicom(Run(tmp_path / "run"), tmp_path / "third", key=tmp_path / "third/key.json"))


def test_what_was_synthetic_stays_so_and_burnt_text_is_admitted(tmp_path: Path) -> None:
    changes = {"SyntheticData": "YES", "BurnedInAnnotation": "YES", "LossyImageCompression": "01"}
    found = exported(tmp_path, read_image(series(tmp_path / "source", **changes)), strip=True)
    for data in (d for group in found.values() for d in group):
        assert data.SyntheticData == "YES"
    assert {d.BurnedInAnnotation for d in (*found[CT], *found[CAPTURE])} == {"YES"}
    assert {d.LossyImageCompression for d in found[CT]} == {"01"}
    assert "text in the pixels" in missing(tmp_path)


def test_a_radiograph_becomes_a_picture_and_a_region(tmp_path: Path) -> None:
    data = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "FrameOfReferenceUID", "PixelSpacing"):
        del data[name]
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    data.Modality, data.ImagerPixelSpacing = "DX", [0.2, 0.3]
    data.save_as(tmp_path / "dx.dcm")
    found = exported(tmp_path, read_image(tmp_path / "dx.dcm"), strip=True)
    assert {k: len(v) for k, v in found.items()} == {CAPTURE: 5, REGION: 1, REPORT: 1}
    assert found[CAPTURE][0].PhotometricInterpretation == "RGB"
    synthetic = [d for d in found[CAPTURE] if d.get("SyntheticData") == "YES"]
    assert [d.InstanceNumber for d in synthetic] == [1, 3, 1]  # two frames, and all beside each other
    assert len({d.SeriesInstanceUID for d in synthetic}) == 2
    assert list(synthetic[0].ImagerPixelSpacing) == [
        0.05,
        0.075,
    ]  # a pixel is 4 by 4 of the capture
    assert "no parametric map" in missing(tmp_path)


def test_a_single_slice_with_a_place_has_a_map_too(tmp_path: Path) -> None:
    image = read_image(next(series(tmp_path / "source", slices=1).iterdir()))
    found = exported(tmp_path, image, strip=True)
    assert {k: len(v) for k, v in found.items()} == {MAP: 1, REGION: 1, CAPTURE: 2, CT: 3, REPORT: 1}
    np.testing.assert_array_equal(found[MAP][0].pixel_array.squeeze(), values_for(image))


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_picture_file_gets_a_study_of_its_own(tmp_path: Path, mode: str) -> None:
    shape = (90, 80) if mode == "L" else (90, 80, 3)
    Picture.fromarray(np.random.default_rng(0).integers(0, 256, shape, np.uint8)).save(tmp_path / "knee.png")
    image = read_image(tmp_path / "knee.png")
    found = exported(tmp_path, image, strip=True)
    assert {k: len(v) for k, v in found.items()} == {CAPTURE: 6, REGION: 1, REPORT: 1}
    assert len({d.StudyInstanceUID for group in found.values() for d in group}) == 1
    base = found[CAPTURE][0]
    pixels = base.pixel_array if mode == "L" else np.moveaxis(base.pixel_array, -1, 0)
    np.testing.assert_allclose(np.squeeze(pixels), np.squeeze(image.values), atol=0.51)
    references = found[REGION][0].ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert references[0].ReferencedSOPInstanceUID == base.SOPInstanceUID
    assert base.PatientName == "anonymous" and "SyntheticData" not in base
    assert "BurnedInAnnotation" not in base  # nobody knows
    said = missing(tmp_path)
    assert "not DICOM" in said and "size of a pixel is not known" in said
    assert not any("PixelSpacing" in d for group in found.values() for d in group)
    named = exported(tmp_path / "named", read_image(tmp_path / "knee.png", spacing_mm=(0.2, 0.3)))
    assert list(named[CAPTURE][0].PixelSpacing) == [0.2, 0.3]


def test_a_nifti_volume_keeps_its_place_and_stands_upright(tmp_path: Path) -> None:
    affine = np.array([[1.5, 0, 0.1, -20], [0, 2.0, 0, 5], [-0.1, 0, 3.0, 7], [0, 0, 0, 1]])
    affine[:3, 2] = 3 * np.cross(affine[:3, 0] / 1.5, affine[:3, 1] / 2.0)
    values = np.random.default_rng(0).uniform(0, 1, (6, 5, 4)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / "t1.nii.gz")
    image = read_image(tmp_path / "t1.nii.gz")
    found = exported(tmp_path, image, strip=True, banner=False)
    again = read_image(tmp_path / "dicom" / "image-000" / "image")
    assert upright_flips(again.grid) == (False, False)
    centre = np.array([1, 2, 3])
    one = image.grid.affine[:3, :3] @ centre + image.grid.affine[:3, 3]
    at = np.round(np.linalg.solve(again.grid.affine[:3, :3], one - again.grid.affine[:3, 3])).astype(int)
    assert again.values[0][tuple(at)] == pytest.approx(image.values[0, 1, 2, 3], abs=1e-4)
    flips = upright_flips(image.grid)
    assert again.grid == flipped(image.grid, flips)
    turned = values_for(image)[:, :: -1 if flips[0] else 1, :: -1 if flips[1] else 1]
    np.testing.assert_array_equal(in_place(found[MAP][0], again.grid), turned)
    strip = next(p for p in (tmp_path / "dicom" / "image-000").iterdir() if "frame" in p.name)
    assert read_image(strip).grid == again.grid


def test_an_array_has_no_place_in_the_patient(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.random.default_rng(0).normal(size=(9, 8, 7)))
    found = exported(tmp_path, read_image(tmp_path / "v.npy"), strip=True)
    assert "size of a voxel is not known: no parametric map" in missing(tmp_path)
    assert len(found[CAPTURE]) == 9 + 1 + 27 + 1 and MAP not in found and REGION not in found
    assert not any("PixelSpacing" in d or "SliceThickness" in d for group in found.values() for d in group)
    again = read_image(tmp_path / "v.npy", spacing_mm=(2.0, 0.5, 0.5))
    known = exported(tmp_path / "known", again)
    assert "position in the patient is not known" in missing(tmp_path / "known")
    np.testing.assert_array_equal(known[MAP][0].pixel_array.shape, (9, 8, 7))


def test_a_source_that_moved_or_changed_is_not_taken_for_the_same(tmp_path: Path) -> None:
    image = read_image(series(tmp_path / "source"))
    shutil.rmtree(tmp_path / "source")
    gone = exported(tmp_path, image)
    assert "the DICOM source was not found" in missing(tmp_path)
    assert gone[MAP][0].PatientName == "anonymous" and gone[MAP][0].Rows == 128
    series(tmp_path / "source", SeriesInstanceUID="9.8.7")
    exported(tmp_path / "again", image, keep_patient=True)
    assert "another series" in missing(tmp_path / "again")
    assert "PID-77" not in "".join(str(pydicom.dcmread(p)) for p in (tmp_path / "again").rglob("*.dcm"))


def test_hostile_names_stay_words(tmp_path: Path) -> None:
    image = read_image(series(tmp_path / "source"))
    run = Run.create(tmp_path / "run", about={"bundles": [{"name": "<b>\\x\n" * 50}]})
    hostile = "../../<script>alert(1)</script>\\evil\n\x00" + "ä" * 200
    add_map(run, image, "a", label=hostile, target_name=hostile, answers=[hostile, f"{hostile} 5 %"])
    add_strip(run, image)
    found = written(export_dicom(run, tmp_path / "dicom"))
    outside = [p for p in tmp_path.rglob("*.dcm") if (tmp_path / "source") not in p.parents]
    assert all((tmp_path / "dicom") in p.parents for p in outside)
    for data in (d for group in found.values() for d in group):
        for element in data.iterall():
            if element.VR == "LO" and isinstance(element.value, str):
                assert len(element.value) <= 64 and "\n" not in element.value and "\x00" not in element.value
    assert text("a\\b\nc\x07") == "a b c" and len(text("x" * 99)) == 63


def test_stored_levels_are_the_sources_own_where_they_fit() -> None:
    header = pydicom.Dataset()
    header.RescaleSlope, header.RescaleIntercept = "1", "-1024"
    assert levels_for(np.array([-1024.0, 3000.0]), header) == Levels(1.0, -1024.0, False)
    assert levels_for(np.array([-3000.0, 3000.0]), header) == Levels(1.0, -1024.0, True)
    fine = levels_for(np.array([0.25, 0.75]), header)
    np.testing.assert_allclose(fine.stored(np.array([0.25, 0.75])) * fine.slope + fine.intercept, [0.25, 0.75])


def test_geometry_says_what_dicom_can_say() -> None:
    grid = Grid((3, 4, 5), affine=np.array([[0, 0, 0.9, 1], [0, 0.7, 0, 2], [2.5, 0, 0, 3], [0, 0, 0, 1]]))
    assert upright_flips(grid) == (True, True)
    assert upright_flips(flipped(grid, (True, True))) == (False, False)
    place = places(grid)[2]
    assert list(map(float, place["ImagePositionPatient"])) == [-1, -2, 8]
    assert list(map(float, place["PixelSpacing"])) == [0.7, 0.9]
    for shear in (0.5, -0.5):
        sheared = np.array([[0, shear, 0.9, 1], [0, 0.7, 0, 2], [2.5, 0, 0, 3], [0, 0, 0, 1]])
        with pytest.raises(InputError, match="right angles"):
            places(Grid((3, 4, 5), affine=sheared))


def test_methods_have_dicoms_own_words() -> None:
    from pydicom.sr.codedict import codes

    wanted = {"gradcam++": "130403", "score-cam": "130402", "gradient": "130404", "occlusion": "130401"}
    assert {m: getattr(codes.DCM, quantity_of(m)).value for m in wanted} == wanted


def test_export_sends_nothing_and_does_not_mix_exports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("export opened a connection")

    image = read_image(series(tmp_path / "source"))
    run = Run.create(tmp_path / "run", about={})
    add_map(run, image)
    for name in ("connect", "connect_ex", "sendto", "bind"):
        monkeypatch.setattr(socket.socket, name, refuse, raising=False)
    assert main(["export", str(run.folder), "--to", "dicom", "--json"]) == 0
    files = json.loads(capsys.readouterr().out)["files"]
    assert len(files) == 5 and Path(files[-1]).name == "about.json"
    assert main(["export", str(run.folder), "--to", "dicom"]) == 2
    assert "empty folder" in capsys.readouterr().err
    assert len(list(export_run(run, "dicom", tmp_path / "other"))) == 5


def test_an_empty_map_has_no_region(tmp_path: Path) -> None:
    image = read_image(series(tmp_path / "source"))
    run = Run.create(tmp_path / "run", about={})
    add_map(run, image, values=np.zeros(image.grid.shape, np.float32))
    found = written(export_dicom(run, tmp_path / "dicom"))
    assert REGION not in found and not found[MAP][0].pixel_array.any()
    mapping = found[MAP][0].SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    ends = [mapping[f"DoubleFloatRealWorldValue{end}ValueMapped"].value for end in ("First", "Last")]
    assert ends[0] == 0 < ends[1]
    assert "the map is empty" in missing(tmp_path)
    with pytest.raises(InputError, match="share"):
        list(export_dicom(run, tmp_path / "b", share=0.0))


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="no dciodvfy (Debian: dicom3tools)")
@pytest.mark.parametrize("kind", ["CT", "MR", "png", "nifti", "shared"])
def test_files_pass_dciodvfy(tmp_path: Path, kind: str, request: pytest.FixtureRequest) -> None:
    if kind == "shared":
        image = read_image(request.getfixturevalue("shared") / "dicom" / "highdicom" / "dx_image.dcm")
    elif kind == "png":
        Picture.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)).save(
            tmp_path / "a.png"
        )
        image = read_image(tmp_path / "a.png")
    elif kind == "nifti":
        values = np.random.default_rng(0).uniform(0, 1, (8, 7, 3)).astype(np.float32)
        nibabel.save(nibabel.Nifti1Image(values, np.diag([1, 2, 3, 1])), tmp_path / "v.nii")
        image = read_image(tmp_path / "v.nii")
    else:
        image = read_image(series(tmp_path / "source", modality=kind, slices=2))
    exported(tmp_path, image, strip=True)
    wrong = []
    for path in sorted((tmp_path / "dicom").rglob("*.dcm")):
        found = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
        lines = (found.stdout + found.stderr).splitlines()
        wrong += [
            f"{path.name}: {x}" for x in lines if x.startswith("Error") and not any(t in x for t in TOO_NEW)
        ]
    assert not wrong, "\n".join(wrong)


def test_a_real_series_keeps_its_geometry(tmp_path: Path, shared: Path) -> None:
    image = read_image(shared / "dicom" / "series_PGBM-003_HippoCrop")
    found = exported(tmp_path, image, strip=True, banner=False)
    first = next(p for p in sorted((tmp_path / "dicom" / "image-000").iterdir()) if p.is_dir())
    assert read_image(first).grid == image.grid
    np.testing.assert_array_equal(in_place(found[MAP][0], image.grid), values_for(image))


@pytest.mark.parametrize(
    "to",
    [
        "http://user@127.0.0.1/", "http://evil.example\\@127.0.0.1/", "http://127.0.0.1#@evil.example/", "ftp://a/",
        "http://127.0.0.1:99999/", "127.0.0.1:104", "127.0.0.1:0:AET", "host:104:", "http://a b/", "",
    ],
)  # fmt: skip
def test_addresses_that_can_be_read_in_two_ways_are_refused(to: str) -> None:
    with pytest.raises(InputError, match="expected https"):
        read_archive(to)


def test_other_machines_need_a_second_yes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert read_archive("localhost:104:PACS").loopback and read_archive("http://[::1]:80/dicom").loopback
    for to in (
        "pacs.example:104:PACS",
        "https://127.0.0.1.example/dicom",
        "10.0.0.1:104:PACS",
        "0.0.0.0:104:A",
    ):
        assert not read_archive(to).loopback
        assert main(["send", str(tmp_path), "--to", to]) == 2
        assert "--yes-send-to" in capsys.readouterr().err
        assert main(["send", str(tmp_path), "--to", to, "--yes-send-to", "other.example"]) == 2
    with pytest.raises(InputError, match="got none"):
        list(send(tmp_path, read_archive("pacs.example:104:PACS"), confirmed="pacs.example"))


class _Service(BaseHTTPRequestHandler):
    """A DICOMweb service that keeps what it gets, or sends the sender elsewhere."""

    got: list[bytes] = []  # noqa: RUF012

    def do_POST(self) -> None:
        body = self._body()
        if "away" in self.path:
            self.send_response(307)
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_address[1]}/caught/studies")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.got.append(body)
        failed = [{"00081197": {"vr": "US", "Value": [272]}}] if "full" in self.path else []
        answer = json.dumps({"00081198": {"vr": "SQ", "Value": failed}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/dicom+json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def _body(self) -> bytes:
        """A body of a length that is told, or (of large files) in chunks."""
        if "Content-Length" in self.headers:
            return self.rfile.read(int(self.headers["Content-Length"]))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def log_message(self, *_: object) -> None:
        pass


def test_stow_sends_every_file_and_follows_no_redirect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dicomweb_client")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # must not be used
    exported(tmp_path, read_image(series(tmp_path / "source", slices=2)))
    server = HTTPServer(("127.0.0.1", 0), _Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    _Service.got.clear()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        sent = list(send(tmp_path / "dicom", read_archive(f"{url}/dicom-web")))
        assert len(sent) == len(_Service.got) == 4
        assert sent[0].read_bytes()[-200:] in _Service.got[0]
        with pytest.raises(ContrafactError, match="was not sent"):
            list(send(tmp_path / "dicom", read_archive(f"{url}/away")))
        assert len(_Service.got) == 4
        with pytest.raises(ContrafactError, match="reason 272"):
            list(send(tmp_path / "dicom", read_archive(f"{url}/full")))
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # pynetdicom's, when refused
def test_store_sends_every_file_and_says_when_one_is_refused(tmp_path: Path) -> None:
    pynetdicom = pytest.importorskip("pynetdicom")
    exported(tmp_path, read_image(series(tmp_path / "source", slices=2)))
    got: list[str] = []
    status = [0x0000]

    def store(event: Any) -> int:
        got.append(str(event.dataset.SOPClassUID))
        return status[0]

    entity = pynetdicom.AE("PACS")
    for sop_class in (MAP, REGION, CAPTURE, REPORT):
        entity.add_supported_context(sop_class)
    server = entity.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(pynetdicom.evt.EVT_C_STORE, store)]
    )
    archive = Archive("127.0.0.1", server.socket.getsockname()[1], title="PACS")
    try:
        assert len(list(send(tmp_path / "dicom", archive))) == 4
        assert sorted(got) == sorted((MAP, REGION, CAPTURE, REPORT))
        status[0] = 0xA700
        with pytest.raises(ContrafactError, match="refused"):
            list(send(tmp_path / "dicom", archive))
    finally:
        server.shutdown()
    with pytest.raises(ContrafactError, match="did not accept"):
        list(send(tmp_path / "dicom", archive))


def test_records_stay_as_they_are(tmp_path: Path) -> None:
    """Writing changes neither the source nor the run."""
    folder = series(tmp_path / "source")
    before = {p: p.read_bytes() for p in folder.iterdir()}
    image = read_image(folder)
    exported(tmp_path, dataclasses.replace(image), strip=True)
    assert {p: p.read_bytes() for p in folder.iterdir()} == before


def test_the_one_generator_that_was_used_is_named(tmp_path: Path) -> None:
    image = read_image(series(tmp_path / "source"))
    cards = [{"name": "knee", "bundle": "a" * 16}, {"name": "lesions", "bundle": "b" * 16}]
    run = Run.create(tmp_path / "run", about={"bundles": cards})
    add_strip(run, image)  # made with the bundle of hash b
    named = Run.create(tmp_path / "named", about={"bundles": cards})
    add_strip(named, image)
    told = {**named.rows()[0], "generator_name": "lesions (MedXGAN)"}
    (named.folder / "results.jsonl").write_text(json.dumps(told) + "\n")
    for one, name in ((run, "lesions"), (named, "lesions (MedXGAN)")):
        drawn = [
            d
            for d in written(export_dicom(one, tmp_path / f"dicom-{one.folder.name}"))[CT]
            if "SyntheticData" in d
        ]
        for data in drawn:
            assert data.ContributingEquipmentSequence[0].ManufacturerModelName == name
            assert f"generator {name}, generator hash" in data.DerivationDescription
            assert "knee" not in str(data)


def test_colours_of_the_other_class_are_turned_and_values_are_not(tmp_path: Path) -> None:
    image = read_image(series(tmp_path / "source", slices=1))
    colours, values = {}, np.zeros(image.grid.shape, np.float32)
    values[..., 40:60, 40:60] = 1.0
    for target in ("class:1", "class:0"):
        run = Run.create(tmp_path / target.replace(":", ""), about={})
        heat = Heatmap(values=values, grid=image.grid, record=record(image, target=target))
        run.add("a", image, heat, exclusive_classes=["no", "yes"], target_name=target)
        found = written(export_dicom(run, tmp_path / f"dicom-{target[-1]}"))
        (shown,) = found[CAPTURE]
        assert shown.ImageComments.startswith("Orange: evidence for yes; blue: for no.")
        wide = (shown.Columns - 8) // 2  # the map stands beside its image
        pixel = shown.pixel_array[4 * 50, wide + 8 + wide * 50 // 128].astype(int)
        region = found[REGION][0].SegmentSequence[0]
        colours[target] = (pixel[0] > pixel[2], int(region.RecommendedDisplayCIELabValue[2]) > 32896)
        np.testing.assert_array_equal(found[MAP][0].pixel_array.squeeze(), values.squeeze())
    assert colours == {
        "class:1": (True, True),
        "class:0": (False, False),
    }  # by b* of CIELab


def test_a_faint_map_says_its_factor(tmp_path: Path) -> None:
    image = read_image(series(tmp_path / "source", slices=1))
    run = Run.create(tmp_path / "run", about={})
    add_map(run, image, "strong", values=48 * values_for(image))
    add_map(run, image, "faint", values=values_for(image))
    found = written(export_dicom(run, tmp_path / "dicom"))
    said = sorted(str(data.SeriesDescription) for data in (*found[MAP], *found[CAPTURE]))
    faint = values_for(image)
    factor = signed_scale([faint, 48 * faint]) / signed_scale([faint])
    assert [text.split()[1] for text in said] == ["gradcam", f"x{factor:.0f}"] * 2
    windows = [
        float(data.SharedFunctionalGroupsSequence[0].FrameVOILUTSequence[0].WindowWidth) for data in found[MAP]
    ]
    assert windows[0] / windows[1] == pytest.approx(factor, rel=1e-3)
