"""What a run becomes for other programs: geometry, signs and scales survive."""

from __future__ import annotations

import dataclasses
import gzip
import io
import json
import weakref
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image as Picture

from contrafact.cli import main
from contrafact.core import Counterfactual, Grid, Heatmap, Image, InputError, Record
from contrafact.export.arrays import write_nifti
from contrafact.export.paper_files import STRIP
from contrafact.export.run_files import export_run
from contrafact.io import Run, read_image
from contrafact.render.figures import (
    KINDS,
    animation,
    overlay,
    panel,
    plane_names,
    signed_projection,
    telling_slice,
    upright,
)
from contrafact.render.pixels import AGAINST, FOR

OBLIQUE = np.array([[0.1, 0.0, 1.5, -20], [0.2, 2.0, 0.0, 5], [3.0, -0.1, 0.1, 7], [0, 0, 0, 1]])


def record(method: str = "gradient", target: str = "class:1") -> Record:
    return Record(method=method, parameters={}, target=target, model="m", image="i")


def volume(tmp_path: Path) -> Image:
    """A NIfTI file with its own header, read."""
    values = np.random.default_rng(0).uniform(0, 9, (6, 5, 4)).astype(np.float32)  # (x, y, z)
    file = nibabel.Nifti1Image(values, OBLIQUE[:, [2, 1, 0, 3]])
    file.header.set_xyzt_units("mm", "sec")
    file.header["qform_code"] = 1
    file.header["pixdim"][4] = 2.5
    nibabel.save(file, tmp_path / "t1.nii.gz")
    return read_image(tmp_path / "t1.nii.gz")


def run_with(tmp_path: Path, image: Image, targets: tuple[str, ...] = ("class:1",)) -> Run:
    run = Run.create(tmp_path / "run", about={"title": "t"})
    for number, target in enumerate(targets):
        values = np.zeros(image.grid.shape, np.float32)
        values[(1,) * values.ndim] = 2.0 + number
        values[(2,) * values.ndim] = -1.0
        heat = Heatmap(values=values, grid=image.grid, record=record(target=target))
        run.add(f"k{number}", image, heat, target_name=f"class {number}")
    return run


def test_nifti_keeps_voxels_affine_and_header_of_the_source(tmp_path: Path) -> None:
    image = volume(tmp_path)
    paths = list(export_run(run_with(tmp_path, image), "nifti", tmp_path / "out"))
    source, found = nibabel.load(tmp_path / "t1.nii.gz"), nibabel.load(paths[0])
    np.testing.assert_allclose(found.affine, source.affine, atol=1e-5)
    assert found.shape == source.shape
    assert found.header.get_xyzt_units() == ("mm", "sec")
    assert found.header["pixdim"][4] == pytest.approx(2.5)
    assert found.get_data_dtype() == np.float32
    again = read_image(paths[0])
    assert again.grid == image.grid
    assert again.values[0, 1, 1, 1] == 2.0
    assert b"contrafact gradient class:1" in bytes(found.header["descrip"])


@pytest.mark.parametrize("shape", [(5, 7), (3, 5, 7)])
def test_nifti_of_any_grid_comes_back_on_it(tmp_path: Path, shape: tuple[int, ...]) -> None:
    affine = OBLIQUE if len(shape) == 3 else np.diag([0.5, 0.7, 1.0, 1.0])
    grid = Grid(shape, affine=affine)
    values = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    write_nifti(tmp_path / "a.nii", values, grid)
    back = read_image(tmp_path / "a.nii")
    np.testing.assert_allclose(back.values.reshape(shape), values)
    np.testing.assert_allclose(back.grid.spacing_mm[-len(shape) :], grid.spacing_mm, rtol=1e-5)
    write_nifti(tmp_path / "b.nii.gz", np.stack([values, -values]), grid)
    np.testing.assert_allclose(read_image(tmp_path / "b.nii.gz").values[1].reshape(shape), -values)


def test_a_projection_keeps_the_sign_of_what_is_strongest() -> None:
    values = np.zeros((3, 2, 2), np.float32)
    values[0, 0, 0], values[1, 0, 0] = 1.0, -2.0
    values[2, 1, 1], values[0, 1, 1] = 3.0, -2.5
    np.testing.assert_array_equal(signed_projection(values, 0), [[-2, 0], [0, 3]])
    assert telling_slice(values, 0) == 2
    assert telling_slice(-np.abs(values), 0) == 0


