"""What the report carries and says: arrays within half a step, cards of methods, hashes, limits, intervals."""

from __future__ import annotations

import base64
import dataclasses
import html
import json
import re
import shutil
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from torch import nn

from browsing import HOSTILE, heatmap, planted_run, ramp, strip
from contrafact.api import explanation as face
from contrafact.core import EXPLAINERS, ContrafactError, Grid, Heatmap, Image, UnsupportedError
from contrafact.core.execution import explain
from contrafact.core.intervals import wilson
from contrafact.core.method_cards import card, cards_of
from contrafact.counterfactual import Bundle, LatentStatistics
from contrafact.export.pdf import BROWSERS
from contrafact.export.run_files import export_run
from contrafact.io import Run
from contrafact.render.case import case_page
from contrafact.render.run_index import RunIndex
from contrafact.report.encode_arrays import LEVELS, carried
from contrafact.report.page import write_report
from contrafact.report.text import checks_table


def unpacked(found: dict[str, Any]) -> np.ndarray:
    """The inverse of `carried`, written a second time from its words."""
    raw = np.frombuffer(zlib.decompress(base64.b64decode(found["data"])), np.uint8).astype(np.int64)
    low, high = raw[: len(raw) // 2], raw[len(raw) // 2 :]
    folded = low + 256 * high
    levels = np.where(folded % 2, -(folded + 1) // 2, folded // 2).reshape(found["shape"])
    if levels.ndim == 4:
        levels = levels.cumsum(axis=0)
    return found["low"] + found["step"] * levels.cumsum(axis=-1)


@pytest.mark.parametrize("shape", [(1, 5, 7), (3, 4, 4), (6, 1, 5, 3)])
def test_arrays_come_back_within_half_a_step(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(0, 400, shape).astype(np.float32)
    found = json.loads(json.dumps(carried(values)))
    assert found["step"] == pytest.approx((values.max() - values.min()) / LEVELS)
    assert np.abs(unpacked(found) - values).max() <= found["step"] / 2 * 1.001
    jump = np.where(np.arange(np.prod(shape)).reshape(shape) % 2, 3071.0, -1024.0)  # the largest differences
    np.testing.assert_array_equal(unpacked(carried(jump)), jump)
    whole = rng.integers(-1024, 3072, shape).astype(np.float32)
    whole.flat[:2] = -1024, 3071
    np.testing.assert_allclose(unpacked(carried(whole)), whole, atol=1e-9)
    np.testing.assert_array_equal(unpacked(carried(np.full(shape, 7.0))), np.full(shape, 7.0))


def test_every_method_has_a_card_with_source_and_cost() -> None:
    for name in EXPLAINERS.names():
        said = card(re.sub(r"\n    ", "\n", EXPLAINERS.get(name).__doc__ or ""))
        assert {"about", "cost", "source"} <= set(said), name
        assert "Differs:" not in said["source"] and "\n" not in "".join(said.values()), name


def test_a_card_says_what_the_docstring_says() -> None:
    text = "Hide it.\n\nimages  any\ngives   a map,\n        signed\ncost    2 passes\n"
    text += "Source: A 2020,\nsec. 1. Differs: not\nmuch.\n\nbox   size"
    assert card(text) == {
        "about": "Hide it.",
        "gives": "a map, signed",
        "cost": "2 passes",
        "source": "A 2020, sec. 1.",
        "differs": "not much.",
    }
    both = cards_of(EXPLAINERS.make("smooth", inner=EXPLAINERS.make("gradcam")))
    assert set(both) == {"smooth", "gradcam"} and "Selvaraju" in both["gradcam"]["source"]


class Coder(nn.Module):
    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))


def bundle(generator: float = 1.0, encoder: float = 2.0, mean: float = 0.0) -> Bundle:
    statistics = LatentStatistics(torch.full((3,), mean), torch.eye(3))
    parts: Any = {"generator": Coder(generator), "encoder": Coder(encoder), "statistics": statistics}
    return Bundle(name="b", window=(0.0, 1.0), directions=(), **parts)


def test_a_bundles_hash_is_that_of_its_weights() -> None:
    one = bundle()
    assert one.hashes == bundle().hashes
    assert re.fullmatch("[0-9a-f]{16}", one.digest)
    for other in (bundle(generator=1.5), bundle(encoder=1.0), bundle(mean=1e-7)):
        assert other.digest != one.digest
    assert bundle(encoder=1.0).generator_digest == one.generator_digest != bundle(1.5).generator_digest
    knee = face.load_bundle("knee")
    assert knee.hashes == face.load_bundle("knee").hashes


@dataclass(frozen=True)
class Draws:
    """Uses the bundle."""

    needs_bundle: ClassVar[bool] = True

    def __call__(self, question: Any, rng: Any) -> Any:
        return question.images[:, 0]


@dataclass(frozen=True)
class Plain:
    def __call__(self, question: Any, rng: Any) -> Any:
        return question.images[:, 0]


@dataclass(frozen=True)
class Around:
    inner: Any = Draws()

    def __call__(self, question: Any, rng: Any) -> Any:
        return self.inner(question, rng)


def test_records_name_what_drew_and_only_that() -> None:
    image, made = Image(ramp()), bundle()
    ask: Any = {"target": "x", "bundle": made}
    for method in (Draws(), Around()):
        [found] = explain(method, lambda x: x, [image], **ask)
        assert (found.record.bundle, found.record.generator) == (made.digest, made.generator_digest)
    [found] = explain(Around(Plain()), lambda x: x, [image], **ask)
    assert (found.record.bundle, found.record.generator) == ("", "")


def test_the_report_has_every_part(tmp_path: Path) -> None:
    card = {"name": "b", "bundle": "beef", "limits": "Only toys.", "figures": []}
    run = planted_run(tmp_path / "run")
    manifest = json.loads((run.folder / "manifest.json").read_text())
    (run.folder / "manifest.json").write_text(json.dumps({**manifest, "bundles": [card]}))
    run.add_methods({"gradcam": {"about": "Weighs.", "source": "Someone 2020.", "cost": "one pass"}})
    for row in (lines := run.rows()):
        if row["kind"] == "strip":
            row["record"] |= {"bundle": "beef", "generator": "cafe"}
    (run.folder / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    page = write_report(run).read_text()
    text = " ".join(re.sub(r"<[^>]+>", " ", re.sub(r"<(script|style)>.*?</\1>", "", page, flags=re.S)).split())
    for words in (
        "What this page is for",
        "not a medical device",
        "1 without a result image method why after knee3.png lime memory was short 1.5 s",
        "1 that did not pass a check Case 2: gradcam, narrow Noise moves it.",
        "Bundle b: Only toys.",
        "1 methods failed",
        "Weighs.",
        "Someone 2020.",
        "one pass",
        "3 results, median",
        "bundle b beef",
        "generator b cafe",
        "version contrafact 9",
        "model m",
        "image Case 3 Case 3",
    ):
        assert words in text, words
    least = 100 * binomtest(3, 3).proportion_ci(method="wilson").low
    asks = "does the map change when the network's weights are random"
    assert f"model randomisation {asks} heatmaps 3 of 3 100 % {least:.0f} to 100 %" in html.unescape(text)
    assert "under invisible noise heatmaps 0 of 1 0 % 0 to 79 %" in text
    names = re.findall(r'<h2 id="name-[^"]+">([^<]+)', page)
    assert names == ["Case 3", "Case 2", "Case 1"]  # failures, then warnings


def test_the_table_of_checks_counts_what_was_judged() -> None:
    judged = (True, False, None, True)
    rows = [{"kind": "heatmap", "trust": [{"name": "small noise", "passed": passed}]} for passed in judged]
    [line] = checks_table(rows)
    assert (line["passed"], line["judged"], line["open"]) == (2, 3, 1)
    assert (line["low"], line["high"]) == pytest.approx(wilson(2, 3))


def test_a_page_that_grows_too_large_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = planted_run(tmp_path / "run")
    whole = write_report(run).read_text()
    assert whole.count('type="application/json"') == 3
    arrays = json.loads(re.findall(r'<script type="application/json">(.*?)</script>', whole)[1])["arrays"]
    monkeypatch.setattr(
        "contrafact.report.page.CARRIED", 1.5 * sum(len(a.get("data", "")) for a in arrays.values())
    )
    page = write_report(run).read_text()
    assert page.count('type="application/json"') == 1 and page.count("Still pictures only") == 2
    monkeypatch.setattr("contrafact.report.page.IMAGES", 2)
    assert "1 more with results are not on this page" in write_report(run).read_text()


def test_volumes_show_the_slice_that_says_most(tmp_path: Path) -> None:
    grid = Grid((5, 6, 8))
    values = np.zeros(grid.shape, dtype=np.float32)
    values[3, 1, 2] = 2.0
    image = Image(np.arange(240, dtype=np.float32).reshape(1, 5, 6, 8), grid=grid, window=(0, 240))
    run = Run.create(tmp_path / "run", about={})
    run.add("a", image, Heatmap(values=values, grid=grid, record=heatmap("v").record), case="v")
    page = write_report(run).read_text()
    assert "slice 4 of 5, with the most evidence" in page and "holds one slice per volume and result" in page
    moves = json.loads(re.findall(r'<script type="application/json">(.*?)</script>', page)[0])
    shown = unpacked(moves["arrays"]["/array/0/values"])
    assert shown.max() == pytest.approx(2.0) and moves["about"]["image"]["slices"] == 0
    assert set(unpacked(moves["arrays"]["/array/0/image"]).round().ravel()) == set(range(144, 192))


def test_a_pdf_needs_a_browser_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = planted_run(tmp_path / "run", 1)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnsupportedError, match="a PDF needs Chromium or Chrome"):
        list(export_run(run, "pdf", tmp_path))
    fake = tmp_path / "chromium"
    fake.write_text('#!/bin/sh\necho "no display" >&2\nexit 1\n')
    fake.chmod(0o755)
    with pytest.raises(ContrafactError, match="did not print the report: no display"):
        list(export_run(run, "pdf", tmp_path))
    assert not (tmp_path / "report.pdf").exists()


def test_the_pdf_has_a_page_for_each_case(tmp_path: Path) -> None:
    if not any(map(shutil.which, BROWSERS)):
        pytest.skip("no Chromium on this machine")
    [path] = export_run(planted_run(tmp_path / "run"), "pdf", tmp_path / "out")
    paper = path.read_bytes()
    assert paper.startswith(b"%PDF") and len(re.findall(rb"/Type\s*/Page\b", paper)) >= 5


def test_hostile_words_and_a_hostile_title_stay_words(tmp_path: Path) -> None:
    run = Run.create(
        tmp_path / "run", about={"title": HOSTILE + '";}*{color:red}</style>', "bundles": [{"name": HOSTILE}]}
    )
    about = {"case": HOSTILE, "answers": [HOSTILE], "target_name": HOSTILE, "label": HOSTILE, "words": HOSTILE}
    check = {"name": HOSTILE, "value": 1.0, "threshold": 0.0, "passed": False, "sentence": HOSTILE}
    image = Image(ramp(), source=HOSTILE, about={"factors": {HOSTILE: HOSTILE}})
    run.add(HOSTILE, image, heatmap("h", method=HOSTILE), trust=[check], **about)
    run.add(HOSTILE + "2", image, strip("h"), trust=[check], followup=[(image, HOSTILE)], **about)
    run.add_methods({HOSTILE: {"about": HOSTILE, "source": HOSTILE}})
    run.add_failure("x", method=HOSTILE, error=HOSTILE, source=HOSTILE)
    page = write_report(run).read_text()
    assert "<img src=x" not in page and page.count("</style>") == 1
    assert page.count("<script>") == 1 and page.count("</script>") == 2
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy and "unsafe" not in policy[1] and "default-src &#39;none&#39;" in policy[1]


def test_lines_that_make_no_sense_do_not_stop_the_report(tmp_path: Path) -> None:
    run = planted_run(tmp_path / "run")
    rows = run.rows()
    bad: list[Any] = [
        {**rows[0], "key": "a", "case": "away", "array": "../../secret.npz"},
        {**rows[0], "key": "c", "case": "record", "record": None},
        {**rows[1], "key": "e", "case": "scores", "scores": [float("nan")] * 5},
    ]
    with (run.folder / "results.jsonl").open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in bad)
    page = write_report(run).read_text()
    assert "is unreadable" in page and "name of an .npz file in" in page and "Case 1" in page


