"""Judge the engines of a bundle on val patients, by networks that took no part in training, search or choice.

    python -m experiments.evaluate.engines knee --data ../shared/data --images 120 \
        --page docs/results/engines_knee.md --picture docs/pictures/engines_knee.png

Judge A is the bundle's second model, judge B histograms of gradients with logistic regression. Every engine
explains the same images, one a patient, half of each label, to a probability of 0.9 on the other side of the
decision. The null is a blurred adversarial change of the same score as the first engine's.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Picture
from skimage.feature import hog
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

import contrafact as cf
from contrafact.core import ContrafactError, Image, Question
from contrafact.counterfactual import Bundle, as_published, published_walk
from contrafact.generators import RandomFeatures, kernel_distance
from contrafact.metrics import CounterfactualContext
from contrafact.metrics.counterfactual.adversarial_null import adversarial_null
from experiments.data import Cohort, load, nodule_windows
from experiments.evaluate.anatomy import at_64, double_lines, joint_band, joint_width, near
from experiments.tables import mean, share, table

GOAL = 2.197  # log-odds of 0.9
Values = NDArray[np.floating[Any]]
Judge = Callable[[Values], Values]
ENGINES: dict[str, tuple[str, dict[str, Any]]] = {
    "translator (default)": ("translate", {}),
    "StyleGAN2 walk": ("latent-walk", {}),
    "StyleGAN2 walk, global direction": ("latent-walk", {"follow": 0.0}),
    "latent shift": ("latent-shift", {}),
}
PUBLISHED, NULL = "StyleGAN2 as published", "null: blurred adversarial change"


@dataclass
class Run:
    """What one engine made of every image: frames at its own size, None where it refused."""

    name: str
    first: list[Values] = field(default_factory=list)
    last: list[Values] = field(default_factory=list)
    frames: list[Values] = field(default_factory=list)
    reached: list[bool] = field(default_factory=list)
    seconds: float = 0.0
    rows: list[int] = field(default_factory=list)


def chosen(cohort: Cohort, count: int) -> Cohort:
    """As many images of each label, of different patients, in the order of the files."""
    rows, taken, want = [], set(), {0: count // 2, 1: count - count // 2}
    for row in np.random.default_rng(1).permutation(len(cohort)).tolist():
        who, label = cohort.patients[row], int(cohort.labels[row])
        if who in taken or not want[label]:
            continue
        taken.add(who)
        want[label] -= 1
        rows.append(row)
    return cohort.rows(sorted(rows))


def explained(name: str, bundle: Bundle, images: Sequence[Image]) -> Run:
    """An engine's counterfactuals of every image."""
    run = Run(name)
    method: Any
    method, settings = ENGINES.get(name, ("", {}))
    if name == PUBLISHED:
        target = bundle.predictor.target("class:1")
        bundle, method = as_published(bundle, bundle.predictor, target, samples=4000), published_walk()
    for row, image in enumerate(images):
        began = time.perf_counter()
        try:
            strip = cf.explain(method, bundle.predictor, image, target="class:1", bundle=bundle, **settings)
        except ContrafactError:
            continue
        run.seconds += time.perf_counter() - began
        run.first.append(strip.image if name != PUBLISHED else strip.frames[strip.origin])
        run.last.append(strip.frames[strip.end])
        run.frames.append(strip.frames)
        run.reached.append(strip.outcome in ("reached", "already"))
        run.rows.append(row)
    return run


def null_of(run: Run, bundle: Bundle, images: Sequence[Image]) -> Run:
    """For each counterfactual of `run` a blurred adversarial change of the same score."""
    made = Run(NULL)
    target = bundle.predictor.target("class:1")
    for row, last in zip(run.rows, run.last, strict=True):
        image = images[row]
        strip = cf.explain("translate", bundle.predictor, image, target="class:1", bundle=bundle)
        question = Question(
            predictor=bundle.predictor, images=image.values[None], target=target, grid=image.grid
        )
        context = CounterfactualContext(question=question, strip=strip)
        try:
            frame = adversarial_null(context)
        except ContrafactError:
            continue
        made.first.append(run.first[len(made.rows)])
        made.last.append(np.asarray(frame))
        made.frames.append(np.stack([made.first[-1], made.last[-1]]))
        made.reached.append(bool(np.isfinite(last).all()))
        made.rows.append(row)
    return made