def test_planes_are_named_and_turned_as_radiologists_look_at_them() -> None:
    grid = Grid((4, 5, 6), affine=OBLIQUE)  # slices go up, rows to the front, columns to the right
    assert plane_names(grid) == ("axial", "coronal", "sagittal")
    axial = np.zeros((5, 6, 3), np.uint8)
    axial[4, 5] = 255  # front, patient's right
    drawn = upright(axial, grid, 0, (1.0, 1.0))
    assert drawn[0, 0].min() == 255  # up, and on the viewer's left
    coronal = np.zeros((4, 6, 3), np.uint8)
    coronal[3, 0] = 255  # head, patient's left
    assert upright(coronal, grid, 1, (1.0, 1.0))[0, -1].min() == 255
    tall = upright(coronal, grid, 1, (3.0, 1.0))
    assert tall.shape[:2] == (12, 6)
    turned = Grid((4, 5, 6), affine=OBLIQUE[:, [2, 1, 0, 3]])
    assert plane_names(turned) == ("sagittal", "coronal", "axial")
    sagittal = np.zeros((5, 6, 3), np.uint8)  # across x: rows y, columns z
    sagittal[4, 5] = 255  # front, head
    assert upright(sagittal, turned, 0, (1.0, 1.0)).shape[:2] == (6, 5)
    assert upright(sagittal, turned, 0, (1.0, 1.0))[0, 0].min() == 255
    assert upright(sagittal, turned, 0, (1.0, 3.0)).shape[:2] == (18, 5)  # the spacing turns with the plane


def test_five_kinds_of_overlay() -> None:
    image = np.full((1, 2, 2), 100.0)
    values = np.array([[1.0, -1.0], [0.0, 0.1]])
    drawn = {k: overlay(image, values, window=(0, 200), scale=1.0, kind=k) for k in KINDS}
    np.testing.assert_array_equal(drawn["heat"][0, 0], FOR)
    np.testing.assert_array_equal(drawn["heat"][0, 1], AGAINST)
    assert drawn["heat"][1, 0].max() == 0
    assert drawn["masked"][0, 0, 0] == 128 and drawn["masked"][1, 1, 0] == 0
    assert drawn["alpha"].shape == (2, 2, 4) and list(drawn["alpha"][..., 3].ravel()) == [255, 255, 0, 26]
    np.testing.assert_allclose(drawn["blended"][0, 0], 64 + FOR / 2, atol=1)
    assert drawn["signed"][1, 0, 0] == 96
    with pytest.raises(InputError, match="did you mean 'masked'"):
        overlay(image, values, window=(0, 1), scale=1.0, kind="maskd")


def test_png_of_a_volume_has_three_planes_and_three_projections(tmp_path: Path) -> None:
    paths = [p.name for p in export_run(run_with(tmp_path, volume(tmp_path)), "png", tmp_path / "out")]
    for plane in ("axial", "coronal", "sagittal"):
        assert sum(f"signed_{plane}.png" in p for p in paths) == 1
        assert sum(f"projection_{plane}.png" in p for p in paths) == 1


def test_several_targets_stand_side_by_side_on_one_scale(tmp_path: Path) -> None:
    image = Image(np.full((1, 6, 6), 50.0), window=(0, 100), source="knee.png")
    run = run_with(tmp_path, image, ("class:0", "class:1", "class:2"))
    paths = list(export_run(run, "png", tmp_path / "out"))
    page = next(p for p in paths if p.name.startswith("panel_image1"))
    with Picture.open(page) as drawn:
        assert drawn.height == 1024 + 54 and drawn.width > 4 * (1024 + 8)
    one = panel([("A", np.zeros((4, 8, 3), np.uint8))], scale=2.0, height=40)
    assert one.shape[0] == 40 + 28 and one.shape[1] > 80 + 8 + 14
    bright = (one[:28] > 150).any(axis=(1, 2))
    assert bright.sum() >= 11, "letters that one can read"


def described(path: Path) -> tuple[np.ndarray, str]:
    with Picture.open(path) as file:
        return np.asarray(file.convert("RGB")).astype(int), file.text["Description"]  # type: ignore[attr-defined]


