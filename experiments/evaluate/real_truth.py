"""Evaluate heatmaps and counterfactuals of lung nodules against the masks of up to four readers.

    python -m experiments.evaluate.real_truth --data ../shared/data --page FILE --picture FILE
    python -m experiments.evaluate.real_truth --kind stacks --data ../shared/data --page FILE --picture FILE
    python -m experiments.evaluate.real_truth --kind malignancy --networks RUNS/malignancy --data ../shared/data

Two classifiers and two segmenters (the bundle `nodule` and its second models) are asked about windows of val
patients, one a patient, whose nodule they find; or the two classifiers of `nodule_3d` about stacks; or those of
`train.classifiers malignancy` why a nodule is malignant. A map is evaluated against every
reader and their consensus by its place (IoU at matched area, relevance mass, pointing game, AUPRC), and each
figure is divided by what one reader's mask reaches against another's. Beside it, whether the model's answer
falls when the map's highest pixels are hidden. Finished maps are kept (`--work`): a run that was ended goes on.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score

import contrafact as cf
from contrafact.core import ContrafactError, Heatmap, Image, Predictor
from contrafact.models import Preprocessing
from contrafact.study.statistics import holm, signed_rank
from experiments.evaluate import known_truth
from experiments.evaluate.engines import with_latent
from experiments.evaluate.known_truth import centre, edges, judged, makers_of
from experiments.evaluate.nodules import large
from experiments.evaluate.picture_wall import wall
from experiments.malignancy import single_ratings
from experiments.nodule_windows import NoduleWindow, nodule_stacks, nodule_windows
from experiments.reading import sized
from experiments.tables import Interval, cell, interval, table
from experiments.train.classifiers import make
from experiments.train.nodule_segmenters import SIDE, at_side, by_reader, consensus

Values = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]
Made = Heatmap | Values  # a heatmap, or the values of what is none
DEPTH = 32  # voxels a side of a stack
PLACE = ("IoU", "relevance mass", "pointing game", "AUPRC")
REMOVAL = ("deletion", "insertion")
BASELINES = ("a random map", "an edge detector", "a blob in the centre", "the brightness")
ENGINE = "counterfactual: translate, its change"
LATENT = "counterfactual: medxgan, its change"


@dataclass(frozen=True)
class Case:
    """A window with its readers' masks at the side of the images."""

    image: Image
    readers: list[Mask]
    truth: Mask
    name: str
    patient: str


@dataclass(frozen=True)
class Asked:
    """A model and what it is asked."""

    name: str
    predictor: Predictor
    target: str
    bundle: Any = None


def case_of(window: NoduleWindow) -> Case:
    """A window enlarged to 64 pixels, or a stack resized to 32 x 32 x 32, as the bundles do inside."""
    if window.values.ndim == 3:
        values = sized(window.values, DEPTH, grey=True)[0].numpy().astype(np.float32)
    else:
        values = at_side(window.values)[0].numpy()
    readers = [as_large(mask) for mask in by_reader(window.readers)]
    truth = as_large(consensus(window.readers))
    return Case(Image(values, window=(0.0, 255.0)), readers, truth, window.name, window.patient)


def as_large(mask: Mask) -> Mask:
    """A mask of a window or of a stack at the size of the images."""
    if mask.ndim == 2:
        return large(mask, SIDE)
    return np.asarray(sized((mask * 255).astype(np.uint8), DEPTH, grey=True)[0, 0].numpy() > 127)


def windows_of(kind: str, data: Path, part: str) -> list[NoduleWindow]:
    """Windows, stacks, or the windows of nodules whose rating of malignancy has one match."""
    windows = nodule_stacks(data, part) if kind == "stacks" else nodule_windows(data, part)
    if kind != "malignancy":
        return windows
    rated = single_ratings()
    return [window for window in windows if window.patient in rated or not window.nodule]


def cases_of(kind: str, data: Path, models: Sequence[Asked], count: int) -> list[Case]:
    """Windows of different val patients with two readers or more, whose nodule every model finds."""
    windows = [w for w in windows_of(kind, data, "val") if w.nodule and len(by_reader(w.readers)) > 1]
    found: dict[str, Case] = {}
    for row in np.random.default_rng(5).permutation(len(windows)).tolist():
        case = case_of(windows[row])
        if len(found) == count:
            break
        if case.patient in found or not case.truth.any() or any(not mask.any() for mask in case.readers):
            continue
        if all(finds(model, case) for model in models):
            found[case.patient] = case
    return list(found.values())


