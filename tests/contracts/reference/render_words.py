"""What pages, plots and reports say at their limits: outcomes, checks, charts, tables of a study."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from browsing import DOUBT, PASSED, planted_attributes, planted_run, ramp, record, strip
from contrafact.core import Grid, Heatmap, Image, NearestCases, RealCase
from contrafact.render import outcome
from contrafact.render.attributes import attribute_tables
from contrafact.render.case import (
    case_page,
)
from contrafact.render.charts import curve, dots
from contrafact.render.map_display import colour_names, display_sign
from contrafact.render.nearest import place_words
from contrafact.render.plotting import heatmap as plotted_map
from contrafact.render.plotting import strip as plotted_strip
from contrafact.render.run_index import RunIndex
from contrafact.render.text import checks_of, engine_words, layer_words, trust_words
from contrafact.report import notebook
from contrafact.report.first_screen import first_screen
from contrafact.report.study import study_section
from contrafact.report.text import checks_table, limits, method_cards
from reference.kept import asked, brief, tried
from reference.render_edges import SPOT, two_models
from reference.renders import row


def words() -> dict[str, Any]:
    rows = [
        row("reached", scores, target, **more)
        for scores in ([-2.0, 1.5], [0.0, 1.0], [1.0, 0.0], [2.0, -3.0])
        for target in ("class:1", "probability:1", "volume:1")
        for more in (
            {},
            {"second": [1.0, 2.0], "confirmed": True},
            {"trust": [{**PASSED, "name": "second model"}]},
            {"trust": [{**PASSED, "name": "second model", "passed": None}]},
        )
        if target != "probability:1" or min(scores) >= 0
    ]
    one = row(
        "already",
        [2.0, 2.0],
        trust=[{**PASSED, "name": name} for name in ("goal", "length", "drift", "another engine")]
        + [{**DOUBT, "name": "goal"}],
    )
    near = {"distance": 0.25, "nearer": 0.125, "other_rank": 2}
    return {
        "sentences": [
            [
                outcome.found(r),
                outcome.flips(r),
                outcome.second_words(r),
                outcome.heading(r),
                outcome.short(r),
                outcome.sentence({**r, "above_tolerance": n % 2 == 0}, 0.3),
            ]
            for n, r in enumerate(rows)
        ],
        "found": [
            outcome.found(row(stopped, scores))
            for stopped in ("reached", "steps", "budget", "already")
            for scores in ([-1.0, 1.0], [1.0, 2.0])
        ]
        + [outcome.found(row("reached", [0.0, 1.0], picture=True))],
        "percent": [
            outcome._percent(share) for share in (0, 1e-9, 0.005, 0.0051, 0.5, 0.9949, 0.995, 0.999, 1)
        ],
        "levels": [
            outcome.level("volume:1", v, unit=u)
            for v in (999.99, 1000.0, -1000.0, 12345.6)
            for u in (True, False)
        ],
        "region": outcome.heading(
            {
                **row("budget", [0.0, 1.0]),
                "record": {"target": "class:1", "method": "m", "details": {"region": 0.25}},
            }
        ),
        "checks": [
            checks_of(one),
            trust_words(one),
            trust_words(one, said=("drift",)),
            checks_of({**one, "kind": "heatmap"}),
            checks_of({**one, "outcome": "reached"}),
        ],
        "engines": [
            engine_words({**row("reached", [0.0, 1.0]), **more})
            for more in (
                {},
                {"label": "mine"},
                {"record": {"method": "m"}},
                {"record": {"method": "m"}, "label": "l"},
                {"record": None},
            )
        ],
        "layers": [layer_words({"layer": "a", "cells": cells}) for cells in ((), (4,), (4, 5, 6))],
        "near": [
            place_words({**near, **more})
            for more in ({}, {"nearer": None}, {"other_rank": None}, {"nearer": 0.005})
        ],
        "colours": [
            [display_sign(r), colour_names(r)]
            for r in (
                row("reached", [0.0], target, exclusive_classes=names)
                for target in ("class:0", "class:01", "margin:0,1", "value:0")
                for names in (["a", "b"], ["a"], None)
            )
        ],
        "curves": [
            dataclasses.asdict(curve(*given))
            for given in (
                ([0.0, 0.5], [0.0, 0.05], 0.0, None),
                ([0.0, 7.0], [0.0, 7.1], 0.0, 30.0),
                ([-1.0, 0.0, 2.0], [1.0, 0.0, -2.0], 0.0, -2.0),
                ([0.0, 1e7], [0, 1e10], 0.0, 1.0),
            )
        ],
        "dots": [
            dataclasses.asdict(dots(given))
            for given in (
                [("a", 0.0, 0.0, 0.0)],
                [("a", 7.0, None, 8.0), ("b", -3.0, -4.5, None)],
                [("a", 1e-4, None, None), ("b", 2e-4, None, None)],
                [("a", 5.0, None, None)],
            )
        ],
    }


def tables() -> dict[str, Any]:
    """Tables of a study with rows that are damaged, attributes of a generator, and parts of the report."""
    named: dict[str, Any] = {"model": "m", "method": "a"}
    mean = {
        **named,
        "metric": "iou",
        "mean": 0.5,
        "low": 0.4,
        "high": 0.6,
        "patients": 7,
        "failed": 1,
        "noted": 2,
    }
    summary = [
        mean,
        {**mean, "method": "b", "mean": 0.7},
        {**mean, "method": "c", "mean": None, "low": None, "high": None, "noted": None},
        {**mean, "low": None},
        {**mean, "high": None},
        {**mean, "patients": "x"},
    ]
    pair = {"metric": "iou", "first": "a", "second": "b", "difference": 0.1, "holm": 0.01, "differs": True}
    stored: dict[str, Any] = {
        "better": {"iou": "higher", "deletion": "lower", "odd": 3},
        "summary": summary,
        "words": {"iou": "place"},
        "by_construction": ["x"],
        "performance": [{"model": "m", "class": 1, "auc": None}, {"model": 3}],
        "subgroups": [{**mean, "subgroup": "women", "of": "sex"}],
        "ranks": [
            {**named, "metric": "iou", "rank": 2.0},
            {**named, "metric": "deletion", "rank": 1.0},
            {**named, "method": "b", "metric": "iou", "rank": 1.0},
        ],
        "families": [{**named, "families": {"place": 1.5, "removal": 1.0}, "rank": 1.25, "apart": None}],
        "disagreement": [{"first": "a", "second": "b", "correlation": None, "methods": 3, "model": "m"}],
        "methods": [pair, {**pair, "differs": False}, {**pair, "holm": None}],
        "models": [
            {**pair, "method": "a", "differs": False, "low": 0.0, "high": 0.2},
            {**pair, "method": "b", "low": 0.0, "high": 0.2},
        ],
    }
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        run = planted_run(Path(name) / "run")
        found["none"] = study_section(run)
        for label, content in (
            ("whole", stored),
            ("old", {**stored, "families": []}),
            ("empty", {}),
            ("list", []),
            ("flat", {**stored, "summary": "x"}),
        ):
            (run.folder / "summary.json").write_text(json.dumps(content))
            found[label] = finite_of(study_section(run))
        planted_attributes(run)
        folder = planted_attributes(
            run, "other", count=3, model_name="", images=5, target="value:0", target_name=""
        )
        table = json.loads((folder / "attributes.json").read_text())
        table["attributes"][0]["effect"] = "x"
        table["attributes"][1]["name"] = "narrow"
        (folder / "attributes.json").write_text(json.dumps(table))
        (run.folder / "attributes" / "broken").mkdir()
        (run.folder / "attributes" / "broken" / "attributes.json").write_text("[")
        found["attributes"] = [{**one, "flaw": one["flaw"][:20]} for one in attribute_tables(run.folder)]
        index, rows = RunIndex(run), run.rows()
        pages = [case_page(index, case) for case in index.cases().values()]
        found["limits"] = limits(
            {"bundles": [{"name": "k", "limits": "one"}, {}]},
            rows,
            run.failures(),
            cases=[{**page, "synthetic": n == 0} for n, page in enumerate(pages)],
        )
        found["limits of maps"] = limits({}, rows[:1], [], cases=[])
        found["checks"] = checks_table(rows)
        found["cards"] = [
            [card["name"], card["measured"], [line[0] for line in card["lines"]]]
            for card in method_cards(run, rows)
        ]
    return found


def finite_of(value: Any) -> Any:
    """Dataclasses of charts as tables too."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, dict):
        return {key: finite_of(part) for key, part in value.items()}
    return [finite_of(part) for part in value] if isinstance(value, list) else value