def test_panels_of_wide_images_are_as_wide_as_others(tmp_path: Path) -> None:
    image = Image(np.ones((1, 8, 1200)), window=(0, 1))
    *_, page = export_run(run_with(tmp_path, image, ("class:0", "class:1")), "png", tmp_path / "out")
    with Picture.open(page) as drawn:
        assert drawn.height < 120 and drawn.width < 3 * 1200 * 64 / 8 + 200


def test_words_fit_below_and_above_a_narrow_picture(tmp_path: Path) -> None:
    path, *_ = export_run(
        run_with(tmp_path, Image(np.ones((1, 64, 4)), window=(0, 1))), "png", tmp_path / "out"
    )
    drawn, _ = described(path)
    assert drawn.shape[:2] == (1024 + 2 * STRIP, 640)
    below = drawn[-STRIP:].max(axis=2) > 60
    assert below[:, 300:].any() and not below[:, -8:].any(), "the line ends before the edge"
    assert not drawn[STRIP:-STRIP, :280].any() and drawn[STRIP:-STRIP, 300:340].any()


def test_the_legend_of_a_masked_image_says_what_is_left_out(tmp_path: Path) -> None:
    run = run_with(tmp_path, Image(np.ones((1, 8, 8)), window=(0, 1)))
    [masked], [signed] = (list(export_run(run, "png", tmp_path / k, kind=k)) for k in ("masked", "signed"))
    assert described(masked)[1].startswith("the image where the map is beyond ±0.")
    assert described(signed)[1].startswith("orange: evidence for class 0; blue: against class 0; full colour ")
    assert (described(masked)[0][-STRIP:] != described(signed)[0][-STRIP:]).any()


def test_an_animation_holds_one_frame_of_full_colour_at_a_time() -> None:
    alive = list[weakref.ref[np.ndarray]]()

    def frames() -> Iterator[np.ndarray]:
        for k in range(4):
            assert sum(one() is not None for one in alive) <= 1
            frame = np.full((8, 8, 3), 60 * k, np.uint8)
            alive.append(weakref.ref(frame))
            yield frame

    with Picture.open(io.BytesIO(animation(frames()))) as moving:
        assert moving.n_frames == 6, "forwards and backwards"


def test_a_long_name_stays_above_its_picture() -> None:
    black = np.zeros((4, 4, 3), np.uint8)
    one = panel([("image", black), ("W" * 40, black), ("b", black)], scale=1.0, height=100)
    assert (one[:28, 2 * 108 - 8 : 2 * 108] < 60).all(), "nothing in the gap before the next name"


def test_npz_opens_without_pickles_and_says_what_it_is(tmp_path: Path) -> None:
    run = run_with(tmp_path, Image(np.ones((1, 6, 6))))
    (path,) = export_run(run, "npz", tmp_path / "out")
    with np.load(path, allow_pickle=False) as file:
        assert json.loads(str(file["about"]))["record"]["method"] == "gradient"
        assert file["values"][1, 1] == 2.0


def test_animations_walk_through_slices_and_frames(tmp_path: Path) -> None:
    values = np.zeros((4, 8, 8), np.float32)
    values[1, 2:4] = 1
    solid = Run.create(tmp_path / "solid", about={})
    deep = Image(np.random.default_rng(0).uniform(0, 1, (1, 4, 8, 8)), window=(0, 1))
    solid.add("k", deep, Heatmap(values=values, grid=deep.grid, record=record()))
    [path] = export_run(solid, "animation", tmp_path / "slices")
    with Picture.open(path) as moving:
        assert moving.n_frames == 6 and moving.size == (1024, 1024 + 2 * STRIP)
    image = Image(np.ones((1, 6, 6)), window=(0, 1))
    run = Run.create(tmp_path / "strips", about={})
    frames = np.stack([np.full((1, 6, 6), v, np.float32) for v in (0.0, 0.5, 1.0)])
    steps = np.arange(3.0)
    strip = Counterfactual(
        frames=frames, requested=steps, scores=steps, latent_distance=steps, origin=0,
        reconstruction_error=0.0, above_tolerance=False,
        outcome="steps", goal=None, reconstruction=frames[0], grid=image.grid, record=record("latent-walk"),
    )  # fmt: skip
    run.add("k", image, strip)
    (path,) = export_run(run, "animation", tmp_path / "out")
    with Picture.open(path) as moving:
        assert moving.n_frames >= 3 and min(moving.size) >= 1024
    pictures = list(export_run(run, "png", tmp_path / "out"))
    assert len(pictures) == 3
    for k, path in enumerate(pictures):
        with Picture.open(path) as still:
            drawn = np.asarray(still.convert("RGB")).astype(int)
        image = drawn[STRIP:-STRIP]
        assert image.shape[:2] == (1026, 1026) and (image == round(127.5 * k)).mean() > 0.99, (
            "words cover no image"
        )
        amber = drawn[-STRIP:, :, 0] - drawn[-STRIP:, :, 2] > 60
        assert amber.any(), "the mark, or what it is"
    assert nibabel.load(next(export_run(run, "nifti", tmp_path / "out"))).shape == (6, 6, 1, 3)


