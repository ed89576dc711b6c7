"""The cases of the demo."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from contrafact.api import explanation as face
from contrafact.api.case import Plan
from contrafact.cli.arguments import read_images
from contrafact.core import Image, InputError
from contrafact.io import open_run
from contrafact.phantoms import draw_factors, knee_phantom

HEATMAPS = ("gradcam", "integrated-gradients", "occlusion")
FINDINGS = ("gradcam", "integrated-gradients", "medxgan")


def demo_cases(images: Sequence[Path], cases: int, seed: int) -> tuple[list[Any], list[dict[str, Any]]]:
    """(name, image, plan) for every case, and the cards of the bundles."""
    knee, phantom = face.load_bundle("knee"), face.load_bundle("phantom")
    methods = (*HEATMAPS, "latent-walk")
    plan = Plan(predictor=knee.predictor, methods=methods, target="class:1", bundle=knee)
    planned: list[Any] = []
    if images:
        own = read_images(images, None)
        planned += [(f"{n}. {Path(i.source).name}", i, plan) for n, i in enumerate(own, 1)]
    else:
        drawn = synthetic_patients(knee, cases, seed)
        planned += [(f"Synthetic knee {n}", i, plan) for n, i in enumerate(drawn, 1)]
    rng = np.random.default_rng(seed)
    for model, words in (("honest", "reads the joint space"), ("cheat", "was trained to read the marker")):
        plan = Plan(predictor=phantom.predictors[model], methods=methods, target="class:1", bundle=phantom)
        for number in range(1, max(1, cases // 2) + 1):
            image = knee_phantom(draw_factors(rng), rng).image
            planned.append((f"Phantom {number}, a model that {words}", image, plan))
    brain = face.load_bundle("brain")
    plan = Plan(
        predictor=brain.predictor,
        methods=FINDINGS,
        target="class:1",
        bundle=brain,
        settings={"medxgan": {"several": 2}},
    )
    slices = synthetic_patients(brain, max(1, cases // 2), seed)
    planned += [(f"Synthetic brain slice {n}", i, plan) for n, i in enumerate(slices, 1)]
    return planned, [{"name": b.name, **b.hashes, **b.card} for b in (knee, phantom, brain)]


def synthetic_patients(bundle: Any, count: int, seed: int) -> list[Image]:
    """Images drawn from the bundle, from the surest "no" to the surest "yes" of its model."""
    rng = torch.Generator().manual_seed(seed)
    near = {} if bundle.findings else {"psi": 0.8}
    with torch.no_grad():
        w = bundle.generator.sample(max(64, 4 * count), rng, **near)
        values = bundle.to_units(bundle.generator.decode(w).clamp(-1, 1))
    order = bundle.predict(values)[:, 1].argsort()
    picked = order[torch.linspace(0.1, 0.9, count).mul(len(order) - 1).round().long()]
    low, high = bundle.window
    return [
        Image(
            values[i].numpy(),
            window=(low, high),
            source="synthetic",
            about={"synthetic": True, "bundle": bundle.name},
        )
        for i in picked
    ]


def clear_demo(out: Path) -> None:
    """Remove an old demo; any other folder is left alone."""
    if out.exists() and any(out.iterdir()):
        if not (out / "manifest.json").exists() or not open_run(out).manifest().get("demo"):
            raise InputError(f"'{out}' holds something other than a demo; choose another --out")
        shutil.rmtree(out)