def plots() -> dict[str, Any]:
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    flat = Heatmap(values=SPOT * 2 - 0.5, grid=Grid((16, 16)), record=record("gradcam", "i"))
    deep = Heatmap(
        values=np.arange(60.0).reshape(3, 4, 5) * np.array([1, -3, 1])[:, None, None],
        grid=Grid((3, 4, 5)),
        record=record("gradcam", "i"),
    )

    def drawn(one: Heatmap, **more: Any) -> list[Any]:
        ax = plotted_map(one, **more)
        made = [[brief(i.get_array()), i.get_clim(), i.get_alpha()] for i in ax.images] + [
            ax.get_title(),
            ax.axison,
        ]
        plt.close(ax.figure)
        return made

    def framed(count: int, **more: Any) -> list[Any]:
        frames = np.stack([ramp(2, level=10.0 * k * k) for k in range(count)])
        frames[:, 1] /= 2
        about = {
            "requested": np.arange(count),
            "scores": np.arange(count) - 1.5,
            "latent_distance": np.arange(count),
            "origin": count // 2,
        }
        figure = plotted_strip(strip("s", frames=frames, reconstruction=frames[0], **about), **more)
        made = [
            [ax.get_title(), brief(ax.images[0].get_array()), ax.images[0].get_clim()] for ax in figure.axes
        ]
        plt.close(figure)
        return [made, [float(v) for v in figure.get_size_inches()]]

    volume = np.cumsum(np.arange(3 * 60.0).reshape(3, 1, 3, 4, 5) % 7, axis=0)
    solid = strip(
        "v",
        frames=volume,
        grid=Grid((3, 4, 5)),
        reconstruction=volume[0],
        requested=np.arange(3),
        scores=np.arange(3) - 1.0,
        latent_distance=np.zeros(3),
    )
    html = [
        notebook.image(Image(ramp(3), source="/a/b.png")),
        notebook.image(Image(volume[0], window=(1, 5))),
        notebook.heatmap(flat),
        notebook.heatmap(deep),
        notebook.strip(strip("s")),
        notebook.strip(solid),
    ]
    return {
        "maps": [drawn(flat), drawn(flat, image=ramp(2)), drawn(deep), drawn(deep, at=0, image=volume[0])],
        "strips": [framed(3), framed(12), framed(2)],
        "volume": [ax.get_title() for ax in plotted_strip(solid, at=1).axes],
        "refused": tried(
            lambda: drawn(deep, at=3),
            lambda: drawn(deep, at=-1),
            lambda: drawn(flat, image=ramp()[:, 1:]),
            lambda: plotted_strip(solid, at=3),
        ),
        "html": [
            [
                len(text) // 400,
                text.count("<img"),
                text.count("<td"),
                sorted(
                    {w for w in text.replace("<", " ").replace(">", " ").split() if w.isalpha() and len(w) > 3}
                )[:80],
            ]
            for text in html
        ],
    }


def near() -> dict[str, Any]:
    """The first screen, and the nearest cases of a page."""
    with tempfile.TemporaryDirectory() as name:
        run = two_models(Path(name) / "run")
        case = RealCase(
            image=Image(ramp(level=5.0), grid=Grid((16, 16), spacing_mm=(2, 1)), source="n.png"),
            label="l",
            score=1.0,
            answer="yes",
            distance=0.5,
            nearer=None,
            other_rank=1,
        )
        cases = NearestCases(
            cases=(case, case),
            by_other=(),
            target="class:1",
            layer="x",
            other_layer="",
            across=4,
            same=3,
            left_out=0,
        )
        heat = Heatmap(values=SPOT, grid=Grid((16, 16)), record=record("gradcam", "near"))
        run.add("near", Image(ramp(level=7.0), source="/d/near.png"), heat, case="Near", nearest=cases)
        index = RunIndex(run)
        pages = {c.name: case_page(index, c) for c in index.cases().values()}
        return {"page": pages["Near"]["nearest"], "screen": asked(lambda: first_screen(index, []))}


def values() -> dict[str, Any]:
    return {part.__name__: part() for part in (words, tables, plots, near)}
