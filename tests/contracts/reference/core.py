"""Nouns, statistics and masks of the core: what each gives at its boundaries, and what it refuses."""

from __future__ import annotations

import dataclasses
import itertools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from contrafact.core import (
    Counterfactual,
    Grid,
    Heatmap,
    Image,
    Record,
    digest,
    mask_of,
    read_result,
)
from contrafact.core.empty import emptiness
from contrafact.core.errors import nearest
from contrafact.core.intervals import mean_share, wilson
from contrafact.core.places import smallest_place
from contrafact.core.power import judgements_needed, power
from contrafact.core.real_cases import NearestCases, RealCase
from contrafact.core.results import answering, confirms, decides, tolerance_of
from contrafact.core.stored import present_names
from reference.kept import brief, tried

AFFINE = np.array([[0, -2.0, 0.3, 5], [1.5, 0, 0, -7], [0, 0.2, 3, 11], [0, 0, 0, 1]])


def grids() -> dict[str, Any]:
    def told(grid: Grid) -> list[Any]:
        return [grid.shape, grid.affine, grid.spacing_mm, grid.spacing_known, repr(grid)]

    made = {
        "flat": Grid((3, 5)),
        "known": Grid((3, 5), spacing_mm=(0.5, 2)),
        "deep": Grid((2, 3, 4), affine=AFFINE),
        "unknown": Grid((2, 3, 4), affine=AFFINE).of_unknown_spacing(),
        "one": Grid((1, 1)),
    }
    moved = [AFFINE + np.eye(4)[0][:, None] * np.array([0, 0, 0, far]) for far in (0.0009, 0.0011, -0.0011)]
    return {
        **{name: told(grid) for name, grid in made.items()},
        "resized": [told(made["deep"].resized((4, 2, 6))), told(made["unknown"].resized((1, 3, 4)))],
        "equal": [made["deep"] == Grid((2, 3, 4), affine=other) for other in moved]
        + [made["flat"] == made["known"], made["flat"] == Grid((5, 3)), made["flat"] == (3, 5)],
        "refused": tried(
            lambda: Grid((3,)),
            lambda: Grid((2, 3, 4, 5)),
            lambda: Grid((0, 3)),
            lambda: Grid(()),
            lambda: Grid((3, 4), spacing_mm=(1.0,)),
            lambda: Grid((3, 4), spacing_mm=(1.0, 0.0)),
            lambda: Grid((3, 4), spacing_mm=(1.0, np.inf)),
            lambda: Grid((3, 4), affine=np.eye(3)),
            lambda: Grid((3, 4), affine=np.full((4, 4), np.nan)),
            lambda: Grid((3, 4), affine=np.zeros((4, 4))),
            lambda: Grid((3, 4)).resized((3, 4, 5)),
        ),
    }


def images() -> dict[str, Any]:
    values = np.array([[[1.0, 2, 4], [-3, 0, 9]]])
    plain = Image(values, source="a", about={"patient": "p"})
    windowed = Image(values, window=(-1, 3), label_map=True)
    copied = windowed.__reduce__()
    broken = values.copy()
    broken[0, 0, :2] = np.nan, np.inf
    scaled = windowed.rescaled(10, 20)
    return {
        "plain": [plain.window, plain.channels, plain.digest, plain.grid.shape, dict(plain.about)],
        "copied": [copied[1][2:4], copied[1][5]],
        "rescaled": [scaled.values, scaled.window, dict(scaled.about), scaled.label_map],
        "flat": Image(np.full((1, 2, 2), 3.0)).rescaled(-1, 1).values,
        "digests": [digest(a) for a in (values, values.T, values.reshape(1, 3, 2), values.astype("f4"))],
        "refused": tried(
            lambda: Image(np.zeros((3, 4))),
            lambda: Image(np.zeros((1, 2, 3, 4, 5))),
            lambda: Image(broken),
            lambda: Image(values, grid=Grid((3, 2))),
            lambda: Image(values[0], grid=Grid((2, 3))),
            lambda: Image(values, window=(3, 1)),
            lambda: Image(values, window=(2, 2)).window,
        ),
    }


