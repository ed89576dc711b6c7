"""Measure on planted truth whether the reliability checks detect wrong maps and pass right ones.

    python -m experiments.evaluate.reliability_checks --page docs/results/reliability_checks.md

Right maps: the exact map of a linear model whose weights are planted at one place, and integrated gradients
and input x gradient of networks that are trained here to find a lesion, where at least half of their greatest
values lie in it. Wrong maps: edges and intensity of the image, noise, smooth noise, and the right map permuted,
shifted, mirrored and negated. Every map is checked with its own explainer.

Two sets, with other networks and other phantoms: the thresholds were chosen on the first and are measured on
the second.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor, nn

from contrafact.attribution import InputXGradient, IntegratedGradients
from contrafact.core import Image, Question
from contrafact.metrics import Check, HeatmapContext, Thresholds, trust_card
from contrafact.models import Preprocessing, TorchPredictor
from contrafact.models.example_networks import ResidualNetwork
from contrafact.phantoms import lesion_phantom
from contrafact.render.text import check_title
from experiments.evaluate.known_truth import LesionNet
from experiments.tables import share, table

Map = np.ndarray[Any, Any]
SIZES = {2: (48, 4.0, 7.0), 3: (24, 3.0, 5.0)}  # side, least and greatest radius of a lesion
WRONG = (
    "edges", "intensity", "random", "smooth random", "permuted", "shifted", "mirrored", "negated",
)  # fmt: skip
CHECKS = ("random weights", "small noise", "removal test")
IMAGE_ONLY = {"edges", "intensity", "random", "smooth random"}


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Right:
    """An explainer that answers the same question only once: the maps made from it share its work."""

    inner: Any
    known: dict[str, Map]
    needs_gradients = True

    def __call__(self, question: Question, rng: np.random.Generator) -> Map:
        mark = hashlib.sha256(question.images.tobytes())
        module = getattr(question.predictor, "inner", question.predictor).module
        for value in module.state_dict().values():
            mark.update(value.numpy().tobytes())
        key = mark.hexdigest()
        if key not in self.known:
            self.known[key] = self.inner(question, rng)
        return self.known[key]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Wrong:
    """A right explainer's map, made wrong; or one that looks at the image alone. The same way every time."""

    kind: str
    right: Right
    seed: int

    def __call__(self, question: Question, rng: np.random.Generator) -> Map:
        if self.kind in IMAGE_ONLY:
            return np.stack([self.of_image(image[0]) for image in question.images])
        return np.stack([self.of_map(values) for values in self.right(question, rng)])

    def of_image(self, image: Map) -> Map:
        rng = np.random.default_rng(self.seed)
        if self.kind == "edges":
            return np.asarray(ndimage.gaussian_gradient_magnitude(image, 1.0))
        if self.kind == "intensity":
            return image
        noise = rng.normal(size=image.shape)
        return (
            noise if self.kind == "random" else np.asarray(ndimage.gaussian_filter(noise, image.shape[0] / 12))
        )

    def of_map(self, values: Map) -> Map:
        rng = np.random.default_rng(self.seed)
        if self.kind == "permuted":
            return rng.permutation(values.ravel()).reshape(values.shape)
        if self.kind == "shifted":
            shift = [int(rng.integers(n // 4, n - n // 4)) for n in values.shape]
            return np.roll(values, shift, tuple(range(values.ndim)))
        return np.flip(values, int(rng.integers(values.ndim))) if self.kind == "mirrored" else -values


class Planted(nn.Module):
    """Class 1 is how bright one place is."""

    def __init__(self, weights: Map) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.tensor(weights[None], dtype=torch.float32))

    def reset_parameters(self) -> None:
        with torch.no_grad():
            self.weights.copy_(torch.randn(self.weights.shape) * float(self.weights.std()))

    def forward(self, x: Tensor) -> Tensor:
        score = (x * self.weights).flatten(1).sum(1)
        return torch.stack([-score, score], dim=1)


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """An image, the model that is asked, where its reason lies, and right explainers."""

    task: str
    image: Image
    predictor: TorchPredictor
    truth: Map
    explainers: tuple[Any, ...]


def phantom(rng: np.random.Generator, axes: int, sick: bool = True) -> Any:
    side, least, most = SIZES[axes]
    radius = float(rng.uniform(least, most)) if sick else 0.0
    return lesion_phantom(rng, side=side, radius=radius, contrast=50.0, axes=axes)


def trained(axes: int, seed: int, steps: int) -> TorchPredictor:
    """A network that tells phantoms with a lesion from those without."""
    rng, many = np.random.default_rng(1000 + seed), {2: 24, 3: 12}[axes]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = ResidualNetwork(width=12, stages=3, outputs=2) if axes == 2 else LesionNet()
    predictor = TorchPredictor(
        network, classes=["healthy", "lesion"], preprocessing=Preprocessing(channels=1, window=(0, 255))
    )
    adam = torch.optim.Adam(network.parameters(), lr=3e-3)
    network.train()
    for step in range(steps):
        adam.param_groups[0]["lr"] = 3e-3 * (1 - step / steps) + 1e-5
        sick = rng.random(many) < 0.5
        images = torch.from_numpy(np.stack([phantom(rng, axes, bool(s)).image.values for s in sick]))
        adam.zero_grad()
        F.cross_entropy(network(predictor.preprocessing(images)), torch.from_numpy(sick.astype(int))).backward()
        adam.step()
    network.eval()
    return predictor


def linear_cases(axes: int, seed: int, count: int) -> Iterator[Case]:
    rng = np.random.default_rng(5000 + 10 * seed + axes)
    for _ in range(count):
        image = phantom(rng, axes).image
        size = image.values.shape[1:]
        centre = [int(rng.integers(n // 6, n - n // 6)) for n in size]
        away = np.sqrt(sum((at - c) ** 2 for at, c in zip(np.indices(size), centre, strict=True)))
        width = {2: 4.0, 3: 3.0}[axes]
        predictor = TorchPredictor(
            Planted(np.exp(-((away / width) ** 2) / 2) / 100),
            classes=["no", "yes"],
            preprocessing=Preprocessing(window=(0, 1)),  # the values as they are
        )
        yield Case(f"{axes}D linear", image, predictor, away < 1.25 * width, (InputXGradient(baseline=0.0),))


def lesion_cases(axes: int, seed: int, count: int, steps: int) -> Iterator[Case]:
    rng, predictor = np.random.default_rng(6000 + 10 * seed + axes), trained(axes, seed, steps)
    for _ in range(count):
        found = phantom(rng, axes)
        explainers = (IntegratedGradients(), InputXGradient())
        yield Case(f"{axes}D lesion network", found.image, predictor, found.masks["lesion"], explainers)


def in_truth(values: Map, truth: Map) -> float:
    """Share of a map's greatest values, as many as the truth has voxels, that lie in the truth."""
    count = int(truth.sum())
    return float(truth.ravel()[np.argsort(values, axis=None)[-count:]].mean())


def cards(case: Case, seed: int) -> Iterator[tuple[str, dict[str, Check]]]:
    """The kind and the card of every map of a case that is clearly right or wrong."""
    target = case.predictor.target("class:1")
    question = Question(
        predictor=case.predictor, images=case.image.values[None], target=target, grid=case.image.grid
    )
    with case.predictor.frozen():
        for number, inner in enumerate(case.explainers):
            right = Right(inner=inner, known={})
            kinds: dict[str, Any] = {"right": right}
            if number == 0:
                kinds |= {kind: Wrong(kind=kind, right=right, seed=seed) for kind in WRONG}
            for kind, explainer in kinds.items():
                values = np.asarray(explainer(question, np.random.default_rng(0))[0], dtype=np.float64)
                share = in_truth(values, case.truth)
                if (share >= 0.5) if kind == "right" else (share <= 0.1):
                    panel = HeatmapContext(question, values[None], explainers=[explainer], seed=seed)
                    yield kind, {check.name: check for check in trust_card(panel, 0, seconds=1e9)}


Found = dict[str, list[dict[str, Check]]]


def measured(seed: int, count: int, steps: int) -> tuple[Found, dict[str, int]]:
    """Cards by kind of map, and how many right ones each task gave."""
    found: Found = {kind: [] for kind in ("right", *WRONG)}
    right: dict[str, int] = {}
    few = max(2, count // 2)
    tasks = (
        linear_cases(2, seed, count), lesion_cases(2, seed, count, steps),
        linear_cases(3, seed, few), lesion_cases(3, seed, few, steps),
    )  # fmt: skip
    number = 0
    for task in tasks:
        for case in task:
            number += 1
            for kind, card in cards(case, 100 * seed + number):
                found[kind].append(card)
                right[case.task] = right.get(case.task, 0) + (kind == "right")
        print(f"set {seed}: {case.task} done", flush=True)
    return found, right


def failed(cards: list[dict[str, Check]], name: str) -> str:
    judged = [card[name].passed for card in cards if name in card and card[name].passed is not None]
    return share([not passed for passed in judged], ".0%")


def passed_whole(card: dict[str, Check]) -> bool:
    return not any(check.passed is False for check in card.values())


def by_kind(found: Found) -> str:
    """How many maps of every kind fail each check, and pass the whole card."""
    wrong = [card for kind in WRONG for card in found[kind]]
    moved = [card for kind in ("permuted", "shifted", "mirrored", "negated") for card in found[kind]]
    kinds = {"**right**": found["right"], **{kind: found[kind] for kind in WRONG}}
    kinds |= {"**all wrong**": wrong, "**right network, wrong place**": moved}
    rows = [
        [
            name,
            str(len(some)),
            *(failed(some, check) for check in CHECKS),
            share([passed_whole(card) for card in some], ".0%"),
        ]
        for name, some in kinds.items()
    ]
    return table(["map", "maps", *(f"fails “{check_title(name)}”" for name in CHECKS), "passes the card"], rows)


def chosen(found: Found) -> str:
    """What the first set says about the threshold of the removal test."""
    right = np.array([card["removal test"].value for card in found["right"]], dtype=float)
    wrong = np.array([c["removal test"].value for k in WRONG for c in found[k]], dtype=float)
    rows = [
        [f"{cut:.2f}", f"{(right < cut).mean():.0%}", f"{(wrong >= cut).mean():.0%}"]
        for cut in (0.8, 0.85, 0.9, 0.92, 0.94, 0.96, 0.98, 1.0)
    ]
    return table(["threshold", "right maps flagged", "wrong maps passed"], rows)


def noisiest(found: Found) -> float:
    """The greatest change of a right map under noise."""
    return max(float(card["small noise"].value or 0) for card in found["right"])


def page(sets: list[tuple[Found, dict[str, int]]]) -> str:
    (first, _), (second, right) = sets
    counts = ", ".join(f"{name} {count}" for name, count in right.items())
    return "\n".join([
        "# Reliability checks against a planted truth", "",
        "```", "python -m experiments.evaluate.reliability_checks --page docs/results/reliability_checks.md",
        "```", "",
        "Do the reliability checks detect a wrong map, and pass a right one? Right maps: the exact map of a",
        "linear model whose weights lie at one planted place (its cause is known), and integrated gradients",
        "and input × gradient of networks trained to find a lesion, where at least half of the greatest values",
        "lie in it. Wrong maps: of the image alone (edges, intensity, noise), and the right map permuted,",
        "shifted, mirrored or negated; only those with at most a tenth of the greatest values in the truth.",
        "Each map is checked with its own explainer. Shares with Wilson's 95 % intervals; several maps",
        "are of one phantom, which the intervals leave out. A map passes when no check fails.", "",
        "Two sets with other networks, other phantoms and other random numbers: thresholds were chosen on the",
        "first, figures that count are those of the second. (The second had been measured once before, with a",
        "first guess of 0.97 for removal and the older 0.5 for noise: 21 % of its right maps failed",
        "“robustness to noise”. The thresholds of now were then taken from the first set alone.)", "",
        "## Second set: measured", "",
        f"Right maps: {counts}.", "", by_kind(second),
        "False alarms stand in the row *right*, misses in the last column of the others. Model randomisation",
        "and robustness to noise do not see *where*: a map of the right network that is permuted, shifted or",
        "mirrored passes them. Completeness and seed stability apply to methods that promise a sum or use",
        "random numbers, and do not test the location; they are not measured here.", "",
        "## First set: where thresholds were chosen", "",
        f"Removal test: {Thresholds().removal:g}, the greatest of these that flags hardly any right map.", "",
        chosen(first),
        f"Robustness to noise: {Thresholds().noise:g}; right maps of this set change by up to "
        f"{noisiest(first):.2f}.",
        "Model randomisation: as it was before.", "", by_kind(first),
        "## Limits", "",
        "Phantoms have no air around them. In an image with much of it many of the other places are air,",
        "whose removal changes nothing, and a wrong map inside the body beats them too easily. A reason that",
        "fills much of the image, or lies at several places, is tested by its strongest twentieth only.", "",
    ])  # fmt: skip


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--cases", type=int, default=12, help="of each 2D task; half as many in 3D")
    words.add_argument("--steps", type=int, default=250, help="of training, for each network")
    words.add_argument("--page", type=Path)
    asked = words.parse_args()
    text = page([measured(seed, asked.cases, asked.steps) for seed in (0, 1)])
    print(text)
    if asked.page:
        asked.page.write_text(text)


if __name__ == "__main__":
    main()
