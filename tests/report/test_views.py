"""The report: self-contained, honest, and safe from what stands in a file's name."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from contrafact.core import Counterfactual, Grid, Heatmap, Image, InputError, Record
from contrafact.io import Run
from contrafact.render.charts import curve
from contrafact.render.pixels import grey, signed_overlay, signed_scale
from contrafact.report.page import write_report

GRID = Grid((8, 8))


def record(method: str = "gradcam", target: str = "class:1") -> Record:
    return Record(
        method=method, parameters={}, target=target, model="x", image="i", versions={"contrafact": "9"}
    )


def strip(**changes: object) -> Counterfactual:
    base = np.linspace(0, 255, 64).reshape(1, 1, 8, 8)
    values: dict[str, object] = {
        "frames": np.concatenate([base, base + 10, base + 20]).astype(np.float32),
        "requested": np.array([0.0, 1.0, 2.0]),
        "scores": np.array([-1.0, 0.1, 1.2]),
        "latent_distance": np.array([0.0, 0.4, 0.8]),
        "origin": 0,
        "reconstruction_error": 0.2,
        "above_tolerance": False,
        "outcome": "reached",
        "goal": 1.0,
        "reconstruction": base[0],
        "grid": GRID,
        "record": record("latent-walk"),
    }
    return Counterfactual(**{**values, **changes})  # type: ignore[arg-type]


def report(tmp_path: Path, result: Counterfactual, *, name: str = "one", source: str = "knee.png") -> str:
    run = Run.create(
        tmp_path / "run",
        about={
            "title": "T",
            "bundles": [
                {
                    "name": "knee",
                    "data": "D",
                    "licence": "L",
                    "figures": [
                        {"what": "f: AUC", "value": "0.91", "interval": "0.9 to 0.92", "wanted": "0.89"}
                    ],
                }
            ],
        },
    )
    image = Image(np.linspace(0, 255, 64).reshape(1, 8, 8), GRID, (0, 255), source=source)
    heat = Heatmap(values=np.eye(8) - 0.2, grid=GRID, record=record())
    run.add("a", image, heat, case=name, answers=["sick 80 %"])
    run.add("b", image, result, case=name, target_name="sick", followup=[(image, "sick 95 %")])
    return write_report(run).read_text()


class Balanced(HTMLParser):
    VOID = frozenset({"meta", "img", "link", "br", "line", "circle", "polyline"})

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [v or "" for k, v in attrs if k in ("src", "href")]
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [v or "" for k, v in attrs if k in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag


def test_the_page_is_whole_and_asks_nobody_for_anything(tmp_path: Path) -> None:
    page = report(tmp_path, strip())
    parser = Balanced()
    parser.feed(page)
    assert parser.stack == []
    assert any(link.startswith("data:image/png;base64,") for link in parser.links)
    assert all(link.startswith(("data:image/png;base64,", "#")) or link == "data:," for link in parser.links)
    ids = set(re.findall(r' id="([^"]+)"', page))
    assert {link[1:] for link in parser.links if link.startswith("#")} <= ids
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in page


def test_it_says_what_a_reader_must_know(tmp_path: Path) -> None:
    page = report(tmp_path, strip())
    for words in (
        "not for diagnosis",
        "sick 80 %",
        "Reconstruction error: 0.20 logits",
        "within the tolerance",
        "The goal was reached",
        "f: AUC",
        "0.9 to 0.92",
        "gradcam",
        "The same patient later",
        "sick 95 %",
        "Largest latent distance: 0.8 SD",
    ):
        assert words in page, words


def test_a_strip_not_to_be_trusted_says_so(tmp_path: Path) -> None:
    page = report(tmp_path, strip(reconstruction_error=4.0, above_tolerance=True, outcome="budget"))
    assert "Do not rely on this counterfactual" in page
    assert "No counterfactual was found within the plausibility budget" in page
    assert 'class="verdict warn"' in page


def test_checks_that_fail_are_sentences_and_those_that_pass_a_line(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", about={})
    image = Image(np.linspace(0, 255, 64).reshape(1, 8, 8), GRID, (0, 255))
    card = [
        {
            "name": "random weights",
            "value": 0.9,
            "threshold": 0.3,
            "passed": False,
            "sentence": "It <hardly> moves.",
        },
        {
            "name": "small noise",
            "value": 0.1,
            "threshold": 0.5,
            "passed": True,
            "sentence": "Noise is nothing.",
        },
        {"name": "other seeds", "value": 1.0, "threshold": 0.7, "passed": True, "sentence": "The same again."},
        {
            "name": "other methods",
            "value": None,
            "threshold": None,
            "passed": None,
            "sentence": "Not checked: why.",
        },
    ]
    heat = Heatmap(values=np.eye(8) - 0.2, grid=GRID, record=record())
    run.add("a", image, heat, case="c", trust=card)
    drift = {
        "name": "drift",
        "value": 4.0,
        "threshold": 1.0,
        "passed": False,
        "sentence": "Said in the verdict.",
    }
    second = {**card[0], "name": "second model", "sentence": "It may fool the first model."}
    run.add("b", image, strip(reconstruction_error=4.0, above_tolerance=True), case="c", trust=[drift, second])
    page = write_report(run).read_text()
    assert '<span class="doubt">It &lt;hardly&gt; moves.</span>' in page
    assert "robustness to noise, seed stability</span>" in page
    assert "Noise is nothing" not in page
    assert "not checked: other methods: Not checked: why.</span>" in page
    assert '<span class="doubt">It may fool the first model.</span>' in page
    assert 'class="verdict warn"' in page
    assert "Said in the verdict" not in page and "Do not rely on this counterfactual" in page
    assert "2 that did not pass a check" in page  # in the gallery of warnings, before the cases
    assert page.index("2 that did not pass") < page.index('id="cases"')
    assert re.search(
        r"<td>robustness to noise</td><td[^>]*>is the map stable [^<]*</td><td>heatmaps</td><td>1 of 1</td>"
        r"<td>100 %</td><td>21 to 100 %",
        page,
    )
    Balanced().feed(page)


def test_a_strip_of_a_grade_has_no_probability(tmp_path: Path) -> None:
    page = report(tmp_path, strip(record=record("latent-walk", "grade")))
    assert '"shares": null' in page and "80 %</b>" in page  # of the whole image, and nowhere else
    assert "-1.00 → 1.20 grades" in page and "score, grades" in page


def test_names_are_text_and_never_markup(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    page = report(tmp_path, strip(), name=evil, source=f"/x/{evil}.png")
    assert evil not in page
    assert len(re.findall(r"<script>", page)) == 1  # our own
    assert len(re.findall(r"</script>", page)) == 2  # and the arrays of one case


def test_an_empty_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="empty"):
        write_report(Run.create(tmp_path / "r", about={}))


def test_windows_and_signed_colours() -> None:
    values = np.array([[[0.0, 50.0, 100.0, 200.0]]])
    np.testing.assert_array_equal(grey(values, (0, 100))[0, :, 0], [0, 128, 255, 255])
    base = np.full((1, 3, 3), 100, np.uint8)
    shown = signed_overlay(base, np.array([[1.0, 0.0, -1.0]]), 1.0)
    assert shown[0, 0, 0] > shown[0, 0, 2], "for the target is warm"
    assert shown[0, 2, 2] > shown[0, 2, 0], "against it is cold"
    np.testing.assert_array_equal(shown[0, 1], base[0, 1])
    assert signed_scale([np.array([-3.0, 1.0]), np.array([0.5])]) == pytest.approx(3, rel=0.02)


def test_the_curve_puts_more_to_the_right_and_higher_up() -> None:
    made = curve([0, 1, 2], [-1, 0, 1], -1, goal=0.5)
    xs, ys = zip(*made.points, strict=True)
    assert list(xs) == sorted(xs)
    assert list(ys) == sorted(ys, reverse=True)
    assert ys[2] < made.goal_y < ys[1]
    assert all(0 <= x <= made.width for x in xs)
    assert [text for _, text in made.x_ticks] == ["0", "0.5", "1", "1.5", "2"]
    assert [x for x, _ in made.x_ticks[::2]] == list(xs)  # a tick stands below the point of its value
    assert [text for _, text in made.y_ticks] == ["-1", "-0.5", "0", "0.5", "1"]
    assert [y for y, _ in made.y_ticks[::2]] == list(ys)
    flat = curve([0.0, 0.0], [1.0, 1.0], 1.0, None)
    assert all(np.isfinite(p).all() for p in flat.points)


def test_a_volume_is_shown_by_its_middle_slice(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", about={})
    grid = Grid((5, 8, 8))
    image = Image(np.zeros((1, 5, 8, 8)), grid, (0, 1))
    run.add("a", image, Heatmap(values=np.ones((5, 8, 8)), grid=grid, record=record()), case="v")
    assert "5 × 8 × 8" in write_report(run).read_text()


def test_a_picture_of_a_volume_and_what_failed_are_shown(tmp_path: Path) -> None:
    from contrafact.core import Counterfactual, Grid, Image, Record

    image = Image(np.ones((1, 4, 6, 6)), window=(0, 1))
    frames = np.stack([np.full((1, 4, 6, 6), v, np.float32) for v in (0.2, 0.5)])
    steps = np.arange(2.0)
    strip = Counterfactual(
        frames=frames, requested=steps, scores=steps, latent_distance=steps, origin=0,
        reconstruction_error=0.0, above_tolerance=False,
        outcome="steps", goal=None, reconstruction=frames[-1], grid=Grid((4, 6, 6)),
        record=Record(method="deep-dream", parameters={}, target="region:1", model="m", image="i"),
    )  # fmt: skip
    run = Run.create(tmp_path / "run", about={"title": "t"})
    run.add("k", image, strip, picture=True)
    run.add_failure("f", method="rise", source="a/b.nii.gz", error="stopped <after> its limit", seconds=3.0)
    page = write_report(run).read_text()
    assert "Image that maximises the score (deep-dream" in page
    assert "not a patient" in page
    assert "stopped &lt;after&gt; its limit" in page
    assert "b.nii.gz" in page


def test_dots_lie_where_their_values_are_and_the_best_is_on_top() -> None:
    from contrafact.render.charts import dots
    from contrafact.report.study import chart

    found = dots([("a", 0.2, 0.1, 0.3), ("b", 0.4, None, None)])
    (_, _, a, low, high, text), (_, _, b, *_) = found.rows
    assert low < a < high < b and text == "0.2"
    assert np.diff([low, a, high, b]) == pytest.approx((b - low) / 3, abs=0.2)  # 0.1, 0.2, 0.3, 0.4
    ticks = {text: x for x, text in found.ticks}
    assert (ticks["0.1"], ticks["0.2"], ticks["0.3"], ticks["0.4"]) == (low, a, high, b)
    assert all(190 <= x <= found.width for x, _ in found.ticks)
    rows = [{"model": "", "method": m, "metric": "x", "mean": v, "low": v, "high": v}
            for m, v in (("a", 1.0), ("b", 2.0), ("c", None))]  # fmt: skip
    best = {way: chart(rows, "x", way) for way in ("higher", "lower")}
    assert [line[1] for line in best["higher"].rows] == ["b", "a"]  # type: ignore[union-attr]
    assert [line[1] for line in best["lower"].rows] == ["a", "b"]  # type: ignore[union-attr]
    assert chart(rows[2:], "x", "higher") is None
