"""Volumes in the viewer: true NIfTI, and planes and a rendering that every control moves."""

from __future__ import annotations

import gzip
import io
import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("starlette", reason="the viewer needs contrafact[view]")

import nibabel
from PIL import Image as Picture

from browsing import HOSTILE, Site, entered, planted_run, record, serving, strip
from contrafact.core import Grid, Heatmap, Image, InputError
from contrafact.io import Run
from contrafact.viewer import make_app
from contrafact.viewer.security import POLICY, VOLUMES
from contrafact.viewer.volumes import lighter, volume

pytest.importorskip("playwright.sync_api", reason="tests in a browser need playwright")
from visiting import AXE, PALE, UNNAMED, WEB, WIDTHS, Visit, chromium, near

SHAPE = (6, 10, 8)  # slices along the head, rows along the back, columns along the left; not RAS on purpose
AFFINE = np.array([[0, 0, -2.0, 12], [0, -1.5, 0, 5], [3.0, 0, 0, -7], [0, 0, 0, 1]])
AT, BLOCK = (4, 3, 2), (slice(3, 6), slice(2, 5), slice(1, 4))
WEBGL = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


def solid_run(folder: Path, name: str = "Head") -> Run:
    """A volume with a map, strongest at `AT` (columns last), and a strip that brightens by 10 a frame."""
    grid = Grid(SHAPE, affine=AFFINE)
    grey = np.random.default_rng(0).uniform(20, 180, SHAPE).astype(np.float32)
    values = np.zeros(SHAPE, dtype=np.float32)
    values[BLOCK], values[0:2, 7:9, 5:7] = 1, -0.5
    values[AT] = 1.25
    run = Run.create(folder, about={"title": name})
    image = Image(grey[None], grid=grid, window=(0.0, 200.0), source=f"/data/{name}.nii.gz")
    about: dict[str, Any] = {"case": name, "target_name": name, "label": name}
    run.add("map", image, Heatmap(values=values, grid=grid, record=record("gradcam", name)), **about)
    frames = np.stack([grey[None] + 10 * k for k in range(5)])
    walked = strip(name, frames=frames, reconstruction=grey[None], grid=grid)
    run.add("walk", image, walked, **about)
    return run


def nifti(content: bytes) -> Any:
    return nibabel.Nifti1Image.from_bytes(gzip.decompress(content))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return solid_run(tmp_path_factory.mktemp("solid") / "run")


@pytest.fixture(scope="module")
def site(run: Run) -> Iterator[Site]:
    with serving(entered(make_app(run))) as site:
        yield site


def test_volumes_are_those_of_the_run_on_their_grid(run: Run, site: Site) -> None:
    heat, walk = run.rows()
    arrays, frames = run.arrays(heat), run.arrays(walk)["frames"]
    expected = {
        "0/image": arrays["image"][0],
        "0/values": arrays["values"],
        "1/frames.nii.gz?frame=3": frames[3, 0],
        "1/change.nii.gz?frame=3": frames[3, 0] - frames[0, 0],
        "1/reconstruction": frames[0, 0],
    }
    for name, values in expected.items():
        answer = site.ask(f"/volume/{name if '?' in name else name + '.nii.gz'}")
        assert answer.headers["content-type"] == "application/gzip"
        found = nifti(answer.body)
        np.testing.assert_array_equal(np.asarray(found.dataobj), values.transpose(2, 1, 0))
        np.testing.assert_allclose(found.affine, AFFINE[:, [2, 1, 0, 3]])
        assert found.header.get_xyzt_units()[0] == "mm"
    # The same place in mm holds the same value, by nibabel's own arithmetic.
    d, r, c = AT
    mm = nibabel.affines.apply_affine(nifti(site.ask("/volume/0/values.nii.gz").body).affine, (c, r, d))
    np.testing.assert_allclose(mm, [12 - 2 * c, 5 - 1.5 * r, -7 + 3 * d])


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/volume/0/frames.nii.gz", 400, "a result with frames"),
        ("/volume/1/frames.nii.gz?frame=5", 400, "a frame from 0 to 4"),
        ("/volume/1/frames.nii.gz?frame=-1", 400, "whole number"),
        ("/volume/0/image.nii.gz?channel=1", 400, "a channel from 0 to 0"),
        ("/volume/0/affine.nii.gz", 400, "expected one of image"),
        ("/volume/9/image.nii.gz", 400, "a result from 0 to 1"),
        ("/volume/-1/image.nii.gz", 404, ""),
        ("/volume/0/..%2f..%2fmanifest.nii.gz", 404, ""),
        ("/volume/0/../../manifest.json", 404, ""),
        ("/volume/0/%2e%2e/image.nii.gz", 404, ""),
        ("/web/..%2fpackage.json", 404, ""),
    ],
)
def test_what_is_not_there_is_refused(site: Site, path: str, status: int, said: str) -> None:
    answer = site.ask(path)
    assert answer.status == status and said in answer.text


