"""What is written as DICOM, piece by piece: positions, levels, banners, flags, names and addresses."""

from __future__ import annotations

import functools
import itertools
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from contrafact.core import Grid
from contrafact.export.dicom import images, maps, source
from contrafact.export.dicom.send import read_archive, send
from contrafact.export.without_names import _numbers, _without_image, without
from reference.kept import asked, brief, tried

COS, SIN = 0.8, 0.6
OBLIQUE = np.array([[0, 0, 1.5, -20], [3 * SIN, 2 * COS, 0, 5], [3 * COS, -2 * SIN, 0, 7], [0, 0, 0, 1]])
SKIP = ("UID", "Date", "Time", "PixelData", "Version", "Software")


def header(**more: Any) -> Dataset:
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID, made.Modality = source.CAPTURE, "1.2.3", "OT"
    for name, value in more.items():
        setattr(made, name, value)
    return made


def told(data: Any) -> list[str]:
    """The elements of a dataset, without those that are other every time."""
    lines = []
    for element in data:
        if any(word in element.keyword for word in SKIP) and "Class" not in element.keyword:
            continue
        if element.VR == "SQ":
            lines.append(f"{element.keyword}: {[told(item) for item in element.value]}")
        else:
            lines.append(f"{element.keyword}: {element.value}")
    return lines


def positions() -> dict[str, Any]:
    grids = [
        Grid((3, 4), spacing_mm=(0.5, 2)),
        Grid((2, 3, 4), affine=OBLIQUE),
        Grid((2, 3, 4), affine=np.diag([2.0, -3, -1, 1])),
    ]
    turned = [
        np.eye(4)[[*order, 3]] @ np.diag([*signs, 1.0])
        for order in itertools.permutations(range(3))
        for signs in ((1, 1, 1), (1, -1, 1), (1, 1, -1))
    ]
    skew = np.eye(4)
    found: dict[str, Any] = {
        "places": [
            [
                {k: list(map(str, v)) if not isinstance(v, (str, float)) else str(v) for k, v in one.items()}
                for one in source.places(grid)
            ]
            for grid in (grids[0], grids[2])
        ]
    }
    for angle in (0.0005, 0.0012, -0.0012):
        skew[0, 1] = angle
        found[f"skew {angle}"] = asked(lambda: len(source.places(Grid((3, 4), affine=skew))))
    found["upright"] = [source.upright_flips(Grid((2, 3, 4), affine=one)) for one in turned]
    found["upright flat"] = [source.upright_flips(Grid((3, 4), affine=one)) for one in turned[:6]]
    found["flipped"] = [
        source.flipped(grids[1], flips).affine for flips in ((True, False), (False, True), (True, True))
    ]
    found["axial"] = source._axial(grids[1]).affine
    found["known"] = [
        source._spacing_known(grid, {"format": kind})
        for grid in (Grid((2, 3)), Grid((2, 3), spacing_mm=(1, 1)), grids[0], Grid((2, 3), spacing_mm=(1, 2)))
        for kind in ("png", "nifti", "dicom", None)
    ]
    for kind in ("png", "nifti"):
        for number, grid in enumerate(
            (*grids, Grid((2, 3)), Grid((2, 3, 4)), Grid((2, 3, 4), spacing_mm=(1, 2, 3)))
        ):
            made = source.dicom_source("", grid, about={"format": kind, "synthetic": number == 1}, digest="d")
            values = np.arange(np.prod(grid.shape)).reshape(grid.shape)
            finer = Grid(grid.shape).resized([2 * n for n in grid.shape]).shape
            other = [told(one) for one in source.on_grid(made, grid.resized(finer))]
            found[f"{kind} {number}"] = [
                made.placed,
                made.made,
                made.flips,
                made.missing,
                made.synthetic,
                made.grid.affine,
                told(made.headers[-1]),
                brief(made.turned(values)),
                len(other),
                other[0],
                other[-1],
                source.on_grid(made, grid) is made.headers,
            ]
    found["lost"] = [source.dicom_source("no.dcm", grids[0], about={"format": "dicom"}, digest="d").missing]
    return found


