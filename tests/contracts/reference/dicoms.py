"""DICOM in and out: every kind of file and series that is read, and the elements of what is written."""

from __future__ import annotations

import dataclasses
import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.data import get_testdata_file

from contrafact.core import Counterfactual, Grid, Heatmap, Image, Record
from contrafact.export.dicom.export import export_dicom
from contrafact.export.dicom.images import levels_for
from contrafact.io import Run, read_image
from reference.files import draw, said, told
from reference.kept import brief

CT = get_testdata_file("CT_small.dcm")
SKIP = ("UID", "Date", "Time", "PixelData", "Version", "Software", "Manufacturer", "DeviceSerial")


def dicom(path: Path, source: str = CT, remove: tuple[str, ...] = (), **changes: Any) -> Path:
    data = pydicom.dcmread(source)
    for name in remove:
        delattr(data, name)
    for name, value in changes.items():
        setattr(data, name, value)
    data.save_as(path)
    return path


def dicoms(folder: Path) -> dict[str, Any]:
    shape = {"Rows": 4, "Columns": 6}
    whole = {**shape, "PixelData": draw((4, 6), "i2").tobytes(), "remove": ("PixelPaddingValue",)}
    three = {**whole, "NumberOfFrames": 3, "PixelData": draw((3, 4, 6), "i2").tobytes()}
    grey = {"PhotometricInterpretation": "MONOCHROME1", "Modality": "DX"}
    cases: dict[str, dict[str, Any]] = {
        "plain": whole,
        "window": {**whole, "WindowCenter": [40, 50], "WindowWidth": [400, 9]},
        "no width": {**whole, "WindowCenter": 40, "WindowWidth": 0},
        "inverted": {**whole, **grey, "WindowCenter": 40, "WindowWidth": 60, "RescaleSlope": 2},
        "negative slope": {**whole, **grey, "RescaleSlope": -1, "RescaleIntercept": 7},
        "physical": {**whole, "PhotometricInterpretation": "MONOCHROME1"},
        "unsigned": {**whole, **grey, "PixelRepresentation": 0, "BitsStored": 12},
        "frames": three,
        "thick": {**three, "SliceThickness": 3.5},
        "between": {**three, "SpacingBetweenSlices": -2.5},
        "time": {**three, "FrameIncrementPointer": 0x00181063},
        "offsets": {**three, "GridFrameOffsetVector": [0, 4, 8]},
        "uneven": {**three, "GridFrameOffsetVector": [0, 4, 9]},
        "emptied": {**whole, "PixelSpacing": None, "SliceThickness": None},
        "detector": {
            **whole,
            "PixelSpacing": None,
            "ImagerPixelSpacing": [0.3, 0.6],
            "EstimatedRadiographicMagnificationFactor": 1.5,
        },
        "nominal": {**whole, "PixelSpacing": None, "NominalScannedPixelSpacing": [0.3, 0.6]},
        "dose": {**three, "Modality": "RTDOSE", "DoseGridScaling": 0.01},
        "no scaling": {**three, "Modality": "RTDOSE"},
        "no intercept": {**whole, "RescaleIntercept": None},
        "colour": {
            **whole,
            "SamplesPerPixel": 3,
            "PhotometricInterpretation": "RGB",
            "PlanarConfiguration": 0,
            "BitsAllocated": 8,
            "BitsStored": 8,
            "HighBit": 7,
            "PixelRepresentation": 0,
            "PixelData": draw((4, 6, 3), "u1").tobytes(),
        },
    }
    found = {}
    for name, changes in cases.items():
        more = {"remove": ("PixelPaddingValue",), **changes}
        path = dicom(folder / f"{name}.dcm", **more)
        found[name] = said(lambda path=path: told(read_image(path)), folder)
    for name, places, more in (
        ("series", (0, 2, 4, 6), {}),
        ("tilted", (0, 2, 4), {"tilt": 0.3}),
        ("gap", (0, 2, 5), {}),
        ("twice", (0, 0, 2), {}),
        ("dark", (0, 1), grey),
    ):
        (folder / name).mkdir()
        tilt = more.get("tilt", 0.0)
        for number, at in enumerate(places):
            extra = {k: v for k, v in more.items() if k != "tilt"}
            place = {
                "ImagePositionPatient": [-3 + tilt * at, 2, at],
                "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            }
            intercept = {"RescaleIntercept": -1000 + 10 * number}
            dicom(folder / name / f"{9 - number}.dcm", **{**whole, **place, **intercept, **extra})
        found[f"{name} of slices"] = said(lambda name=name: told(read_image(folder / name)), folder)
    return found


def elements(path: Path) -> list[Any]:
    """What a DICOM file says, without what differs from call to call."""
    found: list[Any] = []

    def told_of(data: Any, where: str) -> None:
        for one in data:
            name = f"{where}{one.keyword or one.tag}"
            if any(word in name for word in SKIP) and "SOPClassUID" not in name:
                continue
            if one.VR == "SQ":
                for number, item in enumerate(one.value[:2]):
                    told_of(item, f"{name}/{number}/")
            else:
                found.append([name, str(one.value)[:60]])

    data = pydicom.dcmread(path)
    told_of(data, "")
    pixels = "PixelData" in data or "FloatPixelData" in data
    return [len(found), found[:: max(1, len(found) // 12)], brief(data.pixel_array) if pixels else None]


def written(folder: Path) -> dict[str, Any]:
    """A run as DICOM: of a series that is tilted, and of an image whose file nobody has."""
    (folder / "series").mkdir()
    for n in range(3):
        place = {
            "ImagePositionPatient": [-3 - 1.5 * n, 2 + 2 * n, 4],
            "ImageOrientationPatient": [0.8, 0.6, 0, 0, 0, -1],
        }
        made = {
            "Rows": 6,
            "Columns": 5,
            "PixelData": draw((6, 5), "i2", n).tobytes(),
            "SOPInstanceUID": f"1.2.{n}",
        }
        dicom(folder / "series" / f"{n}.dcm", remove=("PixelPaddingValue",), **{**made, **place})
    deep = read_image(folder / "series")
    flat = Image(draw((1, 8, 6), "f4"), Grid((8, 6), spacing_mm=(0.5, 0.7)), (-50, 90), source="lost.png")
    run = Run.create(folder / "run", about={"title": "T"})
    check = {"name": "small noise", "value": 0.1, "threshold": 0.5, "passed": True, "sentence": "Hardly."}
    for name, image in (("deep", deep), ("flat", flat)):
        rng = np.random.default_rng(4)
        about = Record(
            method="gradcam",
            parameters={},
            target="class:1",
            model="m" * 16,
            image=image.digest,
            source=image.source,
            versions={"contrafact": "0"},
            notes={"completeness": 0.01},
        )
        extra: dict[str, Any] = {
            "answers": ["yes 97 %", "no 3 %"],
            "target_name": "yes",
            "trust": [check],
            "case": name,
        }
        values = rng.normal(size=image.grid.shape).astype(np.float32)
        run.add(f"{name}/map", image, Heatmap(values=values, grid=image.grid, record=about), **extra)
        frames = np.stack([image.values + 20 * n for n in (-1, 0, 1)])
        strip = Counterfactual(
            frames=frames,
            requested=np.array([-1.0, 0, 1]),
            scores=np.array([-2.0, 0.3, 2.0]),
            grid=image.grid,
            latent_distance=np.array([1.0, 0, 1.5]),
            origin=1,
            reconstruction_error=0.1,
            above_tolerance=False,
            outcome="reached",
            goal=2.0,
            reconstruction=frames[1],
            record=dataclasses.replace(about, method="latent-walk"),
        )
        run.add(f"{name}/strip", image, strip, **extra)
    found: dict[str, Any] = {}
    for label, more in (("plain", {}), ("share", {"share": 0.2, "banner": False, "keep_patient": True})):
        out = folder / label
        paths = sorted(export_dicom(run, out, **more))
        found[label] = {str(p.relative_to(out)): elements(p) for p in paths if p.suffix == ".dcm"}
        about = json.loads((out / "about.json").read_text())
        found[f"{label} about"] = sorted(about)
    found["levels"] = [
        said(lambda w=w: dataclasses.asdict(levels_for(*w)))
        for w in (
            (np.array([[-3.0, 7.0]]), {}),
            (np.array([[-3.0, 70.0]]), {}),
            (np.array([[0.0, 70.0]]), {"RescaleSlope": 3}),
            (np.array([[0.0, 60.0]]), {"RescaleSlope": 3}),
            (np.array([[2.0, 2.0]]), {"RescaleIntercept": -5}),
        )
    ]
    return found


def values() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in (dicoms, written):
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found[part.__name__] = part(Path(folder))
    return found
