"""MedXGAN against a planted truth, in 2D and 3D, beside its published form.

    python benchmarks/medxgan.py --page docs/results/medxgan.md --picture docs/pictures/medxgan.png

Classifiers and generators are trained here, on phantoms (`medxgan_tasks.py`), and kept in --runs: a second
call only measures. Masks judge, and take part in nothing else.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

import contrafact as cf
from contrafact.core import METRICS, Image, Question
from contrafact.counterfactual import Bundle
from contrafact.generation import RandomFeatures, kernel_distance
from contrafact.metrics import Walked
from latent_ig import Cases, Found, Map, better, interval, localisation, measured, sums, table, under_noise
from medxgan_pictures import Shown, draw
from medxgan_tasks import TASKS, Task, bundle_for, say, seconds_of

CHANGE, LINE = "medxgan, size of the change", "latent IG"
OTHERS = {
    "gradcam": ("gradcam", {}),
    "integrated-gradients, from the darkest value": ("integrated-gradients", {}),
    "integrated-gradients, from the mean": ("integrated-gradients", {"baseline": "mean"}),
}
OURS: dict[str, tuple[str, dict[str, Any]]] = {
    CHANGE: ("medxgan", {"frames": 2}),
    LINE: ("lig", {}),
    "latent IG, mean with integrated-gradients": ("lig", {"combine": "integrated-gradients"}),
    "latent IG, product with integrated-gradients": (
        "lig",
        {"combine": "integrated-gradients", "by": "product"},
    ),
    "latent IG, difference x mean gradient": ("lig", {"form": "fixed", "anchored": False}),
    "latent IG, as published": ("lig", {"form": "published", "anchored": False}),
}
QUIET = ("latent IG, difference x mean gradient", "latent IG, as published", "rise")
WALKS = ("latent-shift, size of the change", "latent-walk (StyleGAN2), size of the change")
COUNTS = {"lesions": 12, "volumes": 8, "few": 12, "published": 12, "knees": 8}
TITLES = {
    "lesions": "Lesions in 2D",
    "volumes": "Lesions in 3D",
    "knees": "Knees, a model that learned the joint space",
}


PICTURED = ("gradcam", "integrated-gradients, from the darkest value", CHANGE, LINE)
MADE = ("task", "draws", "weights", "images shown", "minutes", "KID x 1000 (untrained features)")


HEAD = """# MedXGAN on planted lesions

Made by

```
OMP_NUM_THREADS=1 python benchmarks/medxgan.py --page docs/results/medxgan.md \\
    --picture docs/pictures/medxgan.png
```
"""
COUNTED = """## The counterfactuals
"""
LEGACY = """## The default against the published form
"""


def found_by(task: Task, bundle: Bundle, count: int, *, sick: bool) -> list[Any]:
    """Phantoms that nobody has seen, of which the model says so too."""
    rng, target = np.random.default_rng(77 + sick), bundle.predictor.target("class:1")
    found: list[Any] = []
    while len(found) < count:
        phantom = task.draw(rng, sick)
        with torch.no_grad():
            answer = float(target(bundle.predictor(phantom.image.values[None]))[0])
        if (answer > 0) == sick:
            found.append(phantom)
    return found


def cases_of(task: Task, bundle: Bundle, count: int) -> Cases:
    some = found_by(task, bundle, count, sick=True)
    walks: dict[str, tuple[str, dict[str, Any]]] = {WALKS[0]: ("latent-shift", {"frames": 2})}
    if task.name == "knees":
        walks[WALKS[1]] = ("latent-walk", {"frames": 2, "bundle": cf.load_bundle("phantom")})
    rise = {"rise": ("rise", {"masks": 300 if task.name == "volumes" else 600})}
    return Cases(
        task.name,
        bundle,
        bundle.predictor,
        [p.image for p in some],
        [p.masks[task.mask] for p in some],
        {**OTHERS, **rise, **walks, **OURS},
        QUIET,
    )


def strips(bundle: Bundle, images: Sequence[Image], masks: Sequence[Map | None]) -> dict[str, Map]:
    """By what was measured: (images,) of each image's counterfactual."""
    rows = []
    target = bundle.predictor.target("class:1")
    found = cf.explain("medxgan", bundle.predictor, list(images), target="class:1", bundle=bundle)
    for strip, image, mask in zip(found, images, masks, strict=True):
        question = Question(
            predictor=bundle.predictor, images=image.values[None], target=target, grid=image.grid
        )
        walked = Walked(strip=strip, question=question, image=image.values, mask=mask)
        rows.append(
            {
                "flipped": METRICS.make("validity", at=0.0)(walked),
                "goal": METRICS.make("validity")(walked),
                "monotone": METRICS.make("step-monotonicity")(walked),
                "identity": METRICS.make("identity")(walked) if mask is not None else np.nan,
                "far": METRICS.make("identity", margin=4)(walked) if mask is not None else np.nan,
                "drift": strip.drift,
                "abstained": float(strip.drifted or strip.stopped != "reached"),
                "several": strip.record.notes["counterfactuals"],
                "spread": strip.record.notes["spread"],
            }
        )
    return {name: np.array([row[name] for row in rows], dtype=np.float64) for name in rows[0]}