@torch.no_grad()
def finds(model: Asked, case: Case) -> bool:
    """Whether a classifier says nodule, or a segmenter marks a part of it."""
    raw = torch.as_tensor(model.predictor(case.image.values[None]))[0]
    if raw.ndim == 1:
        return bool(raw.argmax() == 1)
    return bool((raw.argmax(dim=0).numpy() == 1)[case.truth].any())


def place(values: Values, truth: Mask) -> tuple[float, ...]:
    """The four figures of a map against one mask."""
    pointing, mass, overlap = judged(values, truth)
    return overlap, mass, pointing, float(average_precision_score(truth.ravel(), values.ravel()))


def against_readers(values: Values, case: Case) -> NDArray[np.float64]:
    """The mean of a map's figures over the readers, and those against their consensus: (2, 4)."""
    each = np.mean([place(values, mask) for mask in case.readers], axis=0)
    return np.array([each, place(values, case.truth)])


def ceiling(case: Case) -> NDArray[np.float64]:
    """What a reader's mask reaches as a map: against the other readers, and against the consensus of the
    others: (2, 4)."""
    rows = []
    for k, own in enumerate(case.readers):
        others = [mask for j, mask in enumerate(case.readers) if j != k]
        together = np.mean(others, axis=0) >= 0.5
        rows.append([np.mean([place(own * 1.0, mask) for mask in others], axis=0), place(own * 1.0, together)])
    return np.mean(rows, axis=0)


def makers(model: Asked, background: list[Image]) -> dict[str, Callable[[Image], Made]]:
    """A map of an image, by name: baselines, every heatmap method, the change of the counterfactual."""
    rng = np.random.default_rng(9)
    found: dict[str, Callable[[Image], Made]] = {
        "a random map": lambda image: rng.normal(size=image.grid.shape),
        "an edge detector": edges,
        "a blob in the centre": lambda image: centre(image.grid.shape),
        "the brightness": lambda image: image.values[0].astype(float),
    }
    found |= makers_of(known_truth.Asked(model.predictor, model.target, background, "body"))
    ask = {"target": model.target, "bundle": model.bundle}
    if model.bundle is not None:
        found[ENGINE] = lambda image: removed(model, image, "translate")
    if model.bundle is not None and model.bundle.findings is not None:
        found[LATENT] = lambda image: removed(model, image, "medxgan")
        found["latent-integrated-gradients"] = lambda image: cf.explain(
            "latent-integrated-gradients", model.predictor, image, **ask
        )
    return found


def removed(model: Asked, image: Image, engine: str) -> Values:
    """The change that the counterfactual makes until the nodule is gone."""
    strip = cf.explain(engine, model.predictor, image, target=model.target, bundle=model.bundle, goal=0.1)
    return np.asarray(np.abs(strip.frames[strip.end] - strip.frames[strip.origin]).mean(axis=0), dtype=float)


def rows_of(
    model: Asked, cases: Sequence[Case], background: list[Image], work: Path, methods: Sequence[str] = ()
) -> Iterator[dict[str, Any]]:
    """One row per method, or per one of `methods` and the baselines: figures (N, 2, 4) of place, deletion and
    insertion (N,), maps of the first cases, seconds an image; or the reason of a refusal."""
    chosen = makers(model, background)
    for name, maker in ((n, m) for n, m in chosen.items() if not methods or n in (*methods, *BASELINES)):
        path = work / model.name.replace(" ", "-") / f"{name.replace(' ', '-').replace(':', '')}.npz"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            began = time.perf_counter()
            try:
                maps = [maker(case.image) for case in cases]
            except ContrafactError as error:
                yield {"method": name, "refused": str(error)}
                continue
            seconds = (time.perf_counter() - began) / len(cases)
            kept = [
                np.nan_to_num(np.asarray(one.values if isinstance(one, Heatmap) else one, dtype=float))
                for one in maps
            ]
            np.savez(
                path,
                figures=[against_readers(one, case) for one, case in zip(kept, cases, strict=True)],
                removal=[removal(one, model, case) for one, case in zip(maps, cases, strict=True)],
                maps=np.stack(kept),
                seconds=seconds,
            )
            print(f"{model.name}: {name} {seconds:.2f} s an image", flush=True)
        with np.load(path) as found:
            yield {"method": name, **{key: found[key] for key in found.files}}


