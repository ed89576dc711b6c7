"""The figure of experiments/evaluate/medxgan.py: images, their medXGAN results, and maps."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib import pyplot

import contrafact as cf
from contrafact.render.paper import FOOT, MARK
from experiments.evaluate.latent_ig import Cases, Map
from experiments.evaluate.picture_sheet import AMBER

CASES = 2  # of each task
MADE = ("redrawn", "finding removed")  # by a network


@dataclass(frozen=True)
class Shown:
    """A task, and the methods whose maps are shown."""

    title: str
    cases: Cases
    methods: dict[str, tuple[str, dict[str, Any]]]


def plane(values: Map, at: int) -> Map:
    """A slice of (*S), or the image itself."""
    return values[at] if values.ndim == 3 else values


def draw(path: Path, shown: list[Shown]) -> None:
    """One row for each image: as it is, redrawn, without the finding, the difference, and the maps."""
    rows = [row for one in shown for row in rows_of(one)]
    names = [name for name, _ in rows[0][1]]
    figure, axes = pyplot.subplots(
        len(rows), len(names), figsize=(1.7 * len(names), 1.75 * len(rows)), squeeze=False
    )
    for number, (line, (title, row)) in enumerate(zip(axes, rows, strict=True)):
        for place, (name, values) in zip(line, row, strict=True):
            signed = name not in ("image", *MADE)
            size = float(np.abs(values).max()) if signed else 0.0
            limits = (
                {"vmin": -size, "vmax": size, "cmap": "RdBu_r"}
                if signed
                else {"vmin": 0, "vmax": 255, "cmap": "gray"}
            )
            place.imshow(values, **limits)
            place.set_xticks([])
            place.set_yticks([])
            if number == 0:
                place.set_title(name, fontsize=8)
        line[0].set_ylabel(title, fontsize=8)
    figure.text(0.005, 0.006, f"{MARK}: {', '.join(MADE)} · {FOOT}", fontsize=8, color=AMBER)
    figure.tight_layout(pad=0.4, rect=(0, 0.02, 1, 1))
    figure.savefig(path, dpi=110)


def rows_of(one: Shown) -> list[tuple[str, list[tuple[str, Map]]]]:
    cases = one.cases
    images, masks = cases.images[:CASES], cases.masks[:CASES]
    ask = {"target": "class:1", "bundle": cases.bundle}
    ours = next(settings for method, settings in one.methods.values() if method == "medxgan")
    strips = cf.explain("medxgan", cases.predictor, images, **{**ours, **ask, "frames": 3})
    maps = {
        name: [np.asarray(h.values) for h in cf.explain(method, cases.predictor, images, **{**ask, **settings})]
        for name, (method, settings) in one.methods.items()
        if method != "medxgan"
    }
    rows = []
    for n, (image, mask, strip) in enumerate(zip(images, masks, strips, strict=True)):
        at = int(np.argmax(mask.reshape(len(mask), -1).sum(axis=1)))
        row = [
            ("image", image.values[0]),
            ("redrawn", strip.reconstruction[0]),
            ("finding removed", strip.frames[-1, 0]),
            ("what was taken", strip.frames[0, 0] - strip.frames[-1, 0]),
            *((name.replace(", ", ",\n"), values[n]) for name, values in maps.items()),
        ]
        rows.append((textwrap.fill(one.title, 24), [(name, plane(values, at)) for name, values in row]))
    return rows
