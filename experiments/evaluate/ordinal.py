"""Have frames of knees at grades 0 to 4 read by judges that took no part in making them.

    python -m experiments.evaluate.ordinal --data ../shared/data --images 60 --page FILE

The bundle's translator makes each val knee at the Kellgren-Lawrence grades 0 to 4, by the model's own
grade. Judge A is the bundle's second model, which guides and searches nothing but ships beside the model.
Judge B, which ships nowhere, is histograms of gradients with a logistic regression for each threshold of
the grade, trained on the patients of `fit`. A judge shrinks towards the middle where images leave it in
ambiguity, also of real knees: its mean reading of real knees of each grade, whose label is known, stands
beside, and the difference from it as well.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

import contrafact as cf
from contrafact.core import Counterfactual, Image
from experiments.data import Cohort, balanced, load
from experiments.evaluate.engines import hog_features
from experiments.tables import cell, interval, table

GRADES = (0, 1, 2, 3, 4)
ENDS = 0.15  # an expected grade of 0 or 4 is never reached: the sum of probabilities stays inside
Values = NDArray[np.floating[Any]]
Judge = Callable[[Values], Values]


def hog_grades(fit: Cohort, count: int = 3000) -> Judge:
    """Expected grades (N,) of frames (N, C, H, W) of 0 to 255 by histograms of gradients: the sum of all
    P(grade > k), each by a logistic regression."""
    rows = np.random.default_rng(0).permutation(len(fit))[:count].tolist()
    features, levels = hog_features(fit.images[rows].numpy()), fit.levels[rows]
    models = [
        make_pipeline(StandardScaler(), LogisticRegression(C=0.003, max_iter=500)).fit(features, levels > k)
        for k in GRADES[:-1]
    ]

    def grades(frames: Values) -> Values:
        found = hog_features(frames)
        return np.sum([model.predict_proba(found)[:, 1] for model in models], axis=0)

    return grades


def grades_of(predictor: Any) -> Judge:
    """Expected grades (N,) of frames by a predictor with a grade."""
    target = predictor.target("grade")

    def grades(frames: Values) -> Values:
        values = torch.as_tensor(np.asarray(frames), dtype=torch.float32)
        with predictor.frozen(), torch.no_grad():
            read: Tensor = torch.cat([target(predictor(part)) for part in values.split(64)])
        return read.numpy()

    return grades


def frames_at_grades(bundle: cf.Bundle, images: list[Image]) -> tuple[Values, NDArray[np.bool_]]:
    """Frames (N, 5, C, H, W) of images at the grades, and whether the model's grade (N, 5) came within 0.1."""
    predictor = bundle.predictors["grade"]
    levels = tuple(float(np.clip(grade, ENDS, GRADES[-1] - ENDS)) for grade in GRADES)
    frames, met = [], []
    for image in images:
        strip = cf.explain("translate", predictor, image, target="grade", bundle=bundle, levels=levels)
        assert isinstance(strip, Counterfactual)
        wanted = strip.requested + strip.scores[strip.origin]
        places = [int(np.abs(wanted - level).argmin()) for level in levels]
        frames.append(strip.frames[places])
        met.append(np.abs(strip.scores[places] - np.array(levels)) < 0.1)
    return np.stack(frames), np.stack(met)


def middle(values: Values) -> str:
    """The median of values (N, ...) with its interval over patients, one a row."""
    return cell(interval(lambda rows: float(np.median(values[rows])), len(values)))


def rows_of_page(frames: Values, met: NDArray[np.bool_], judge: Judge, whole: Cohort) -> list[list[str]]:
    """A row for each grade and one for all: requested, read, differences and their intervals over patients."""
    count = len(frames)
    read = judge(frames.reshape(-1, *frames.shape[2:])).reshape(count, len(GRADES))
    real = judge(whole.images.float().numpy())
    typical = np.array([real[whole.levels == grade].mean() for grade in GRADES])
    gap, from_real = np.abs(read - np.array(GRADES)), np.abs(read - typical)

    lines = [
        [
            f"{grade}",
            f"{met[:, k].mean():.2f}",
            middle(read[:, k]),
            f"{typical[k]:.2f}",
            middle(gap[:, k]),
            middle(from_real[:, k]),
        ]
        for k, grade in enumerate(GRADES)
    ]
    return [*lines, ["all", f"{met.mean():.2f}", "–", "–", middle(gap), middle(from_real)]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--bundle", default="knee", help="name or folder")
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    bundle = cf.load_bundle(options.bundle)
    side = bundle.image_shape[-1]
    fit, whole = (load("knee", options.data, part, side=side) for part in ("fit", "val"))
    cohort = balanced(whole, options.images)
    images = [Image(one.float().numpy(), window=(0.0, 255.0)) for one in cohort.images]
    frames, met = frames_at_grades(bundle, images)
    head = ["grade", "model came within 0.1", "read (median)", "read on real knees of this grade (mean)"]
    head += ["difference from the grade (median)", "difference from real knees (median)"]
    pages = []
    second = bundle.second_model(bundle.predictors["grade"])
    for name, judge in (("Judge A", grades_of(second)), ("Judge B", hog_grades(fit))):
        off = np.abs(judge(whole.images.float().numpy()) - whole.levels)
        text = f"{name}, whose reading of real val knees is off by {middle(off)} grades (median):\n\n"
        pages.append(text + table(head, rows_of_page(frames, met, judge, whole)))
        print(pages[-1], flush=True)
    if options.page:
        options.page.write_text("\n".join(pages))


if __name__ == "__main__":
    main()
