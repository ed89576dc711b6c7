"""Judge the engines of a bundle on val patients, by networks that took no part in training, search or choice.

    python -m experiments.evaluate.engines knee --data ../shared/data --images 120 \
        --page docs/results/engines.md --picture docs/pictures/engines_knee.png

Judge A is the bundle's second model, judge B histograms of gradients with logistic regression, judge C (with
--networks) a third network that ships nowhere. Every engine explains the same images, one a patient, half of
each label, to a probability of 0.9 on the other side of the decision. The null is a blurred adversarial change
of the same score as the first engine's.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.feature import hog
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

import contrafact as cf
from contrafact.core import ContrafactError, Image, Question
from contrafact.counterfactual import Bundle, as_published, published_walk
from contrafact.generators import RandomFeatures, kernel_distance
from contrafact.metrics import CounterfactualContext
from contrafact.metrics.counterfactual.adversarial_null import adversarial_null
from contrafact.models import resize
from contrafact.phantoms import measure_joint_space, measure_marker
from contrafact.render.difference import half_share
from experiments.data import Cohort, balanced, load, phantoms
from experiments.evaluate import lungs
from experiments.evaluate.anatomy import at_64, double_lines, joint_band, joint_width, near
from experiments.evaluate.nodules import Segmenter, addition_rows, large, removal_rows, windows_of
from experiments.evaluate.picture_sheet import sheet
from experiments.evaluate.scores import scores_of
from experiments.nodule_windows import NoduleWindow
from experiments.tables import mean, ratio, share, table
from experiments.train.translator import network, scorer

GOAL = 2.197  # log-odds of 0.9
Values = NDArray[np.floating[Any]]
Judge = Callable[[Values], Values]
PLACED = "translator, only where it belongs"
ENGINES: dict[str, tuple[str, dict[str, Any]]] = {
    "translator (default)": ("translate", {}),
    PLACED: ("translate", {}),  # within `places`, where a mask says so
    "StyleGAN2 walk": ("latent-walk", {}),
    "StyleGAN2 walk, global direction": ("latent-walk", {"follow": 0.0}),
    "latent shift": ("latent-shift", {}),
    "medXGAN": ("medxgan", {}),
}
PUBLISHED, NULL = "StyleGAN2 as published", "null: blurred adversarial change"


@dataclass
class Run:
    """What one engine made of every image it did not refuse, with the model that it explained."""

    name: str
    predictor: Any
    first: list[Values] = field(default_factory=list)
    last: list[Values] = field(default_factory=list)
    frames: list[Values] = field(default_factory=list)
    reached: list[bool] = field(default_factory=list)
    seconds: float = 0.0
    rows: list[int] = field(default_factory=list)


def with_latent(bundle: Bundle, folder: Path) -> Bundle:
    """A bundle with the latent space of another one beside its translator."""
    other = cf.load_bundle(folder)
    fields = ("generator", "encoder", "statistics", "directions", "findings")
    return dataclasses.replace(bundle, **{name: getattr(other, name) for name in fields})


def model_of(bundle: Bundle, engine: str) -> Any:
    """The model that an engine explains: a latent space of smaller images has a model of its own."""
    if ENGINES.get(engine, ("", {}))[0] == "translate" or engine == NULL:
        return bundle.predictor
    return bundle.for_latent_space().predictor


def explained(
    name: str, bundle: Bundle, images: Sequence[Image], where: Sequence[NDArray[np.bool_] | None]
) -> Run:
    """An engine's counterfactuals of every image; within the place of `where` if the engine's name says so."""
    run = Run(name, model_of(bundle, name))
    method: Any
    method, settings = ENGINES.get(name, ("", {}))
    if name == PUBLISHED:
        target = run.predictor.target("class:1")
        bundle, method = as_published(bundle, run.predictor, target, samples=4000), published_walk()
    for row, image in enumerate(images):
        if name == PLACED and where[row] is None:
            continue
        asked = {"target": "class:1", "bundle": bundle, "region": where[row] if name == PLACED else None}
        began = time.perf_counter()
        try:
            strip = cf.explain(method, run.predictor, image, **asked, **settings)
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
    made = Run(NULL, bundle.predictor)
    target = bundle.predictor.target("class:1")
    for row, last in zip(run.rows[: len(images)], run.last, strict=False):
        image = images[row]
        strip = cf.explain("counterfactual", bundle.predictor, image, target="class:1", bundle=bundle)
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
    """Log-odds (N,) of frames (N, C, H, W) of 0 to 255 by a judge that is no network: histograms of gradients
    and logistic regression, trained on the `fit` patients."""
    fit = load(name, data, "fit", side=side)
    rows = np.random.default_rng(0).permutation(len(fit))[:3000].tolist()
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.003, max_iter=500))
    model.fit(hog_features(fit.images[rows].numpy()), fit.labels[rows])
    return lambda frames: model.decision_function(hog_features(frames))


def hog_features(frames: Values) -> Values:
    """Histograms of gradients (N, F) of frames (N, C, H, W), at 64 pixels."""
    grey = [at_64(np.asarray(one).mean(axis=0)) for one in frames]
    return np.stack([hog(one, 9, (8, 8), (2, 2)) for one in grey])


def third_network(networks: Path, name: str) -> Judge:
    """Log-odds (N,) of frames by the role `judge` of `experiments.train.classifiers`, which never ships."""
    judge = scorer(network(networks, "judge"), name)

    @torch.no_grad()
    def scores(frames: Values) -> Values:
        x = torch.as_tensor(np.asarray(frames), dtype=torch.float32) / 127.5 - 1
        return torch.cat([judge(part) for part in x.split(64)]).numpy()

    return scores


def places(name: str, cohort: Cohort, data: Path, part: str) -> list[NDArray[np.bool_] | None]:
    """Where a change belongs on each image; None where no mask says so."""
    side = cohort.images.shape[-1]
    if name == "knee":
        return [joint_band(image[0].float().numpy()) for image in cohort.images]
    if name == "nodule":
        windows = windows_of(cohort.names, data, part)
        return [near(large(w.readers > 0, side), 3) if w.nodule else None for w in windows]
    if name == "phantom":
        drawn = phantoms(part, side)
        return [drawn[one].masks["joint_space"] for one in cohort.names]
    if name == "chest" and side == lungs.SIDE:
        shape = lungs.lung_shape(data)
        return [lungs.lung_fields(image[0].float().numpy(), shape) for image in cohort.images]
    return [None] * len(cohort)


def row_of_page(
    run: Run,
    name: str,
    judges: dict[str, Judge],
    cohort: Cohort,
    where: list[NDArray[np.bool_] | None],
    windows: Sequence[NoduleWindow] = (),
    segmenter: Segmenter | None = None,
) -> dict[str, str]:
    """Every figure of one engine as text."""
    if not run.rows:
        return {"engine": run.name}
    first, last = np.stack(run.first), np.stack(run.last)
    before, after = scores_of(run.predictor, first), scores_of(run.predictor, last)
    up, flips = before < 0, before * after < 0
    change = np.abs(last - first).mean(axis=1)
    row = {
        "engine": run.name,
        "images": str(len(run.rows)),
        "goal reached": share(run.reached),
        "flips": share(flips),
    }
    images = cohort.images.float().numpy()
    for letter, judge in judges.items():
        real = float(np.polyfit(scores_of(run.predictor, images), judge(images), 1)[0])
        one, two = judge(first), judge(last)
        for word, mine in (("up", up), ("down", ~up)):
            row[f"followed by {letter}, {word}"] = share(((two > 0) == up)[flips & mine])
            row[f"slope of {letter}, {word}"] = ratio((two - one)[mine], real * (after - before)[mine])
    row["mean change, grey levels"] = mean(change.mean(axis=(1, 2)))
    row["half of the change lies in"] = mean([half_share(one) for one in change])
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
        row["columns with a double joint line"] = mean([double_lines(b[0]) for b in last], ".3f")
        row["the same of the originals"] = mean([double_lines(a[0]) for a in first], ".3f")
    if name == "phantom":
        row |= planted_rows([a[0] for a in first], [b[0] for b in last], up)
    if name == "nodule" and windows:
        mine = [windows[k] for k in run.rows]
        holds = ~up & np.array([one.nodule for one in mine])
        row |= removal_rows(
            first[holds], last[holds], [w for w, held in zip(mine, holds, strict=True) if held], segmenter
        )
        row |= addition_rows(first[up], last[up], segmenter)
    auc, kid, floor = realism(last, up, cohort)
    row["real or synthetic: AUC"] = auc
    row["KID x1000; of real images"] = f"{1000 * kid:.2f}; {1000 * floor:.2f}"
    row["seconds an image"] = f"{run.seconds / len(run.rows):.2f}" if run.seconds else "–"
    return row


def planted_rows(first: Sequence[Values], last: Sequence[Values], up: NDArray[np.bool_]) -> dict[str, str]:
    """How far the cause of phantoms (N times H x W) moves, and the marker, which is none."""
    pairs = list(zip(first, last, strict=True))
    moved = np.array([measure_joint_space(b) - measure_joint_space(a) for a, b in pairs])
    marker = np.array([abs(measure_marker(b) - measure_marker(a)) for a, b in pairs])
    return {
        "joint to narrow, px of 32": f"{mean(moved[up])}, narrower in {np.mean(moved[up] < 0):.0%}",
        "joint to wide, px of 32": f"{mean(moved[~up])}, wider in {np.mean(moved[~up] > 0):.0%}",
        "marker moves, share of its range (no cause)": mean(marker),
    }


def realism(last: Values, up: NDArray[np.bool_], cohort: Cohort) -> tuple[str, float, float]:
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
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    guess = cross_val_predict(model, x, y, cv=folds, method="decision_function")
    rng, draws = np.random.default_rng(0), list[float]()
    for _ in range(200):
        parts = rng.integers(0, len(made), len(made)), len(made) + rng.integers(0, len(seen), len(seen))
        some = np.concatenate(parts)
        draws.append(float(roc_auc_score(y[some], guess[some])))
    low, high = np.percentile(draws, [2.5, 97.5])
    auc = f"{float(roc_auc_score(y, guess)):.2f} ({low:.2f} to {high:.2f})"
    half = len(seen) // 2
    return auc, kernel_distance(seen, made), kernel_distance(seen[:half], seen[half:])


def wall(runs: Sequence[Run], cohort: Cohort, path: Path, count: int = 12) -> None:
    """The first images of the list, one a row: original, then every engine's last frame and its difference."""
    side, rows = cohort.images.shape[-1], []
    for row in range(min(count, len(cohort))):
        tiles = [_shown(cohort.images[row].float().numpy(), side)]
        for run in runs:
            if row not in run.rows:
                tiles += [np.zeros_like(tiles[0])] * 2
                continue
            k = run.rows.index(row)
            first, last = (_shown(one[k], side) for one in (run.first, run.last))
            tiles += [last, np.clip(127.5 + 1.5 * (last - first), 0, 255)]
        rows.append([tile if tile.shape[2] == 3 else tile[..., 0] for tile in tiles])
    names = ["original", *(name for run in runs for name in (run.name, f"{run.name}: difference"))]
    sheet({"": rows}, names, path, made=range(1, len(names)))


