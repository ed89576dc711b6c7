"""Add and remove lung nodules in stacks of slices, and ask a second network and the readers' masks.

    python -m experiments.evaluate.stacks --data ../shared/data --page FILE --picture FILE

Stacks of val patients, one of each label a patient: 8 to 10 slices of 48 pixels, resized to 32 x 32 x 32
inside. The translator in 3D changes them to a probability of 0.9 on the other side. The second network took no
part.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import contrafact as cf
from contrafact.core import Counterfactual, Image
from contrafact.io import write_json
from contrafact.render.difference import half_share
from experiments.evaluate.anatomy import near
from experiments.evaluate.picture_sheet import SYNTHETIC, sheet
from experiments.evaluate.scores import scores_of
from experiments.nodule_windows import NoduleWindow, nodule_stacks
from experiments.reading import sized
from experiments.tables import cell, interval, mean, share, table
from experiments.train.nodule_segmenters import consensus

Values = NDArray[np.floating[Any]]


def image_of(window: NoduleWindow) -> Image:
    return Image(window.values[None].astype(np.float32), window=(0.0, 255.0))


def truth_of(window: NoduleWindow, side: int) -> NDArray[np.bool_]:
    """The readers' consensus (side, side, side)."""
    mask = (consensus(window.readers) * 255).astype(np.uint8)
    return np.asarray(sized(mask, side, grey=True)[0, 0].numpy() > 127)


def rows_of(way: str, found: list[tuple[NoduleWindow, Counterfactual]], real_slope: float) -> list[str]:
    """A row of the table: one way, removed or added."""
    strips = [strip for _, strip in found]
    changes = [np.abs(s.frames[s.end] - s.frames[s.origin]).mean(axis=0) for s in strips]
    moved = np.array([s.scores[s.end] - s.scores[s.origin] for s in strips])
    second = np.array([s.second[s.end] - s.second[s.origin] for s in strips if s.second is not None])
    inside = [
        float(change[near(truth, 2)].sum() / max(change.sum(), 1e-6))
        for (window, _), change in zip(found, changes, strict=True)
        if (truth := truth_of(window, change.shape[0])).any()
    ]
    return [
        way,
        str(len(strips)),
        share([s.outcome in ("reached", "already") for s in strips]),
        share([s.flips for s in strips]),
        share([bool(s.confirmed) for s in strips if s.flips]) if any(s.flips for s in strips) else "–",
        cell(interval(lambda rows: second[rows].mean() / moved[rows].mean() / real_slope, len(moved))),
        mean(np.array([change.mean() for change in changes])),
        mean(np.array([half_share(change) for change in changes]), ".3f"),
        mean(np.array(inside)) if inside else "–",
    ]


def picture(found: dict[str, list[Counterfactual]], path: Path) -> None:
    """Six slices of the first three stacks of each way: before, after, difference below one another."""
    shown, blocks = range(3, 32, 5), dict[str, list[list[Values]]]()
    for way, strips in found.items():
        for number, strip in enumerate(strips[:3], 1):
            first, last = (strip.frames[k][0] for k in (strip.origin, strip.end))
            parts = {"original": first, f"{SYNTHETIC} · the nodule {way}": last}
            parts[f"{SYNTHETIC} · difference"] = np.clip(127.5 + last - first, 0, 255)
            for name, volume in parts.items():
                blocks[f"{name} ({way}, stack {number})"] = [[volume[z] for z in shown]]
    sheet(blocks, [f"slice {z + 1} of 32" for z in shown], path)


HEAD = [
    "nodule",
    "patients",
    "goal reached",
    "flips",
    "the second network flips too",
    "its slope, as a share of its slope on real stacks",
    "mean change, grey levels",
    "half of the change lies in",
    "change within 2 voxels of the readers' consensus",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--bundle", default="nodule_3d")
    parser.add_argument("--images", type=int, default=33)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--json", type=Path, help="the figures as text, for the model card")
    options = parser.parse_args()
    bundle = cf.load_bundle(options.bundle)
    windows = nodule_stacks(options.data, "val")
    chosen = [list({w.patient: w for w in windows if w.nodule == has}.values()) for has in (True, False)]
    second = bundle.second_model(bundle.predictor)
    both = np.array(
        [[scores_of(model, w.values[None, None])[0] for model in (bundle.predictor, second)] for w in windows]
    )
    slope = float(np.polyfit(both[:, 0], both[:, 1], 1)[0])
    rows, began, shown = [], time.perf_counter(), dict[str, list[Counterfactual]]()
    for way, group in zip(("removed", "added"), chosen, strict=True):
        found = []
        for window in group[: options.images]:
            strip = cf.explain(
                "counterfactual", bundle.predictor, image_of(window), target="class:1", bundle=bundle
            )
            found.append((window, strip))
        rows.append(rows_of(way, found, slope))
        shown[way] = [strip for _, strip in found]
    text = table(HEAD, rows)
    count = sum(min(options.images, len(group)) for group in chosen)
    print(f"{text}\n{(time.perf_counter() - began) / count:.1f} s a stack")
    if options.page:
        options.page.write_text(text, encoding="utf-8")
    if options.json:
        found = {
            f"{what}, {row[0]}": value for row in rows for what, value in zip(HEAD[2:], row[2:], strict=True)
        }
        write_json(options.json, [found])
    if options.picture:
        picture(shown, options.picture)


if __name__ == "__main__":
    main()
