"""Measure the speed of one StyleGAN2 step, or of one explained image, on this machine.

    python -m experiments.speed.training [--resolution 64] [--seconds 20]
    python -m experiments.speed.training --explained ../shared/data      # of the bundles alone

One run measures both sides of every ratio, in turns, so that a busy machine slows both alike:
ours (scale-in/scale-out modulation, bf16, channels_last) against the same step with per-case
grouped convolutions in float32, the form most reimplementations use.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

import contrafact as cf
from contrafact.bundles import list_bundles
from contrafact.generators import StyleGAN2Config, StyleGAN2Training, TrainerConfig
from contrafact.generators.layers import ModulatedConv2d
from experiments.data import balanced, load

SIDES = {"nodule": 64, "histology": 64, "knee": 128, "chest": 128}


def training(resolution: int, precision: str, *, grouped: bool, device: str) -> StyleGAN2Training:
    size = StyleGAN2Config(resolution=resolution)
    images = torch.randint(0, 256, (64, 1, resolution, resolution), dtype=torch.uint8)
    config = TrainerConfig(batch=16, precision=precision)
    made = StyleGAN2Training(size, config, images, device=device)
    for module in made.generator.modules():
        if isinstance(module, ModulatedConv2d):
            module.grouped = grouped
    return made


def pace(runs: dict[str, StyleGAN2Training], seconds: float) -> dict[str, float]:
    """Images per second of each run; steps taken in turns until the time is spent."""
    spent = dict.fromkeys(runs, 0.0)
    steps = dict.fromkeys(runs, 0)
    for run in runs.values():
        run.step()  # R1 falls on the first step: not timed
    while sum(spent.values()) < seconds * len(runs):
        for name, run in runs.items():
            began = time.perf_counter()
            run.step()
            if run.device.type == "cuda":
                torch.cuda.synchronize()
            spent[name] += time.perf_counter() - began
            steps[name] += 1
    return {name: steps[name] * runs[name].config.batch / spent[name] for name in runs}


def explained(seconds: float, data: Path) -> dict[str, dict[str, float]]:
    """Milliseconds per image, all measured: of the translator by its bundle's own images, and of the walk in
    latent space of synthetic ones; alone and in a batch."""
    found = {}
    for name, side in SIDES.items():
        bundle = cf.load_bundle(name)
        values = balanced(load(name, data, "val", side=side), 16).images.float()
        images = [cf.Image(one.numpy(), window=(0.0, 255.0)) for one in values]
        found[f"translate, {name}, {side} px"] = timed("translate", bundle, images, seconds)
    for name in list_bundles():
        bundle = cf.load_bundle(name).for_latent_space()
        if not bundle.directions:  # of medXGAN, or without a latent space
            continue
        rng = torch.Generator().manual_seed(0)
        with torch.no_grad():
            values = bundle.to_units(bundle.generator.decode(bundle.generator.sample(16, rng)).clamp(-1, 1))
        images = [cf.Image(v.numpy(), window=bundle.window) for v in values]
        found[f"latent-walk, {name}, {values.shape[-1]} px"] = timed("latent-walk", bundle, images, seconds)
    return found


def timed(method: str, bundle: cf.Bundle, images: list[cf.Image], seconds: float) -> dict[str, float]:
    """Milliseconds of one image alone, median and range, and in a batch of all."""
    ask = {"target": "class:1", "bundle": bundle}
    cf.explain(method, bundle.predictor, images[0], **ask)
    alone = list[float]()
    while sum(alone) < 1000 * seconds:
        began = time.perf_counter()
        cf.explain(method, bundle.predictor, images[len(alone) % len(images)], **ask)
        alone.append(1000 * (time.perf_counter() - began))
    began = time.perf_counter()
    cf.explain(method, bundle.predictor, images, **ask)
    batch = 1000 * (time.perf_counter() - began) / len(images)
    told = {"alone": np.median(alone), "least": min(alone), "most": max(alone), "in a batch of 16": batch}
    return {key: round(float(value), 1) for key, value in told.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolution", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--explained", type=Path, metavar="DATA", help="measure one explained image instead")
    options = parser.parse_args()
    if options.explained:
        told = {"threads": torch.get_num_threads(), **explained(options.seconds, options.explained)}
        print(json.dumps(told, indent=2))
        return
    device = "cuda" if torch.cuda.is_available() else "cpu"
    kinds = {
        "ours, bf16": ("bf16", False),
        "ours, fp32": ("fp32", False),
        "grouped, bf16": ("bf16", True),
        "grouped, fp32": ("fp32", True),
    }
    runs = {
        name: training(options.resolution, precision, grouped=grouped, device=device)
        for name, (precision, grouped) in kinds.items()
    }
    images_s = pace(runs, options.seconds)
    result = {
        "device": device,
        "threads": torch.get_num_threads(),
        "resolution": options.resolution,
        "images_s": {k: round(v, 2) for k, v in images_s.items()},
        "ours bf16 over grouped fp32": round(images_s["ours, bf16"] / images_s["grouped, fp32"], 2),
        "ours over grouped, both bf16": round(images_s["ours, bf16"] / images_s["grouped, bf16"], 2),
        "ours over grouped, both fp32": round(images_s["ours, fp32"] / images_s["grouped, fp32"], 2),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
