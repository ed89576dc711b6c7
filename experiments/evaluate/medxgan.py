"""Evaluate MedXGAN against a planted truth, in 2D and 3D, beside its published form.

    python -m experiments.evaluate.medxgan --page docs/results/medxgan.md --picture docs/pictures/medxgan.png

Classifiers and generators are trained here, on phantoms (`medxgan_tasks.py`), and kept in --runs: a second
call only measures. Masks are used for evaluation only.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

import contrafact as cf
from contrafact.core import METRICS, Image, Question
from contrafact.counterfactual import Bundle, Refinement
from contrafact.generators import RandomFeatures, kernel_distance
from contrafact.metrics import CounterfactualContext
from experiments.evaluate.latent_ig import Cases, Found, Map, better, localisation, measured, sums, under_noise
from experiments.evaluate.medxgan_pictures import Shown, draw
from experiments.evaluate.medxgan_tasks import TASKS, Task, bundle_for, say, seconds_of
from experiments.tables import mean, table

CHANGE, LINE = "medxgan, size of the change", "latent IG"
WHOLE = "medxgan, size of the whole change of the generated image"
OTHERS = {
    "gradcam": ("gradcam", {}),
    "integrated-gradients, from the darkest value": ("integrated-gradients", {}),
    "integrated-gradients, from the mean": ("integrated-gradients", {"baseline": "mean"}),
}
OURS: dict[str, tuple[str, dict[str, Any]]] = {
    CHANGE: ("medxgan", {"frames": 2}),
    WHOLE: ("medxgan", {"frames": 2, "keep": None}),
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


SPANS = {"over 8 bits": (0.0, 255.0), "over its range": None}
PICTURED = ("gradcam", "integrated-gradients, from the darkest value", CHANGE, LINE)
MADE = ("task", "draws", "weights", "images shown", "minutes", "KID x 1000 (untrained features)")


HEAD = """# MedXGAN on planted lesions

Made by

```
OMP_NUM_THREADS=1 python -m experiments.evaluate.medxgan --page docs/results/medxgan.md \\
    --picture docs/pictures/medxgan.png
```

Classifiers, generators and encoders are trained here, on phantoms, with the default weights of the losses
unless a line says otherwise; no mask takes part. Phantoms that are explained were seen by none of them.
Means over images with 95 % bootstrap intervals. A map is evaluated by its positive side (and its absolute
values in a column of their own): the pointing game, IoU of as many top voxels as the mask has, area under
precision over recall. For medXGAN and the latent walks the map is the magnitude of the change, last frame
minus image. Maps are made and evaluated as in [latent_ig.md](latent_ig.md). Seconds and minutes are of a busy
machine.

What to read from it. Of lesions in 2D, the change of medXGAN points far better than Grad-CAM and better than
integrated gradients; of lesions in 3D far better than Grad-CAM and as well as integrated gradients. Of knees,
where the finding is a shape, both the change and latent IG point far better than Grad-CAM, integrated
gradients and RISE. RISE, which runs the model hundreds of times, points best at a bright lesion. At lesions
latent IG points about as well as integrated gradients, in 2D less well than those from the mean, in 3D a little
better than those from the darkest value: it follows the
grain of the gradient as they do. What it has for that is a sum that is good to 1 %, where the published
formula misses almost all. At lesions in 2D, noise of 0.05 takes from the change about as much as from
integrated gradients from the mean, and less than from those from the darkest value; noise of 0.1 takes half
as much from the change as from either. In 3D noise of 0.1 takes least from latent IG and from the change, and
most from integrated gradients, as the paper says. On knees noise takes little from any of them.
RISE, which points best without noise, is not in the tables of noise, because it runs the model hundreds of
times for each map; nor are the fixed and the published form of latent IG and, in 3D, latent-shift and the
whole change of the generated image.
Outside the finding the image stays: SSIM is above 0.95 everywhere, on the image's own range too, because only
the region sufficient for the model is changed; the whole change of the generated image would leave 0.80 to
0.95. In 3D the discriminator works at half resolution, and the classifier was trained with noise: without it,
its prediction responds to noise alone, and the generator learns no lesion from it.

![Phantoms, their reconstructions, without the finding, and maps](../pictures/medxgan.png)
"""
COUNTED = """## The counterfactuals

The finding removed from images that have it, and added to images that do not. The flip is the model's
answer to the last frame, measured again; the goal is a probability of 0.1 or 0.9. SSIM is that of image and
counterfactual outside the mask, grown by 4 so that SSIM's window of 7 lies outside too; its scale is the
range of 8 bits, or the image's own range, which is stricter. The last rows are of sampled anatomies, with
s from 0 to 1. A change is made where it counts for the model (docs/decisions/0018); beside it stands all that
the generator changes (`keep = None`). Latents are refined by 60 steps, of volumes by 180.