def test_a_demo_is_shown_in_its_own_order_and_a_run_by_its_warnings(tmp_path: Path) -> None:
    check = {"name": "goal", "value": 1.0, "limit": 1.0, "passed": False, "sentence": "No."}
    for demo, first in ((True, "plain"), (False, "doubtful")):
        run = Run.create(tmp_path / f"run{demo}", about={"demo": demo})
        for name, trust in (("plain", []), ("doubtful", [check])):
            run.add(name, Image(ramp(), window=(0, 150)), heatmap(name), case=name, trust=trust)
        text = write_report(run).read_text(encoding="utf-8")
        places = {name: text.index(f">{name}</h2>") for name in ("plain", "doubtful")}
        assert min(places, key=places.__getitem__) == first


def test_the_key_warning_of_a_bundle_stands_beside_its_cases_alone(tmp_path: Path) -> None:
    cards = [{"name": "toy", "bundle": "beef", "warning": "Only <toys>."}, {"name": "other", "bundle": "cafe",
             "warning": "Never used."}, {"name": "plain", "bundle": "beef"}]  # fmt: skip
    run = Run.create(tmp_path / "run", about={"title": "t", "bundles": cards})
    image = Image(ramp(), window=(0.0, 200.0), source="a.png")
    made = strip("a")
    made = dataclasses.replace(made, record=dataclasses.replace(made.record, bundle="beef"))
    run.add("with", image, made, case="A")
    run.add("without", Image(ramp(level=1.0), source="b.png"), heatmap("b"), case="B")
    index = RunIndex(run)
    said = {case.name: case_page(index, case)["warnings"] for case in index.cases().values()}
    assert said == {"A": ["Bundle toy: Only <toys>."], "B": []}
    page = write_report(run).read_text()
    assert page.count('<p class="doubt small">Bundle toy: Only &lt;toys&gt;.</p>') == 1
    assert "Bundle other: Never used." not in page.partition("<script")[0]
