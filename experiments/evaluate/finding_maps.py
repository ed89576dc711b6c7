"""Evaluate the changes of a generator as heatmaps: insertion and deletion on real held-out images.

    python -m experiments.evaluate.finding_maps DATA --bundle runs/brain/bundle --page FILE

Held-out slices that the bundle's model predicts positive; `train/brain.toml` says how the bundle, which is
withdrawn, is made. The magnitude of the change of a
counterfactual (medxgan, latent walk) and latent integrated gradients, beside Grad-CAM, integrated gradients
and RISE, and a map of noise. Insertion: the strongest voxels of a map are shown first, and the area under the
score's curve should be large; deletion: they are hidden first, and it should be small.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import contrafact as cf
from contrafact.core import Image, Question
from contrafact.metrics import CentreReference, EdgeReference
from contrafact.metrics.faithfulness.deletion import area
from contrafact.metrics.heatmap_context import HeatmapContext
from experiments.data import load
from experiments.evaluate.scores import scores_of
from experiments.reading import FOLDERS
from experiments.tables import mean, table

Map = np.ndarray[Any, Any]
STRIPS: dict[str, tuple[str, dict[str, Any]]] = {
    "brain": ("medxgan", {"frames": 2, "several": 2}),
}
OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "latent integrated gradients": ("latent-integrated-gradients", {"gap": 0.05}),
    "Grad-CAM": ("gradcam", {}),
    "integrated gradients": ("integrated-gradients", {}),
    "RISE, 400 masks": ("rise", {"masks": 400}),
}
NOISE = "noise"
FILLS = ("mean", "blur")
ORDERS = ("insertion", "deletion", "difference")
STEPS = 20


@dataclass(frozen=True)
class Cases:
    """A bundle and held-out images that its model finds positive."""

    name: str
    bundle: Any
    images: list[Image]


def cases_of(name: str, folder: Path, data: Path, count: int) -> Cases:
    bundle, held = cf.load_bundle(folder).for_latent_space(), load(name, data, "val", side=64)
    positive = np.flatnonzero(scores_of(bundle.predictor, held.images) > 0)
    rows = np.random.default_rng(0).permutation(positive)[:count]
    return Cases(name, bundle, [Image(held.images[i].float().numpy(), window=(0.0, 255.0)) for i in rows])


def maps_of(cases: Cases) -> tuple[dict[str, list[Map]], dict[str, float]]:
    """Maps by method, one for each image, and seconds an image."""
    method = STRIPS[cases.name][0]
    asked = {f"{method}, size of the change": STRIPS[cases.name], **OTHERS}
    maps: dict[str, list[Map]] = {}
    seconds: dict[str, float] = {}
    for title, (method, settings) in asked.items():
        began = time.perf_counter()
        found = cf.explain(
            method, cases.bundle.predictor, cases.images, target="class:1", bundle=cases.bundle, **settings
        )
        seconds[title] = (time.perf_counter() - began) / len(cases.images)
        maps[title] = [
            np.abs(one.change).sum(axis=0) if isinstance(one, cf.Counterfactual) else np.asarray(one.values)
            for one in found
        ]
        print(f"{cases.name}: {title}: {seconds[title]:.2f} s an image", flush=True)
    rng = np.random.default_rng(1)
    maps[NOISE] = [rng.random(image.grid.shape) for image in cases.images]
    for name, reference in {"edge detector": EdgeReference(), "centre blob": CentreReference()}.items():
        maps[name] = [reference(_asked(cases, image), rng)[0] for image in cases.images]
    return maps, seconds


def _asked(cases: Cases, image: Image) -> Question:
    predictor = cases.bundle.predictor
    return Question(
        predictor=predictor,
        images=image.values[None],
        target=predictor.target("class:1"),
        grid=image.grid,
    )


def judged(cases: Cases, maps: dict[str, list[Map]]) -> dict[str, Map]:
    """By "what, fill": areas under the curves in logits (methods, images)."""
    predictor = cases.bundle.predictor
    found: dict[str, list[Map]] = {f"{what}, {fill}": [] for fill in FILLS for what in ORDERS}
    with predictor.frozen():
        for number, image in enumerate(cases.images):
            panel = HeatmapContext(_asked(cases, image), np.stack([one[number] for one in maps.values()]))
            for fill in FILLS:
                shown, hidden = (
                    area(panel.curves(steps=STEPS, fill=fill, insert=way)) for way in (True, False)
                )
                for what, values in zip(ORDERS, (shown, hidden, shown - hidden), strict=True):
                    found[f"{what}, {fill}"].append(values)
    return {name: np.array(values).T for name, values in found.items()}


def chapter(cases: Cases) -> list[str]:
    maps, seconds = maps_of(cases)
    scores = judged(cases, maps)
    lines = [f"## {cases.name}", "", f"{len(cases.images)} images.", ""]
    rows = [
        [title, *(mean(v[k]) for v in scores.values()), f"{seconds.get(title, 0):.2f}"]
        for k, title in enumerate(maps)
    ]
    lines.append(table(["map", *scores, "s an image"], rows))
    first, *others = maps
    lines += [f"{first}, less another on the same images:", ""]
    rows = [
        [title, *(mean(v[0] - v[k], "+.2f") for v in scores.values())]
        for k, title in enumerate(others, start=1)
    ]
    return [*lines, table(["less", *scores], rows)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "data", type=Path, help="folder that holds " + " and ".join(FOLDERS[name] for name in STRIPS)
    )
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--page", type=Path, required=True)
    parser.add_argument("--images", type=int, default=24)
    options = parser.parse_args()
    command = "python -m experiments.evaluate.finding_maps DATA"
    command += f" --bundle {options.bundle} --page {options.page} --images {options.images}"
    lines = ["# Maps of the change on real images", "", *INTRODUCTION, "```", command, "```", "", *READING]
    for name in STRIPS:
        lines += chapter(cases_of(name, options.bundle, options.data, options.images))
    options.page.write_text("\n".join(lines).rstrip() + "\n")


INTRODUCTION = [
    "Held-out images of 64 pixels that the bundle's model finds positive. A map is evaluated by the order it",
    "puts the pixels in: shown first in an empty image (insertion) or hidden first (deletion); mean log-odds",
    "along the way. Insertion should be great, deletion small, so their difference great. The empty image is",
    "the mean grey, or the image blurred. Not divided by f(image) - f(empty), as the metrics of the package",
    "do: half-empty slices often score above both ends, and the share then says nothing. A strip gives the",
    "size of its change, without a sign; the other maps keep theirs. Means with 95 % bootstrap intervals over",
    "images.",
    "",
]
READING = [
    "How to read it. Noise has a difference of 0, as it must. By these measures the change along a",
    "strip is no better than noise, on either bundle, nor are latent integrated gradients; RISE and",
    "integrated gradients, which ask this very question of the model, are far better, and Grad-CAM lies",
    "between. A strip says how an image would have to look for another answer; where it changes the",
    "image follows from what the generator can reproduce, on the brain slices contrast and outlines over",
    "a third of the image, and is no ranking of pixels by what the model used. The paper's claim that its",
    "latent maps are the better heatmaps is not confirmed on these data.",
    "",
]


if __name__ == "__main__":
    main()