That the answer rises from frame to frame holds by construction, as the search follows that answer, and is no
row.
"""
LEGACY = """## The default against the published form

`family = "medxgan-legacy"`: the published networks and losses, 64 pixels a side. The phantoms are the same
with every pixel four times, the classifier is the same and sees their means of 2 x 2, and both forms are
shown as many images, with encoders of as many steps; images are found again in the same way. Each has
its own batch and rate: 24,000 images are 1,500 steps of the generator for the default (batch 16, rate 2.5e-3)
and 750 for the published form (batch 32, rate 2e-4; its authors ran 5,000 epochs). The published networks hold
sixty times as many weights.
"""


def found_by(task: Task, bundle: Bundle, count: int, *, sick: bool) -> list[Any]:
    """Phantoms that nobody has seen and whose prediction agrees."""
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
    volume = task.size == TASKS["volumes"].size
    rise = {"rise": ("rise", {"masks": 200 if volume else 600})}
    ours = {name: how for name, how in OURS.items() if not (volume and "combine" in how[1])}
    ours, walks = (
        {name: (method, {"refinement": refined(task), **settings}) for name, (method, settings) in some.items()}
        for some in (ours, walks)
    )
    return Cases(
        task.name,
        bundle,
        bundle.predictor,
        [p.image for p in some],
        [p.masks[task.mask] for p in some],
        {**OTHERS, **rise, **walks, **ours},
        (*QUIET, *((*WALKS, WHOLE) if volume else ())),  # hours, in 3D
    )


def refined(task: Task) -> Refinement:
    return Refinement(steps=task.refined)


def strips(
    bundle: Bundle, images: Sequence[Image], masks: Sequence[Map | None], **settings: Any
) -> dict[str, Map]:
    """By what was measured: (images,) of each image's counterfactual."""
    rows = []
    target = bundle.predictor.target("class:1")
    ask = {"target": "class:1", "bundle": bundle, **settings}
    found = cf.explain("medxgan", bundle.predictor, list(images), **ask)
    for strip, image, mask in zip(found, images, masks, strict=True):
        question = Question(
            predictor=bundle.predictor, images=image.values[None], target=target, grid=image.grid
        )
        walked = CounterfactualContext(strip=strip, question=question, image=image.values, mask=mask)
        rows.append(
            {
                "flipped": METRICS.make("validity", at=0.0)(walked),
                "goal": METRICS.make("validity")(walked),
                **{f"identity {how}": similar(walked, how) for how in SPANS if mask is not None},
                "change": float(np.abs(strip.change).mean()),
                "area": strip.record.notes["area"],
                "drift": strip.reconstruction_error,
                "abstained": float(strip.above_tolerance or strip.outcome != "reached"),
                "several": strip.record.notes["counterfactuals"],
                "spread": strip.record.notes["spread"],
            }
        )
    return {name: np.array([row[name] for row in rows], dtype=np.float64) for name in rows[0]}


def similar(walked: CounterfactualContext, how: str) -> float:
    """SSIM of image and counterfactual outside the mask, grown until its window of 7 lies outside too."""
    return float(METRICS.make("identity", margin=4)(dataclasses.replace(walked, window=SPANS[how])))


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
    ("SSIM outside the mask, over 8 bits", "removed", "identity over 8 bits"),
    ("SSIM outside the mask, over the image's own range", "removed", "identity over its range"),
    ("mean change of a pixel, grey levels of 255", "removed", "change"),
    ("share of the image in which it may change", "removed", "area"),
    ("whole change of the generated image: SSIM, over 8 bits", "whole", "identity over 8 bits"),
    (
        "whole change of the generated image: SSIM, over the image's own range",
        "whole",
        "identity over its range",
    ),
    ("whole change of the generated image: mean change of a pixel", "whole", "change"),
    ("reconstruction error, log-odds", "removed", "drift"),
    ("share with a flag (reconstruction error, or goal not reached)", "removed", "abstained"),
    ("flip rate, finding added", "added", "flipped"),
    ("goal (0.9) reached", "added", "goal"),
    ("counterfactuals an image that reach it, of those tried", "added", "several"),
    ("sampled anatomies: negative at s = 0", "along", "negative"),
    ("sampled anatomies: positive at s = 1", "along", "positive"),
)
# What the generator is trained for, by the very model that is asked: checks of the training, and no evidence.
TRAINED_FOR = (("rank correlation of s and score", "rank"), ("logits achieved per logit requested", "slope"))


def column(task: Task, bundle: Bundle) -> dict[str, dict[str, Map]]:
    """What is measured of the counterfactuals of a task."""
    count = COUNTS[task.name]
    sick, well = (found_by(task, bundle, count, sick=s) for s in (True, False))
    ask = {"refinement": refined(task)}
    ill, where = [p.image for p in sick], [p.masks[task.mask] for p in sick]
    return {
        "removed": strips(bundle, ill, where, **ask),
        "whole": strips(bundle, ill, where, **ask, keep=None),
        "added": strips(bundle, [p.image for p in well], [None] * count, **ask),
        "along": along(bundle),
    }