def removal(made: Made, model: Asked, case: Case) -> list[float]:
    """Deletion and insertion; NaN for what is no heatmap of the model."""
    if not isinstance(made, Heatmap):
        return [float("nan")] * len(REMOVAL)
    scores = cf.evaluate(made, model.predictor, case.image, list(REMOVAL), target=model.target)
    return [next(one.value for one in scores if one.metric == metric) for metric in REMOVAL]


def relative(figures: NDArray[Any], best: NDArray[Any], which: int) -> Interval:
    """A figure as a share of the readers' own, with an interval over patients."""
    return interval(lambda rows: figures[rows, 0, which].mean() / best[rows, 0, which].mean(), len(figures))


def table_of(rows: Sequence[dict[str, Any]], best: NDArray[Any]) -> str:
    """The table of a model's methods, the best by IoU first, readers above all."""
    known = [row for row in rows if "figures" in row]
    base = max((row for row in known if row["method"] in BASELINES), key=lambda r: r["figures"][:, 0, 0].mean())
    tests = holm([signed_rank(row["figures"][:, 0, 0] - base["figures"][:, 0, 0]) for row in known])
    for row, p in zip(known, tests, strict=True):
        row["p"] = p
    lines = [
        [
            "**one reader against another**",
            *(cell(interval(lambda r, k=k: best[r, 0, k].mean(), len(best))) for k in range(4)),
            "1",
            "–",
            "–",
            "–",
        ]
    ]  # type: ignore[misc]
    for row in sorted(known, key=lambda r: -float(r["figures"][:, 0, 0].mean())):
        figures, gone = row["figures"], row["removal"]
        cells = [cell(interval(lambda r, k=k, f=figures: f[r, 0, k].mean(), len(figures))) for k in range(4)]  # type: ignore[misc]
        removal_cells = [f"{np.nanmean(part):.2f}" if np.isfinite(part).any() else "–" for part in gone.T]
        p = "–" if row["p"] is None or row is base else f"{row['p']:.3f}"
        lines.append([row["method"], *cells, cell(relative(figures, best, 0)), *removal_cells, p])
    head = ["map", *PLACE, "IoU as a share of the readers'", *REMOVAL, f"p against {base['method']}"]
    text = table(head, lines)
    refused = [f"`{row['method']}` ({row['refused']})" for row in rows if "refused" in row]
    return text + (f"\nRefused: {'; '.join(refused)}.\n" if refused else "")


def agreement(rows: Sequence[dict[str, Any]]) -> str:
    """How far place and removal rank the methods alike."""
    both = [row for row in rows if "figures" in row and np.isfinite(row["removal"]).any()]
    iou = [row["figures"][:, 0, 0].mean() for row in both]
    found = [
        f"{metric} {spearmanr(iou, [np.nanmean(row['removal'][:, k]) for row in both]).statistic:+.2f}"
        for k, metric in enumerate(REMOVAL)
    ]
    return f"Rank correlation of IoU over {len(both)} methods with {', with '.join(found)}."


def best_maps(found: dict[str, list[dict[str, Any]]]) -> dict[str, NDArray[Any]]:
    """The maps (N, *S) of the best three methods of each model by IoU, and of its counterfactual, by name."""
    chosen = dict[str, NDArray[Any]]()
    for model, rows in found.items():
        known = [row for row in rows if "figures" in row and row["method"] not in BASELINES]
        known.sort(key=lambda row: -float(row["figures"][:, 0, 0].mean()))
        for row in known[:3] + [row for row in known[3:] if row["method"] == ENGINE]:
            chosen[f"{row['method']}, {model}"] = row["maps"]
    return chosen


def sentences(found: dict[str, list[dict[str, Any]]], best: NDArray[Any], count: int) -> list[str]:
    """Two sentences that a reviewer may quote."""
    name, rows = next(iter(found.items()))
    known = [r for r in rows if "figures" in r and r["method"] not in BASELINES]
    top = max((r for r in known if r["method"] != ENGINE), key=lambda r: float(r["figures"][:, 0, 0].mean()))
    lines = [
        f"The best heatmap of the {name} ({top['method']}) overlaps a radiologist's mask by "
        f"{cell(relative(top['figures'], best, 0))} of what two radiologists reach ({count} patients)."
    ]
    engine = next((r for r in known if r["method"] == ENGINE), None)
    if engine is not None:
        lines.append(
            f"The change that removes the nodule from the image overlaps it by "
            f"{cell(relative(engine['figures'], best, 0))} of that."
        )
    return lines


