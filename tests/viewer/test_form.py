"""The form of a study: what it says of a file is what the file's reader says; nothing leaves its folder."""

from __future__ import annotations

import dataclasses
import json
import re
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("starlette", reason="the form needs contrafact[view]")

from browsing import HOSTILE, Site, serving
from contrafact.cli import main
from contrafact.core import EXPLAINERS, METRICS, InputError, check_types, to_toml
from contrafact.core.field_docs import hint_of, settings_of, text_of, value_of
from contrafact.study import StudyConfig, convert_torchesegeta, read_study
from contrafact.study.draft import draft_of, problems_of, table_of
from contrafact.study.preflight import survey
from contrafact.viewer.study_editor.app import make_form_app
from contrafact.viewer.study_editor.editor import StudyEditor
from forming import TOML, study_folder
from jobs import dying_job, failing_job, no_job, slow_job

FULL = """
cohort = "cohort.csv"
split = "val"
subgroups = ["sex"]
out = "run"
title = "5"
targets = ["class:yes", "margin:0,1"]
limit_seconds = 5
seed = 0
region = ""

[models.old]
path = "net.json"
patch = [8, 8]
[models.new]
bundle = "knee"
overlap = 0.25

[methods.gradient]
[methods.rise]
masks = 100
fill = "0.5"
share = 0.3
[methods."two words"]
method = "latent-walk"
blend = false
levels = [0.1, 0.9]
refinement = { steps = 3, prior = 0.1 }
[methods.smooth]
inner = { name = "occlusion", box = 8 }
[methods.gradient-shap]
baselines = ["min", 0.5, 1]

[metrics.deletion]
fill = 0.0

[second_model]
bundle = "knee"
path = "grade"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return study_folder(tmp_path / "work")


@pytest.fixture
def desk(folder: Path) -> Iterator[StudyEditor]:
    desk = StudyEditor(folder, "study.toml", no_job)
    yield desk
    desk.close()


@pytest.fixture
def site(desk: StudyEditor) -> Iterator[Site]:
    with serving(make_form_app(desk, token="secret")) as site:
        site.headers = {"x-contrafact-token": "secret", "origin": site.link}
        yield site


def draft(text: str = TOML, **study: str) -> dict[str, Any]:
    made = draft_of(tomllib.loads(text))
    made["study"].update(study)
    return made


def places(found: list[Any]) -> dict[str, str]:
    return {one.place: one.text for one in found}


def test_a_study_goes_into_the_form_and_comes_back_the_same() -> None:
    table = tomllib.loads(FULL)
    back = table_of(draft_of(table))
    assert back == table and json.dumps(table_of(draft_of(back))) == json.dumps(back)
    assert tomllib.loads(to_toml(back)) == table
    assert type(back["limit_seconds"]) is int and type(back["metrics"]["deletion"]["fill"]) is float
    assert problems_of(draft_of(table)) == []


WORDS = st.text(max_size=12).filter(lambda t: not any("\ud800" <= c <= "\udfff" for c in t))
VALUES = st.recursive(
    st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(WORDS, VALUES, max_size=5))
@settings(max_examples=150, deadline=None)
def test_what_is_written_is_read_back(table: dict[str, Any]) -> None:
    assert tomllib.loads(to_toml(table)) == table


HINTS: list[tuple[Any, Any]] = [
    (str, WORDS),
    (str | None, WORDS),
    (int, st.integers()),
    (float | None, st.floats(allow_nan=False) | st.integers()),
    (str | float, WORDS | st.floats(allow_nan=False)),
    (tuple[str, ...], st.lists(WORDS)),
    (tuple[float, ...] | None, st.lists(VALUES, max_size=4)),
    (int | tuple[int, ...] | None, VALUES),
    (Any, VALUES),
]


@pytest.mark.parametrize(("hint", "values"), HINTS, ids=[str(hint) for hint, _ in HINTS])
def test_a_value_becomes_a_text_and_the_same_value_again(hint: Any, values: Any) -> None:
    @given(values)
    @settings(max_examples=80, deadline=None)
    def same(value: Any) -> None:
        kept = value_of(hint, text_of(hint, value))
        assert kept == value and type(kept) is type(value)

    same()


def test_every_setting_of_every_method_and_metric_is_a_field_whose_default_is_accepted() -> None:
    for registry, word in ((EXPLAINERS, "methods"), (METRICS, "metrics")):
        for name in registry.names():
            cls = registry.get(name)
            shown = {one.name.split(".")[0]: one for one in settings_of(cls)}
            assert list(shown) == [f.name for f in dataclasses.fields(cls) if f.init], name
            assert [one.name for one in settings_of(cls) if not one.help] == [], name
            part = {
                "label": name,
                "kind": "",
                "fields": {n: s.default for n, s in shown.items() if "." not in s.name},
            }
            made = draft()
            made[word] = [part]
            assert problems_of(made) == [], name


def test_help_comes_from_the_docstring() -> None:
    about = {one.name: one for one in settings_of(StudyConfig)}
    assert about["workers_per_device"].help == "number of processes on each device"
    assert about["keep"].help == "mask of what stays as it is, with {stem} for the image's own name"
    assert "a file or a folder" in about["background"].help
    smooth = {one.name: one for one in settings_of(EXPLAINERS.get("smooth"))}
    assert smooth["noise"].help == "standard deviation as a share of the image's range"
    assert (smooth["samples"].kind, smooth["samples"].default) == ("whole number", "16")


@dataclasses.dataclass(frozen=True)
class Foreign:
    """Of a package whose types are there for a type checker only."""

    size: NotHere = 3  # type: ignore[name-defined]  # noqa: F821


def test_a_method_whose_types_cannot_be_found_has_fields_all_the_same() -> None:
    [one] = settings_of(Foreign)
    assert (one.name, one.default, value_of(hint_of(Foreign, "size"), "4")) == ("size", "3", 4)
    check_types(Foreign, {"size": "any"}, where="methods.foreign")


def test_what_the_reader_refuses_stands_beside_its_field() -> None:
    made = draft(FULL, colour="red", workers_per_device="many", limit_seconds="-1")
    made["methods"][1]["fields"] |= {"share": "2", "mask": "3", "cells": "x"}
    made["metrics"].append({"label": "deletoin", "kind": "", "fields": {"steps": "3"}})
    made["models"][0]["fields"]["overlap"] = "half"
    found = places(problems_of(made))
    assert found["study.colour"] == "[study] has an unknown key 'colour'; did you mean 'cohort'?"
    assert found["study.workers_per_device"] == "study.workers_per_device must be int; got 'many'"
    assert found["study.limit_seconds"] == "limit_seconds must be above 0; got -1"
    assert found["methods.1.share"].startswith("share must be above 0 and below 1")
    assert found["methods.1.mask"].endswith("did you mean 'masks'?")
    assert found["methods.1.cells"] == "methods.rise.cells must be int; got 'x'"
    assert "did you mean 'deletion'?" in found["metrics.1"]
    assert "overlap must be float" in found["models.0.overlap"]
    assert len(found) == 8


def test_what_is_wrong_in_the_whole_is_said_too() -> None:
    assert "needs 'methods'" in places(problems_of(draft('out = "run"\n')))[""]
    assert "expected images or a cohort" in places(problems_of(draft(images="")))[""]
    assert "not both" in places(problems_of(draft(cohort="cohort.csv")))[""]
    made = draft()
    made["methods"].append(dict(made["methods"][0]))
    assert "expected different labels in [methods]; got 'gradient' twice" in places(problems_of(made))[""]


def test_the_form_and_the_reader_agree(folder: Path) -> None:
    path = folder / "study.toml"
    for text in (
        TOML,
        FULL,
        TOML + "share = 1\n",
        TOML.replace("out", "uot"),
        TOML + "[methods.rise]\nshare = 2\n",
    ):
        path.write_text(text)
        try:
            read_study(path)
            said = None
        except InputError as error:
            said = str(error)
        found = [one.text for one in problems_of(draft(text))]
        assert (said is None) == (not found)
        assert said is None or said.removeprefix("'study.toml': ") in found


def test_a_wrong_type_is_refused_when_the_file_is_read(folder: Path) -> None:
    (folder / "study.toml").write_text(TOML + "[methods.rise]\nmasks = 'many'\n")
    with pytest.raises(InputError, match=r"methods.rise.masks must be int; got 'many'"):
        read_study(folder / "study.toml")


def test_the_desk_says_what_is_found(desk: StudyEditor) -> None:
    text = TOML.replace(
        'images = ["*.npy"]', 'cohort = "cohort.csv"\nsubgroups = ["sex", "age"]\nmasks = "{stem}.npy"'
    )
    said = desk.examine("study.toml", draft(text, split="vla"))
    missing = {one["place"]: one["text"] for one in said["missing"]}
    assert missing["study.split"].endswith("did you mean 'val'?")
    assert "got the subgroup 'age'" in missing["study.subgroups"]
    said = desk.examine("study.toml", draft(text))
    assert said["facts"]["study.cohort"] == [
        "images: 3, patients: 3, found on the disk: 2",
        "labels: no 2, yes 1",
    ]
    assert said["facts"]["study.subgroups"] == ["sex: f 1, m 2"]
    assert said["facts"]["study.masks"] == ["2 of 2 images have one"]
    assert said["facts"]["models.0"] == ["classes: no, yes"]
    assert [one["text"] for one in said["missing"] if one["place"] == "study.cohort"] == ["missing: c.npy"]
    said = desk.examine("study.toml", draft(TOML.replace("net.json", "nte.json"), background="others"))
    assert {one["place"] for one in said["missing"]} == {"models.0", "study.background"}
    assert said["problems"] == [] and not said["saved"]


def test_saving_is_whole_and_asks_before_it_writes_over(desk: StudyEditor, folder: Path) -> None:
    path = folder / "study.toml"
    assert desk.save("study.toml", draft())["saved"] == "study.toml"
    assert read_study(path) == read_study(path) and tomllib.loads(path.read_text()) == tomllib.loads(TOML)
    assert desk.save("study.toml", draft(seed="3")) == {"saved": "study.toml", "question": ""}  # its own text
    path.write_text("# by hand\n" + TOML)
    said = desk.save("study.toml", draft(seed="4"))
    assert not said["saved"] and "and its comments will be lost" in said["question"]
    assert path.read_text().startswith("# by hand")
    assert desk.save("study.toml", draft(seed="4"), replace=True)["saved"]
    assert read_study(path).seed == 4
    with pytest.raises(InputError, match="not saved: limit_seconds must be above 0"):
        desk.save("study.toml", draft(limit_seconds="0"))
    assert read_study(path).seed == 4 and not list(folder.glob("*.part"))


def test_a_file_with_unknown_keys_opens_and_loses_nothing(folder: Path) -> None:
    text = 'colour = "red"\n' + TOML + 'shade = [1, 2]\n[methods.nope]\na = "true"\n'
    (folder / "old.toml").write_text(text)
    opened = StudyEditor(folder, "old.toml", no_job).opened()
    assert opened["note"].startswith("'old.toml' is not a valid study: [study] has an unknown key 'colour'")
    assert table_of(opened["draft"]) == tomllib.loads(text)
    assert {one.place for one in problems_of(opened["draft"])} == {
        "study.colour",
        "methods.0.shade",
        "methods.1",
    }


@pytest.mark.parametrize(
    "text", ["methods = 3\n", "when = 2020-01-01\n", "model = 'net.json'\n", "[methods]\nx = 1\n", "x ="]
)
def test_a_file_that_no_form_can_hold_is_refused_in_one_line(folder: Path, text: str) -> None:
    (folder / "odd.toml").write_text(text)
    with pytest.raises(InputError) as error:
        StudyEditor(folder, "odd.toml", no_job).opened()
    assert "\n" not in str(error.value)


def test_a_converted_configuration_opens(folder: Path) -> None:
    methods = {
        "captum_Saliency": {},
        "captum_occlusion": {"strides": 3, "sliding_window_shapes": "1,8,8"},
        "captum_GuidedGradCam": {"nt_type": "smoothgrad", "nt_samples": 4},
    }
    tree = {"input_file": "a.npy", "methods": methods}
    (folder / "config.json").write_text(json.dumps(tree))
    text = convert_torchesegeta(folder / "config.json").text
    (folder / "study.toml").write_text(text)
    desk = StudyEditor(folder, "study.toml", no_job)
    opened = desk.opened()
    assert opened["note"] == "" and table_of(opened["draft"]) == tomllib.loads(text)
    assert desk.save("new.toml", opened["draft"])["saved"]
    assert read_study(folder / "new.toml") == read_study(folder / "study.toml")


OUTSIDE = ["../x", "/etc/passwd", "a/../../x", "link/x.npy", "x\0y"]


@pytest.mark.parametrize("path", OUTSIDE)
def test_paths_outside_are_refused(desk: StudyEditor, folder: Path, path: str) -> None:
    (folder / "link").symlink_to(folder.parent)
    for field in ("cohort", "masks", "background", "region", "reference", "out", "images"):
        made = draft(**{field: path})
        said = {one["place"] for one in desk.examine("study.toml", made)["problems"]}
        assert f"study.{field}" in said, field
        with pytest.raises(InputError, match="not saved"):
            desk.save("study.toml", made)
    for part in ("models", "second_model"):
        for field in ("path", "bundle"):
            made = draft()
            made[part] = [{"label": "", "kind": "", "fields": {field: path}}]
            assert f"{part}.0.{field}" in {one["place"] for one in desk.examine("study.toml", made)["problems"]}
    with pytest.raises(InputError, match="expected a path"):
        desk.save(path + ".toml", draft())
    assert not (folder / "study.toml").exists() and list(folder.parent.glob("*.toml")) == []


def test_links_that_a_pattern_finds_do_not_lead_out(desk: StudyEditor, folder: Path) -> None:
    (folder.parent / "away.npy").write_bytes((folder / "a.npy").read_bytes())
    (folder / "z.npy").symlink_to(folder.parent / "away.npy")
    assert "'z.npy' leads out" in desk.examine("study.toml", draft())["problems"][0]["text"]


@pytest.mark.parametrize("row", ["../away.npy,", "{away},", "a.npy,../away.npy", "a.npy,{away}", "link.npy,"])
def test_rows_of_a_cohort_do_not_lead_out(folder: Path, row: str) -> None:
    away = folder.parent / "away.npy"
    away.write_bytes((folder / "a.npy").read_bytes())
    (folder / "link.npy").symlink_to(away)
    (folder / "rows.csv").write_text(f"path,mask\na.npy,\n{row.format(away=away)}\n")
    seen = survey({"cohort": "rows.csv"}, folder, folder)
    assert [one.place for one in seen.outside] == ["study.cohort"] and "leads out" in seen.outside[0].text


@pytest.mark.parametrize("key", ["masks", "region", "reference"])
def test_links_that_a_stem_finds_do_not_lead_out(folder: Path, key: str) -> None:
    (folder.parent / "away.npy").write_bytes((folder / "a.npy").read_bytes())
    (folder / "mask_a.npy").symlink_to(folder.parent / "away.npy")
    seen = survey({"images": ["a.npy"], key: "mask_{stem}.npy"}, folder, folder)
    assert [one.place for one in seen.outside] == [f"study.{key}"] and not seen.facts.get(f"study.{key}")


def test_a_row_shorter_than_its_header_is_said(folder: Path) -> None:
    (folder / "rows.csv").write_text("label,path,split\nyes,a.npy\nno\n")
    [missing] = survey({"cohort": "rows.csv"}, folder, folder).missing
    assert missing.text == "line 3 of 'rows.csv': expected a path; got none"


def test_a_saved_study_that_names_other_places_does_not_run(desk: StudyEditor, folder: Path) -> None:
    (folder / "study.toml").write_text(TOML.replace('"run"', '"../run"'))
    with pytest.raises(InputError, match="lies outside"):
        desk.begin("study.toml")
    with pytest.raises(InputError, match="does not exist"):
        desk.begin("none.toml")
    with pytest.raises(InputError, match="name of a study file"):
        desk.begin("net.json")


def test_the_pages_answer(site: Site, folder: Path) -> None:
    page = site.ask("/")
    assert 'data-page="form"' in page.text and page.text.count("<script") == 1
    known = site.ask("/api/choices").json()
    assert {one["name"] for one in known["methods"]} == set(EXPLAINERS.names())
    opened = site.ask("/api/draft").json()
    assert (opened["path"], opened["exists"]) == ("study.toml", False)
    said = site.ask("/api/examine", method="POST", body={"path": "study.toml", "draft": draft()}).json()
    assert tomllib.loads(said["text"]) == tomllib.loads(TOML) and said["problems"] == []
    assert site.ask("/api/save", method="POST", body={"path": "study.toml", "draft": draft()}).json()["saved"]
    assert site.ask("/api/draft?path=study.toml").json()["draft"] == draft()
    assert site.ask("/api/draft?path=../x.toml").status == 400
    assert site.ask("/api/run", method="POST", body={"path": "study.toml"}).json()["state"] in (
        "running",
        "done",
    )


def test_without_the_token_or_from_elsewhere_nothing_happens(site: Site, folder: Path) -> None:
    body = {"path": "study.toml", "draft": draft()}
    for path in ("/api/examine", "/api/save", "/api/run", "/api/cancel"):
        assert site.ask(path, method="POST", body=body, x_contrafact_token="wrong").status == 403
        assert site.ask(path, method="POST", body=body, origin="http://evil.example").status == 403
        assert site.ask(path, method="POST", body=body, sec_fetch_site="cross-site").status == 403
        assert site.ask(path, method="POST", body=body, host="evil.example").status == 421
    for path in ("/", "/api/choices", "/api/draft", "/api/run", "/web/pages.js"):
        assert site.ask(path, x_contrafact_token="").status == 401
    assert not (folder / "study.toml").exists()
    entered = site.ask("/?token=secret", x_contrafact_token="")
    assert entered.status == 303 and "HttpOnly" in entered.headers["set-cookie"]


HALF = b'{"path": "s.toml", "draft": {"study": {"out": "\\ud800"}}}'
DRAFTS: list[Any] = [
    [],
    {"study": 3},
    {"study": {"out": 3}},
    {"study": {}, "methods": {}},
    {"study": {}, "methods": [3]},
    {"study": {}, "methods": [{"label": 3}]},
    {"study": {"limit_seconds": "[" * 20000}},
]
PATHS = [3, None, "\0.toml", "a" * 5000 + ".toml", "x.json"]
BAD: list[Any] = [
    *(b"{", b"[]", b"[" * 40000, HALF, {}),
    *({"path": "s.toml", "draft": one} for one in DRAFTS),
    *({"path": one, "draft": {"study": {}}} for one in PATHS),
]


@pytest.mark.parametrize("body", BAD)
def test_bodies_that_make_no_sense_are_answered_in_one_line(site: Site, folder: Path, body: Any) -> None:
    for path in ("/api/examine", "/api/save"):
        answer = site.ask(path, method="POST", body=body, content_type="application/json")
        assert answer.status == 400 or (path == "/api/examine" and answer.json()["problems"]), answer.text
        assert "Traceback" not in answer.text
    assert not list(folder.glob("*.toml"))


def test_what_is_not_sent_as_json_is_refused(site: Site, folder: Path) -> None:
    body = json.dumps({"path": "study.toml", "draft": draft()}).encode()
    for path in ("/api/examine", "/api/save", "/api/run"):
        answer = site.ask(path, method="POST", body=body, content_type="text/plain")
        assert (answer.status, answer.text) == (400, "expected JSON")
    assert not (folder / "study.toml").exists()


def test_hostile_names_stay_words(desk: StudyEditor, folder: Path) -> None:
    made = draft(title=HOSTILE, out="run")
    made["methods"][0] = {"label": HOSTILE, "kind": "gradient", "fields": {HOSTILE: HOSTILE}}
    said = desk.examine("study.toml", made)
    assert tomllib.loads(said["text"])["methods"][HOSTILE][HOSTILE] == HOSTILE
    assert f"got '{HOSTILE}'" in said["problems"][0]["text"]
    with serving(make_form_app(desk, token="t")) as site:
        body = {"path": "study.toml", "draft": made}
        answer = site.ask("/api/examine", method="POST", body=body, x_contrafact_token="t")
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-content-type-options"] == "nosniff"


def until(desk: StudyEditor, ready: Callable[[dict[str, Any]], bool], seconds: float = 40) -> dict[str, Any]:
    ends = time.monotonic() + seconds
    while not ready(state := desk.state()):
        assert time.monotonic() < ends, state
        time.sleep(0.02)
    return state


def test_a_run_is_watched_and_cancelled_in_order(folder: Path) -> None:
    (folder / "study.toml").write_text(TOML)
    desk = StudyEditor(folder, "study.toml", slow_job)
    assert desk.state() == {"state": "none", "seconds_left": None}
    desk.begin("study.toml")
    state = until(desk, lambda s: s.get("done") == 3)
    assert (state["total"], state["failed"], state["failures"]) == (9, 1, ["row 2: no"])
    assert state["seconds_left"] > 0 and state["command"].startswith("contrafact view ")
    with pytest.raises(InputError, match="running already"):
        desk.begin("study.toml")
    assert desk.cancel()["state"] == "stopping"
    assert until(desk, lambda s: s["state"] == "cancelled")["done"] == 3
    assert (folder / "study.ended").exists()  # it could put away its things
    desk.close()


@pytest.mark.parametrize(
    ("job", "why"), [(failing_job, "ValueError: the disk is full"), (dying_job, "exit code 7")]
)
def test_a_run_that_fails_says_why(folder: Path, job: Any, why: str) -> None:
    (folder / "study.toml").write_text(TOML)
    desk = StudyEditor(folder, "study.toml", job)
    desk.begin("study.toml")
    state = until(desk, lambda s: s["state"] == "failed")
    assert why in state["why"] and state["done"] == 1


def test_closing_the_desk_ends_what_runs(folder: Path) -> None:
    (folder / "study.toml").write_text(TOML)
    desk = StudyEditor(folder, "study.toml", slow_job)
    desk.begin("study.toml")
    until(desk, lambda s: s.get("done") == 3)
    desk.close()
    assert desk.state()["state"] == "cancelled"


def test_the_verb_prints_a_link_with_its_token_and_stops_on_control_c(folder: Path) -> None:
    words = [sys.executable, "-m", "contrafact.cli", "study", "--form", "new.toml"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder)
    assert process.stdout is not None
    link = process.stdout.readline().strip()
    found = re.fullmatch(r"form: http://127.0.0.1:(\d+)/\?token=(\S+)", link)
    assert found, link
    site = Site(int(found[1]))
    assert site.ask("/").status == 401
    opened = site.ask("/api/draft", x_contrafact_token=found[2]).json()
    assert (opened["path"], opened["exists"]) == ("new.toml", False)
    known = site.ask("/api/choices", x_contrafact_token=found[2]).json()
    assert "class:K" in {one["name"] for one in known["targets"]} and "knee" in known["bundles"]
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[1] == "" and process.returncode == 0


def test_the_verb_needs_a_file_or_the_form(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study"]) == 2
    assert "expected a study file" in capsys.readouterr().err
    assert main(["study", "--form", str(folder / "study.toml"), "--root", str(folder / "elsewhere")]) == 2
    assert "lies outside" in capsys.readouterr().err