def test_flat_images_and_wandering_lines_give_no_volume(tmp_path: Path, run: Run) -> None:
    flat = planted_run(tmp_path / "flat", 1)
    with pytest.raises(InputError, match="a volume; got an image of 16 by 16"):
        volume(flat, flat.rows()[0], "image")
    np.savez(tmp_path / "secret.npz", image=np.ones((1, 2, 2, 2)), affine=np.eye(4))
    with pytest.raises(InputError, match="name of an .npz"):
        volume(flat, {**run.rows()[0], "array": "../../secret.npz"}, "image")


def test_only_pages_with_volumes_may_read_pictures_from_their_own_file(site: Site, tmp_path: Path) -> None:
    [case] = site.ask("/api/cases").json()["cases"]
    assert site.ask(f"/case/{case['id']}").headers["content-security-policy"] == VOLUMES
    assert site.ask("/").headers["content-security-policy"] == POLICY
    assert [a for a, b in zip(VOLUMES.split("; "), POLICY.split("; "), strict=True) if a != b] == [
        "img-src 'self' data:"
    ]
    with serving(entered(make_app(planted_run(tmp_path / "flat", 1)))) as flat:
        [case] = flat.ask("/api/cases").json()["cases"]
        assert flat.ask(f"/case/{case['id']}").headers["content-security-policy"] == POLICY


def test_long_axes_are_shortened_and_the_affine_follows() -> None:
    values = np.arange(7 * 4 * 9, dtype=np.float32).reshape(7, 4, 9)
    small, grid = lighter(values, Grid(values.shape, affine=AFFINE), side=4)
    assert small.shape == (3, 4, 3)
    np.testing.assert_allclose(small[1, 2, 1], values[2:4, 2, 3:6].mean())
    np.testing.assert_allclose(grid.affine @ [1, 2, 1, 1], AFFINE @ [2.5, 2, 4, 1])  # the block's middle
    same, grid = lighter(values, Grid(values.shape, affine=AFFINE), side=9)
    assert same is values and np.array_equal(grid.affine, AFFINE)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium(*WEBGL) as started:
        yield started


def enter(visit: Visit) -> None:
    visit.go("/", "#lines tr a")
    visit.page.click("#lines tr a")
    visit.page.locator(".solid").scroll_into_view_if_needed()
    visit.page.wait_for_selector(".solid[data-ready]", timeout=120_000)
    said = visit.page.locator(".volumes input[type=range]").first.get_attribute("aria-valuetext")
    assert said is not None and " of 1," not in said, said


def drawn(visit: Visit) -> np.ndarray:
    """The stage as it is on the screen, (H, W, 3), once two pictures of it are the same."""
    visit.painted()
    shoot: Callable[[], bytes] = lambda: visit.page.locator(".solid").screenshot(timeout=90_000)  # noqa: E731
    before, content = b"", shoot()
    while content != before:
        visit.page.wait_for_timeout(100)
        before, content = content, shoot()
    return np.asarray(Picture.open(io.BytesIO(content)).convert("RGB")).astype(int)


def orange(pixels: np.ndarray) -> int:
    return int((pixels[..., 0] - pixels[..., 2] > 60).sum())


def blue(pixels: np.ndarray) -> int:
    return int((pixels[..., 2] - pixels[..., 0] > 60).sum())


def read(visit: Visit) -> str:
    return str(visit.page.text_content("#place-read"))


def solid(visit: Visit) -> Any:
    return visit.page.locator("section", has=visit.page.locator("#solid"))