def levels() -> dict[str, Any]:
    slopes = [
        {},
        {"RescaleSlope": 2, "RescaleIntercept": -10},
        {"RescaleSlope": 0},
        {"RescaleSlope": -1},
        {"RescaleSlope": 0.001},
        {"RescaleSlope": 1, "RescaleIntercept": 0.25},
    ]
    spans = [
        (0, 19.9),
        (0, 20),
        (0, 65535.4),
        (0, 65535.6),
        (-0.4, 30),
        (-0.6, 30),
        (-32768.4, 32767.4),
        (-32768.6, 0),
        (0, 1e6),
        (5, 5),
        (-100, 100),
    ]
    stored = [
        images.Levels(2.0, 1.0, signed).stored(np.array([-9e4, -1.0, 0.0, 1.9, 2.1, 6.0, 9e5]))
        for signed in (False, True)
    ]
    return {
        "for": [
            [float(x) for x in (made.slope, made.intercept, made.signed)]
            for one in slopes
            for span in spans
            for made in [images.levels_for(np.array(span), header(**one))]
        ],
        "steps": [images.levels_for(np.array([0.0, n]), header(), steps=5).slope for n in (4.9, 5.0)],
        "stored": [*stored, *(str(one.dtype) for one in stored)],
    }


def texts() -> dict[str, Any]:
    parts = ["KNEE", "HEAD", "SKULL", "CHEST", "", None]
    sides: list[dict[str, Any]] = [{}, {"Laterality": "L"}, {"Laterality": ""}, {"ImageLaterality": "R"}]
    known = []
    for part, side in itertools.product(parts, sides):
        data = header(**({} if part is None else {"BodyPartExamined": part}), **side)
        images.side_known(data)
        known.append([data.get("Laterality"), data.get("ImageLaterality")])
    return {
        "texts": [images.text(words) for words in ("a" * 63, "a" * 64, "a" * 80, "a\\b\nc", "  é  \t", 3)]
        + [images.text("abcdefgh", 8), images.text("abcdefgh", 9)],
        "sides": known,
        "recognizable": [
            source.recognizable(header(BodyPartExamined=part or "", **more))
            for part in parts
            for more in ({}, {"RecognizableVisualFeatures": "NO"})
        ],
        "burned": [
            source.burned_in(header(Modality=kind, **more))
            for kind in ("CT", "US", "")
            for more in ({}, {"BurnedInAnnotation": "YES"}, {"BurnedInAnnotation": ""})
        ],
        "quantities": [
            maps.quantity_of(name)
            for name in (
                "gradcam",
                "gradcam++",
                "hirescam",
                "layercam",
                "finer-cam",
                "eigencam",
                "gradient",
                "lime",
                "guided-gradcam",
                "deconvolution",
            )
        ],
        "colours": [
            maps._colours(found, ("for", "against"), turned)
            for found in ([("for", 0), ("against", 0)], [("against", 0)])
            for turned in (False, True)
        ],
        "strongest": [
            [one.tolist() for one in maps.strongest(np.array(values, dtype=np.float32), share)]
            for values in ([[4, 3, 2, 1, 0, -5]], [[1, 1, 1, 1]], [[0, 0]], [[-1, -3, 2, 2]])
            for share in (0.1, 0.4, 0.5, 0.7, 1.0)
        ],
        "codes": [
            told(images.code("a", "b", "c" * 70)),
            told(images.equipment(("1", "why"), "model", "v", "words")),
            told(images.own_scheme()),
        ],
    }


