"""Measure how every heatmap changes when the network is randomised: model and label randomisation.

    python -m experiments.evaluate.randomisation --page docs/results/randomisation.md \\
        --picture docs/pictures/randomisation.png

Two networks are trained here on phantoms with and without a lesion, in about a minute: one on the true labels,
one on the same images with permuted labels, until it has memorised them. Layers are randomised in the order
of execution: from the output and from the input, one after another, and one alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib import pyplot

import contrafact as cf
from contrafact.api.evaluation import heatmap_context
from contrafact.core import Image
from contrafact.metrics import DataRandomisation, randomisation_curve
from contrafact.models import Preprocessing, TorchPredictor
from contrafact.models.example_networks import ResidualNetwork
from contrafact.phantoms import lesion_phantom
from experiments.evaluate.known_truth import FEW
from experiments.tables import mean, table

METHODS = (
    "gradient", "input-x-gradient", "integrated-gradients", "smooth", "gradient-shap", "guided-backprop",
    "deconvolution", "gradcam", "layercam", "guided-gradcam", "lrp", "excitation-backprop", "deeplift",
    "occlusion",
)  # fmt: skip
HEAD = ("method", "half the layers random", "all layers random", "one layer random", "permuted labels")
ORDERS = {"from-output": "from the output", "from-input": "from the input", "alone": "one layer alone"}
Curves = dict[str, dict[str, np.ndarray[Any, Any]]]


def trained(images: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], steps: int) -> TorchPredictor:
    """A network that knows these labels."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = ResidualNetwork(width=12, stages=3, outputs=2)
    predictor = TorchPredictor(
        network, classes=["healthy", "lesion"], preprocessing=Preprocessing(channels=1, window=(0, 255))
    )
    rng, adam = np.random.default_rng(0), torch.optim.Adam(network.parameters(), lr=2e-3)
    x, y = torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64))
    network.train()
    for step in range(steps):
        adam.param_groups[0]["lr"] = 2e-3 * (1 - step / steps)
        rows = torch.from_numpy(rng.integers(len(x), size=32))
        adam.zero_grad()
        F.cross_entropy(network(predictor.preprocessing(x[rows])), y[rows]).backward()
        adam.step()
    network.eval()
    return predictor


def knows(predictor: TorchPredictor, images: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> float:
    with torch.no_grad():
        return float((predictor(images).argmax(dim=1).numpy() == labels).mean())


def measured(images: list[Image], predictor: TorchPredictor, other: TorchPredictor) -> tuple[Curves, Any, Any]:
    """Curves (images, layers) by method and order; likeness to the maps of the shuffled network; layers."""
    curves: Curves = {name: {} for name in METHODS}
    shuffled: dict[str, list[float]] = {name: [] for name in METHODS}
    layers: list[str] = []
    for image in images:
        maps = {
            name: cf.explain(name, predictor, image, target="class:1", **FEW.get(name, {})) for name in METHODS
        }
        with heatmap_context(maps, predictor, image, target="class:1") as panel:
            panel.shuffled = other
            for name, value in zip(METHODS, DataRandomisation()(panel), strict=True):
                shuffled[name].append(float(value))
            for which, name in enumerate(METHODS):
                for order in ORDERS:
                    found = randomisation_curve(panel, which, order)
                    layers = [layer for layer, _ in found] if order == "from-output" else layers
                    row = np.array([[value for _, value in found]])
                    before = curves[name].get(order, np.zeros((0, row.shape[1])))
                    curves[name][order] = np.concatenate([before, row])
        print(image.source or "image", "done", flush=True)
    return curves, shuffled, layers


def draw(curves: Curves, layers: list[str], path: Path) -> None:
    columns = 5
    rows = -(-len(METHODS) // columns)
    figure, axes = pyplot.subplots(rows, columns, figsize=(2.5 * columns, 2.2 * rows), sharex=True, sharey=True)
    styles = {"from-output": ("#d55e00", "-"), "from-input": ("#0072b2", "--"), "alone": ("#555555", ":")}
    for axis, name in zip(axes.flat, METHODS, strict=False):
        for order, (colour, style) in styles.items():
            values = curves[name][order]
            values = values[:, ::-1] if order == "alone" else values
            middle, at = np.nanmean(values, axis=0), np.arange(1, values.shape[1] + 1)
            spread = np.nanstd(values, axis=0) / np.sqrt(len(values))
            axis.plot(at, middle, style, color=colour, label=ORDERS[order], linewidth=1.6)
            low, high = middle - 2 * spread, middle + 2 * spread
            axis.fill_between(at, low, high, color=colour, alpha=0.15, linewidth=0)
        axis.set_title(name, fontsize=9)
        axis.set_ylim(0, 1)
        axis.grid(alpha=0.25)
    for axis in list(axes.flat)[len(METHODS) :]:
        axis.axis("off")
    axes.flat[0].legend(fontsize=7, loc="upper right")
    figure.supxlabel(f"layers made random, of {len(layers)} (alone: which one, from the input)", fontsize=9)
    figure.supylabel("likeness to the original map", fontsize=9)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--images", type=int, default=10)
    words.add_argument("--page", type=Path)
    words.add_argument("--picture", type=Path)
    asked = words.parse_args()
    rng = np.random.default_rng(0)

    def phantom(sick: bool) -> Any:
        radius = float(rng.uniform(4, 7)) if sick else 0.0
        return lesion_phantom(rng, side=48, radius=radius, contrast=50.0).image

    labels = np.arange(128) % 2
    images = np.stack([phantom(bool(label)).values for label in labels])
    mixed = rng.permutation(labels)
    predictor, other = trained(images, labels, 250), trained(images, mixed, 900)
    right, heart = knows(predictor, images, labels), knows(other, images, mixed)
    curves, shuffled, layers = measured([phantom(True) for _ in range(asked.images)], predictor, other)
    if asked.picture:
        draw(curves, layers, asked.picture)
    rows = []
    for name in METHODS:
        fall, alone = curves[name]["from-output"], curves[name]["alone"].mean(axis=1)
        ends = [fall[:, fall.shape[1] // 2 - 1], fall[:, -1], alone, np.array(shuffled[name])]
        rows.append([name, *(mean(values) for values in ends)])
    lines = [
        "# Randomisation", "",
        "Likeness (size of Spearman's rank correlation, 0 to 1; mean and 95 % interval over "
        f"{asked.images} phantoms with a lesion) of a map to itself after the network has forgotten: with the "
        "half of its layers next to the output random; with all; with one layer random, mean over the "
        "layers; of a network of the same architecture "
        f"trained on permuted labels. The first network has {right:.0%} of its labels right, the second knows "
        f"{heart:.0%} of its permuted labels by heart. Lower is better: a map that keeps its likeness does not "
        "show what the network learned.", "",
        "```", "python -m experiments.evaluate.randomisation --page docs/results/randomisation.md "
        "--picture docs/pictures/randomisation.png", "```", "",
        table(HEAD, rows),
        "![likeness of the map as layers become random](../pictures/randomisation.png)", "",
    ]  # fmt: skip
    print("\n".join(lines))
    if asked.page:
        asked.page.write_text("\n".join(lines))


if __name__ == "__main__":
    main()