def along(bundle: Bundle, count: int = 32) -> dict[str, Map]:
    """Of drawn anatomies, while the code grows from 0 to 1: rank correlation of strength and answer, the share
    negative at 0 and positive at 1, and logits measured for each that was asked."""
    generator: Any = bundle.generator
    rng = torch.Generator().manual_seed(9)
    with torch.no_grad():
        latents = generator.sample(count, rng)
        code, place = generator.draw_code(count, rng), generator.code(0)
        shares, rows = torch.linspace(0, 1, 9), []
        score = bundle.scorer(bundle.predictor, bundle.predictor.target("class:1"))
        for share in shares:
            latents[:, place] = share * code
            rows.append(score(generator.decode(latents)))
        logits = torch.stack(rows, dim=1).double().numpy()
    found = {
        "rank": np.array([spearmanr(shares, row).statistic for row in logits]),
        "negative": (logits[:, 0] < 0).astype(np.float64),
        "positive": (logits[:, -1] > 0).astype(np.float64),
    }
    if hasattr(generator, "levels"):
        low, high = generator.levels[0].tolist()
        found["slope"] = np.array([np.polyfit(shares * (high - low), row, 1)[0] for row in logits])
    return found


ROWS = (
    ("flip rate, finding removed", "removed", "flipped"),
    ("goal (0.1) reached", "removed", "goal"),
    ("SSIM outside the mask, grown by 1", "removed", "identity"),
    ("SSIM outside the mask, grown by 4 (its window ends there)", "removed", "far"),
    ("rank correlation of step and answer", "removed", "monotone"),
    ("drift of the reconstruction, log-odds", "removed", "drift"),
    ("share with a flag (drift, or goal not reached)", "removed", "abstained"),
    ("flip rate, finding added", "added", "flipped"),
    ("goal (0.9) reached", "added", "goal"),
    ("rank correlation of step and answer", "added", "monotone"),
    ("counterfactuals an image that reach it, of those tried", "added", "several"),
    ("drawn anatomies: negative at s = 0", "along", "negative"),
    ("drawn anatomies: positive at s = 1", "along", "positive"),
    ("drawn anatomies: rank correlation of s and answer", "along", "rank"),
    ("drawn anatomies: logits measured for each asked", "along", "slope"),
)


def column(task: Task, bundle: Bundle) -> dict[str, dict[str, Map]]:
    """What is measured of the counterfactuals of a task."""
    count = COUNTS[task.name]
    sick, well = (found_by(task, bundle, count, sick=s) for s in (True, False))
    return {
        "removed": strips(bundle, [p.image for p in sick], [p.masks[task.mask] for p in sick]),
        "added": strips(bundle, [p.image for p in well], [None] * count),
        "along": along(bundle),
    }


def compared(columns: dict[str, dict[str, dict[str, Map]]]) -> list[list[str]]:
    return [
        [what, *(interval(c[part][key]) if key in c[part] else "-" for c in columns.values())]
        for what, part, key in ROWS
    ]


