"""Files: every kind of picture, volume and table that is read, arrays in memory, and lines of a run."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Picture

from contrafact.core import ContrafactError, Grid, Image
from contrafact.core.limits import check_size, set_largest_image
from contrafact.core.reading import one_line
from contrafact.export.arrays import nifti_bytes, write_nifti
from contrafact.io import read_cohort, read_image
from contrafact.io.arrays import as_images, is_batch
from contrafact.io.images import images_in
from contrafact.io.pictures import as_float32, upright
from contrafact.io.stored_rows import check_arrays, row_flaw, scores_readable, whole_failure
from contrafact.io.tables import csv_table
from reference.kept import brief


def said(make: Callable[[], Any], folder: Path | None = None) -> Any:
    try:
        return make()
    except (ContrafactError, ValueError) as error:
        return f"{type(error).__name__}: {error}".replace(str(folder), "HERE")[:160]


def told(image: Image) -> list[Any]:
    about = {k: v for k, v in image.about.items() if "UID" not in k}
    affine = image.grid.affine.round(5).ravel()[:12]
    few = {key: part for key, part in brief(image.values).items() if key != "samples"}
    return [few, image.window, brief(affine)["mixed"], list(affine[:3]), image.grid.spacing_known, about]


def draw(shape: tuple[int, ...], kind: str, seed: int = 0) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(seed)
    made = rng.normal(20, 50, shape) if kind.startswith("f") else rng.integers(3, 250, shape)
    return made.astype(kind)


def pictures(folder: Path) -> dict[str, Any]:
    import tifffile

    grey, colour = draw((5, 7), "u1"), draw((5, 7, 3), "u1")
    exif = Picture.Exif()
    exif[274] = 6
    for name, array, more in (
        ("grey.png", grey, {}),
        ("wide.png", draw((5, 7), "u2") * 200, {}),
        ("colour.png", colour, {}),
        ("alpha.png", draw((5, 7, 4), "u1"), {}),
        ("same.png", np.stack([grey] * 3, axis=2), {}),
        ("turned.png", colour, {"exif": exif}),
        ("bits.png", grey > 100, {}),
        ("plain.bmp", colour, {}),
    ):
        Picture.fromarray(array).save(folder / name, **more)
    Picture.fromarray(grey).convert("LA").save(folder / "la.png")
    Picture.fromarray(colour).quantize(5).save(folder / "palette.png")
    for name, array, more in (
        ("pages.tif", draw((4, 5, 7), "u2"), {"photometric": "minisblack"}),
        ("white.tif", draw((5, 7), "u1"), {"photometric": "miniswhite"}),
        ("white16.tif", draw((5, 7), "u2"), {"photometric": "miniswhite", "compression": "zlib"}),
        ("float.tif", draw((5, 7), "f4"), {}),
        ("rgb.tif", draw((5, 7, 3), "u2"), {"photometric": "rgb"}),
        ("rgba.tif", draw((5, 7, 4), "u1"), {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
        ("channels.tif", draw((2, 5, 7), "u1"), {"photometric": "minisblack", "planarconfig": "separate"}),
        ("time.tif", draw((3, 5, 7), "u1"), {"metadata": {"axes": "TYX"}, "photometric": "minisblack"}),
        ("both.tif", draw((2, 3, 5, 7), "u1"), {"metadata": {"axes": "TZYX"}, "photometric": "minisblack"}),
        (
            "turned.tif",
            draw((5, 7), "u1"),
            {"extratags": [(274, "H", 1, 8, True)], "photometric": "minisblack"},
        ),
        ("few.tif", draw((5, 7), "u1") % 16, {"bitspersample": None}),
    ):
        tifffile.imwrite(folder / name, array, **{k: v for k, v in more.items() if v is not None})
    names = sorted(path.name for path in folder.iterdir())
    found = {n: said(lambda n=n: told(read_image(folder / n)), folder) for n in names}
    found["spaced"] = told(read_image(folder / "grey.png", spacing_mm=(0.5, 2.0)))
    found["upright"] = [upright(np.arange(6).reshape(2, 3), n) for n in range(1, 9)]
    found["float"] = [
        said(lambda v=v: as_float32(np.array(v), folder / "a")) for v in ([1e39], [1j], ["a"], [True])
    ]
    found["in"] = [path.name for path in images_in(folder)]
    return found


def volumes(folder: Path) -> dict[str, Any]:
    import nibabel
    import SimpleITK

    affine = np.array([[0.1, 2.0, 0.2, -5], [1.5, 0.0, 0.1, 3], [0.0, 0.1, -3.0, 9], [0, 0, 0, 1]])
    for name, shape, unit, code in (
        ("plain.nii", (3, 4, 5), "mm", 1),
        ("small.nii.gz", (3, 4, 5), "micron", 2),
        ("none.nii", (3, 4, 5), "unknown", 0),
        ("four.nii", (3, 4, 5, 2), "mm", 1),
        ("one.nii.gz", (3, 4, 5, 1), "mm", 1),
        ("flat.nii", (3, 4), "mm", 1),
        ("time.nii", (3, 4, 5, 6), ("mm", "sec"), 1),
        ("six.nii", (3, 4, 5, 6), "mm", 1),
    ):
        made = nibabel.Nifti1Image(draw(shape, "f4"), affine)
        made.header.set_xyzt_units(*((unit,) if isinstance(unit, str) else unit))
        made.set_sform(affine, code)
        made.set_qform(affine, code)
        nibabel.save(made, folder / name)
    scaled = nibabel.Nifti1Image(draw((3, 4, 5), "i2"), affine)
    scaled.header.set_slope_inter(0.5, -3)
    nibabel.save(scaled, folder / "scaled.nii")
    for name, array, vector in (
        ("a.mha", draw((3, 4, 5), "i2"), False),
        ("b.nrrd", draw((4, 5, 3), "u1"), True),
    ):
        made = SimpleITK.GetImageFromArray(array, isVector=vector)
        made.SetSpacing([0.5, 1.5, 2.5][: made.GetDimension()])
        made.SetOrigin([-4.0, 5.0, 6.0][: made.GetDimension()])
        SimpleITK.WriteImage(made, str(folder / name))
    for name, array in (
        ("v.npy", draw((6, 5, 7), "f8")),
        ("last.npy", draw((5, 7, 3), "u2")),
        ("first.npy", draw((3, 5, 7), "i1")),
        ("deep.npy", draw((5, 6, 7, 2), "f4")),
        ("many.npy", draw((2, 2, 5, 6, 7), "f4")),
        ("line.npy", draw((5,), "f4")),
        ("yes.npy", draw((5, 7), "u1") > 100),
        ("edge.npy", draw((4, 5, 4), "f4")),
        ("five.npy", draw((5, 5, 5), "f4")),
    ):
        np.save(folder / name, array)
    np.savez(folder / "some.npz", image=draw((5, 7), "f4"), other=draw((2, 2), "f4"))
    np.savez(folder / "unclear.npz", a=draw((5, 7), "f4"), b=draw((2, 2), "f4"))
    names = sorted(path.name for path in folder.iterdir())
    found = {n: said(lambda n=n: told(read_image(folder / n)), folder) for n in names}
    write_nifti(folder / "out.nii.gz", draw((3, 4, 5), "f4"), Grid((3, 4, 5), affine=affine), about="x" * 90)
    found["written"] = told(read_image(folder / "out.nii.gz"))
    found["bytes"] = brief(
        np.frombuffer(nifti_bytes(draw((2, 3), "f4"), Grid((2, 3), spacing_mm=(2, 3)))[:352], "u1")
    )
    return found


def tables(folder: Path) -> dict[str, Any]:
    for label in ("yes", "no"):
        (folder / "classes" / label).mkdir(parents=True)
        for n in range(7):
            np.save(folder / "classes" / label / f"p{n // 2}_{n}.npy", np.zeros((2, 2)))
    texts = {
        "full.csv": "path,patient,label,split,age\nx.npy,7,yes,val,3\n,8,,,\ny.npy,,no,train,\n",
        "short.csv": "path,label\nx.npy\n",
        "none.csv": "name\nx\n",
        "empty.csv": "path\n",
    }
    np.save(folder / "x.npy", np.zeros((2, 2)))
    for name, text in texts.items():
        (folder / name).write_text(text)
    cohorts: dict[str, Any] = {}
    for name, more in (("classes", {}), *((n, {}) for n in texts), ("full.csv", {"keep_missing": True})):
        rows = said(lambda n=name, m=more: list(read_cohort(folder / n, **m)), folder)
        cohorts[f"{name} {more}"] = (
            rows
            if isinstance(rows, str)
            else [[case.path.name, case.patient, case.label, dict(case.extra)] for case in rows]
        )
    row: dict[str, Any] = {
        "kind": "strip",
        "key": "k",
        "array": "0.npz",
        "window": [0, 1],
        "requested": [0.0, 1.0],
        "scores": [0.0, 1.0],
        "latent_distance": [0.0, 1.0],
        "origin": 0,
        "reconstruction_error": 0.1,
        "above_tolerance": False,
        "outcome": "reached",
        "record": {
            "method": "m",
            "target": "t",
            "model": "x",
            "image": "i",
            "seconds": 1.0,
            "forward_passes": 2,
            "parameters": {},
            "versions": {},
            "seed": 0,
            "notes": {},
        },
    }
    changes: list[dict[str, Any]] = [
        {},
        {"origin": 2},
        {"origin": -1},
        {"second": [1.0]},
        {"second": None},
        {"scores": [1.0]},
        {"goal": "x"},
        {"kind": "other"},
        {"window": [0]},
        {"window": [1, 0]},
        {"reconstruction_error": float("nan")},
        {"scores": [0.0, None]},
        {"trust": [{}]},
        {"followup": [1]},
        {"record": {}},
        {"answers": [1]},
        {"record": {**row["record"], "seed": True}},
        {"record": {**row["record"], "bundle": 3}},
        {"about": []},
    ]
    image = np.zeros((1, 3, 4), np.float32)
    arrays = {
        "image": image,
        "affine": np.eye(4),
        "strip_affine": np.eye(4),
        "frames": np.zeros((2, 1, 3, 4)),
        "reconstruction": image,
    }
    bad: list[dict[str, Any]] = [
        {},
        {"frames": np.zeros((3, 1, 3, 4))},
        {"frames": np.full((2, 1, 3, 4), np.nan)},
        {"affine": np.eye(3)},
        {"image": np.zeros((3, 4))},
        {"image": np.zeros((1, 0, 4))},
        {"frames": np.zeros((2, 3, 4))},
    ]
    scores = [
        {"scores": [{"metric": "m", "method": "a", "value": v}]} for v in (None, 1.0, float("inf"), "x")
    ] + [{"scores": []}, {"scores": 3}, {"scores": [], "failed": [{}]}, {"scores": [], "outputs": ["a"]}]
    cells = ["=1", "-1", "-x", "+", "a\rb", None, float("nan"), 2.5, " =x", "@x", "x,y", 'q"q']
    return {
        "cohorts": cohorts,
        "flaws": [row_flaw({**row, **change}) for change in changes],
        "arrays": [said(lambda b=b: check_arrays(row, {**arrays, **b})) for b in bad],
        "missing": said(lambda: check_arrays(row, {})),
        "scores": [scores_readable(one) for one in scores],
        "failures": [
            whole_failure(one) for one in ({}, {"error": "e", "seconds": "x"}, {"method": 3, "seconds": 2})
        ],
        "csv": [csv_table([{"a": c, "b": 1} for c in cells]), csv_table([{"a": 1}], ["b", "a"], newline="|")],
    }


def memory() -> dict[str, Any]:
    shapes = [
        (5, 6),
        (3, 5, 6),
        (5, 6, 3),
        (2, 1, 5, 6),
        (1, 7, 5, 6),
        (2, 1, 4, 5, 6),
        (9, 5, 6),
        (5, 5, 5, 6),
        (4,),
    ]
    made = [said(lambda s=s: [list(i.values.shape) for i in as_images(draw(s, "u1"))]) for s in shapes]
    kinds = [said(lambda k=k: list(as_images(draw((2, 3), k))[0].window)) for k in ("u1", "u2", "f4", "i2")]
    sizes = [
        said(lambda s=s, p=p: check_size(Path("a"), s, page=p))
        for s, p in (((4, 5), True), ((4, 5), False), ((0, 5), False))
    ]
    set_largest_image(40)
    try:
        sizes += [
            said(lambda s=s, p=p: check_size(Path("a"), s, page=p))
            for s, p in (((2, 5), True), ((4, 10), False), ((11,), True), ((41,), False))
        ]
    finally:
        set_largest_image()
    lines = [one_line(ValueError(t)) for t in ("", "a.\nb", " x: ", "a\x00b", "y" * 300)]
    batches = [said(lambda s=s: is_batch(draw(s, "u1"))) for s in shapes] + [is_batch([1])]
    return {
        "arrays": made,
        "windows": kinds,
        "sizes": sizes,
        "lines": lines,
        "batches": batches,
        "limit": said(lambda: set_largest_image(0)),
    }


def values() -> dict[str, Any]:
    found: dict[str, Any] = {"memory": memory()}
    for part in (pictures, volumes, tables):
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found[part.__name__] = part(Path(folder))
    return found