def hog_judge(name: str, data: Path, side: int) -> Judge:
    """Log-odds (N,) of frames (N, C, H, W) of 0 to 255 by histograms of gradients and logistic regression,
    trained
    on the `fit` patients: a judge that is no network."""

    def features(frames: Values) -> Values:
        grey = [at_64(np.asarray(one).mean(axis=0)) for one in frames]
        return np.stack([hog(one, 9, (8, 8), (2, 2)) for one in grey])

    fit = load(name, data, "fit", side=side)
    rows = np.random.default_rng(0).permutation(len(fit))[:3000].tolist()
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.003, max_iter=500))
    model.fit(features(fit.images[rows].numpy()), fit.labels[rows])
    return lambda frames: model.decision_function(features(frames))


def model_scores(bundle: Bundle, frames: Values) -> Values:
    """The explained model's log-odds (N,)."""
    target = bundle.predictor.target("class:1")
    with bundle.predictor.frozen(), torch.no_grad():
        return target(bundle.predictor(torch.as_tensor(np.asarray(frames, dtype=np.float32)))).numpy()


def second_scores(bundle: Bundle, frames: Values) -> Values:
    second = bundle.second_model(bundle.predictor)
    with second.frozen(), torch.no_grad():
        return second.target("class:1")(second(torch.as_tensor(np.asarray(frames, dtype=np.float32)))).numpy()


def slope_on_real(cohort: Cohort, model: Judge, judge: Judge) -> float:
    """A judge's logits for one logit of the model, on the real images."""
    images = cohort.images.float().numpy()
    return float(np.polyfit(model(images), judge(images), 1)[0])


def places(name: str, cohort: Cohort, data: Path) -> list[NDArray[np.bool_] | None]:
    """Where a change belongs on each image; None where no mask says so."""
    side = cohort.images.shape[-1]
    if name == "knee":
        return [joint_band(image[0].float().numpy()) for image in cohort.images]
    if name == "nodule":
        masks = {f"{w.name}-{'nodule' if w.nodule else 'none'}": w for w in nodule_windows(data, "val")}
        found: list[NDArray[np.bool_] | None] = []
        for one in cohort.names:
            window = masks[one]
            large = Picture.fromarray((window.readers > 0).astype(np.uint8) * 255).resize((side, side))
            found.append(near(np.asarray(large) > 127, 3) if window.nodule else None)
        return found
    return [None] * len(cohort)


def row_of_page(run: Run, name: str, bundle: Bundle, cohort: Cohort, judges: dict[str, tuple[Judge, float]],
                where: list[NDArray[np.bool_] | None]) -> dict[str, str]:  # fmt: skip
    """Every figure of one engine as text."""
    if not run.rows:
        return {"engine": run.name}
    first, last = np.stack(run.first), np.stack(run.last)
    before, after = model_scores(bundle, first), model_scores(bundle, last)
    up, flips = before < 0, before * after < 0
    change = np.abs(last - first).mean(axis=1)
    row = {
        "engine": run.name,
        "images": str(len(run.rows)),
        "goal reached": share(run.reached),
        "flips": share(flips),
    }
    for letter, (judge, real) in judges.items():
        one, two = judge(first), judge(last)
        crosses = (two > 0) == up
        for word, mine in (("up", up), ("down", ~up)):
            row[f"followed by {letter}, {word}"] = share(crosses[flips & mine])
            moved = float((two - one)[mine].mean() / (after - before)[mine].mean()) if mine.any() else np.nan
            row[f"slope of {letter}, {word}"] = f"{moved / real:.2f}"
    row["mean change, grey levels"] = mean(change.mean(axis=(1, 2)))
    row["half of the change lies in"] = mean([_half(one) for one in change])
    inside = [
        float(one[place].sum() / one.sum())
        for one, place in zip(change, [where[k] for k in run.rows], strict=True)
        if place is not None and place.shape == one.shape and one.sum() > 0
    ]
    row["change where it belongs"] = mean(inside)
    if name == "knee":
        moved = np.array([joint_width(b[0]) - joint_width(a[0]) for a, b in zip(first, last, strict=True)])
        row["joint to arthrosis, px"] = f"{mean(moved[up])}, narrower in {np.mean(moved[up] < 0):.0%}"
        row["joint to healthy, px"] = f"{mean(moved[~up])}, wider in {np.mean(moved[~up] > 0):.0%}"
        row["columns with a double joint line"] = f"{np.mean([double_lines(b[0]) for b in last]):.3f}"
    auc, kid, floor = realism(last, up, cohort)
    row["real or synthetic: AUC"] = f"{auc:.2f}"
    row["KID x1000 (real against real)"] = f"{1000 * kid:.2f} ({1000 * floor:.2f})"
    row["seconds an image"] = f"{run.seconds / len(run.rows):.2f}" if run.seconds else "–"
    return row


def _half(change: Values) -> float:
    """The share of the image that holds half of a change (H, W)."""
    ordered = np.sort(change.ravel())[::-1]
    return float((np.searchsorted(np.cumsum(ordered), 0.5 * ordered.sum()) + 1) / ordered.size)


