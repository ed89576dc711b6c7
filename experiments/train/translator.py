"""Train the translator of a bundle, and choose its moment by a model that is no judge.

    python -m experiments.train.translator knee --data ../shared/data --networks RUNS/knee --out
    RUNS/knee/translator \
        --side 128 --kimg 24

The guide is the network of the role `model`, and `ally` beside it (`--allies ally`). The role `member`, which
neither guides nor judges and is of another family, says on the `choice` patients after every thousand images
how far it follows; the state with the best sum of goals reached and slope is kept. A run that was ended goes on
where it was.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from contrafact.core.places import ADD, REMOVE, smallest_place
from contrafact.counterfactual.local_change import scores_in_places
from contrafact.generators.augmentation import signed
from contrafact.generators.translator import Translator, TranslatorConfig
from contrafact.generators.translator_settings import TranslatorTrainerConfig
from contrafact.generators.translator_training import TranslatorTraining
from experiments.data import Cohort, load
from experiments.nodule_windows import nodule_pairs
from experiments.train.classifiers import MIRROR, make, row_of

# Cohorts whose finding is local: the disc, or ball, for one that is added, in sides.
PLACE = {"nodule": 0.4, "nodule_3d": 0.4}


def network(folder: Path, role: str) -> nn.Module:
    """A trained network of `classifiers.py`, frozen."""
    about = json.loads((folder / role / "about.json").read_text())
    made = make(role, about["arguments"])
    made.load_state_dict(load_file(folder / role / "best.safetensors"))
    return made.eval().requires_grad_(False)


def scorer(made: nn.Module, name: str) -> Callable[[Tensor], Tensor]:
    """Images in [-1, 1] to the logit (N,) of the bundle's question."""
    return lambda images: made(images)[:, row_of(name)]


@torch.no_grad()
def chosen_by(
    translator: Translator,
    cohort: Cohort,
    model: Callable[[Tensor], Tensor],
    member: Callable[[Tensor], Tensor],
) -> dict[str, float]:
    """On up to 160 images (24 volumes), half of each label: how often the other side is reached at a goal of
    0.9, the other model's logits for one logit of the first (beside the same on real images), how much
    changes."""
    rng = np.random.default_rng(0)
    most = 80 if cohort.images.ndim == 4 else 12
    rows = np.concatenate([rng.permutation(np.flatnonzero(cohort.labels == k))[:most] for k in (0, 1)])
    images = signed(cohort.images[rows.tolist()])
    now, before = model(images), member(images)
    real = float(np.polyfit(now.numpy(), before.numpy(), 1)[0])
    figures: dict[str, float] = {}
    places = translator.places
    for name, up in (("up", True), ("down", False)):
        mine = (now < 0) == up
        to = torch.full((int(mine.sum()),), 2.2 if up else -2.2)
        region = None
        if places is not None:  # as `translate` does
            which = torch.zeros(len(to), dtype=torch.long)
            scores = scores_in_places(
                translator, images[mine], now[mine], to, places=places, which=which, score=model
            )
            effects = (scores - now[mine]) * (1 if up else -1)
            region = places[torch.from_numpy(smallest_place(effects.numpy(), ADD if up else REMOVE))]
        made = translator(images[mine], now[mine], to, region=region)
        got, other = model(made), member(made)
        figures |= {
            f"reached_{name}": float(((got > 0) == up).float().mean()),
            f"missed_{name}": float((got - to).abs().mean()),
            f"followed_{name}": float(((other > 0) == up).float().mean()),
            f"slope_{name}": float((other - before[mine]).mean() / (got - now[mine]).mean()) / real,
            f"changed_{name}": float((made - images[mine]).abs().mean() * 127.5),
        }
    figures["merit"] = sum(
        min(figures[f"slope_{way}"], 1.0) + figures[f"reached_{way}"] for way in ("up", "down")
    )
    return figures


def already(folder: Path) -> int:
    """How many images a run has seen when it last chose."""
    path = folder / "history.jsonl"
    return int(json.loads(path.read_text().splitlines()[-1])["seen"]) if path.exists() else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--networks", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--kimg", type=float, default=20)
    parser.add_argument("--minutes", type=float, default=1e9)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="of the trainer")
    parser.add_argument("--widths", default="24,48,96,128")
    parser.add_argument("--allies", nargs="*", default=[], metavar="ROLE", help="networks beside the model")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    if already(options.out) >= options.kimg * 1000:
        return
    fit, choice = (load(options.name, options.data, part, side=options.side) for part in ("fit", "choice"))
    model, member = (scorer(network(options.networks, role), options.name) for role in ("model", "member"))
    widths = tuple(map(int, options.widths.split(",")))
    size = TranslatorConfig(
        resolution=options.side,
        channels=fit.images.shape[1],
        axes=fit.images.ndim - 2,
        widths=widths,
        place=PLACE.get(options.name, 0.0),
    )
    settings = {key: json.loads(value) for key, value in (one.split("=") for one in options.set)}
    config = TranslatorTrainerConfig(kimg=options.kimg, mirror=MIRROR[options.name], **settings)
    pairs = None
    if options.name in PLACE:
        pairs = nodule_pairs(options.data, "fit", side=options.side, stacks=options.name == "nodule_3d")
    allies = [scorer(network(options.networks, role), options.name) for role in options.allies]
    training = TranslatorTraining(
        size,
        config,
        fit.images,
        guide=lambda x: model(x)[:, None],
        pairs=pairs,
        allies=[lambda x, ally=ally: ally(x)[:, None] for ally in allies],  # type: ignore[misc]
    )
    options.out.mkdir(parents=True, exist_ok=True)
    path, best = options.out / "state.safetensors", 0.0
    if path.exists():
        training.restore(load_file(path))
        best = json.loads((options.out / "best.json").read_text())["merit"]
    began, first = time.perf_counter(), training.seen
    while training.seen < options.kimg * 1000 and time.perf_counter() - began < options.minutes * 60:
        training.step()
        if training.seen % 400 < config.batch:
            losses = " ".join(f"{key} {value:.3f}" for key, value in training.figures.items())
            pace = (training.seen - first) / (time.perf_counter() - began)
            print(f"{training.seen} {pace:.1f}/s {losses}", flush=True)
        if training.seen % 1000 < config.batch:
            save_file(training.state(), path.with_suffix(".new"))
            path.with_suffix(".new").replace(path)
            figures = chosen_by(training.average, choice, model, member)
            with (options.out / "history.jsonl").open("a") as file:
                file.write(json.dumps({"seen": training.seen, **figures}) + "\n")
            print("  choice " + " ".join(f"{key} {value:.2f}" for key, value in figures.items()), flush=True)
            weights = {key: value.contiguous().clone() for key, value in training.average.state_dict().items()}
            save_file(weights, options.out / "latest.safetensors")
            if figures["merit"] >= best:
                best = figures["merit"]
                save_file(weights, options.out / "best.safetensors")
                about = {"seen": training.seen, **figures}
                (options.out / "best.json").write_text(json.dumps(about))


if __name__ == "__main__":
    main()