def chapter(task: Task, cases: Cases, found: Found) -> list[str]:
    share = float(np.mean([mask.mean() for mask in cases.masks]))
    others = [n for n in cases.methods if n in OTHERS or n == "rise" or n in WALKS]
    return [
        f"## {TITLES[task.name]}",
        "",
        f"{len(cases.images)} phantoms that no network has seen; the mask covers {share:.1%} of the image,",
        "which is the AUPRC of a random map.",
        "",
        *localisation(found),
        "IoU of the medXGAN change, less that of another on the same images:",
        "",
        *better(found, CHANGE, others),
        "IoU of latent IG, less that of another on the same images:",
        "",
        *better(found, LINE, others),
        "What is missing in the sum of the map, as a share of the change of the score:",
        "",
        *sums(found),
        "IoU on the image with Gaussian noise less that on the image without:",
        "",
        *under_noise(found),
    ]


def made(task: Task, bundle: Bundle, seconds: float) -> list[str]:
    """What was trained: size, weights, images shown, and how unlike phantoms its drawings are."""
    generator: Any = bundle.generator
    real = torch.from_numpy(
        np.stack([task.draw(np.random.default_rng(n), n % 2 == 1).image.values for n in range(400)])
    )
    with torch.no_grad():
        drawn = bundle.to_units(generator.decode(generator.sample(400, torch.Generator().manual_seed(4))))
        pair = [x.float() / 127.5 - 1 for x in (real, drawn)]
        if task.name == "published":  # at the size of the phantoms
            pair = [torch.nn.functional.avg_pool2d(x, 2) for x in pair]
        look = RandomFeatures(1, axes=pair[0].ndim - 2)
        distance = kernel_distance(*(look(x) for x in pair))
    weights = sum(p.numel() for p in generator.parameters())
    return [
        task.name,
        " x ".join(map(str, generator.image_shape[1:])),
        f"{weights / 1e6:.2f} million",
        f"{1000 * task.training.kimg:.0f}",
        f"{seconds / 60:.0f}",
        f"{1000 * distance:.1f}",
    ]


def page(found: dict[str, Any]) -> str:
    columns = {name: one["column"] for name, one in found.items()}
    ours = {name: column for name, column in columns.items() if name in TITLES}
    lines = [HEAD, "## What was trained", "", *table(MADE, [one["trained"] for one in found.values()]), COUNTED]
    lines += table(["", *ours], compared(ours))
    if {"few", "published"} <= set(columns):
        both = {"default": columns["few"], "as published": columns["published"]}
        lines += [LEGACY, *table(["", *both], compared(both))]
    return "\n".join([*lines, *(line for one in found.values() for line in one["chapter"])]).rstrip() + "\n"


def known(task: Task, bundle: Bundle, folder: Path, *, again: bool) -> dict[str, Any]:
    """What was measured of a task; kept beside what was trained."""
    path = folder / f"{task.name}.measured.json"
    if again or not path.exists():
        say(f"{task.name}: counterfactuals")
        parts = column(task, bundle)
        lines: list[str] = []
        if task.name in TITLES:
            cases = cases_of(task, bundle, COUNTS[task.name])
            lines = chapter(task, cases, measured(cases))
        found = {
            "trained": made(task, bundle, seconds_of(task, folder)),
            "column": {part: {k: v.tolist() for k, v in row.items()} for part, row in parts.items()},
            "chapter": lines,
        }
        path.write_text(json.dumps(found, indent=1))
    found = json.loads(path.read_text())
    found["column"] = {p: {k: np.array(v) for k, v in row.items()} for p, row in found["column"].items()}
    return found


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--page", type=Path)
    words.add_argument("--picture", type=Path)
    words.add_argument("--runs", type=Path, default=Path("runs/medxgan"))
    words.add_argument("--tasks", nargs="*", default=list(TASKS), choices=list(TASKS))
    words.add_argument("--again", action="store_true", help="measure anew what was measured already")
    asked = words.parse_args()
    asked.runs.mkdir(parents=True, exist_ok=True)
    tasks = [TASKS[name] for name in asked.tasks]
    bundles = {task.name: bundle_for(task, asked.runs) for task in tasks}
    found = {task.name: known(task, bundles[task.name], asked.runs, again=asked.again) for task in tasks}
    if asked.page:
        asked.page.write_text(page(found))
    if asked.picture:
        shown = [(TITLES[t.name], cases_of(t, bundles[t.name], 2)) for t in tasks if t.name in TITLES]
        draw(asked.picture, [Shown(title, c, {n: c.methods[n] for n in PICTURED}) for title, c in shown])


if __name__ == "__main__":
    main()