def realism(last: Values, up: NDArray[np.bool_], cohort: Cohort) -> tuple[float, float, float]:
    """AUC of a classifier that tells frames from real images of the goal's label, by cross-validation over
    images; KID of the frames, and of one half of the real images from the other.

    Features of fixed random convolutions at 64 pixels: no network that took part in anything.
    """
    extractor = RandomFeatures(last.shape[1])

    def features(images: Values) -> Tensor:
        small = np.stack([np.stack([at_64(c) for c in one]) for one in images])
        with torch.no_grad():
            return extractor(torch.as_tensor(small, dtype=torch.float32) / 127.5 - 1)

    wanted = np.where(up, 1, 0)
    real = cohort.images[np.isin(cohort.labels, np.unique(wanted))].float().numpy()
    made, seen = features(last).double(), features(real).double()
    x = torch.cat([made, seen]).numpy()
    y = np.r_[np.ones(len(made)), np.zeros(len(seen))]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000, class_weight="balanced"))
    groups = np.r_[np.arange(len(made)), len(made) + np.arange(len(seen))]
    guess = cross_val_predict(model, x, y, cv=GroupKFold(5), groups=groups, method="decision_function")
    half = len(seen) // 2
    return (
        float(roc_auc_score(y, guess)),
        kernel_distance(seen, made),
        kernel_distance(seen[:half], seen[half:]),
    )


def wall(runs: Sequence[Run], cohort: Cohort, path: Path, count: int = 12) -> None:
    """The first images of the list, one a row: original, then every engine's last frame and its difference."""
    side, rows = cohort.images.shape[-1], []
    for row in range(min(count, len(cohort))):
        tiles = [cohort.images[row, 0].float().numpy()]
        for run in runs:
            if row not in run.rows:
                tiles += [np.zeros((side, side))] * 2
                continue
            k = run.rows.index(row)
            first, last = (_sized(one[k][0], side) for one in (run.first, run.last))
            tiles += [last, np.clip(127.5 + 1.5 * (last - first), 0, 255)]
        rows.append(np.concatenate([np.pad(tile, 1, constant_values=255) for tile in tiles], axis=1))
    picture = np.concatenate(rows).clip(0, 255).round().astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Picture.fromarray(picture).save(path, optimize=True)


def _sized(values: Values, side: int) -> Values:
    picture = Picture.fromarray(values.clip(0, 255).round().astype(np.uint8))
    return np.asarray(picture.resize((side, side), Picture.Resampling.BILINEAR), dtype=float)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--bundle", help="name or folder; the shipped one of that name unless given")
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--images", type=int, default=120)
    parser.add_argument("--part", default="val", choices=["val", "choice"])
    parser.add_argument("--engines", nargs="*", default=[*ENGINES, PUBLISHED])
    parser.add_argument("--page", type=Path)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--json", type=Path, help="the figures as text, engine by engine")
    options = parser.parse_args()
    whole = load(options.name, options.data, options.part, side=options.side)
    cohort, bundle = chosen(whole, options.images), cf.load_bundle(options.bundle or options.name)
    images = [Image(one.float().numpy(), window=(0.0, 255.0)) for one in cohort.images]
    model: Judge = lambda frames: model_scores(bundle, frames)  # noqa: E731
    judges: dict[str, tuple[Judge, float]] = {}
    raw: dict[str, Judge] = {"A": lambda frames: second_scores(bundle, frames)}
    raw["B"] = hog_judge(options.name, options.data, options.side)
    for letter, judge in raw.items():
        judges[letter] = (judge, slope_on_real(whole, model, judge))
        auc = roc_auc_score(whole.labels, judge(whole.images.float().numpy()))
        print(f"judge {letter}: AUC {auc:.3f}, slope on real images {judges[letter][1]:.2f}", flush=True)
    where, runs, lines = places(options.name, cohort, options.data), [], []
    for name in options.engines:
        runs.append(explained(name, bundle, images))
        lines.append(row_of_page(runs[-1], options.name, bundle, whole, judges, where))
        print(json.dumps(lines[-1]), flush=True)
    runs.append(null_of(runs[0], bundle, images))
    lines.append(row_of_page(runs[-1], options.name, bundle, whole, judges, where))
    print(json.dumps(lines[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(lines, indent=1))
    if options.picture:
        wall(runs, cohort, options.picture)
    if options.page:
        keys = list(lines[0])[1:]
        body = [[key, *(line.get(key, "–") for line in lines)] for key in keys]
        options.page.write_text(table(["", *(line["engine"] for line in lines)], body))


if __name__ == "__main__":
    main()