def models_of(
    bundle: str | Path, networks: Path | None, segmenters: Path | None, latent: Path | None = None
) -> list[Asked]:
    """The classifiers of a bundle and its segmenters, or those of the folder `segmenters`; or the classifiers
    of the folder `networks`."""
    if networks is not None:
        names = {"model": "residual classifier", "second": "plain classifier"}
        return [Asked(word, of_malignancy(networks, role), "class:1") for role, word in names.items()]
    loaded = cf.load_bundle(bundle)
    loaded = with_latent(loaded, latent) if latent else loaded
    second = loaded.second_model(loaded.predictor)
    found = [
        Asked("residual classifier", loaded.predictor, "class:1", loaded),
        Asked("plain classifier", second, "class:1"),
    ]
    own = loaded.predictors.get("segmenter")
    if segmenters is not None:
        pair = [cf.load_predictor(segmenters / f"{role}.json") for role in ("model", "second")]
    else:
        pair = [] if own is None else [own, loaded.second_model(own)]
    names = ("U-Net", "SegResNet")
    return found + [Asked(f"{name} segmenter", one, "region:1") for name, one in zip(names, pair, strict=False)]


def of_malignancy(networks: Path, role: str) -> Predictor:
    """A network of `train.classifiers malignancy` as a model of two classes."""
    told = Preprocessing(size=(SIDE, SIDE), channels=1, window=(0.0, 255.0), mean=(0.5,), std=(0.5,))
    arguments = json.loads((networks / role / "about.json").read_text())["arguments"]
    made = make(role, {**arguments, "pair": 0})
    made.load_state_dict(load_file(networks / role / "best.safetensors"))
    made.eval()
    return cf.load_predictor(made, classes=["benign", "malignant"], preprocessing=told, head="pair")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--kind", choices=["windows", "stacks", "malignancy"], default="windows")
    parser.add_argument("--networks", type=Path, help="of `train.classifiers malignancy`")
    parser.add_argument("--bundle", type=Path, help="another `nodule` or `nodule_3d` than the package's")
    parser.add_argument("--model", help="make and keep the maps of this model alone, without a page")
    parser.add_argument("--segmenters", type=Path, help="of `train.nodule_segmenters`; default: the bundle's")
    parser.add_argument("--latent", type=Path, help="the bundle of `nodule_medxgan.toml`: a second engine")
    parser.add_argument("--methods", nargs="*", default=[], help="rows to make beside the baselines; none: all")
    parser.add_argument("--work", type=Path, default=Path("runs/real_truth"))
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    if (options.networks is None) == (options.kind == "malignancy"):
        raise SystemExit("--networks FOLDER goes with --kind malignancy")
    bundle = options.bundle or ("nodule_3d" if options.kind == "stacks" else "nodule")
    models = models_of(bundle, options.networks, options.segmenters, options.latent)
    cases = cases_of(options.kind, options.data, models, options.images)
    names = [case.name for case in cases]
    about = options.work / "cases.json"
    if about.exists() and json.loads(about.read_text()) != names:
        raise SystemExit(f"{options.work} holds maps of other images; give another --work")
    options.work.mkdir(parents=True, exist_ok=True)
    about.write_text(json.dumps(names))
    none = [case_of(w).image for w in windows_of(options.kind, options.data, "choice") if not w.nodule]
    if options.model:
        asked = next((model for model in models if model.name == options.model), None)
        if asked is None:
            raise SystemExit(f"--model: one of {', '.join(model.name for model in models)}")
        for _ in rows_of(asked, cases, none[:16], options.work, options.methods):
            pass
        return
    best = np.stack([ceiling(case) for case in cases])
    found = {
        model.name: list(rows_of(model, cases, none[:16], options.work, options.methods)) for model in models
    }
    text = [f"Lung nodules of {len(cases)} val patients, one window each.", ""]
    text += [f"> {line}" for line in sentences(found, best, len(cases))] + [""]
    for model in models:
        rows = found[model.name]
        text += [f"## {model.name}", "", table_of(rows, best), agreement(rows), ""]
    print("\n".join(text))
    if options.page:
        options.page.write_text("\n".join(text))
    if options.picture:
        wall(cases, best_maps(found), options.picture)


if __name__ == "__main__":
    main()
