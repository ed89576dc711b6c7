"""Evaluate heatmap methods on a cohort: prepare the cases, run the study, write the table.

    python -m experiments.evaluate.judge knee ../shared/data/knee_kl_128 --images 200
    python -m experiments.evaluate.judge chest ../shared/data/chestxray_pneumonia_224 --images 60
    python -m experiments.evaluate.judge hippocampus ../shared/data/msd_task04_hippocampus --images 6
    python -m experiments.evaluate.judge phantom --images 60

Cases, cohort.csv and study.toml are written to runs/judged_NAME; the study itself is `contrafact study` on that
file, so that it resumes; the table goes to docs/results/judged_NAME.md.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from PIL import Image as Picture

import contrafact as cf
from contrafact.io import read_json
from contrafact.phantoms import draw_factors, knee_phantom
from contrafact.study.runner import study
from experiments.data import load
from experiments.tables import table

METHODS = {
    "gradient": "", "input-x-gradient": "",
    "integrated-gradients": "steps = 12", "gradient-shap": "samples = 12",
    "smooth": "samples = 6\ninner = { name = 'gradient' }", "guided-backprop": "", "deconvolution": "",
    "gradcam": "", "layercam": "", "hirescam": "", "guided-gradcam": "", "lrp": "", "excitation-backprop": "",
    "occlusion": "", "rise": "masks = 100",
}  # fmt: skip
METRICS = {
    "infidelity": "samples = 64", "faithfulness-correlation": "samples = 64", "deletion": "steps = 16",
    "insertion": "steps = 16", "max-sensitivity": "samples = 2", "mprt": "draws = 1", "sparseness": "",
}  # fmt: skip
PLACES = {"pointing-game": "", "relevance-mass": "", "iou": "", "auprc": ""}
MODELS = {
    "knee": "[model]\nbundle = 'knee'\n",
    "chest": "[model]\nbundle = 'chest'\n",
    "phantom": "[models.honest]\nbundle = 'phantom'\npath = 'honest'\n"
    "[models.cheat]\nbundle = 'phantom'\npath = 'cheat'\n",
    "hippocampus": "[model]\npath = '{model}'\n",
}
ABOUT = {
    "knee": "held-out knees (KL grade), {side} px, the shipped classifier; asked: the class it prefers",
    "chest": "held-out chest X-rays, {side} px, the shipped classifier; asked: the class it prefers",
    "phantom": "knee phantoms, 32 px, the two shipped classifiers; the mask is the joint space, which "
    "the honest model was trained to measure; the cheat was trained on phantoms whose corner marker gives the "
    "answer away",
    "hippocampus": "held-out hippocampi, 3D, a small U-Net (experiments/train/hippocampus.py); asked: the "
    "anterior part that it predicts; the mask is the anterior part as drawn by hand",
}


def side_of(name: str) -> int:
    """Pixels a side of the images: what the shipped model takes."""
    size: tuple[int, ...] = cf.load_bundle(name).predictor.preprocessing.size
    return size[0]


def radiographs(name: str, data: Path, out: Path, count: int) -> list[dict[str, str]]:
    """Held-out images at the model's size, patients at random."""
    held = load(name, data, "val", side=side_of(name))
    rows = []
    for i in sorted(np.random.default_rng(0).permutation(len(held.images))[:count]):
        stem = Path(held.names[i]).stem
        file = out / "images" / f"{stem}.png"
        Picture.fromarray(held.images[i][0].numpy()).save(file)
        more = {"grade": str(held.levels[i]), "side": stem[-1]} if name == "knee" else {
            "kind": next((k for k in ("bacteria", "virus") if k in stem), "normal")
        }  # fmt: skip
        label = held.classes[int(held.labels[i])]
        rows.append({"path": f"images/{file.name}", "patient": held.patients[i], "label": label, **more})
    return rows


def phantoms(out: Path, count: int) -> list[dict[str, str]]:
    rng, rows = np.random.default_rng(7), []
    for number in range(count):
        phantom = knee_phantom(draw_factors(rng), rng)
        np.save(out / "images" / f"{number:03d}.npy", phantom.image.values)
        np.save(out / "masks" / f"{number:03d}.npy", phantom.masks["joint_space"][None].astype(np.float32))
        shown = "marker" if phantom.factors["marker"] > 0.5 else "no marker"
        rows.append({"path": f"images/{number:03d}.npy", "patient": str(number), "label": "", "marker": shown})
        rows[-1]["mask"] = f"masks/{number:03d}.npy"
    return rows


def hippocampi(data: Path, out: Path, count: int) -> list[dict[str, str]]:
    rows = []
    for path in sorted((data / "imagesTr").glob("*.nii.gz"))[::5][:count]:  # every fifth is held out
        labels: Any = nibabel.load(data / "labelsTr" / path.name)
        mask = (np.asarray(labels.dataobj) == 1).astype(np.uint8)
        nibabel.save(nibabel.Nifti1Image(mask, labels.affine), out / "masks" / path.name)
        stem = path.name.removesuffix(".nii.gz")
        rows.append({"path": str(path.resolve()), "patient": stem, "label": "", "mask": f"masks/{path.name}"})
    return rows


