"""What pages, pictures and files say and show: texts exactly, scales, ticks and pixels."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from browsing import DOUBT, PASSED, planted_run, ramp, strip
from contrafact.core import Grid, Heatmap, Image, Record
from contrafact.export.arrays import nifti_bytes
from contrafact.export.run_files import export_run
from contrafact.io import Run
from contrafact.render import outcome, text
from contrafact.render.case import (
    aspect_of,
    case_page,
    difference_about,
    plane_of,
    shrink_by,
    shrunk,
    spacing_words,
)
from contrafact.render.charts import curve, dots
from contrafact.render.comparison import alike, answers_apart, overlap
from contrafact.render.difference import difference_scale, difference_words
from contrafact.render.figures import (
    KINDS,
    moving_slice,
    overlay,
    panel,
    plane_names,
    signed_projection,
    telling_slice,
    turned,
    views_of,
)
from contrafact.render.map_display import colour_names, display_sign, finding_of, map_flaw, scale_for
from contrafact.render.pixels import grey, signed_overlay, signed_scale
from contrafact.render.run_index import RunIndex, name_order
from contrafact.report.encode_arrays import carried
from contrafact.report.text import bundle_cards, checks_table, hashes, limits, method_cards
from reference.kept import brief

TARGETS = (
    "class:1",
    "margin:1,0",
    "probability:1",
    "value:0",
    "grade",
    "region:2",
    "volume:1",
    "dice:1",
    "own:1",
)
SCORES = (
    -99.0,
    -5.4,
    -5.2933,
    -2.1972,
    -1e-9,
    0.0,
    0.004,
    0.005,
    0.5,
    0.995,
    0.9951,
    1.0,
    5.3,
    999.996,
    1234.5,
)
OBLIQUE = np.array([[0.1, 0.0, 1.5, -20], [0.2, 2.0, 0.0, 5], [3.0, -0.1, 0.1, 7], [0, 0, 0, 1]])
OUTCOMES = ("reached", "already", "budget", "search", "no_change", "steps")


def row(stopped: str, scores: list[float], target: str = "class:1", **more: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "outcome": stopped,
        "scores": scores,
        "origin": 0,
        "kind": "strip",
        "target_name": "narrow",
    }
    record = {"target": target, "method": "latent-walk", "details": {"engine": "translate"}}
    plain |= {"requested": [0.5 * k for k in range(len(scores))], "record": record, "window": (0, 200)}
    return {**plain, "latent_distance": [0.25 * k for k in range(len(scores))], **more}


def numbers() -> dict[str, Any]:
    values = np.array([[0.0, 0.004], [-2.0, 1.0]])
    return {
        **{target: [outcome.level(target, score) for score in SCORES] for target in TARGETS},
        "units": [[outcome.unit_of(t), outcome.in_odds(t), outcome.kind_of(t)] for t in TARGETS],
        "shares": [
            outcome.probability_of(t, s) for t in TARGETS[:3] for s in SCORES if t[0] != "p" or 0 <= s <= 1
        ],
        "spacing": [
            spacing_words(grid)
            for grid in (Grid((3, 4)), Grid((3, 4), spacing_mm=(0.12345, 2.0)), Grid((2, 3, 4), affine=OBLIQUE))
        ],
        "layers": [text.layer_words(d) for d in ({}, {"layer": "body.7", "cells": (4, 4)}, {"layer": "a"})],
        "scales": [scale_for(values, shared).words for shared in (2.0, 13.3, 13.34, 20.0, 96.0)],
        "factors": [scale_for(values, shared).factor for shared in (2.0, 20.0)],
        "flaws": [
            map_flaw(v, 1.0) for v in (0 * values, values * 0 + 2, values, np.ones((10, 10)) - np.eye(10))
        ],
        "differences": [
            difference_words(values * factor, difference_scale((0, 8)))
            for factor in (0.0, 0.05, 0.0999, 0.5, 1.0, 1.5)
        ],
        "difference scale": [difference_scale(w).words for w in ((0, 255), (-1000, 400), (1, 1))],
        "names": [name_order(name) for name in ("Case 2", "case 10", "x")],
        "answers": [
            answers_apart(a, b).__repr__()
            for a, b in (
                (["no 40 %", "yes 60 %"], ["no 70 %", "yes 30 %"]),
                (["no 40 %", "yes 60 %"], ["no 30 %", "yes 70 %"]),
                (["lesion: 20 voxels"], ["lesion: 50 voxels"]),
                (["grade 1.5"], ["grade -0.5"]),
                (["a 1"], ["b 1"]),
                ([], []),
            )
        ],
    }


def sentences() -> dict[str, Any]:
    found: dict[str, Any] = {}
    ends = {"flips": [-2.0, -0.5, 1.5], "stays": [0.5, 0.7, 2.0], "falls": [1.0, 0.0, -1.0], "at": [-1.0, 0.0]}
    checks = [{**PASSED, "name": "second model"}, DOUBT, {**PASSED, "name": "goal"}]
    for stopped in OUTCOMES:
        for name, scores in ends.items():
            for target in ("class:1", "grade"):
                one = row(stopped, scores, target)
                found[f"{stopped} {name} {target}"] = [
                    outcome.heading(one),
                    outcome.before_after(one),
                    outcome.flips(one),
                    outcome.last_frame(one),
                    [outcome.tone(one, doubtful=which) for which in (False, True)],
                ]
        one = row(stopped, ends["flips"], trust=checks)
        found[f"{stopped} checks"] = [
            text.trust_words(one),
            text.trust_words(one, said=("goal",)),
            text.checks_of(one),
        ]
    for number, more in enumerate(
        (
            {},
            {"second": [-1.0, 1.0], "confirmed": True},
            {"second": [-1.0, 1.0], "confirmed": False},
            {"second": [1.0, 1.0], "confirmed": None},
            {"trust": checks},
            {"trust": [{**checks[0], "passed": False}]},
            {"picture": True, "label": "deep"},
            {"about": {"synthetic": True}, "origin": 1},
        )
    ):
        one = row("reached", ends["flips"], **more)
        found[f"second {number}"] = [outcome.second_words(one), outcome.heading(one), text.engine_words(one)]
        found[f"frames {number}"] = [outcome.frame_titles(one), outcome.frame_table(one), outcome.levels(one)]
    two = {"exclusive_classes": ["wide", "narrow"]}
    for target in ("class:0", "class:1", "margin:0,1", "probability:0", "value:0", "class:01", "region:0"):
        for more in ({}, two, {"exclusive_classes": ["a", "b", "c"]}):
            one = row("reached", ends["flips"], target, **more)
            found[f"colours {target} {len(more and more['exclusive_classes'])}"] = [
                display_sign(one), colour_names(one), finding_of(one)
            ]  # fmt: skip
    return found


def charts() -> dict[str, Any]:
    rows = [("a", 0.5, 0.4, 0.7), ("b", -0.1, None, None), ("c", 12.0, 3.0, 20.0)]
    return {
        "curves": [
            dataclasses.asdict(curve(steps, scores, start, goal))
            for steps, scores, start, goal in (
                ([0.0, 1.0, 2.0], [0.0, 0.7, 2.2], 0.0, 2.0),
                ([-3.0, 0.0, 3.0], [-40.0, 1.0, 10.0], 1.0, None),
                ([0.0], [5.0], 5.0, 5.0),
            )
        ],
        "dots": [
            dataclasses.asdict(dots(some)) for some in (rows, rows[:1], [("x", 0.0, None, None)], rows[:2])
        ],
    }


def pictures() -> dict[str, Any]:
    rng = np.random.default_rng(2)
    image, values = rng.uniform(-5, 20, (3, 9, 8)), rng.normal(size=(9, 8))
    volume, deep = rng.uniform(0, 9, (1, 4, 5, 6)), rng.normal(size=(4, 5, 6))
    grid, frames = Grid((4, 5, 6), affine=OBLIQUE), np.cumsum(rng.normal(size=(4, 1, 4, 5, 6)), axis=0)
    drawn = {k: overlay(image[:1], values, window=(0, 15), scale=1.2, kind=k) for k in KINDS}
    found: dict[str, Any] = {kind: brief(pixels) for kind, pixels in drawn.items()}
    for number, picture in views_of(volume, deep, grid, window=(1, 8), scale=1.5, kind="signed").items():
        found[number] = brief(picture)
    return found | {
        "grey": [brief(grey(image[:n], (0, 15))) for n in (1, 2, 3)],
        "strength": brief(signed_overlay(drawn["heat"], values, 0.7, strength=0.5)),
        "scale": [signed_scale([values]), signed_scale([np.eye(40)[:1] * 0, np.eye(60)])],
        "slices": [[telling_slice(v, axis) for axis in range(3)] for v in (deep, -np.abs(deep))],
        "moving": [moving_slice(frames, 1), moving_slice(frames * 0, 0)],
        "projections": [brief(signed_projection(deep, axis)) for axis in range(3)],
        "planes": [plane_names(g) for g in (grid, Grid((2, 3, 4)))],
        "turned": [brief(turned(deep[0], grid, axis, (1.0, 2.5))[0]) for axis in range(3)],
        "spacing": [list(turned(deep[0], grid, axis, (1.0, 2.5))[1]) for axis in range(3)],
        "aspects": [aspect_of(g) for g in (grid, Grid((3, 4), spacing_mm=(2.0, 3.0)))],
        "plane": [brief(plane_of(frames, grid, at)) for at in (None, 1)],
        "shrunk": [
            brief(shrunk(image, 4)),
            brief(shrunk(image, by=3)),
            shrink_by((9, 8), 4),
            shrink_by((8,), 8),
        ],
        "panel": list(panel([("a", drawn["signed"]), ("b", drawn["heat"])], scale=1.0).shape),
        "bar": brief(panel([("a", drawn["signed"])], scale=1.0)[40:200, 238:248]),
        "carried": [
            [c["shape"], c["low"], c["step"], c["data"][:40]] for c in map(carried, (image, frames[:, :, 0]))
        ],
        "alike": [alike(deep, deep + 1), alike(deep, -deep), alike(deep, deep * 0), alike(deep, deep[:1])],
        "overlap": [overlap(deep, deep + 1, share) for share in (0.05, 0.3)],
        "nifti": [
            len(nifti_bytes(deep, grid)),
            brief(np.frombuffer(nifti_bytes(deep, grid)[:352], dtype=np.uint8)),
        ],
        "differences": difference_about(row("reached", [-2.0, -0.5, 1.5, 1.0]), frames * 40),
    }


def files() -> dict[str, Any]:
    """A run with all that a page shows, and what is exported of it."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        run = planted_run(Path(folder) / "run")
        made = Image(ramp(level=3.0), window=(0.0, 200.0), source="/data/other.png", about={"synthetic": True})
        doubted = strip("o", outcome="budget", above_tolerance=True, second=np.linspace(-1, 1, 5))
        two = {"exclusive_classes": ["wide", "narrow"], "case": "Other"}
        run.add("o/walk", made, doubted, target_name="narrow", **two)
        for target in ("class:0", "class:1"):
            record = Record(method="gradcam", parameters={}, target=target, model="m", image="o", seconds=2.0)
            values = np.outer(np.arange(16) - 4.0, np.ones(16)).astype(np.float32)
            heat = Heatmap(values=values, grid=Grid((16, 16)), record=record)
            run.add(f"o/{target}", made, heat, **two)
        index = RunIndex(run)
        pages = {case.name: case_page(index, case) for case in index.cases().values()}
        found["pages"] = {name: _still(page) for name, page in pages.items()}
        found["lines"] = [{k: v for k, v in c.line().items() if k != "id"} for c in index.cases().values()]
        for sort in ("problems", "order", "name", "answer"):
            found[f"by {sort}"] = [case.name for case in index.chosen(sort=sort)]
        for show in ("failures", "doubts", "clean"):
            found[f"only {show}"] = [case.name for case in index.chosen(show=show)]
        rows = run.rows()
        manifest = {"bundles": [{"bundle": "b", "name": "knee", "limits": ["few"], "figures": [1]}]}
        found["checks"] = checks_table(rows)
        found["limits"] = limits(manifest, rows, run.failures(), cases=list(pages.values()))
        found["hashes"] = sorted({line[:2] for line in hashes(manifest, rows)})
        found["cards"] = [
            bundle_cards(manifest),
            [[card["name"], card["measured"]] for card in method_cards(run, rows)],
        ]
        for form in ("nifti", "npz", "png", "animation"):
            found[form] = [path.name for path in export_run(Run(run.folder), form, Path(folder) / form)]
    return found


def _still(page: dict[str, Any]) -> dict[str, Any]:
    return {key: part for key, part in page.items() if key != "id"}


def values() -> dict[str, Any]:
    return {part.__name__: part() for part in (numbers, sentences, charts, pictures, files)}