def frames(scores: list[float], origin: int, **more: Any) -> Counterfactual:
    count = len(scores)
    values = np.arange(count * 6, dtype=np.float32).reshape(count, 1, 2, 3) ** 1.5
    record = Record(method="m", parameters={}, target=more.pop("target", "class:1"), model="x", image="i")
    fields: dict[str, Any] = {
        "frames": values,
        "requested": np.arange(count) - 1.0,
        "scores": np.array(scores),
        "goal": 1.0,
        "latent_distance": np.arange(count) * 0.5,
        "origin": origin,
        "reconstruction_error": 0.1,
        "above_tolerance": False,
        "outcome": "reached",
        "reconstruction": values[0] + 1,
        "grid": Grid((2, 3)),
        "record": record,
    }
    return Counterfactual(**{**fields, **more})


def results() -> dict[str, Any]:
    rows = [[-1.0, 0.5, 2], [1.0, 0.5, -2], [-1.0, 0.2, 3], [1.0, 0.2, 3], [-2.0, -1, -0.5], [0.0, 1, -1]]
    targets = [
        "class:1",
        "margin:1,0",
        "value:0",
        "grade",
        "probability:1",
        "region:2",
        "lesion:2#1",
        "lesion:2@0.5",
        "mask:1",
        "false-positive:1",
        "missed:1",
        "missed:1,sum",
        "boundary:1",
        "volume:2",
        "dice:1",
        "class:1@2",
    ]
    strips = {
        f"{n} {origin} {target}": frames(row, origin, target=target)
        for n, row in enumerate(rows)
        for origin in range(3)
        for target in ("class:1", "value:0")
    }
    found: dict[str, Any] = {
        name: [one.end, one.flips, one.confirmed, brief(one.change), float(one.image.sum())]
        for name, one in strips.items()
    }
    found["confirmed"] = [
        dataclasses.replace(strips[name], second=np.array(second)).confirmed
        for name in ("0 0 class:1", "1 0 class:1", "0 2 class:1", "3 0 class:1", "0 0 value:0")
        for second in ([-1.0, 3, 2], [1.0, 3, 2], [-1.0, 3, -2], [2.0, 0, -1], [0.0, 1, 1])
    ]
    found["confirms"] = [confirms(*signs) for signs in itertools.product((-1.0, 0.0, 2.0), repeat=3)]
    found["decides"] = {target: decides(target) for target in targets}
    found["answering"] = [answering(s, o, t) for s in rows for o in range(3) for t in ("class:1", "grade")]
    found["tolerance"] = [tolerance_of(target, 0.5, score) for target in targets for score in (-30.0, 0.3, 7.0)]
    made = strips["0 1 class:1"]
    map_ = Heatmap(values=np.arange(6.0).reshape(2, 3), grid=Grid((2, 3)), record=made.record)  # type: ignore[arg-type]
    found["arrays"] = [
        str(np.asarray(made).dtype),
        str(np.array(map_, dtype="f8").dtype),
        np.shares_memory(np.asarray(map_), map_.values),
        np.shares_memory(np.array(map_, copy=True), map_.values),
        np.shares_memory(np.array(made, copy=True), made.frames),
    ]
    found["engines"] = [
        Record(method="m", parameters={}, target="t", model="x", image="i", details=d).engine
        for d in ({}, {"engine": "walk"}, {"engine": ""})
    ]
    found["names"] = present_names({"steps": 1, "drift": 2, "goal": 3})
    found["refused"] = tried(
        lambda: frames([1.0, 2], 0, second=np.zeros(3)),
        lambda: frames([1.0, 2], 0, requested=np.zeros(3)),
        lambda: frames([1.0, 2], 0, latent_distance=np.zeros(1)),
        lambda: frames([1.0, 2], 0, grid=Grid((3, 2))),
        lambda: frames([1.0, np.nan], 0),
        lambda: frames([1.0, 2], 0, frames=np.full((2, 1, 2, 3), np.inf)),
        lambda: frames([1.0, 2], 0, outcome="done"),
        lambda: frames([1.0], 0).length,  # type: ignore[attr-defined]
        lambda: Heatmap(values=np.zeros((2, 2)), grid=Grid((2, 3)), record=made.record),  # type: ignore[arg-type]
        lambda: Heatmap(values=np.full((2, 3), np.nan), grid=Grid((2, 3)), record=made.record),  # type: ignore[arg-type]
        lambda: map_.save("map.npy"),
    )
    with tempfile.TemporaryDirectory() as folder:
        again = [read_result(made.save(Path(folder, "a.npz"))), read_result(map_.save(Path(folder, "b.npz")))]
        for one in again:
            arrays = [getattr(one, "requested", None), getattr(one, "second", None), np.asarray(one)]
            found[type(one).__name__] = [one.grid.shape, dataclasses.asdict(one.record), arrays]
    return found