def banners() -> dict[str, Any]:
    found = {}
    for width in (3, 20, 40, 60, 90, 140, 200, 520, 900):
        flat = np.full((width // 2 + 8, width), 7.0)
        marked = images.burnt(flat, low=1.0, high=9.0)
        rows = (marked != 7).any(axis=1)
        found[str(width)] = [
            int(rows[: len(rows) // 2].sum()),
            int(rows.sum()),
            bool((flat == 7).all()),
            int((marked == 1).sum() > (marked == 9).sum()),
            brief(marked),
        ]
    colour = images.burnt(np.full((30, 90, 3), 7), low=0, high=255)
    found["colour"] = [
        colour.shape,
        int(colour.min()),
        int(colour.max()),
        bool((colour[..., 0] == colour[..., 2]).all()),
    ]
    found["fonts"] = [
        getattr(images._font("SYNTHETIC", width), "size", None)
        for width in (10, 40, 60, 90, 144, 162, 504, 900)
    ]
    found["low"] = images.burnt(np.full((4, 90), 7.0), low=0, high=9).shape
    return found


def pictures() -> dict[str, Any]:
    ct, mr = source.SAME_CLASS
    heads = {
        "capture": header(Rows=1, ImagePositionPatient=[1, 2, 3], PatientPosition="HFS", StudyID="s"),
        "ct": header(SOPClassUID=ct, Modality="CT", KVP=90, RescaleSlope=2, SpacingBetweenSlices=3),
        "mr": header(
            SOPClassUID=mr,
            Modality="MR",
            ScanningSequence="GR",
            RecognizableVisualFeatures="YES",
            BodyPartExamined="BRAIN",
        ),
        "mr2": header(SOPClassUID=mr, Modality="MR", SliceThickness=2, RepetitionTime=4),
    }
    flat = np.arange(1200.0).reshape(20, 60)
    drawn = {
        "none": None,
        "made": images.Drawn(model="net", version="1", derivation="d", references=[header(), header()]),
        "kept": images.Drawn(model="net", version="1", derivation="d", references=[], synthetic=False),
    }
    series = images.Series(number=7, description="x" * 70)
    found = {}
    for (name, head), (how, one) in itertools.product(heads.items(), drawn.items()):
        for window in (None, (0.0, 0.5), (5.0, 5.0), (0.0, 600.0)):
            made = images.picture(
                head,
                flat,
                series,
                3,
                drawn=one,
                window=window,
                levels=images.Levels(2.0, -5.0) if how == "made" else None,
            )
            found[f"{name} {how} {window}"] = [told(made), brief(np.frombuffer(made.PixelData, np.uint16))]
        rgb = images.picture(
            head, np.full((3, 5, 3), 8, np.uint8), series, 3, drawn=one, uid="1.9", banner=False
        )
        found[f"{name} {how} rgb"] = [told(rgb), len(rgb.PixelData), str(rgb.SOPInstanceUID)]
    return found


def named() -> dict[str, Any]:
    rows: list[dict[str, Any]] = [
        {"source": "/p/anna.nii.gz", "case": "c1", "key": "k"},
        {"source": "/p/anna.nii.gz", "case": "c1", "key": "k2"},
        {"source": "/p/b.png", "case": None, "key": "k3"},
    ]
    row = {
        **rows[0],
        "record": {"source": "x", "method": "m"},
        "about": {"PatientID": "i", "file": "f", "kind": "k"},
        "followup": [{"name": "a"}, 3],
        "nearest": {"words": "w", "cases": [{"name": "n"}, {"name": "m"}, 4]},
    }
    spans = (
        "https://pacs.example/dicom/",
        "http://h:8042",
        "https://h:0/x",
        "https://h:65536",
        "http://u@h/",
        "host:104:AET ",
        "host:0:A",
        "[::1]:104:A",
        "https://[::1]/a",
        "host:104",
        "host:104: ",
        "https://h/a?b",
        "",
    )
    return {
        "numbers": [
            [f"{k}: {v}" for k, v in _numbers(some).items()]
            for some in (rows, [*rows, {"source": "/p/b.png", "case": "c9", "key": "k"}])
        ],
        "nameless": [
            _without_image(row, "image1", 4),
            _without_image(rows[2], "image2", 0),
            _without_image({"key": "k", "nearest": 3, "about": 1, "record": None, "followup": {}}, "i", 1),
        ],
        "without": [
            without(text, "/p/anna.nii.gz", "I")
            for text in ("/p/anna.nii.gz is", "anna.nii.gz", "anna was", "p")
        ]
        + [without("ab.x of ab", "ab.x", "I")],
        "archives": [
            asked(lambda to=to: [(a := read_archive(to)).host, a.port, a.title, a.url, a.loopback])
            for to in (*spans, "127.0.0.1:104:A", "localhost:1:A", "10.0.0.1:104:A")
        ],  # type: ignore[misc]
        "refused": tried(
            *(
                functools.partial(
                    lambda to, yes: list(send(Path("/nowhere"), read_archive(to), confirmed=yes)), to, yes
                )
                for to in ("far:104:A", "localhost:104:A")
                for yes in ("", "far", "near")
            )
        ),
    }


def values() -> dict[str, Any]:
    return {part.__name__: part() for part in (positions, levels, texts, banners, pictures, named)}