@pytest.mark.parametrize("form", ["png", "animation"])
@pytest.mark.parametrize("target", ["class:0", "margin:0,1", "probability:0"])
def test_orange_is_for_the_last_of_two_classes_in_every_export(tmp_path: Path, form: str, target: str) -> None:
    image = Image(np.zeros((1, 3, 8, 8)), window=(0, 1))
    values = np.zeros((3, 8, 8), np.float32)
    values[1, 2:4, 2:4], values[1, 5:7, 5:7] = 2.0, -1.0
    written = []
    for asked, sign in ((target, -1), (target.translate({48: "1", 49: "0"}), 1)):
        run = Run.create(tmp_path / f"run{sign}", about={})
        heat = Heatmap(values=sign * values, grid=image.grid, record=record(target=asked))
        run.add("k", image, heat, exclusive_classes=["a", "b"])
        written.append([path.read_bytes() for path in export_run(run, form, tmp_path / f"out{sign}")])
    assert written[0] == written[1]
    assert len(written[0]) == {"png": 6, "animation": 1}[form]


def test_the_command_line_writes_and_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_with(tmp_path, volume(tmp_path))
    assert main(["export", str(run.folder), "--to", "nifti", "--json"]) == 0
    (path,) = json.loads(capsys.readouterr().out)["files"]
    assert Path(path).parent == run.folder / "exports"
    assert main(["export", str(run.folder), "--to", "html", "--out", str(tmp_path / "h")]) == 0
    assert (tmp_path / "h" / "report.html").exists()
    assert main(["export", str(run.folder), "--to", "nifty"]) == 2
    assert "did you mean 'nifti'" in capsys.readouterr().err
    assert main(["export", str(tmp_path), "--to", "png"]) == 2


NAME = "Muster-Jane-19610304"


@pytest.mark.parametrize("form", ["nifti", "npz", "png", "html"])
def test_the_name_of_a_file_does_not_travel(tmp_path: Path, form: str) -> None:
    image = volume(tmp_path)
    source = nibabel.load(tmp_path / "t1.nii.gz")
    source.header["db_name"], source.header["aux_file"] = NAME[:17].encode(), NAME.encode()
    source.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", NAME.encode()))
    nibabel.save(source, tmp_path / f"{NAME}.nii.gz")
    image = dataclasses.replace(image, source=str(tmp_path / f"{NAME}.nii.gz"))
    run = Run.create(tmp_path / "run", about={"title": "t"})
    values = np.ones(image.grid.shape, np.float32)
    for target in ("class:0", "class:1"):
        made = dataclasses.replace(record(target=target), source=image.source)
        heat = Heatmap(values=values, grid=image.grid, record=made)
        run.add(f"{NAME}/{target}", image, heat, case=f"1. {NAME}.nii.gz")
    run.add_failure(f"{NAME}/lime", method="lime", source=image.source, error=f"'{NAME}.nii.gz' is too large")
    paths = list(export_run(run, form, tmp_path / "out"))
    for path in paths:
        assert "Muster" not in path.name
        content = path.read_bytes()
        content = gzip.decompress(content) if path.name.endswith(".gz") else content
        if form == "npz":
            with np.load(path) as file:
                content = str(file["about"]).encode()
        assert b"Muster" not in content, path
    kept = list(export_run(run, form, tmp_path / "kept", keep_names=True))
    assert len(kept) == len(paths)
    assert NAME in kept[0].name or NAME in kept[0].read_text()
