"""Targets, masks, preprocessing, cells of layers, patches, groups and fills of perturbations."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from contrafact.core import Image, mask_of
from contrafact.core.empty import emptiness
from contrafact.core.intervals import mean_share
from contrafact.core.masks import is_label_map, labels_in
from contrafact.models import Preprocessing, TiledPredictor, TorchPredictor
from contrafact.models.placement import Axis, spread
from contrafact.models.preprocessing import resize
from contrafact.models.region_targets import RegionTarget, band, class_sizes, components, predicted
from contrafact.models.target_syntax import parse_target
from contrafact.models.targets import grade_probabilities, log_odds, probabilities
from contrafact.perturbation import feature_labels, fill_values, gaussian
from contrafact.phantoms import lesion_phantom
from contrafact.phantoms.knees import draw_factors, knee_phantom, measure_joint_space, measure_marker
from contrafact.phantoms.lesions import vessel_phantom
from reference.heatmaps import images, network
from reference.kept import brief

KINDS = ("logits", "sigmoid", "probabilities", "ordinal")


def outputs(kind: str, n: int = 4, classes: int = 3) -> Tensor:
    raw = 2 * torch.randn(n, classes, generator=torch.Generator().manual_seed(1))
    raw[0, 1] = 12.0
    return raw.softmax(dim=1) if kind == "probabilities" else raw


def targets() -> dict[str, Any]:
    found: dict[str, Any] = {"grades": grade_probabilities(outputs("ordinal"))}
    for kind in KINDS:
        for text in ("class:1", "class:b", "margin:2,0", "probability:2", "value:1"):
            target = parse_target(text, kind=kind, classes=list("abc"))
            score_of = target.score_of(0.8) if hasattr(target, "score_of") else None
            found[f"{kind} {text}"] = [str(target), target(outputs(kind)), score_of]
        found[f"{kind} all"] = [log_odds(outputs(kind), kind), probabilities(outputs(kind), kind)]
    found["grade"] = parse_target("grade", kind="ordinal", classes=())(outputs("ordinal"))
    return found


def maps(kind: str = "logits") -> Tensor:
    """Maps (1, 3, 12, 10) with two parts of class 1, of different sizes."""
    draw = 0.5 * torch.randn(1, 3, 12, 10, generator=torch.Generator().manual_seed(2))
    draw[:, 1] -= 2
    draw[:, 1, 1:4, 1:5] += 5
    draw[:, 1, 7:11, 4:9] += 4
    draw[:, 2, 5:7, :3] += 6
    return draw.softmax(dim=1) if kind == "probabilities" else draw


def regions() -> dict[str, Any]:
    reference = np.zeros((12, 10), dtype=bool)
    reference[2:8, 3:6] = reference[10:12, 0:2] = True
    asked: list[dict[str, Any]] = [
        {"place": place} for place in ("region", "lesion", "boundary", "volume", "dice")
    ]
    asked += [
        {"place": place, "reference": reference} for place in ("mask", "false-positive", "missed", "dice")
    ]
    asked += [{"lesion": 2, "place": "lesion"}, {"thresholds": (0.3, 0.6, 0.9)}, {"total": True}]
    asked += [{"place": "boundary", "width": 1}, {"place": "missed", "reference": reference, "lesion": 1}]
    found: dict[str, Any] = {}
    for kind in ("logits", "sigmoid", "probabilities"):
        for number, settings in enumerate(asked):
            target = RegionTarget(index=1, kind=kind, **settings)
            frozen = target.freeze(lambda _x, kind=kind: maps(kind), torch.zeros(1, 1, 12, 10))  # type: ignore[arg-type, misc]
            found[f"{kind} {number} {target}"] = [frozen(maps(kind) * 0.9 + 0.01), brief(frozen.places)]
    for text in ("lesion:1#2@0.3+0.7", "boundary:b", "missed:1#1", "volume:2", "dice:0"):
        parsed = parse_target(text, kind="logits", classes=list("abc"))
        found[text] = [str(parsed), getattr(parsed, "thresholds", None), getattr(parsed, "lesion", None)]
    mask = predicted(maps(), "logits", 1, None)[0]
    found["parts"] = [int(part.sum()) for part in components(mask)]
    found["bands"] = [brief(band(mask, width)) for width in (1, 2, 3)]
    found["sizes"] = [class_sizes(maps(kind), kind) for kind in ("logits", "sigmoid")]
    return found


def masks() -> dict[str, Any]:
    label_map, binary = np.array([[0, 1, 2], [2, 2, 1]]), np.array([[0, 255], [255, 0]])
    flat, few = np.full((4, 4), 0.3), np.zeros((4, 4))
    few[0, 0], near = 1.0, np.full((4, 4), 2.0)
    near[0, :3] = (1.0, -2.0, 0.5)
    return {
        "label": [mask_of(label_map, label=n, classes=3) for n in (0, 1, 2)],
        "binary": [mask_of(binary, label=n) for n in (None, 1, 3)],
        "ones": [mask_of(np.array([0, 1, 1]), label=0, label_map=which) for which in (False, True)],
        "is label map": [is_label_map(one) for one in (label_map, binary, np.array([0, 1]), np.array([0, 2]))],
        "labels": labels_in(np.array([0.0, 1.0004, 3.0])),
        "emptiness": [emptiness(one) for one in (0 * flat, flat, few, near, few * 1e-12, flat[:1, :1])],
        "mean share": [mean_share(torch.tensor([[[1.0, -2.0, 0.5], [0.3, 0.2, 0.1]]]))],
    }


def preprocessing() -> dict[str, Any]:
    rng = torch.Generator().manual_seed(3)
    flat, deep = torch.rand(2, 1, 13, 9, generator=rng) * 90 - 20, torch.rand(1, 2, 7, 6, 9, generator=rng)
    full = Preprocessing(
        size=(6, 5), channels=3, window=(-10, 50), mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7), least=4
    )
    return {
        "full": brief(full(flat)),
        "plain": brief(Preprocessing(window=(-20, 70))(flat)),
        "scaled": brief(Preprocessing(mean=(0.4, 0.1), std=(0.2, 3.0))(deep)),
        "resized": [brief(resize(flat, size)) for size in ((6, 5), (20, 18), (6, 18))],
        "resized volumes": [brief(resize(deep, size)) for size in ((3, 3, 4), (9, 8, 12), (9, 3, 9))],
        "pointwise": [full.pointwise(size) for size in ((6, 5), (6, 6))] + [Preprocessing().pointwise((3, 3))],
    }


class Branches(nn.Module):
    """Strides, odd padding, pooling, enlarging, a skip, and cells that become tokens and maps again."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            self.first = nn.Conv2d(1, 4, 5, stride=2, padding=1)
            self.pool = nn.MaxPool2d(3, stride=2, padding=1)
            self.dilated = nn.Conv2d(4, 4, 3, dilation=2, padding=1)
            self.up = nn.ConvTranspose2d(4, 4, 3, stride=2, padding=1)
            self.mean = nn.AvgPool2d(2, stride=1)
            self.head = nn.Linear(4, 2)
            self.mix = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        fine = self.first(F.pad(x, (2, 0, 1, 0))).relu()
        deep = self.dilated(self.pool(fine)).relu()
        up = self.mean(self.up(deep))
        wide = F.interpolate(deep, size=fine.shape[2:], mode="bilinear", align_corners=True)
        joined = torch.cat([wide, fine], dim=1)[:, :4, 1:, ::2].flip(3)
        tokens = self.mix(joined.flatten(2).transpose(1, 2)).transpose(1, 2)
        back = tokens.reshape(joined.shape)
        return self.head(back.mean(dim=(2, 3)) + up.mean(dim=(2, 3)))