def slide(visit: Visit, label: str, value: float) -> None:
    box = solid(visit).locator("label.slider", has_text=label).locator("input")
    box.evaluate("(e, v) => { e.value = v; e.dispatchEvent(new Event('input', {bubbles: true})); }", value)


def touch(a: dict[str, float], b: dict[str, float]) -> bool:
    across = a["x"] < b["x"] + b["width"] and b["x"] < a["x"] + a["width"]
    return across and a["y"] < b["y"] + b["height"] and b["y"] < a["y"] + a["height"]


def test_words_of_a_scale_can_be_read(browser: Any, site: Site) -> None:
    """White on a dark box, and as high as the words beside the picture."""
    with Visit(browser, site) as visit:
        visit.go("/", "#lines tr a")
        visit.page.click("#lines tr a")
        canvas = visit.page.wait_for_selector("[data-panel=map]")
        pixels = visit.pixels("map")
        shown = canvas.bounding_box()["height"] / len(pixels)  # CSS pixels of one of the canvas
        corner = pixels[int(0.6 * len(pixels)) : int(0.92 * len(pixels)), pixels.shape[1] // 2 :]
        white = (corner > 230).all(axis=2)
        rows = np.flatnonzero(white.any(axis=1))
        high = shown * (np.flatnonzero(np.diff(rows, append=rows[-1] + 9) > 2)[0] + 1)
        assert high >= 8  # of digits, without the letters' tails
        first = rows[0] - round(2 / shown)
        beside = corner[first, white.any(axis=0)]
        assert beside.max() < 90


def test_planes_show_the_map_where_it_lies(browser: Any, site: Site) -> None:
    with Visit(browser, site) as visit:
        enter(visit)
        d, r, c = AT
        assert read(visit).startswith(f"Voxel {c}, {r}, {d} (8.0 mm right, 0.5 mm front, 5.0 mm head)")
        assert read(visit).endswith("map +1.25")  # the strongest, with its own value
        shown = drawn(visit)
        assert len(np.unique(shown.reshape(-1, 3), axis=0)) > 200  # not blank
        assert orange(shown) > 500
        ruler = visit.page.locator(".solid .ruler")  # 16 mm across 8 columns, as drawn
        assert ruler.text_content() == "2 mm" or ruler.text_content() == "5 mm"
        assert 20 < ruler.bounding_box()["width"] <= 125
        planes = visit.page.locator(".solid .plane")
        assert ["".join(one.locator(".letter").all_text_contents()) for one in planes.all()] == [
            "RLAP",  # axial, coronal, sagittal: left, right, top, bottom
            "RLSI",
            "APSI",
        ]
        boxes = [one.bounding_box() for one in planes.locator(".letter").all()]
        assert not [1 for k, a in enumerate(boxes) for b in boxes[:k] if touch(a, b)]
        solid(visit).get_by_label("Hide the map").check()
        assert orange(drawn(visit)) == 0 == blue(drawn(visit))
        solid(visit).get_by_label("Hide the map").uncheck()
        slide(visit, "Opacity", 0)
        assert orange(drawn(visit)) == 0
        slide(visit, "Opacity", 100)
        slide(visit, "Threshold", 1)  # 4 of 480 voxels
        visit.until("document.querySelector('.volumes .legend').textContent.includes('strongest 1 %')")
        visit.choose("sagittal")
        few = orange(drawn(visit))
        slide(visit, "Threshold", 100)
        assert orange(drawn(visit)) >= few
        for axis, at in (("Sagittal", 1), ("Coronal", 1), ("Axial", 0)):  # RAS: 7 - 6, 9 - 8, 0
            slide(visit, axis, at)
        assert read(visit).startswith("Voxel 6, 8, 0 ") and read(visit).endswith("map −0.500")
        assert blue(drawn(visit)) > 300
        visit.page.locator("section", has=visit.page.locator("#solid")).get_by_label("per image").check()
        visit.until("document.querySelector('.volumes .legend').textContent.includes('not comparable')")


def test_slices_and_planes_open_on_the_most_evidence_with_one_threshold_and_one_window(
    browser: Any, site: Site
) -> None:
    with Visit(browser, site, 390) as visit:  # fewer pixels to render without a GPU
        enter(visit)
        where = visit.page.locator(".viewing.one")
        assert where.locator("label.slider", has_text="Slice").locator("output").text_content() == "5 of 6"
        axial = solid(visit).locator("label.slider", has_text="Axial slice").locator("output")
        assert axial.text_content().startswith("5 of 6") and read(visit).startswith("Voxel 2, 3, 4 ")
        letters = where.locator(".letter").all_text_contents()
        assert letters == list("RLAP")  # left, right, top, bottom
        visit.slide("Contour", 30)
        visit.until("document.querySelector('.volumes .legend').textContent.includes('strongest 30 %')")
        slide(visit, "Threshold", 20)
        said = where.locator("label.slider", has_text="Contour").locator("output")
        assert said.text_content() == "the strongest 20 %"
        presets = visit.page.get_by_label("Window preset")
        presets.last.select_option("whole range")
        assert [one.evaluate("e => e.selectedOptions[0].text") for one in presets.all()] == ["whole range"] * 3
        assert visit.pixels("map").max() == 255


def test_every_way_of_looking_and_the_keys(browser: Any, site: Site) -> None:
    with Visit(browser, site, 390) as visit:  # fewer pixels to render without a GPU
        enter(visit)
        seen = []
        for name in ("axial", "coronal", "rendering"):
            visit.choose(name)
            seen.append(drawn(visit))
            assert len(np.unique(seen[-1].reshape(-1, 3), axis=0)) > 100, name
        assert not np.array_equal(seen[0], seen[1])
        for label, value in (("Turn", 200), ("Tilt", 60), ("Cut", 0.6)):
            slide(visit, label, value)
            seen.append(drawn(visit))
            assert np.abs(seen[-1] - seen[-2]).max() > 40, label
        solid(visit).get_by_role("button", name="Play").click()
        visit.until("+document.querySelectorAll('#solid ~ .volumes input[type=range]')[3].value !== 200")
        solid(visit).get_by_role("button", name="Stop").click()
        visit.choose("axial")
        visit.page.focus(".solid")
        before = read(visit)
        for key, back in (("ArrowLeft", "ArrowRight"), ("ArrowUp", "ArrowDown"), ("PageUp", "PageDown")):
            visit.page.keyboard.press(key)
            assert read(visit) != before, key
            visit.page.keyboard.press(back)
            assert read(visit) == before, key
        visit.page.keyboard.press("PageUp")
        assert read(visit).startswith("Voxel 2, 3, 5 ")  # a slice nearer the head
        visit.page.keyboard.press("s")
        assert read(visit) == before
        visit.page.keyboard.press("h")
        assert solid(visit).get_by_label("Hide the map").is_checked()
        visit.page.keyboard.press("h")
        visit.page.keyboard.press("v")
        assert solid(visit).get_by_role("radio", name="coronal").is_checked()
        visit.page.keyboard.press(" ")
        visit.until(f"document.getElementById('place-read').textContent !== {json.dumps(before)}")
        assert visit.page.get_attribute("#place-read", "aria-live") == "off"  # not read out at every slice
        visit.page.keyboard.press(" ")
        box = visit.page.locator(".solid").bounding_box()
        visit.page.keyboard.press("s")
        visit.page.mouse.click(box["x"] + box["width"] / 2 + 40, box["y"] + box["height"] / 2 + 60)
        visit.until(f"document.getElementById('place-read').textContent !== {json.dumps(before)}")


def test_frames_of_a_strip_of_volumes(browser: Any, site: Site) -> None:
    with Visit(browser, site, 390) as visit:  # fewer pixels to render without a GPU
        enter(visit)
        grey = float(read(visit).split("image ")[1].split(",")[0])
        solid(visit).get_by_role("radio", name="change by Head").check()
        visit.until("document.getElementById('place-read').textContent.endsWith('change +40.0')")
        slide(visit, "Frame", 2)
        visit.until("document.getElementById('place-read').textContent.endsWith('change +20.0')")
        assert float(read(visit).split("image ")[1].split(",")[0]) == pytest.approx(grey + 20, abs=1)
        assert "synthetic" in solid(visit).text_content()
        assert orange(drawn(visit)) > 500
        slide(visit, "Frame", 0)
        visit.until("document.getElementById('place-read').textContent.endsWith('change 0.00')")
        assert orange(drawn(visit)) == 0


@pytest.mark.parametrize("width", WIDTHS)
def test_no_barrier_and_words_stay_words(browser: Any, tmp_path: Path, width: int) -> None:
    run = solid_run(tmp_path / "run", HOSTILE)
    with serving(entered(make_app(run))) as site, Visit(browser, site, width) as visit:
        enter(visit)
        assert visit.fits() and HOSTILE in solid(visit).text_content()
        assert visit.page.evaluate(UNNAMED) == [] and visit.page.evaluate(PALE) == []
        assert len(np.unique(drawn(visit).reshape(-1, 3), axis=0)) > 100
        if AXE.exists():
            visit.page.evaluate(AXE.read_text())
            found = visit.page.evaluate("axe.run()")["violations"]
            assert [(f["id"], f["nodes"][0]["html"]) for f in found] == []


def test_without_webgl_the_slices_remain(browser: Any, site: Site) -> None:
    with Visit(browser, site) as visit:
        visit.page.add_init_script(
            "const own = HTMLCanvasElement.prototype.getContext;"
            "HTMLCanvasElement.prototype.getContext = function (kind, ...more) {"
            "  return kind.startsWith('webgl') ? null : own.call(this, kind, ...more); }"
        )
        visit.go("/", "#lines tr a")
        visit.page.click("#lines tr a")
        visit.page.wait_for_selector("#solid")
        assert "has no WebGL 2" in solid(visit).text_content()
        assert visit.pixels("map").max() > 100  # the slice view
        assert not any("niivue_scene.js" in url or ".nii.gz" in url for url in visit.asked)


def test_flat_cases_load_no_volumes(browser: Any, tmp_path: Path) -> None:
    with serving(entered(make_app(planted_run(tmp_path / "run", 1)))) as site, Visit(browser, site) as visit:
        visit.go("/", "#lines tr a")
        visit.page.click("#lines tr a")
        visit.page.wait_for_selector(".film")
        assert not visit.page.query_selector("#solid")
        assert not any("niivue_scene.js" in url for url in visit.asked)
        assert near(visit.pixels("map"), (0, 0, 0), 255).all()


def test_the_volumes_file_names_hosts_only_in_comments() -> None:
    """Of its shaders, and in what NiiVue's package says of itself; one that names others shows here."""
    built = (WEB / "dist/niivue_scene.js").read_text()
    places = [found.start() for found in re.finditer("https?://", built)]
    lines = [built[built.rfind("\n", 0, at) + 1 : at + 60] for at in places]
    said = [x for x in lines if not x.lstrip().startswith("//") and "github.com/niivue" not in x[-90:]]
    assert not said, [x[-90:] for x in said]


def test_the_built_volumes_are_those_of_the_source_and_name_every_licence(tmp_path: Path) -> None:
    build = WEB / "node_modules/.bin/esbuild"
    if not build.exists() or not (WEB / "node_modules/@niivue").exists():
        pytest.skip("esbuild and NiiVue come with `npm ci` in render/web")
    about = json.loads((WEB / "package.json").read_text())["scripts"]["build:niivue"]
    out = f"{tmp_path}/niivue_scene.js --metafile={tmp_path}/about.json"
    words = about.replace("dist/niivue_scene.js", out).split()
    subprocess.run([str(build), *words[1:]], cwd=WEB, check=True, capture_output=True)
    built = (WEB / "dist/niivue_scene.js").read_bytes()
    assert (tmp_path / "niivue_scene.js").read_bytes() == built
    assert b"WebAssembly" not in built and b"new Worker" not in built and b"new Function" not in built
    [joined] = json.loads((tmp_path / "about.json").read_text())["outputs"].values()
    packages = {
        "/".join(name.split("node_modules/")[1].split("/")[: 2 if "/@" in name else 1])
        for name in joined["inputs"]
        if "node_modules/" in name
    }
    said = (WEB / "dist/licences.txt").read_text()
    for package in packages:
        version = json.loads((WEB / "node_modules" / package / "package.json").read_text())["version"]
        assert f"\n{package} {version} (" in said, package
    assert (WEB / "dist/licences.txt").stat().st_size < 20_000
