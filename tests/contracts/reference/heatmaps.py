"""Every heatmap method on two networks that are not linear, in 2D and 3D, for a classifier and a segmenter."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from contrafact.core import EXPLAINERS, ContrafactError, Image, explain
from contrafact.core.execution import parameters_of
from contrafact.models import TorchPredictor
from reference.kept import brief

METHODS = [n for n in EXPLAINERS.names() if not getattr(EXPLAINERS.get(n), "needs_bundle", False)]
GROUPED: list[dict[str, Any]] = [
    {"count": 3, "fill": "min", "batch": 5},
    {"count": 4, "fill": 0.25, "features": "slic"},
]
LAYER: list[dict[str, Any]] = [{}, {"layer": "1"}]
# Two settings of each method beside the default; a search ends after a few steps, before rounding decides.
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "activation-maximisation": [
        {"iterations": 3, "smooth": 0.0},
        {"iterations": 3, "layer": "1", "channel": 1, "rate": 0.05, "weight": 2.0},
    ],
    "blur-integrated-gradients": [{"steps": 5}, {"steps": 6, "width": 0.4}],
    "deep-dream": [
        {"iterations": 2, "octaves": 2},
        {"iterations": 2, "octaves": 1, "rate": 0.05, "layer": "1", "channel": 2},
    ],
    "deeplift": [{"baseline": 0.1}, {"baseline": "mean"}],
    "deeplift-shap": [{"baselines": (0.0,)}, {"baselines": ("min", "blur")}],
    "excitation-backprop": [{}, {"contrastive": True}],
    "expected-gradients": [{"samples": 3}, {"samples": 7}],
    "extremal-perturbation": [
        {"areas": (0.1,), "cells": 5, "iterations": 4, "fill": 0.0},
        {"areas": (0.2, 0.4), "cells": 4, "iterations": 3, "rate": 0.5},
    ],
    "feature-ablation": GROUPED,
    "feature-inversion": [{"iterations": 3}, {"iterations": 3, "layer": "1", "rate": 0.2, "smooth": 0.5}],
    "feature-permutation": [{"count": 3, "samples": 2}, {"count": 4, "samples": 3, "features": "slic"}],
    "feature-visualisation": [
        {"iterations": 3, "shake": 0.0},
        {"iterations": 3, "layer": "1", "channel": 1, "rate": 0.2, "shake": 0.5},
    ],
    "filter-guided-backprop": [{"layer": "1"}, {"layer": "4", "channel": 2}],
    "finer-cam": [{"rivals": 1}, {"rivals": 2, "share": 0.9, "layer": "1"}],
    "gradient": [{}, {"absolute": True}],
    "gradient-shap": [{"samples": 3}, {"samples": 5, "baselines": ("mean", 0.1), "noise": 0.2}],
    "input-x-gradient": [{"baseline": 0.0}, {"baseline": "blur"}],
    "integrated-gradients": [{"gap": 0.05, "most": 17}, {"steps": 4, "baseline": "mean"}],
    "internal-influence": [{"steps": 2}, {"steps": 3, "layer": "1", "baseline": "mean"}],
    "kernel-shap": [{"count": 3, "samples": 80, "batch": 5}, {"count": 2, "samples": 60, "fill": "min"}],
    "layer-activation": [{}, {"layer": "1", "channel": 2}],
    "layer-conductance": [{"steps": 2}, {"steps": 3, "layer": "1", "baseline": "blur"}],
    "layer-deeplift": [{}, {"layer": "1", "baseline": 0.1}],
    "layer-gradient-shap": [{"samples": 3}, {"samples": 4, "layer": "1", "baselines": ("mean", 0.2)}],
    "lime": [{**settings, "samples": 80, "sparsity": 0.001} for settings in GROUPED],
    "lrp": [{"rule": "gamma"}, {"rule": "epsilon"}, {"rule": "alpha1-beta0"}],
    "occlusion": [{"box": 4, "stride": 3, "fill": "mean"}, {"batch": 7}],
    "rise": [{"masks": 30, "cells": 3}, {"masks": 31, "cells": 4, "share": 0.3, "fill": "blur", "batch": 8}],
    "score-cam": [{"batch": 3}, {"layer": "1", "fill": "mean"}],
    "shapley-sampling": [{**settings, "samples": 3} for settings in GROUPED],
    "smooth": [
        {"samples": 3, "noise": 0.05},
        {"samples": 4, "inner": "input-x-gradient", "kind": "square"},
        {"samples": 4, "kind": "variance"},
    ],
}


def network(axes: int, channels: int = 2, outputs: int = 3, *, segments: bool = False) -> nn.Module:
    """Convolutions with a bias, normalisation that has seen data, a stride, and a mean or a map of classes."""
    conv, norm = (nn.Conv2d, nn.BatchNorm2d) if axes == 2 else (nn.Conv3d, nn.BatchNorm3d)
    pool = nn.AdaptiveAvgPool2d if axes == 2 else nn.AdaptiveAvgPool3d
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        head: list[nn.Module] = (
            [conv(6, outputs, 1)] if segments else [pool(1), nn.Flatten(), nn.Linear(6, outputs)]
        )
        second = conv(4, 6, 3, padding=1, stride=1 if segments else 2)
        made = nn.Sequential(conv(channels, 4, 3, padding=1), nn.ReLU(), norm(4), second, nn.ReLU(), *head)
        for number in (0, 3):
            made[number].weight.data.mul_(1.5)
        made[2].running_mean.uniform_(-0.2, 0.5)
        made[2].running_var.uniform_(0.2, 1.0)
    return made.eval()


class Attends(nn.Module):
    """Patches, a class token, and two layers of two heads: one in the open, one by the fused function."""

    def __init__(self, axes: int) -> None:
        super().__init__()
        conv = nn.Conv2d if axes == 2 else nn.Conv3d
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(6)
            self.cut = conv(2, 8, 2, 2)
            self.token = nn.Parameter(torch.randn(1, 1, 8))
            self.mixes = nn.ModuleList(nn.Linear(8, 24) for _ in range(2))
            self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.cut(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(x), -1, -1), tokens], dim=1)
        for number, mix in enumerate(self.mixes):
            query, key, value = (p.unflatten(2, (2, 4)).transpose(1, 2) for p in mix(tokens).chunk(3, dim=2))
            if number:
                found = F.scaled_dot_product_attention(query, key, value)
            else:
                found = (query @ key.transpose(2, 3) / 2).softmax(dim=-1) @ value
            tokens = tokens + found.transpose(1, 2).flatten(2)
        return self.head(tokens[:, 0])


def images(axes: int, channels: int = 2) -> list[Image]:
    """Two images with unequal sides and different ranges, one of them partly below 0."""
    rng, size = np.random.default_rng(2), (12, 10) if axes == 2 else (6, 8, 7)
    first, second = rng.uniform(0, 1, (2, channels, *size)).astype(np.float32)
    second[(slice(None), slice(1, 5), slice(3, 7))] += 1
    return [Image(first), Image(1.5 * second - 0.5)]


def of_method(name: str, settings: dict[str, Any], axes: int, target: str) -> Any:
    """Maps of both images in a batch, or the frames of pictures; or the kind of error."""
    attends = getattr(EXPLAINERS.get(name), "needs_attention", False)
    made = Attends(axes).eval() if attends else network(axes, segments=target.startswith("region"))
    predictor = TorchPredictor(made, classes="abc")
    explainer = EXPLAINERS.make(name, **settings)
    background = [Image(image.values[:, ::-1].copy()) for image in images(axes)]
    target_ = predictor.target(target)
    asked = {"target": target_, "background": background, "seed": 4}
    try:
        results = explain(explainer, predictor, images(axes), **asked)
    except ContrafactError as error:
        return type(error).__name__
    return [brief(getattr(r, "values", None) if hasattr(r, "values") else r.frames) for r in results]


def values() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in METHODS:
        settings = SETTINGS.get(name, LAYER if "layer" in EXPLAINERS.fields_of(name) else [{}])
        first, last = settings[0], settings[-1]
        plain = "value:1" if "deeplift" in name else "class:1"  # exact for outputs alone
        found[name] = {
            "default": parameters_of(EXPLAINERS.make(name)),
            "classifier": [of_method(name, one, 2, plain) for one in settings],
            "margin": of_method(name, last, 2, "margin:2,0"),
            "volume": of_method(name, first, 3, "value:2" if "deeplift" in name else "class:2"),
            "segmenter": of_method(name, last, 2, "region:1"),
        }
    return found
