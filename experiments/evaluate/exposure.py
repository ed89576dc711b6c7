"""Measure how well exposure alone separates the chest radiographs, and how counterfactuals change it.

    python -m experiments.evaluate.exposure DATA/chestxray_pneumonia_224 --images 24 --picture exposure.png

Eight numbers of an image without spatial information (mean, spread and six percentiles of its greys) are the
input of a logistic regression on the bundle's training patients, tested on the held-out ones.
Then normal held-out images are changed to a probability of pneumonia of 0.9. A curve of greys, the same for
the whole image (the mean change at every grey level of the original), is the effect of exposure: its share of
the change is measured.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

import contrafact as cf
from contrafact.core import Image
from experiments.data import Cohort, train_and_val, with_exchanged_greys
from experiments.evaluate.picture_sheet import sheet
from experiments.tables import cell, interval

PERCENTILES = (5, 25, 50, 75, 95, 99)
Values = NDArray[np.floating[Any]]


def greys(values: Values) -> list[float]:
    """Eight numbers of an image's greys, of no place."""
    return [float(values.mean()), float(values.std()), *np.percentile(values, PERCENTILES).tolist()]


def by_curve(before: Values, after: Values) -> float:
    """Share of a change's sum of squares that a curve of greys explains: 1 for a mere change of exposure."""
    change = (after - before).ravel()
    levels = np.clip(before.ravel() // 8, 0, 31).astype(int)
    total = np.bincount(levels, weights=change, minlength=32) / np.maximum(np.bincount(levels, minlength=32), 1)
    return float(1 - np.square(change - total[levels]).sum() / max(np.square(change).sum(), 1e-9))


def tell(found: Values, shares: list[float]) -> None:
    """found: reached, change of the mean grey and of the spread, and the greys' own answer before and after."""
    grey, spread = np.median(found[:, 1]), np.median(found[:, 2])
    before, after = (found[:, 3] > 0).mean(), (found[:, 4] > 0).mean()
    print(f"reached 0.9: {found[:, 0].mean():.2f} of {len(found)}")
    print(f"change of mean grey, median {grey:+.2f}; of the spread {spread:+.2f}")
    print(f"share of the change that a curve of greys explains: median {np.median(shares):.2f}")
    print(f"greys alone call it pneumonia: {before:.2f} before, {after:.2f} after")


def tell_of_model(bundle: Any, held: Cohort, greys_alone: Any, scale: Any) -> None:
    """The AUC of the model and of the greys, on the held-out images as they are, and with the greys of another
    one of either class each."""
    for name, images in (
        ("as they are", held.images),
        ("with exchanged greys", with_exchanged_greys(held.images)),
    ):
        said = torch.cat([bundle.predict(part.float())[:, 1] for part in images.split(32)]).numpy()
        table = np.array([greys(x.numpy().astype(float)) for x in images[:, 0]])
        guess = greys_alone.decision_function(scale.transform(table))
        for what, scores in (("model", said), ("eight greys", guess)):
            auc = interval(
                lambda rows, scores=scores: float(roc_auc_score(held.labels[rows], scores[rows])),  # type: ignore[misc]
                held.patients,
            )
            print(f"{name}: AUC of the {what} {cell(auc, '.3f')}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--picture", type=Path)
    chosen = parser.parse_args()
    bundle, shares, moved, rows = cf.load_bundle("chest"), [], [], []
    side = (bundle.translator or bundle.latent.generator).image_shape[-1]
    fit, held = train_and_val("chest", chosen.data, side=side)
    tables = [np.array([greys(x.numpy().astype(float)) for x in c.images[:, 0]]) for c in (fit, held)]
    scale = StandardScaler().fit(tables[0])
    model = LogisticRegression(max_iter=1000).fit(scale.transform(tables[0]), fit.labels)
    guess = model.decision_function(scale.transform(tables[1]))
    auc = interval(lambda rows: float(roc_auc_score(held.labels[rows], guess[rows])), held.patients)
    print(f"AUC from eight greys: {cell(auc, '.3f')}")
    tell_of_model(bundle, held, model, scale)
    for number in np.flatnonzero(held.labels == 0)[: chosen.images]:
        image = Image(held.images[number].numpy().astype(np.float32), window=bundle.window)
        strip = cf.explain("counterfactual", bundle.predictor, image, target="class:1", bundle=bundle, goal=0.9)
        first, last = strip.image[0].astype(float), strip.frames[strip.end][0].astype(float)
        shares.append(by_curve(first, last))
        ends = model.decision_function(scale.transform(np.array([greys(first), greys(last)])))
        moved.append([strip.outcome == "reached", last.mean() - first.mean(), last.std() - first.std(), *ends])
        change = np.clip(128 + 2 * (last - first), 0, 255)
        rows.append([first, last, change])
    found = np.array(moved, dtype=float)
    tell(found, shares)
    if chosen.picture:
        sheet({"": rows[:8]}, ["original", "counterfactual", "difference"], chosen.picture, made=(1, 2))


if __name__ == "__main__":
    main()
