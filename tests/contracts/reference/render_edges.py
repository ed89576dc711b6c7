"""What pages draw and count at their limits: two models beside one another, filters, planes, scales."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from browsing import ramp, record, strip
from contrafact.core import Grid, Heatmap, Image
from contrafact.io import Run
from contrafact.render.case import (
    finite,
    grid_of,
    holds_volumes,
    shown,
    shrink_by,
    spacing_words,
    thumbnail,
)
from contrafact.render.comparison import Comparison, answers_apart, evidence, overlap, pair_page, sorted_pairs
from contrafact.render.difference import difference_scale, difference_words, enlarged, half_share, outline
from contrafact.render.figures import flat_frames, overlay, png, turned, upright
from contrafact.render.map_display import MapScale, map_flaw, scale_for, scale_key
from contrafact.render.run_index import RunIndex, name_order
from reference.kept import brief, tried

SPOT = np.zeros((16, 16), dtype=np.float32)
SPOT[4:8, 4:8] = 1


def two_models(folder: Path) -> Run:
    """Three images of two models, one of a third model alone, with scores of a study that has changed since."""
    run = Run.create(folder, about={"title": "Two"})
    seconds = (3 * SPOT, -SPOT, np.roll(SPOT, 2, axis=0) - 0.5 * np.roll(SPOT, 5, axis=1))
    keys = []
    for level, second in enumerate(seconds):
        image = Image(ramp(level=level), window=(0.0, 200.0), source=f"/data/image{level}.png")
        for place, (model, values) in enumerate((("honest", SPOT), ("cheat", second))):
            about = {"case": f"Image {level}", "model_name": model, "label": "cam", "target_name": "narrow"}
            answers = {"answers": [f"narrow {40 + 15 * place * level} %", f"wide {60 - 15 * place * level} %"]}
            made = dataclasses.replace(record("gradcam", str(level)), model=model)
            heat = Heatmap(values=values, grid=Grid((16, 16)), record=made)
            run.add(f"{model}/{level}/cam", image, heat, **about, **answers)
            if level != 1 or place:
                own = dataclasses.replace(record("walk", str(level)), model=model)
                frames = np.stack([ramp(level=level + (1 - 2 * place) * 10.0 * k) for k in range(5)])
                run.add(
                    f"{model}/{level}/walk",
                    image,
                    strip("s", frames=frames, record=own),
                    **{**about, "label": "walk"},
                )
            for key, value in (("now", 0.2 + place), ("before", 9.0)):
                scores = [
                    {"metric": "deletion", "method": "cam", "value": value},
                    {"metric": "iou", "method": "walk", "value": 0.5},
                ]
                keys.append(f"{key}/{model}/{level}")
                run.add_scores(
                    keys[-1],
                    model=model,
                    image="i",
                    target="class:1" if level else "-",
                    source=image.source,
                    scores=scores,
                )
    alone = dataclasses.replace(record("gradcam", "9"), model="0123456789abcdef")
    image = Image(ramp(level=9), source="/data/lone.png")
    run.add("lone", image, Heatmap(values=SPOT, grid=Grid((16, 16)), record=alone), case="Lone", label="cam")
    kept = {"better": {"deletion": "lower"}, "keys": [key for key in keys if key.startswith("now")]}
    (folder / "summary.json").write_text(json.dumps(kept))
    return run


def pairs() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        run = two_models(Path(folder) / "run")
        index = RunIndex(run)
        beside = Comparison(index)
        made = beside.pairs("honest", "cheat")
        some = list(made.values())
        before = [beside.apart(one, "cam") for one in some]
        left = beside.measure(some, "cam", seconds=30), beside.measure(some, "walk", seconds=-1.0)
        far = {one.id: beside.apart(one, "cam") for one in some}
        cases = {case.name: case for case in index.cases().values()}
        pages = [pair_page(beside, one) for one in some]
        for page in pages:
            page["items"] = [{k: v for k, v in item.items() if k != "parts"} for item in page["items"]]
        found = {
            "models": beside.models(),
            "chosen": [
                beside.chosen(*two)
                for two in ((None, None), (None, "honest"), ("cheat", None), ("cheat", "honest"))
            ],
            "alone": [one.alone for one in some],
            "shared": [{f"{k}": v for k, v in one.shared.items()} for one in some],
            "methods": beside.methods(some),
            "left": left,
            "before": before,
            "far": list(far.values()),
            "sorted": [
                [one.first.name for one in sorted_pairs(some, sort, far)]
                for sort in ("answers", "maps", "name", "order")
            ],
            "unmeasured": [
                one.first.name for one in sorted_pairs(some, "maps", {some[0].id: None, some[1].id: 0.5})
            ],
            "pages": pages,
            "beside": [(made and made[1:]) for made in map(beside.beside, cases.values())],
            "evidence": [brief(evidence(run, index.row(number))) for number in range(4)],
            "row": tried(lambda: index.row(-1), lambda: index.row(99)),
            "thumbnail": len(thumbnail(run, index.row(0), 5)),
            "refused": tried(
                lambda: beside.chosen("honest", "honest"),
                lambda: beside.chosen("honset", None),
                lambda: sorted_pairs(some, "mops", {}),
                lambda: index.chosen(show="al"),
                lambda: index.chosen(sort="nam"),
            ),
            "words": [
                [case.name for case in index.chosen(words=words)]
                for words in ("", "LONE", "image 1", "narrow zz", "reached")
            ],
            "scales": [
                index.scale(key)
                for key in (
                    ("honest", "class", "gradcam"),
                    ("cheat", "class", "gradcam"),
                    ("no", "class", "gradcam"),
                )
            ],
            "map scale": [
                dataclasses.astuple(index.map_scale(index.row(0), SPOT * factor)) for factor in (1.0, 0.1, 0.2)
            ]
            + [
                dataclasses.astuple(
                    index.map_scale({"record": {"model": "n", "target": "t", "method": "m"}}, SPOT * 2)
                )
            ],
            "volumes": [holds_volumes(index, case) for case in cases.values()],
        }
    return found


def apart() -> dict[str, Any]:
    said = [
        (["a 40 %", "b 60 %"], ["a 60 %", "b 40 %"]),
        (["a 40 %", "b 60 %"], ["a 41 %", "b 59 %"]),
        (["a 40 %"], ["a 90 %"]),
        (["a 3 voxels", "b 0 voxels"], ["a 1 voxels", "b 0.5 voxels"]),
        (["a 1", "b 5"], ["a 3", "b 4"]),
        (["a: -1.5"], ["a: 2"]),
        (["a 1"], []),
        (["a"], ["a 1"]),
        (["a 5 %"], ["a 5"]),
    ]
    strong = np.arange(-50.0, 50).reshape(10, 10)
    return {
        "answers": [repr(answers_apart(*one)) for one in said],
        "overlap": [
            overlap(strong, other, share)
            for other in (strong, -strong, strong[::-1], strong + 30, strong * 0)
            for share in (0.1, 0.5)
        ],
        "names": sorted(["case 10", "Case 2", "case", "10", "2", "b1a", "b1"], key=name_order),
    }


def screens() -> dict[str, Any]:
    image, values = np.linspace(-5, 20, 3 * 30).reshape(3, 5, 6), np.linspace(-1, 1, 30).reshape(5, 6) ** 3
    volume = Grid((4, 5, 6), affine=np.array([[0, 0, -2.0, 0], [0, 1, 0, 0], [-3, 0, 0, 0], [0, 0, 0, 1]]))
    arrays = {
        "image": np.arange(120.0).reshape(1, 4, 5, 6),
        "affine": volume.affine,
        "strip_affine": volume.affine * 2,
        "frames": np.arange(180.0).reshape(3, 1, 2, 5, 6),
        "values": np.arange(120.0).reshape(4, 5, 6),
        "nearest_000": np.zeros((1, 2, 3)),
        "nearest_000_affine": np.eye(4),
    }
    change = np.zeros((10, 10))
    change[2, :8], change[5, 5] = 3.0, -4.0
    return {
        "kinds": [
            brief(overlay(image, values, window=(0, 15), scale=scale, kind=kind))
            for kind in ("signed", "heat", "blended", "masked", "alpha")
            for scale in (0.5, 0.0)
        ],
        "refused": tried(
            lambda: overlay(image, values, window=(0, 1), scale=1, kind="hat"),
            lambda: shown(arrays, "affine"),
            lambda: shown(arrays, "valeus"),
            lambda: shown(arrays, "image", at=4),
            lambda: shown(arrays, "image", at=-1),
        ),
        "shown": [
            brief(shown(arrays, name, at=at, of=of))
            for name, at, of in (
                ("values", None, None),
                ("values", 0, None),
                ("image", 3, None),
                ("frames", 3, None),
                ("frames", 1, None),
                ("frames", 0, 2),
                ("frames", 5, 6),
                ("values", 2, 8),
            )
        ],
        "grids": [
            [grid_of(arrays, name).shape, grid_of(arrays, name).spacing_mm]
            for name in ("image", "values", "frames", "nearest_000")
        ],
        "upright": [
            brief(upright((np.arange(90).reshape(5, 6, 3) * 2).astype(np.uint8), volume, axis, (1.0, 2.0)))
            for axis in range(3)
        ],
        "turned": [
            list(
                turned(
                    np.arange(30).reshape(5, 6),
                    Grid((4, 5, 6), affine=np.diag([*signs, 1.0]) @ volume.affine),
                    axis,
                    (1.0, 2.0),
                )[0].ravel()[[0, 1, -1]]
            )
            for signs in ((1, 1, 1), (-1, 1, 1), (1, -1, 1), (1, 1, -1))
            for axis in range(3)
        ],
        "flat": [
            flat_frames(np.arange(24.0).reshape(2, 1, 3, 4), 0).shape,
            brief(flat_frames(arrays["frames"] ** 2, 1)),
        ],
        "png": len(png(np.zeros((4, 4, 3), np.uint8))),
        "spacing": [
            spacing_words(grid)
            for grid in (Grid((2, 3), spacing_mm=(1, 2)), volume, Grid((2, 3)), Grid((2, 3, 4)))
        ],
        "shrink": [shrink_by(size, 4) for size in ((4, 4), (5, 1), (8, 2), (9, 9))],
        "finite": finite(
            {
                "a": [np.nan, 1.0, np.float32(2), "x", None, True, (3, np.inf)],
                3: Path("p"),
                "b": {"c": float("inf")},
            }
        ),
        "outline": [
            int(outline(one).sum())
            for one in (change, change * 0, np.arange(100.0).reshape(10, 10), np.ones((10, 10)))
        ],
        "half": [half_share(one) for one in (change, change * 0, np.ones((4, 4)), np.eye(4) * np.arange(4))],
        "differences": [
            difference_words(change, difference_scale(window))
            for window in ((0, 8), (0, 16), (0, 100), (0, 200), (0, 12))
        ],
        "enlarged": [brief(enlarged(change[None, :, :7], side)) for side in (5, 10, 11, 30)],
        "flaws": [
            map_flaw(one, scale)
            for one, scale in (
                (change, 3.0),
                (change, 2.9),
                (change, 4.0),
                (np.full((3, 3), -2.0), 1.0),
                (change * 0 + 2 + 1e-6 * change, 9.0),
                (change * 0, 1.0),
            )
        ],
        "words": [
            MapScale(shared, drawn).words for shared, drawn in ((1, 1), (9.94, 1), (9.96, 1), (48, 1), (0.5, 1))
        ],
        "scales": [dataclasses.astuple(scale_for(change, shared, 3, 4)) for shared in (26.0, 27.0, 20.0, 3.0)],
        "keys": scale_key({"record": {"model": "m", "target": "margin:0,1", "method": "x"}}),
    }


def values() -> dict[str, Any]:
    return {part.__name__: part() for part in (pairs, apart, screens)}