def cells() -> dict[str, Any]:
    """Where the cells of layers lie, and what is spread over the image from them."""
    predictor = TorchPredictor(Branches().eval(), classes="ab", preprocessing=Preprocessing(size=(24, 20)))
    image = torch.rand(1, 1, 30, 25, generator=torch.Generator().manual_seed(4))
    found: dict[str, Any] = {}
    for name in (None, "first", "pool", "dilated", "up", "mean", "mix"):
        layer = predictor.feature_layer(image, name)
        with predictor.watch(layer.name) as seen, torch.no_grad():
            predictor(image)
        drawn = layer.on_image(layer.read(seen[-1]).mean(dim=1))
        found[str(name)] = [
            layer.name,
            layer.cells,
            layer.channel,
            [list(axis) for axis in layer.axes],
            brief(drawn),
        ]
    for axes in (2, 3):
        chosen = TorchPredictor(network(axes), classes="abc").feature_layer(images(axes)[0].values[None])
        found[f"network {axes}"] = [chosen.name, chosen.cells, [list(axis) for axis in chosen.axes]]
    values = torch.arange(12.0).reshape(1, 3, 4) ** 1.5
    found["spread"] = brief(spread(values, (9, 7), (Axis(0, 1.0, 2.5), Axis(1, 5.5, -1.5))))
    return found


def tiles() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for axes, patch in ((2, (7, 6)), (3, (4, 5, 4))):
        inner, image = TorchPredictor(network(axes, segments=True), classes="abc"), images(axes)[1]
        for blend, overlap in (("gaussian", 0.5), ("constant", 0.25)):
            tiled = TiledPredictor(inner, patch, overlap=overlap, blend=blend, batch=3)
            x = torch.from_numpy(image.values[None]).requires_grad_(True)
            made = tiled(x)
            (slope,) = torch.autograd.grad(made.square().sum(), x)
            corners = [[part.start for part in window] for window in tiled.windows(image.grid.shape)]
            found[f"{axes} {blend}"] = [
                brief(made),
                brief(slope),
                corners,
                brief(tiled.weights(image.grid.shape)),
            ]
    return found


def perturbation() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for axes in (2, 3):
        image = images(axes)[1].values
        batch = torch.from_numpy(np.stack([one.values for one in images(axes)]))
        for kind in ("grid", "slic"):
            found[f"{kind} {axes}"] = [brief(feature_labels(image, kind, count)) for count in (1, 3, 5)]
        found[f"fills {axes}"] = [brief(fill_values(batch, fill)) for fill in ("mean", "min", "blur", 0.4)]
        found[f"gaussian {axes}"] = [brief(gaussian(batch, sigma)) for sigma in (0.0, 0.4, 1.3)]
    return found


def phantoms() -> dict[str, Any]:
    def told(image: Image) -> list[Any]:
        return [brief(image.values), image.window, image.grid.spacing_mm]

    rng = np.random.default_rng(6)
    factors = draw_factors(rng)
    knee = knee_phantom(factors, rng)
    lesions = [lesion_phantom(rng, side=24, radius=4, axes=axes) for axes in (2, 3)]
    vessels = vessel_phantom(rng, side=24)
    return {
        "factors": [getattr(factors, name) for name in factors.__dataclass_fields__],
        "measured": [measure_joint_space(knee.image.values[0]), measure_marker(knee.image.values[0])],
        **{
            f"phantom {n}": [*told(one.image), {k: brief(m) for k, m in one.masks.items()}, dict(one.factors)]
            for n, one in enumerate([knee, *lesions, vessels])
        },
    }


def values() -> dict[str, Any]:
    parts = (targets, regions, masks, preprocessing, cells, tiles, perturbation, phantoms)
    return {part.__name__: part() for part in parts}
