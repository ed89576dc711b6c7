"""TorchEsegeta's 39 entry points: each runs here, in 2D and 3D, for classifiers and segmenters, on 1, 3 and
4 channels, and finds the planted block. docs/parity-torchesegeta.md is made from what ran:
`PYTHONPATH=tests python tests/contracts/test_parity.py` writes it anew."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import contrafact as cf
from conftest import noise_image, planted_predictor
from contrafact.attribution import TORCHESEGETA_NAMES
from contrafact.core import EXPLAINERS, Heatmap, Image
from contrafact.models import TorchPredictor

PAGE = Path(__file__).parents[2] / "docs" / "parity-torchesegeta.md"
TASKS = ("classification", "segmentation")
QUICK: dict[str, dict[str, Any]] = {
    "integrated-gradients": {"baseline": 0.0},
    "feature-ablation": {"count": 4, "fill": 0.0},
    "occlusion": {"box": 4, "stride": 4, "fill": 0.0},
    "deeplift": {"baseline": 0.0},
    "layer-conductance": {"steps": 2, "baseline": 0.0},
    "layer-gradient-shap": {"samples": 4, "baselines": (0.0,)},
    "gradient-shap": {"samples": 4, "baselines": (0.0,)},
    "internal-influence": {"steps": 2},
    "deeplift-shap": {"baselines": (0.0,)},
    "input-x-gradient": {"baseline": 0.0},
    "shapley-sampling": {"count": 4, "fill": 0.0, "samples": 1},
    "filter-guided-backprop": {"layer": "relu"},
    "activation-maximisation": {"iterations": 12, "rate": 0.05},
    "deep-dream": {"octaves": 1, "iterations": 6, "rate": 0.03},
    "feature-visualisation": {"iterations": 12, "rate": 0.2, "shake": 0.2},
    "rise": {"cells": 4, "masks": 200, "fill": 0.0},
    "lime": {"count": 4, "fill": 0.0, "samples": 300, "sparsity": 0.001},
}
ROUGH = ("rise", "lime")


class PlantedRegion(nn.Module):
    """A segmenter that knows one block: class 1 there as bright as the image is, class 0 elsewhere."""

    def __init__(self, axes: int, channels: int, size: int = 16) -> None:
        super().__init__()
        kind = {2: nn.Conv2d, 3: nn.Conv3d}[axes]
        self.conv = kind(channels, 1, 3, padding=1, bias=False)
        nn.init.zeros_(self.conv.weight)
        with torch.no_grad():
            self.conv.weight[(0, slice(None), *(1,) * axes)] = 1 / channels
        self.relu = nn.ReLU()
        mask = torch.zeros(1, 1, *(size,) * axes)
        mask[(0, 0, *(slice(4, 8),) * axes)] = 1.0
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        inside = self.relu(self.conv(x * self.mask))
        return torch.cat([(1 - self.mask) - inside, inside - (1 - self.mask)], dim=1)


def asked(entry: str, axes: int, task: str, channels: int) -> Any:
    image = noise_image(axes, channels)
    if task == "classification":
        model, target = planted_predictor(axes, channels), "class:1"
    else:
        model = TorchPredictor(PlantedRegion(axes, channels), classes=["background", "block"])
        target = "region:1"
    return cf.explain(entry, model, image, target=target, **QUICK.get(TORCHESEGETA_NAMES[entry], {}))


@functools.cache
def works(ours: str, entry: str, axes: int, task: str, channels: int) -> bool:
    """Return whether a map finds the planted block, or a generated image raises the score."""
    result = asked(entry, axes, task, channels)
    if not isinstance(result, Heatmap):
        return bool(result.scores[-1] > result.scores[0])
    block = (slice(4, 8),) * axes
    values = np.abs(result.values)
    outside = np.ones(values.shape, dtype=bool)
    outside[(slice(2, 10),) * axes] = False
    if EXPLAINERS.preset(entry).get("contrastive"):  # of two opposite classes: nothing but the block
        return bool(values[outside].max() <= values[block].max())
    return bool(values[block].mean() > (2 if ours in ROUGH else 20) * values[outside].mean())


@pytest.mark.parametrize("entry", TORCHESEGETA_NAMES)
@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize("task", TASKS)
def test_every_entry_point_finds_the_planted_block(entry: str, axes: int, task: str) -> None:
    ours = EXPLAINERS.canonical(entry)
    assert ours == TORCHESEGETA_NAMES[entry]
    # Two entry points of one method are one method: it runs once.
    first = next(e for e, o in TORCHESEGETA_NAMES.items() if o == ours and same(e, entry))
    for channels in (1, 3, 4):
        assert works(ours, first, axes, task, channels), f"{entry} on {channels} channels"


def same(one: str, other: str) -> bool:
    return EXPLAINERS.preset(one) == EXPLAINERS.preset(other)


def test_there_are_39_and_they_are_28_algorithms_less_those_that_share_one() -> None:
    assert len(TORCHESEGETA_NAMES) == 39
    algorithms = {(o, str(EXPLAINERS.preset(e))) for e, o in TORCHESEGETA_NAMES.items()}
    assert len(algorithms) == 28


def page() -> str:
    """The table, each cell from a run."""
    lines = [
        "# TorchEsegeta's 39 entry points in Contrafact",
        "",
        "Made by `PYTHONPATH=tests python tests/contracts/test_parity.py`; a test fails if the table is out of",
        "date. A cell lists the numbers of channels with which the method finds the planted block (an image:",
        "raises the score).",
        "TorchEsegeta is described in Chatterjee et al. 2021 (arXiv 2110.08429). Its names are aliases:",
        "`contrafact explain IMAGE --model M --methods captum_Saliency` works.",
        "",
        "| TorchEsegeta | Contrafact | 2D classifier | 2D segmenter | 3D classifier | 3D segmenter |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for entry, ours in TORCHESEGETA_NAMES.items():
        first = next(e for e, o in TORCHESEGETA_NAMES.items() if o == ours and same(e, entry))
        cells = []
        for axes in (2, 3):
            for task in TASKS:
                found = [c for c in (1, 3, 4) if works(ours, first, axes, task, c)]
                cells.append(", ".join(map(str, found)) or "no")
        implied = "".join(f", {k} = {str(v).lower()}" for k, v in EXPLAINERS.preset(entry).items())
        lines.append(f"| `{entry}` | `{ours}`{implied} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "Beyond them: "
        + ", ".join(f"`{n}`" for n in EXPLAINERS.names() if n not in TORCHESEGETA_NAMES.values()),
        "",
        "NoiseTunnel's three kinds are `smooth` (mean, square, variance) around any method, in 2D and 3D.",
        "Feature permutation, which the paper names, is `feature-permutation`; feature inversion is",
        "`feature-inversion`, and class-specific images are made by `activation-maximisation`.",
    ]
    return "\n".join(lines) + "\n"


def test_the_page_says_what_runs() -> None:
    assert PAGE.read_text() == page(), "write it anew: PYTHONPATH=tests python tests/contracts/test_parity.py"


def test_all_three_noise_tunnels_around_any_method_in_3d() -> None:
    image: Image = noise_image(3, 1)
    for kind in ("mean", "square", "variance"):
        for inner in ("gradcam", "occlusion", "lrp"):
            heat = cf.explain(
                "smooth", planted_predictor(3, 1), image, target="class:1",
                inner={"name": inner, **({"box": 8, "stride": 8} if inner == "occlusion" else {})},
                samples=2, kind=kind,
            )  # fmt: skip
            assert heat.values.shape == image.grid.shape


if __name__ == "__main__":
    PAGE.write_text(page())
