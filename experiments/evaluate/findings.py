"""Measurements of a bundle with codes for findings: its counterfactuals, where they change the image, and how
well its classes are separated without any finding. Used by `evaluate.py`."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage
from skimage.metrics import structural_similarity
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

import contrafact as cf
from contrafact.core import Counterfactual, Image
from contrafact.counterfactual import MedXGANCounterfactual
from experiments.data import Cohort
from experiments.evaluate.picture_sheet import sheet
from experiments.evaluate.scores import scores_of

Values = np.ndarray[Any, Any]
Add = Callable[..., Any]  # of a table with intervals: what, figure of rows, wanted
SIDES = (("added", -1), ("removed", 1))
RIM = 4  # pixels that belong to the edge of the head: scalp and skull


@dataclass(frozen=True)
class Strips:
    """Strips of held-out images, with what a second classifier says of their last frames."""

    strips: list[Counterfactual]
    second: Values
    seconds: float

    @property
    def start(self) -> Values:
        return np.array([s.scores[s.origin] for s in self.strips])

    @property
    def end(self) -> Values:
        return np.array([s.scores[-1] for s in self.strips])

    @property
    def reasons(self) -> Counter[str]:
        return Counter(s.outcome for s in self.strips)


def explained(bundle: Any, images: Sequence[Image], judge: Any, *, several: int) -> Strips:
    began = time.perf_counter()
    path = MedXGANCounterfactual(several=several)
    strips = cf.explain(path, bundle.predictor, list(images), target="class:1", bundle=bundle)
    seconds = (time.perf_counter() - began) / len(images)
    last = np.stack([s.frames[-1] for s in strips])
    return Strips(strips, scores_of(judge, last), seconds)


def strip_rows(add: Add, found: Strips) -> None:
    """Validity, smallness, order, and what an independent classifier says."""
    strips, start, end = found.strips, found.start, found.end
    asked = np.array([s.outcome != "already" for s in strips])
    reached = np.array([s.outcome == "reached" for s in strips])
    flipped = start * end < 0
    confirmed = (found.second > 0) == (end > 0)
    alone = np.array([s.record.notes["anatomy"] == 0 for s in strips])
    for name, sign in SIDES:
        rows = np.sign(start) == sign
        add(f"finding {name}: flip within budget", _mean(flipped, rows), wanted="≥ 0.90", among=rows)
        add(f"finding {name}: the goal (0.9 or 0.1) reached", _mean(reached, rows & asked), among=rows & asked)
        of = rows & flipped
        add(f"finding {name}: a second classifier confirms the flip", _mean(confirmed, of), among=of)
        of = rows & asked
        add(f"finding {name}: the code alone, anatomy untouched", _mean(alone, of), among=of)
        for title, values in _smallness(strips).items():
            add(f"finding {name}: {title}", _median(values, rows & asked))
    drift = np.array([s.reconstruction_error for s in strips])
    refined = "reconstruction after refinement: "
    add(f"{refined}median error of the score, logits", lambda i: float(np.median(drift[i])))
    add(f"{refined}error of the score above 1 logit, share", lambda i: float((drift[i] > 1).mean()))
    drawn = [structural_similarity(s.image[0], s.reconstruction[0], data_range=255.0) for s in strips]
    add("reconstruction after refinement: SSIM", lambda i: float(np.array(drawn)[i].mean()))


def _mean(values: Values, rows: Values) -> Callable[[Values], float]:
    def figure(i: Values) -> float:
        return float(values[i][rows[i]].mean()) if rows[i].any() else float("nan")

    return figure


def _median(values: Values, rows: Values) -> Callable[[Values], float]:
    def figure(i: Values) -> float:
        return float(np.median(values[i][rows[i]])) if rows[i].any() else float("nan")

    return figure


def _smallness(strips: Sequence[Counterfactual]) -> dict[str, Values]:
    """How much changes, and whether the rest stays; the change is where 90 % of it lies."""
    sizes, whole, outside, area = [], [], [], []
    for strip in strips:
        first, last = strip.image[0], strip.frames[-1][0]
        change = np.abs(last - first)
        _, similar = structural_similarity(first, last, data_range=255.0, full=True)
        order = np.sort(change.ravel())[::-1]
        within = int(np.searchsorted(np.cumsum(order), 0.9 * order.sum())) + 1
        rest = change < order[min(within, len(order)) - 1]
        sizes.append(change.mean())
        whole.append(similar.mean())
        outside.append(similar[rest].mean() if rest.any() else np.nan)
        area.append(within / change.size)
    return {
        "median SSIM of last frame and image": np.array(whole),
        "median SSIM outside the change (where 90 % of it lies)": np.array(outside),
        "median share of the image that holds 90 % of the change": np.array(area),
        "median mean change of a pixel, grey levels of 255": np.array(sizes),
    }


def head(values: Values) -> Values:
    """Which pixels (H, W) belong to the head: the greatest bright piece, its holes filled."""
    bright = ndimage.gaussian_filter(values, 1.0) > 0.12 * max(float(np.percentile(values, 99)), 1.0)
    pieces, count = ndimage.label(bright)
    if not count:
        return np.ones(values.shape, dtype=bool)
    sizes = ndimage.sum_labels(bright, pieces, np.arange(1, count + 1))
    return np.asarray(ndimage.binary_fill_holes(pieces == 1 + int(np.argmax(sizes))))


def look_of(values: Values) -> dict[str, float]:
    """Measures of a slice (H, W) that need no finding: the outline of the head, and its greys."""
    mask = head(values)
    inside = ndimage.binary_erosion(mask, iterations=RIM)
    inside = inside if inside.any() else mask
    rim = mask & ~inside
    tall, wide = np.ptp(np.nonzero(mask)[0]) + 1, np.ptp(np.nonzero(mask)[1]) + 1
    edge = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    return {
        "share of the slice that is head": float(mask.mean()),
        "height of the head by its width": float(tall / wide),
        "share of the border that is head": float(edge.mean()),
        "share of its box that the head fills": float(mask.sum() / (tall * wide)),
        "mean grey inside the head": float(values[inside].mean()),
        "contrast inside the head (standard deviation)": float(values[inside].std()),
        "mean grey of the rim by that inside": float(values[rim].mean() / max(values[inside].mean(), 1.0)),
        "detail inside the head (mean gradient)": float(
            np.hypot(*np.gradient(values.astype(np.float64)))[inside].mean()
        ),
    }


OUTLINE = 4  # how many of those are of the outline alone


def shortcut_rows(add: Add, fit: Cohort, held: Cohort) -> None:
    """How well the class is told from such measures alone, on held-out slices."""
    tables = [
        np.array([list(look_of(x[0].numpy().astype(float)).values()) for x in c.images]) for c in (fit, held)
    ]
    names = list(look_of(held.images[0][0].numpy().astype(float)))
    for title, columns in (
        ("the outline of the head alone", slice(0, OUTLINE)),
        ("greys and contrast alone", slice(OUTLINE, None)),
        ("both", slice(None)),
    ):
        scale = StandardScaler().fit(tables[0][:, columns])
        model = LogisticRegression(max_iter=1000).fit(scale.transform(tables[0][:, columns]), fit.labels)
        guess = model.decision_function(scale.transform(tables[1][:, columns]))
        add(
            f"class told from {title}: AUC",
            lambda i, g=guess: float(roc_auc_score(held.labels[i], g[i])),
        )
    for number, name in enumerate(names):
        values = tables[1][:, number]
        for label, title in enumerate(held.classes):
            rows = held.labels == label
            add(f"{name}, slices with {title}: median", _median(values, rows))


def place_rows(add: Add, found: Strips) -> None:
    """Where the strips change the image, and which of those measures they move."""
    shares: dict[str, list[float]] = {"outside the head": [], "on its rim": [], "inside": []}
    area: dict[str, list[float]] = {name: [] for name in shares}
    looks: list[list[float]] = []
    names = list(look_of(found.strips[0].image[0]))
    for strip in found.strips:
        first, last = strip.image[0], strip.frames[-1][0]
        mask = head(first)
        inside = ndimage.binary_erosion(mask, iterations=RIM)
        change = np.abs(last - first)
        for name, place in zip(shares, (~mask, mask & ~inside, inside), strict=True):
            shares[name].append(change[place].sum() / max(change.sum(), 1e-9))
            area[name].append(place.mean())
        before, after = look_of(first), look_of(last)
        looks.append([after[n] - before[n] for n in names])
    start, moved = found.start, np.array(looks)
    asked = np.array([s.outcome != "already" for s in found.strips])
    for name, sign in SIDES:
        rows = (np.sign(start) == sign) & asked
        if not rows.any():
            continue
        for place, values in shares.items():
            extent = np.mean(np.array(area[place])[rows])
            add(
                f"finding {name}: share of the change {place} ({extent:.2f} of the image)",
                _mean(np.array(values), rows),
            )
        for number, look in enumerate(names):
            add(f"finding {name}: change of {look}, median", _median(moved[:, number], rows))


def picture(path: Path, found: Strips, *, rows: int = 6) -> None:
    """Counterfactuals that reached their goal, three frames each and the difference, for either side."""
    blocks = {}
    for name, sign in SIDES:
        chosen = [s for s, at in zip(found.strips, found.start, strict=True) if np.sign(at) == sign]
        chosen = sorted(chosen, key=lambda s: s.outcome != "reached")[:rows]
        lines = []
        for s in chosen:
            frames = [s.image[0], s.reconstruction[0], s.frames[len(s.frames) // 2][0], s.frames[-1][0]]
            lines.append([*frames, 127.5 + (s.frames[-1] - s.image)[0]])
        if lines:
            blocks[f"finding {name}"] = lines
    names = ["original", "redrawn by the generator", "half way", "last frame", "difference"]
    sheet(blocks, names, path, made=range(1, len(names)))