def page_of(lines: Sequence[dict[str, str]]) -> str:
    """The figures of all engines, one a column; an engine that made nothing has none."""
    keys = [key for key in dict.fromkeys(key for line in lines for key in line) if key != "engine"]
    body = [[key, *(line.get(key, "–") for line in lines)] for key in keys]
    return table(["", *(line["engine"] for line in lines)], body)


def _shown(image: Values, side: int) -> Values:
    """An image (C, H, W) of 0 to 255 as (side, side, C)."""
    made = resize(torch.as_tensor(np.asarray(image), dtype=torch.float32)[None], (side, side))[0]
    return np.asarray(made.movedim(0, 2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--bundle", help="name or folder; the shipped one of that name unless given")
    parser.add_argument("--latent", type=Path, help="a bundle of the same model, whose latent space is taken")
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--images", type=int, default=120)
    parser.add_argument("--part", default="val", choices=["val", "choice"])
    parser.add_argument("--engines", nargs="*", default=[*(one for one in ENGINES if one != PLACED), PUBLISHED])
    parser.add_argument("--few", type=int, default=40, help="images for the engines that take seconds")
    parser.add_argument("--networks", type=Path, help="folder with the role judge, as judge C")
    parser.add_argument("--segmenters", type=Path, help="folder of nodule_segmenters; its `second` is asked")
    parser.add_argument("--page", type=Path)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--json", type=Path, help="the figures as text, engine by engine")
    options = parser.parse_args()
    whole = load(options.name, options.data, options.part, side=options.side)
    cohort, bundle = balanced(whole, options.images), cf.load_bundle(options.bundle or options.name)
    bundle = with_latent(bundle, options.latent) if options.latent else bundle
    images = [Image(one.float().numpy(), window=(0.0, 255.0)) for one in cohort.images]
    hogs = hog_judge(options.name, options.data, options.side)
    third = {"C": third_network(options.networks, options.name)} if options.networks else {}
    where = places(options.name, cohort, options.data, options.part)
    runs, lines = list[Run](), list[dict[str, str]]()
    nodules = options.name == "nodule"
    windows = windows_of(cohort.names, options.data, options.part) if nodules else []
    segmenter = Segmenter(options.segmenters, "second") if options.segmenters else None

    def measured(run: Run) -> None:
        second = bundle.second_model(run.predictor)
        judges: dict[str, Judge] = {"A": lambda frames: scores_of(second, frames), "B": hogs, **third}
        runs.append(run)
        lines.append(row_of_page(run, options.name, judges, whole, where, windows, segmenter))
        print(json.dumps(lines[-1]), flush=True)

    for letter, judge in {
        "A": lambda f: scores_of(bundle.second_model(bundle.predictor), f),
        "B": hogs,
        **third,
    }.items():
        auc = roc_auc_score(whole.labels, judge(whole.images.float().numpy()))
        print(f"judge {letter}: AUC {auc:.3f}", flush=True)
    for name in options.engines:
        slow = ENGINES.get(name, ("", {}))[0] != "translate"
        measured(explained(name, bundle, images[: options.few] if slow else images, where))
    if runs:
        measured(null_of(runs[0], bundle, images[: options.few]))
    if options.json:
        options.json.write_text(json.dumps(lines, indent=1))
    if options.picture:
        wall(runs, cohort, options.picture)
    if options.page:
        options.page.write_text(page_of(lines))


if __name__ == "__main__":
    main()
