"""Attributes of a generator in a run folder: what pages and report show of them, and the names of readers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="the viewer needs contrafact[view]")

from browsing import HOSTILE, Site, entered, planted_attributes, planted_run, serving
from contrafact.core import InputError
from contrafact.io import Run, open_run
from contrafact.io.attribute_folder import (
    attribute_folders,
    kept_names,
    name_attribute,
    picture_of,
    read_attributes,
    write_attributes,
)
from contrafact.io.lock import sole_writer
from contrafact.render.attributes import attribute_tables
from contrafact.report import write_report
from contrafact.viewer import make_app


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return planted_run(tmp_path / "run")


@pytest.fixture
def folder(run: Run) -> Path:
    return planted_attributes(run)


@pytest.fixture
def site(run: Run, folder: Path) -> Iterator[Site]:
    app = make_app(run)
    with serving(entered(app)) as site:
        site.headers["x-contrafact-token"] = next(iter(app.tokens))
        yield site


def names(folder: Path) -> list[str]:
    return [row["name"] for row in read_attributes(folder)["attributes"]]


def test_the_report_has_each_attribute_with_picture_effect_second_model_and_name(
    run: Run, folder: Path
) -> None:
    name_attribute(folder, "0.0", HOSTILE[:80])
    page = write_report(run).read_text()
    assert 'href="#attributes"' in page and "toy, model honest, narrow" in page
    assert "effect +2.00 logits (95 % interval +1.50 to +2.50); again +1.25; second model +0.75; 50 %" in page
    assert "second model -0.25</span>" in page and page.count("The second model does not follow.") == 1
    assert page.count('<img src="data:image/png;base64,') >= 2 and "&lt;img src=x onerror" in page
    assert "<img src=x onerror" not in page and "form" not in page.split('id="attributes"')[1].split("</ol>")[0]


def test_a_run_without_attributes_shows_none(run: Run) -> None:
    assert "attributes" not in write_report(run).read_text().split("<main")[1].split("Methods")[0]
    with serving(entered(make_app(run))) as site:
        assert "/attributes" not in site.ask("/").text
        assert site.ask("/attributes/x/attribute-01.png").status == 404


def test_a_name_is_stored_with_the_token_alone_and_never_for_what_is_not_there(
    site: Site, folder: Path
) -> None:
    body = {"folder": folder.name, "place": "0.1", "name": " tibial   spines "}
    assert "/attributes" in site.ask("/").text
    assert site.ask("/api/attributes", method="POST", body=body, x_contrafact_token="").status == 403
    assert names(folder) == ["", ""]
    assert site.ask("/api/attributes", method="POST", body=body).json() == {"name": "tibial spines"}
    assert names(folder) == ["", "tibial spines"]
    for wrong, status in (
        ({"place": "7.7"}, 400),
        ({"name": "x" * 81}, 400),
        ({"name": 3}, 400),
        ({"folder": "../run"}, 404),
        ({"folder": "other"}, 404),
    ):
        assert site.ask("/api/attributes", method="POST", body={**body, **wrong}).status == status
    assert names(folder) == ["", "tibial spines"]
    assert site.ask("/api/attributes", method="POST", body={**body, "name": ""}).json() == {"name": ""}
    assert names(folder) == ["", ""]


def test_no_other_file_is_a_picture_of_an_attribute(site: Site, folder: Path, tmp_path: Path) -> None:
    shown = site.ask(f"/attributes/{folder.name}/attribute-01.png")
    assert shown.status == 200 and shown.headers["content-type"] == "image/png"
    (folder / "attribute-02.png").write_bytes(b"<svg onload='alert(1)'>")
    (tmp_path / "attribute-03.png").write_bytes(shown.body)
    (folder / "attribute-03.png").symlink_to(tmp_path / "attribute-03.png")
    for name in (
        "attributes.json",
        "attribute-02.png",
        "attribute-03.png",
        "attribute-04.png",
        "..%2fmanifest.json",
    ):
        assert site.ask(f"/attributes/{folder.name}/{name}").status in (400, 404), name
    with pytest.raises(InputError, match="leads out of it"):
        picture_of(folder, "attribute-03.png")


def test_a_damaged_table_is_said_and_breaks_no_page(run: Run, folder: Path) -> None:
    table = json.loads((folder / "attributes.json").read_text())
    first, second = table["attributes"]
    rows = [
        first,
        {**second, "effect": "much"},
        {**second, "strip": "../manifest.json"},
        {**second, "layer": None},
    ]
    (folder / "attributes.json").write_text(json.dumps({**table, "attributes": rows}))
    broken = run.folder / "attributes" / "broken"
    broken.mkdir()
    (broken / "attributes.json").write_text("[")
    [bad, good] = attribute_tables(run.folder)
    assert "not readable JSON" in bad["flaw"] and bad["rows"] == []
    assert good["flaw"] == "3 damaged rows are left out" and [row["place"] for row in good["rows"]] == ["0.0"]
    page = write_report(run).read_text()
    assert "3 damaged rows are left out" in page and "not readable JSON" in page
    with serving(entered(make_app(run))) as site:
        assert "not readable JSON" in site.ask("/attributes").text


def test_a_folder_that_a_link_leads_out_to_is_none_of_the_run(run: Run, folder: Path, tmp_path: Path) -> None:
    other = planted_attributes(planted_run(tmp_path / "other"), name="elsewhere")
    (run.folder / "attributes" / "linked").symlink_to(other, target_is_directory=True)
    assert list(attribute_folders(run.folder)) == [folder.name]


def test_pictures_of_an_earlier_run_go_and_files_of_others_stay(run: Run) -> None:
    folder = planted_attributes(run, count=3)
    (folder / "attribute-notes.png").write_bytes(b"mine")
    name_attribute(folder, "0.2", "the third")
    planted_attributes(run, count=1)
    assert {path.name for path in folder.iterdir()} == {
        "attributes.json",
        "attribute-01.png",
        "attribute-notes.png",
    }
    planted_attributes(run, count=3)
    assert names(folder) == ["", "", "the third"]
    with pytest.raises(InputError, match="attributes of another target"):
        planted_attributes(run, count=1, target="class:0")
    assert names(folder) == ["", "", "the third"]


def test_while_somebody_writes_nobody_else_does(folder: Path) -> None:
    table = read_attributes(folder)
    with sole_writer(folder), pytest.raises(InputError, match="another run is writing"):
        name_attribute(folder, "0.0", "late")
    with sole_writer(folder), pytest.raises(InputError, match="another run is writing"):
        write_attributes(folder, {}, [], [])
    assert read_attributes(folder) == table and kept_names(folder, table) == {}


def test_the_verb_writes_into_a_run_and_its_report(run: Run) -> None:
    from contrafact.cli import main

    words = ["attributes", "phantom", "--count", "2", "--images", "4", "--run", str(run.folder), "--quiet"]
    assert main(words) == 0
    [(name, folder)] = attribute_folders(run.folder).items()
    assert name == "phantom-honest-class-1" and len(names(folder)) == 2
    assert "phantom, model honest, narrow joint" in (run.folder / "report.html").read_text()
    assert open_run(run.folder).rows() == run.rows()
    assert main(["attributes", "phantom", "--run", str(folder)]) == 2