def prepare(name: str, data: Path | None, out: Path, count: int, model: Path) -> Path:
    """The study file."""
    for part in ("images", "masks"):
        (out / part).mkdir(parents=True, exist_ok=True)
    if name == "phantom":
        rows = phantoms(out, count)
    elif data is None:
        raise SystemExit(f"{name} needs the folder of its data")
    else:
        rows = hippocampi(data, out, count) if name == "hippocampus" else radiographs(name, data, out, count)
    with (out / "cohort.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    more = {"knee": ["label", "side"], "chest": ["kind"], "phantom": ["marker"], "hippocampus": []}[name]
    metrics = METRICS | (PLACES if name in ("phantom", "hippocampus") else {})
    box = {"phantom": 6, "hippocampus": 10}.get(name) or side_of(name) // 4
    methods = METHODS | {"occlusion": f"box = {box}\nstride = {box // 2}"}
    if name == "hippocampus":  # a pass over a volume costs more
        methods["rise"] = "masks = 60"
    text = f'title = "Heatmaps evaluated: {name}"\ncohort = "cohort.csv"\nout = "run"\n'
    text += f"subgroups = {json.dumps(more)}\n"
    text += 'targets = ["region:1"]\n' if name == "hippocampus" else ""
    text += MODELS[name].format(model=model.resolve())
    text += "".join(f"[methods.{label}]\n{keys}\n" for label, keys in methods.items())
    text += "".join(f"[metrics.{label}]\n{keys}\n" for label, keys in metrics.items())
    (out / "study.toml").write_text(text)
    return out / "study.toml"


def write(name: str, out: Path, command: str) -> None:
    found = read_json(out / "run/summary.json")
    metrics, better = list(found["better"]), found["better"]
    rows = {(r["model"], r["method"], r["metric"]): r for r in found["summary"]}
    places = {(r["model"], r["method"]): r for r in found["families"]}
    families = list(dict.fromkeys(f for r in found["families"] for f in r["families"]))
    keys = sorted({key[:2] for key in rows}, key=lambda k: (k[0], places[k]["rank"]))
    patients = max(r["patients"] for r in found["summary"])
    failed = sum(r["failed"] for r in found["summary"])
    noted = sum(r["noted"] for r in found["summary"])
    words = {m: f" ({word})" if word else "" for m, word in found["words"].items()}
    heads = [m + (" ↑" if better[m] == "higher" else " ↓") + words[m] for m in metrics]
    about = ABOUT[name].format(side=side_of(name)) if "{side}" in ABOUT[name] else ABOUT[name]
    lines = [
        f"# Heatmaps evaluated: {name}", "", f"{patients} patients: {about}.", "",
        "```", command, "```", "",
        "Mean (95 % interval, bootstrap over patients), and the median after a semicolon. Methods in order of "
        "their mean rank over families of metrics that see the truth, each family once; apart: how far those "
        f"families disagree. {failed} values are missing (they rank last); {noted} are of inverted curves "
        "(hiding the whole image does not lower the answer). Rows named *reference* look at no model, or are "
        "the mask. Pairs, subgroups: the run's report.", "",
    ]  # fmt: skip
    made = []
    for model, method in keys:
        place = places[model, method]
        cells = [f"{model + ': ' if model else ''}{method}", f"{place['rank']:.1f}", f"{place['apart']:.1f}"]
        cells += [f"{place['families'][f]:.1f}" if f in place["families"] else "–" for f in families]
        made.append([*cells, *(_cell(rows.get((model, method, m))) for m in metrics)])
    lines += [table(["method", "rank", "apart", *families, *heads], made), _agreement(found["disagreement"])]
    for row in found["performance"]:
        if row["auc"] is not None:
            lines += ["", f"AUC of {row['model'] or 'the model'} for class {row['class']}: {row['auc']:.3f} "
                      f"({row['low']:.3f} to {row['high']:.3f})."]  # fmt: skip
    differ = sum(r["differs"] for r in found["methods"])
    lines += ["", f"{differ} of {len(found['methods'])} pairs of methods differ (Wilcoxon, Holm, p < 0.05)."]
    if found["models"]:
        apart = [r for r in found["models"] if r["differs"]]
        lines += ["", f"Between the models {len(apart)} of {len(found['models'])} figures differ:", ""]
        differing = [
            [r["method"], f"{r['metric']} ({r['first']} − {r['second']})", f"{r['difference']:+.3g}",
             f"{r['low']:.3g} to {r['high']:.3g}"] for r in apart
        ]  # fmt: skip
        lines.append(table(["method", "metric", "difference", "95 % interval"], differing).rstrip())
    Path(f"docs/results/judged_{name}.md").write_text("\n".join(lines) + "\n")


def _agreement(rows: list[Any]) -> str:
    """How far families of metrics put the methods in the same order."""
    pairs = [
        f"{r['model'] + ': ' if r['model'] else ''}{r['first']} and {r['second']} {r['correlation']:+.2f}"
        for r in rows
        if r["correlation"] is not None
    ]
    asked = "Do families of metrics put the methods in the same order? Spearman's correlation: "
    return f"{asked}{'; '.join(pairs) or 'too few to say'}."


def _cell(row: Any) -> str:
    if row is None or row["mean"] is None:
        return "–"
    gap = "" if row["low"] is None else f" ({row['low']:.2g} to {row['high']:.2g})"
    return f"{row['mean']:.2g}{gap}; {row['median']:.2g}"


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("name", choices=sorted(MODELS))
    words.add_argument("data", type=Path, nargs="?")
    words.add_argument("--images", type=int, default=100)
    words.add_argument("--out", type=Path)
    words.add_argument("--model", type=Path, default=Path("runs/hippocampus/hippocampus.json"))
    asked = words.parse_args()
    out = asked.out or Path(f"runs/judged_{asked.name}")
    path = prepare(asked.name, asked.data, out, asked.images, asked.model)
    for row in study(path, engine="local", trust_code=True):  # its factory is experiments/train/hippocampus.py
        print(f"{row.done}/{row.total} {Path(row.task.image).name} {row.task.label}", flush=True)
    data = f" ../shared/data/{asked.data.name}" if asked.data else ""
    write(asked.name, out, f"python -m experiments.evaluate.judge {asked.name}{data} --images {asked.images}")


if __name__ == "__main__":
    main()