def compared(columns: dict[str, Any]) -> list[list[str]]:
    return [
        [what, *(mean(np.array(c[part][key])) if key in c[part] else "-" for c in columns.values())]
        for what, part, key in ROWS
    ]


def checks(columns: dict[str, Any]) -> list[str]:
    """A paragraph on what training asks for, which stands in no table."""
    parts = []
    for what, key in TRAINED_FOR:
        told = [f"{n} {np.mean(c['along'][key]):.2f}" for n, c in columns.items() if key in c["along"]]
        parts.append(f"{what} ({', '.join(told)})")
    return ["Trained with the explained model itself, and no evidence either:", f"{'; '.join(parts)}.", ""]


def chapter(task: Task, cases: Cases, found: Found) -> list[str]:
    share = float(np.mean([mask.mean() for mask in cases.masks]))
    others = [n for n in cases.methods if n in OTHERS or n == "rise" or n in WALKS]
    return [
        f"## {TITLES[task.name]}",
        "",
        f"{len(cases.images)} phantoms that no network has seen; the mask covers {share:.1%} of the image,",
        "which is the AUPRC of a random map.",
        "",
        localisation(found),
        "IoU of the medXGAN change, less that of another on the same images:",
        "",
        better(found, CHANGE, others),
        "IoU of latent IG, less that of another on the same images:",
        "",
        better(found, LINE, others),
        "What is missing in the sum of the map, as a share of the change of the score:",
        "",
        sums(found),
        "IoU on the image with Gaussian noise less that on the image without:",
        "",
        under_noise(found),
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
        f"{1000 * distance:.2g}",
    ]


def page(strips: dict[str, Any], chapters: dict[str, list[str]]) -> str:
    columns = {name: one["columns"] for name, one in strips.items()}
    ours = {name: column for name, column in columns.items() if name in TITLES}
    lines = [
        HEAD,
        "## What was trained",
        "",
        table(MADE, [one["trained"] for one in strips.values()]),
        COUNTED,
    ]
    lines += [table(["", *ours], compared(ours)), *checks(ours)]
    if {"few", "published"} <= set(columns):
        both = {"default": columns["few"], "as published": columns["published"]}
        lines += [LEGACY, table(["", *both], compared(both)), *checks(both)]
    return "\n".join([*lines, *(line for chapter in chapters.values() for line in chapter)]).rstrip() + "\n"


def kept(path: Path, make: Callable[[], Any], *, again: bool) -> Any:
    """What was measured before, or is now."""
    if again or not path.exists():
        say(f"measuring {path.name}")
        path.write_text(json.dumps(make(), indent=1))
    return json.loads(path.read_text())


def strips_of(task: Task, bundle: Bundle, folder: Path) -> dict[str, Any]:
    parts = {p: {k: v.tolist() for k, v in row.items()} for p, row in column(task, bundle).items()}
    return {"columns": parts, "trained": made(task, bundle, seconds_of(task, folder))}


def maps_of(task: Task, bundle: Bundle) -> list[str]:
    cases = cases_of(task, bundle, COUNTS[task.name])
    return chapter(task, cases, measured(cases))


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--page", type=Path)
    words.add_argument("--picture", type=Path)
    words.add_argument("--runs", type=Path, default=Path("runs/medxgan"))
    words.add_argument("--tasks", nargs="*", default=list(TASKS), choices=list(TASKS))
    words.add_argument("--again", action="store_true", help="measure anew what was measured already")
    asked = words.parse_args()
    asked.runs.mkdir(parents=True, exist_ok=True)
    tasks = [TASKS[name] for name in asked.tasks]
    bundles = {task.name: bundle_for(task, asked.runs) for task in tasks}
    strips, chapters = {}, {}
    for task in tasks:
        bundle, place = bundles[task.name], asked.runs / f"{task.name}.strips.json"
        strips[task.name] = kept(place, lambda: strips_of(task, bundle, asked.runs), again=asked.again)  # noqa: B023
        if task.name in TITLES:
            place = asked.runs / f"{task.name}.maps.json"
            chapters[task.name] = kept(place, lambda: maps_of(task, bundle), again=asked.again)  # noqa: B023
    if asked.page:
        asked.page.write_text(page(strips, chapters))
    if asked.picture and chapters:
        shown = [(TITLES[t.name], cases_of(t, bundles[t.name], 2)) for t in tasks if t.name in TITLES]
        draw(asked.picture, [Shown(title, c, {n: c.methods[n] for n in PICTURED}) for title, c in shown])


if __name__ == "__main__":
    main()