def statistics() -> dict[str, Any]:
    shares = [(0, 0), (0, 5), (5, 5), (1, 5), (3, 7), (50, 100)]
    flat, few = np.full((4, 4), 0.3), np.zeros((4, 4))
    few[0, 0] = 1.0
    half = np.array([1.0, -1.0, 0.5, 0.2])
    maps = [
        0 * flat,
        flat,
        few,
        few * 9e-10,
        few * 1e-9,
        -few,
        half,
        np.append(half, 1.0),
        -np.append(half, 1.0),
        flat[:1, :1],
        np.zeros((0, 2)),
        np.zeros((1, 1)),
    ]
    effects = np.array([[1.0, -3, 0.9, 0], [2.0, -2, 1, 0], [2.0, -1, 0.95, 0]])
    return {
        "wilson": [wilson(*one) for one in shares],
        "power": [
            power(n, s, chance=c) for n, s, c in ((0, 0.5, 0.5), (20, 0.7, 0.5), (21, 0.7, 0.5), (40, 0.3, 0.2))
        ]
        + [power(30, 0.7, error=0.01)],
        "needed": [
            judgements_needed(0.75),
            judgements_needed(0.7, wanted=0.9),
            judgements_needed(0.5, chance=0.25),
        ],
        "empty": [emptiness(one) for one in maps],
        "mean share": [
            mean_share(np.array(v))
            for v in ([[[1.0, -2, 0.5]]], [[[0.0, 0.0]]], [[[1.0, 1], [-1, -3]], [[2, -2], [1, 0]]])
        ],
        "places": [smallest_place(effects, share).tolist() for share in (0.0, 0.5, 0.9, 0.95, 1.0)],
        "nearest": [nearest(word, ["steps", "share"]) for word in ("stpes", "shore", "zzz", "st")],
    }


def cases() -> dict[str, Any]:
    def case(level: float, **more: Any) -> RealCase:
        about: dict[str, Any] = {
            "label": "a",
            "score": 1.5,
            "answer": "yes",
            "distance": 0.25,
            "nearer": 0.5,
            "other_rank": 2,
        }
        return RealCase(image=Image(np.full((1, 2, 2), level), source=f"in/{level}.png"), **{**about, **more})

    one, two, three = case(1.0), case(2.0, nearer=None), case(3.0, other_rank=None)
    about: dict[str, Any] = {"target": "class:1", "layer": "l", "across": 8, "same": 5, "left_out": 0}
    made = [
        NearestCases(cases=(one, two), by_other=(two, three), other_layer="o", **about),
        NearestCases(cases=(one, two), by_other=(), other_layer="", **{**about, "left_out": 3}),
        NearestCases(cases=(), by_other=(), other_layer="o", **about),
    ]
    return {
        "stored": [m.stored(n) for m in made for n in ("", "a fracture")],
        "overlap": [m.overlap for m in made],
    }


def masks() -> dict[str, Any]:
    labels, many = np.array([[0, 1, 2], [2, 2, 1]]), np.arange(12).reshape(3, 4)
    return {
        "taken": tried(
            lambda: mask_of(labels, label=1),
            lambda: mask_of(labels, label=None),
            lambda: mask_of(labels, label=1, classes=3),
            lambda: mask_of(labels, label=1, classes=2),
            lambda: mask_of(labels > 0, label=None),
            lambda: mask_of(many, label=None),
            lambda: mask_of(many[:2], label=None),
            lambda: mask_of(labels + 0.0009, label=2).sum(),
            lambda: mask_of(labels + 0.002, label=2),
            lambda: mask_of(labels - 1.0, label=2),
            lambda: mask_of(np.array([np.nan, 1, np.inf]), label=2),
            lambda: mask_of(np.zeros((0, 3)), label=1),
            lambda: mask_of(np.array([0, 1]), label=1, label_map=True),
        )
    }


def values() -> dict[str, Any]:
    parts = (grids, images, results, statistics, cases, masks)
    return {part.__name__: part() for part in parts}
