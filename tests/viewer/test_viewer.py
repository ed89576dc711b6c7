"""The viewer: true pixels, failures first, and nothing for strangers."""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from PIL import Image as Picture

pytest.importorskip("starlette", reason="the viewer needs contrafact[view]")

from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from browsing import HOSTILE, SIDE, Site, entered, heatmap, many, planted_run, ramp, record, serving, strip
from contrafact import render
from contrafact.core import Grid, Heatmap, Image, InputError
from contrafact.io import Run, open_run
from contrafact.render.case import case_page, shown
from contrafact.render.figures import upright
from contrafact.render.pixels import signed_scale
from contrafact.render.run_index import RunIndex
from contrafact.report.case import shown_case
from contrafact.viewer import make_app
from contrafact.viewer.security import BODY
from contrafact.viewer.server import bind
from contrafact.viewer.volumes import volume


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return planted_run(tmp_path / "run")


@pytest.fixture
def site(run: Run) -> Iterator[Site]:
    with serving(entered(make_app(run))) as site:
        yield site


def names(site: Site, query: str = "") -> list[str]:
    return [case["name"] for case in site.ask(f"/api/cases?{query}").json()["cases"]]


def test_failures_come_first_then_doubts(site: Site) -> None:
    assert names(site) == ["Case 3", "Case 2", "Case 1"]
    about = site.ask("/api/cases").json()
    assert (about["all"], about["failures"], about["doubts"]) == (3, 1, 1)
    assert about["cases"][0]["failures"] == ["lime: memory was short"]
    assert about["cases"][1]["doubts"] == ["gradcam: robustness to noise"]


def test_the_table_filters_and_sorts(run: Run, site: Site) -> None:
    many(run, 12)
    assert names(site, "sort=name")[-1] == "Case 12"  # not between 1 and 2
    assert names(site, "sort=order&q=KNEE2.png") == ["Case 2"]
    assert names(site, "q=narrow+30") == ["Case 3"]
    assert names(site, "show=failures") == ["Case 3"]
    assert names(site, "show=doubts") == ["Case 2"]
    assert len(names(site, "show=clean")) == 10
    assert site.ask("/api/cases?sort=size").status == 400
    assert site.ask("/api/cases?from=-1").status == 400


def test_a_run_that_grows_shows_its_new_cases(run: Run, site: Site) -> None:
    assert len(names(site)) == 3
    image = Image(ramp(), source="new.png")
    run.add("new", image, heatmap("new"), case="New", answers=[])
    assert "New" in names(site)


