"""Measure what a translator loses whose model gives scores alone: the same phantoms with and without gradients.

    python -m experiments.evaluate.black_box --kimg 4 --page FILE

The model reads the joint space of knee phantoms. With gradients it guides the translator itself; as a black box
it is asked for the score of every generated image, and a small network that learns to imitate it
(`generators.student`) guides instead. Held-out phantoms say what became of it, by the model, by the bundle's
second model, which took no part, and by the planted joint space and marker.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import contrafact as cf
from contrafact.core import Counterfactual, Image
from contrafact.counterfactual import Bundle, Translation
from contrafact.generators import Translator, TranslatorConfig, TranslatorTrainerConfig, TranslatorTraining
from contrafact.phantoms import draw_factors, knee_phantom, measure_joint_space, measure_marker
from experiments.tables import mean, share, table

TARGET = "class:1"
WIDTHS = (24, 48, 96)


@dataclass
class Trained:
    """A translator, the seconds that its training took, and the images whose score it asked for."""

    translator: Translator
    seconds: float
    asked: int


def phantoms(count: int, seed: int, side: int) -> list[Image]:
    """Phantoms with random factors."""
    rng = np.random.default_rng(seed)
    return [knee_phantom(draw_factors(rng), rng, side=side).image for _ in range(count)]


def trained(
    bundle: Bundle, predictor: Any, images: Tensor, *, kimg: float, black_box: bool, seed: int
) -> Trained:
    """Train a translator on images uint8 (N, 1, S, S), with the model's gradients or its scores alone."""
    target, asked = predictor.target(TARGET), [0]

    def guide(canvas: Tensor) -> Tensor:
        asked[0] += len(canvas)
        scores: Tensor = target(predictor(bundle.to_units(canvas)))
        return (scores.detach() if black_box else scores)[:, None]

    size = TranslatorConfig(resolution=images.shape[-1], channels=1, widths=WIDTHS)
    config = TranslatorTrainerConfig(kimg=kimg, features="none", seed=seed)
    with predictor.frozen():
        training = TranslatorTraining(size, config, images, guide=guide, black_box=black_box)
        began = time.perf_counter()
        while training.seen < 1000 * kimg:
            training.step()
            if training.seen % 400 < config.batch:
                seconds = time.perf_counter() - began
                print(f"black box {black_box}: {training.seen} images, {seconds:.0f} s", flush=True)
    return Trained(training.average.eval(), time.perf_counter() - began, asked[0])


def row_of_page(made: Trained, bundle: Bundle, predictor: Any, images: list[Image]) -> dict[str, str]:
    """Every figure of one translator, as text."""
    with_it = Bundle(
        name="phantom",
        window=bundle.window,
        translator=made.translator,
        translations=(Translation(model=predictor.digest, target=TARGET),),
        predictor=predictor,
        predictors=bundle.predictors,
        seconds=bundle.seconds,
    )
    strips = cf.explain("translate", predictor, images, target=TARGET, bundle=with_it)
    assert isinstance(strips, list)
    walks = [strip for strip in strips if isinstance(strip, Counterfactual)]
    ends = [(strip.image[0], strip.frames[strip.end][0]) for strip in walks]
    flips = [strip for strip in walks if strip.flips]
    change = np.array([strip.scores[strip.end] - strip.scores[strip.origin] for strip in walks])
    up = np.sign(change)
    joint = np.array([measure_joint_space(last) - measure_joint_space(first) for first, last in ends])
    marker = np.array([abs(measure_marker(last) - measure_marker(first)) for first, last in ends])
    return {
        "goal reached": share([strip.outcome in ("reached", "already") for strip in walks]),
        "flips": share([strip.flips for strip in walks]),
        "flips followed by the second model": share([bool(strip.confirmed) for strip in flips]),
        "mean change, grey levels": mean(np.array([np.abs(last - first).mean() for first, last in ends])),
        "joint space, px of 32, towards what the model calls narrow": mean(-up * joint),
        "marker, share of its range (no cause)": mean(marker),
        "images whose score was asked": f"{made.asked}",
        "minutes of training": f"{made.seconds / 60:.1f}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kimg", type=float, default=4.0)
    parser.add_argument("--images", type=int, default=2000, help="phantoms to train on")
    parser.add_argument("--held-out", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    bundle = cf.load_bundle("phantom")
    predictor, side = bundle.predictors["honest"], bundle.image_shape[-1]
    train = phantoms(options.images, options.seed, side)
    images = torch.from_numpy(np.stack([image.values for image in train])).round().to(torch.uint8)
    held_out = phantoms(options.held_out, options.seed + 1, side)
    rows = {}
    for name, black_box in (("with gradients", False), ("scores alone", True)):
        made = trained(bundle, predictor, images, kimg=options.kimg, black_box=black_box, seed=options.seed)
        rows[name] = row_of_page(made, bundle, predictor, held_out)
        print(name, rows[name], flush=True)
    first = next(iter(rows.values()))
    text = table(["", *rows], [[key, *(row[key] for row in rows.values())] for key in first])
    print(text)
    if options.page:
        options.page.write_text(text)


if __name__ == "__main__":
    main()