def test_two_thousand_cases_come_in_pages_and_no_array_is_opened_for_them(
    run: Run, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    many(run, 2000)
    opened, real = list[str](), zipfile.ZipFile.__init__

    def counted(self: zipfile.ZipFile, file: Any, *args: Any, **more: Any) -> None:
        opened.append(str(getattr(file, "name", file)))
        real(self, file, *args, **more)

    def counted_test(path: Any) -> bool:
        opened.append(str(path))
        return True

    monkeypatch.setattr(zipfile.ZipFile, "__init__", counted)
    monkeypatch.setattr(zipfile, "is_zipfile", counted_test)
    first = site.ask("/api/cases?count=2000").json()
    assert (first["all"], len(first["cases"])) == (2000, 100)
    seen = [name for start in range(0, 2000, 100) for name in names(site, f"count=100&sort=name&from={start}")]
    assert seen == [f"Case {n}" for n in range(1, 2001)]
    assert opened == []
    assert site.ask("/array/0/values").status == 200
    assert opened  # what opens an array is counted


def test_a_case_says_what_the_run_says(site: Site) -> None:
    case = site.ask("/api/cases?q=knee3").json()["cases"][0]
    about = site.ask(f"/api/case/{case['id']}").json()
    assert about["answers"] == ["narrow 30 %"]
    assert about["failures"][0]["error"] == "memory was short"
    [one], [how] = about["maps"], about["strips"]
    assert one["trust"] == {"failed": [], "passed": ["model randomisation"], "open": []}
    assert how["scores"][-1] == pytest.approx(1.6)
    assert how["second"] == "Not checked by a second model."
    assert how["followup"] == [{"name": "later.png", "answer": "narrow 80 %"}]
    assert (about["previous"], about["number"], about["of"]) == (None, 1, 3)
    assert site.ask(f"/api/case/{about['next']}").json()["name"] == "Case 2"


def test_pixels_are_those_of_the_run(run: Run, site: Site) -> None:
    for number, row in enumerate(run.rows()):
        for name, values in run.arrays(row).items():
            answer = site.ask(f"/array/{number}/{name}")
            if name.endswith("affine"):
                assert answer.status == 400
                continue
            shape = tuple(map(int, answer.headers["x-shape"].split(",")))
            np.testing.assert_array_equal(
                np.frombuffer(answer.body, "<f4").reshape(shape).squeeze(), values.squeeze()
            )
    assert site.ask("/thumbnail/0.png").body.startswith(b"\x89PNG")
    assert site.ask("/array/99/image").status == 400


def test_one_scale_for_a_method_over_the_whole_run(run: Run, site: Site) -> None:
    expected = signed_scale([run.arrays(row)["values"] for row in run.rows() if row["kind"] == "heatmap"])
    scales = []
    for case in site.ask("/api/cases").json()["cases"]:
        [one] = site.ask(f"/api/case/{case['id']}").json()["maps"]
        scales.append((one["scale"], *one["scale_from"]))
    assert scales == [(pytest.approx(expected), 3, 3)] * 3


def test_a_scale_follows_the_run_as_it_grows(run: Run) -> None:
    cohort = RunIndex(run)
    key = ("m", "class", "gradcam")
    before = cohort.scale(key)
    run.add("late", Image(ramp()), heatmap("late", strength=50), case="late")
    after = cohort.scale(key)
    assert after[2] == before[2] + 1 and after[0] > before[0]


def test_a_check_that_could_not_be_made_is_no_doubt(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", about={})
    passed = {"small noise": None, "other seeds": False, "adds up": True}
    card = [
        {"name": name, "value": None, "threshold": None, "passed": how, "sentence": "s."}
        for name, how in passed.items()
    ]
    run.add("a", Image(ramp(), source="a.png"), heatmap("a"), case="A", trust=card)
    [case] = RunIndex(run).cases().values()
    assert case.doubts == ["gradcam: seed stability"]


@pytest.mark.parametrize(
    ("there", "drawn", "slices"), [(5, 2, [0, 0, 1, 1, 1]), (3, 6, [1, 3, 5]), (4, 4, [0, 1, 2, 3])]
)
def test_a_strip_of_other_slices_shows_the_one_at_the_same_middle(
    there: int, drawn: int, slices: list[int]
) -> None:
    frames = np.zeros((2, 1, drawn, 4, 4), np.float32) + np.arange(drawn)[:, None, None]
    arrays = {"image": np.zeros((1, there, 4, 4), np.float32), "frames": frames}
    arrays |= {"affine": np.eye(4), "strip_affine": np.diag([there / drawn, 1, 1, 1])}
    found = [shown(arrays, "frames", at=at) for at in range(there)]
    assert [int(one.max()) for one in found] == [int(one.min()) for one in found] == slices


def test_slices_of_a_volume_stand_upright(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    affine = np.array([[0, 0, -2.0, 0], [0, 3.0, 0, 0], [4.0, 0, 0, 0], [0, 0, 0, 1]])  # slices along S
    grid = Grid((3, 5, 7), affine=affine)
    values = rng.integers(0, 255, grid.shape).astype(np.float32)
    run = Run.create(tmp_path / "run", about={})
    run.add(
        "v", Image(values[None], grid=grid), Heatmap(values=values, grid=grid, record=record("gradcam", "v"))
    )
    with serving(entered(make_app(run))) as site:
        answer = site.ask("/array/0/values?slice=2")
        shown = np.frombuffer(answer.body, "<f4").reshape(5, 7)
        # Pixels of the size of the smallest spacing: `upright` stretches them, the page does by `aspect`.
        expected = upright(np.repeat(values[2, ..., None], 3, axis=2).astype(np.uint8), grid, 0, (1.0, 1.0))
        np.testing.assert_array_equal(shown, expected[..., 0])
        [case] = site.ask("/api/cases").json()["cases"]
        about = site.ask(f"/api/case/{case['id']}").json()["image"]
        assert (about["aspect"], about["slices"]) == (pytest.approx(1.5), 3)
        assert site.ask("/array/0/values?slice=3").status == 400


def test_a_strip_on_a_grid_of_its_own_shows_the_same_place_in_its_own_proportions(tmp_path: Path) -> None:
    grid, coarse = Grid((6, 8, 16)), Grid((6, 8, 16)).resized((2, 8, 8))
    image = Image(np.zeros((1, 6, 8, 16), dtype=np.float32), grid=grid, window=(0, 1))
    frames = np.zeros((5, 1, 2, 8, 8), dtype=np.float32)
    frames[1:, :, 1] = 1
    run = Run.create(tmp_path / "run", about={})
    run.add("v", image, strip("v", frames=frames, reconstruction=frames[1], grid=coarse), case="v")
    with serving(entered(make_app(run))) as site:
        most = [
            np.frombuffer(site.ask(f"/array/0/{name}?slice={at}").body, "<f4").max()
            for name in ("frames", "reconstruction")
            for at in range(6)
        ]
        assert most == [0, 0, 0, 1, 1, 1] * 2
        assert site.ask("/array/0/frames?slice=6").status == 400
        [case] = site.ask("/api/cases").json()["cases"]
        about = site.ask(f"/api/case/{case['id']}").json()
    assert (about["image"]["aspect"], about["strips"][0]["aspect"]) == (1, 2)  # 2 mm by 1 mm
    report = shown_case(RunIndex(run), RunIndex(run).cases()[about["id"]])
    assert report.about["strips"][0]["where"] == "slice 2 of 2, with the largest change"
    still = base64.b64decode(report.stills[0]["frames"][1].partition(",")[2])
    size = Picture.open(io.BytesIO(still)).size
    assert max(size) == 2 * min(size) and report.stills[0]["frames"][1] != report.stills[0]["frames"][0]


def test_large_images_are_shrunk_for_the_screen(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", about={})
    values = np.zeros((1, 2050, 300), dtype=np.float32)
    values[:, :3] = 1  # one row of blocks of three
    grid = Grid((2050, 300))
    run.add("x", Image(values), Heatmap(values=values[0], grid=grid, record=record("gradcam", "x")))
    with serving(entered(make_app(run))) as site:
        answer = site.ask("/array/0/image")
        shown = np.frombuffer(answer.body, "<f4").reshape(683, 100)
    assert shown[0].min() == 1 and shown[1:].max() == 0


def test_hostile_words_stay_words(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", about={"title": HOSTILE})
    image = Image(ramp(), source=f"/data/{HOSTILE}")
    run.add(HOSTILE, image, heatmap("h"), case=HOSTILE, answers=[HOSTILE], target_name=HOSTILE)
    run.add_failure(HOSTILE + "2", method=HOSTILE, error=HOSTILE, source=image.source)
    with serving(entered(make_app(run))) as site:
        [case] = site.ask("/api/cases").json()["cases"]
        for path in ("/", f"/case/{case['id']}"):
            page = site.ask(path)
            assert "<img" not in page.text and page.text.count("<script") == 1
            assert page.headers["content-type"].startswith("text/html")
        assert site.ask(f"/api/case/{case['id']}").headers["content-type"] == "application/json"


def test_lines_that_make_no_sense_are_failures_not_faults(run: Run) -> None:
    rows = run.rows()
    bad: list[Any] = [
        {**rows[0], "key": "a", "case": "away", "array": "../../secret.npz"},
        {**rows[0], "key": "b", "case": "kind", "kind": 7},
        {**rows[0], "key": "c", "case": "record", "record": None},
        {**rows[0], "key": "d", "case": "window", "window": ["x"]},
        {**rows[1], "key": "e", "case": "scores", "scores": [float("nan")] * 5},
        {**rows[0], "key": "f", "case": {"a": []}, "answers": 5, "trust": [{}]},
        [1, 2],
        {"no": "key"},
    ]
    np.savez(run.folder.parent / "secret.npz", image=ramp(), values=ramp()[0])
    with (run.folder / "results.jsonl").open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in bad)
    with serving(entered(make_app(run))) as site:
        cases = {case["name"]: case["id"] for case in site.ask("/api/cases").json()["cases"]}
        assert {"away", "kind", "record", "window", "scores", "{'a': []}"} <= set(cases)
        for id_ in cases.values():
            assert site.ask(f"/api/case/{id_}").status == 200
        away = site.ask(f"/api/case/{cases['away']}").json()
        assert not away["maps"] and ".npz file in 'arrays'" in away["failures"][0]["error"]
        assert site.ask(f"/array/{len(rows)}/image").status == 400
        assert site.ask(f"/thumbnail/{len(rows)}.png").status == 400
    with pytest.raises(InputError, match="name of an .npz"):
        run.arrays({**rows[0], "array": "/etc/x.npz"})


PATHS = (
    "/web/../cohort.html",
    "/web/..%2f..%2ftemplates%2fpage.html",
    "/web/%2e%2e/README.md",
    "/web//etc/passwd",
    "/web/.",
    "/case/..%2f..%2fetc%2fpasswd",
    "/api/case/../../manifest.json",
    "/array/0/../../manifest.json",
    "/array/..%2f0/image",
    "/array/0/image%00",
    "/thumbnail/..%2fmanifest.png",
    "/manifest.json",
    "//etc/passwd",
    "/..%5c..%5cetc",
)


@pytest.mark.parametrize("path", PATHS)
def test_no_path_leads_out(site: Site, path: str) -> None:
    answer = site.ask(path)
    assert answer.status in (400, 404), path
    assert b"root:" not in answer.body and b"schema" not in answer.body


def test_other_host_names_are_refused(site: Site) -> None:
    for name in ("evil.example", f"evil.example:{site.port}", "127.0.0.1.evil.example", "", "10.0.0.1"):
        assert site.ask("/", host=name).status == 421, name
    for name in ("localhost", f"127.0.0.1:{site.port}", "LOCALHOST", f"[::1]:{site.port}"):
        assert site.ask("/", host=name).status == 200, name


def test_other_sites_are_refused(site: Site) -> None:
    assert site.ask("/array/0/image", sec_fetch_site="cross-site", sec_fetch_mode="no-cors").status == 403
    assert site.ask("/api/cases", origin="http://evil.example").status == 403
    assert site.ask("/api/cases", origin="null").status == 403
    assert site.ask("/", sec_fetch_site="cross-site", sec_fetch_mode="navigate").status == 200
    assert site.ask("/api/cases", origin=site.link, sec_fetch_site="same-origin").status == 200


def test_every_answer_keeps_the_browser_at_home(site: Site) -> None:
    for path in ("/", "/api/cases", "/nothing", "/web/pages.js", "/thumbnail/0.png", "/api/cases?sort=x"):
        headers = site.ask(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "server" not in headers


def test_pages_name_no_other_host() -> None:
    web = Path(render.__file__).parent
    for path in [*(web / "web" / "dist").iterdir(), *(web / "templates").glob("*.html")]:
        if path.name == "niivue_scene.js":
            continue  # names hosts in comments of its shaders: tests/browser/test_volumes.py
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in text and "https:" not in text, path.name
    for path in set((web / "templates").glob("*.html")) - {web / "templates" / "notebook.html"}:  # not served
        text = path.read_text()
        assert "style=" not in text and "onclick" not in text, path.name  # the policies would refuse them


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    body = await Request(scope, receive).body()
    await PlainTextResponse(body.decode())(scope, receive, send)


def test_nothing_is_written_without_the_token(run: Run) -> None:
    app = make_app(run, echo)
    [token] = app.tokens
    with serving(entered(app)) as site:
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert site.ask("/live/x", method=method, body=b"a").status == 403
            assert site.ask("/live/x", method=method, body=b"a", cookie=f"x={token}").status == 403
        assert site.ask("/live/x", method="POST", body=b"a", x_contrafact_token=token).text == "a"
        assert site.ask("/live/x", method="POST", body=b"a", x_contrafact_token=token + "x").status == 403
        elsewhere = {"x_contrafact_token": token, "origin": "http://evil.example"}
        assert site.ask("/live/x", method="POST", body=b"a", **elsewhere).status == 403
        assert f'data-token="{token}"' in site.ask("/").text
        assert site.ask("/", method="POST", body=b"a", x_contrafact_token=token).status == 405


@pytest.mark.parametrize("chunked", [False, True])
def test_long_bodies_are_refused(run: Run, chunked: bool) -> None:
    app = make_app(run, echo)
    [token] = app.tokens
    with serving(entered(app)) as site:
        sent = {"method": "POST", "chunked": chunked, "x_contrafact_token": token}
        assert site.ask("/live/x", body=b"a" * (BODY + 1), **sent).status == 413  # type: ignore[arg-type]
        assert len(site.ask("/live/x", body=b"a" * BODY, **sent).body) == BODY  # type: ignore[arg-type]


def test_on_this_machine_too_every_page_needs_the_link(run: Run) -> None:
    app = make_app(run, echo)
    with serving(app) as site:
        for path in ("/", "/api/cases", "/array/0/image", "/thumbnail/0.png", "/web/pages.js", "/live/x"):
            assert site.ask(path).status == 401
        assert site.ask("/live/x", method="POST", body=b"a").status == 403
        [token] = app.tokens
        assert site.ask(f"/?token={token}").status == 303


def test_elsewhere_every_page_needs_the_link(run: Run) -> None:
    with serving(make_app(run, token="secret", hosts=("viewer.example",))) as site:
        for path in ("/", "/api/cases", "/array/0/image", "/web/pages.js", "/?token=wrong", "/?token="):
            assert site.ask(path).status == 401
        enter = site.ask("/?token=secret&q=a", host="viewer.example")
        assert (enter.status, enter.headers["location"]) == (303, "/?q=a")
        assert "HttpOnly" in enter.headers["set-cookie"]
        cookie = enter.headers["set-cookie"].split(";")[0]
        assert site.ask("/api/cases", cookie=cookie).status == 200
        assert site.ask("/api/cases", cookie=cookie[:-1]).status == 401
        away = site.ask("//evil.example/?token=secret")
        assert away.headers.get("location", "/").startswith("/") and "//" not in away.headers.get(
            "location", ""
        )


def test_numeric_addresses_are_ours_only_when_bound_to_them(run: Run) -> None:
    with serving(make_app(run, token="t", addresses=True)) as site:
        assert site.ask("/", host="192.168.0.7:80").status == 401
        assert site.ask("/", host="evil.example").status == 421


def test_two_browsers_at_once(run: Run, site: Site) -> None:
    paths = [f"/array/{k % 6}/image" for k in range(40)] + ["/api/cases?q=case"] * 10
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(site.ask, paths))
    assert {answer.status for answer in answers} == {200}
    for k in range(40):
        assert np.frombuffer(answers[k].body, "<f4")[0] == 1 + k % 6 // 2


def test_the_server_starts_without_torch() -> None:
    code = "import sys, contrafact.viewer as v; v.pages.parts(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_an_address_that_is_taken_is_said() -> None:
    place = bind("127.0.0.1", 0)
    with place.listener:
        assert place.loopback and place.link() == f"http://127.0.0.1:{place.port}/"
        with pytest.raises(InputError, match="free address"):
            bind("127.0.0.1", place.port)
    with pytest.raises(InputError, match="free address"):
        bind("not a name", 0)


def test_the_index_is_that_of_the_run(run: Run) -> None:
    cohort = RunIndex(open_run(run.folder))
    assert sum(len(c.maps) + len(c.strips) for c in cohort.cases().values()) == len(run.rows())
    assert cohort.row(0)["case"] == "Case 1"
    assert run.arrays(run.rows()[0])["image"].shape[-1] == SIDE


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_the_command_prints_a_link_and_stops_on_control_c(run: Run, stop: signal.Signals) -> None:
    words = [sys.executable, "-m", "contrafact.cli", "view", str(run.folder)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    link = process.stdout.readline()
    found = re.fullmatch(r"viewer: http://127\.0\.0\.1:(\d+)/\?token=(\S{32})\n", link)
    assert found is not None
    site = Site(int(found[1]), {"x-contrafact-token": found[2]})
    assert len(names(site)) == 3 and Site(site.port).ask("/").status == 401
    process.send_signal(stop)
    assert process.communicate(timeout=300)[1] == "" and process.returncode == 0


def test_volumes_whose_voxel_size_nobody_knows_say_so_in_the_viewer(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", about={})
    values = np.zeros((4, SIDE, SIDE), np.float32)
    values[2, 3, 3] = 1.0
    for name, grid in (
        ("unknown", Grid(values.shape)),
        ("known", Grid(values.shape, spacing_mm=(3, 0.5, 0.5))),
    ):
        heat = Heatmap(values=values, grid=grid, record=record("gradcam", name))
        run.add(name, Image(values[None], grid, source=f"{name}.npy"), heat, case=name)
    cohort = RunIndex(run)
    said = {case.name: case_page(cohort, case)["image"]["spacing"] for case in cohort.cases().values()}
    assert said == {"unknown": "voxel size unknown", "known": "voxels of 3 × 0.5 × 0.5 mm"}
    for number, unit in ((0, 0), (1, 2)):  # NIfTI: unknown, and mm
        content = gzip.decompress(volume(run, run.rows()[number], "values"))
        assert nibabel.Nifti1Image.from_bytes(content).header["xyzt_units"] & 7 == unit
