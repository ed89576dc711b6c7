"""Plant a shortcut in real radiographs, train networks that take it, and see which explanations show it.

    python -m experiments.evaluate.real_shortcuts --data ../shared/data --work RUNS --page FILE --picture FILE

Knees of 64 pixels (grade 2 to 4 against 0 to 1). A shortcut is planted that goes with the label in 95 of 100
training images: a letter burnt into a corner, the stripes of a scanner all over the image, or the dark edge of
a crop. Each has three doses. For each kind two networks for comparison see the strongest dose beside either
label equally often, so that they learn the joint. All methods explain why a network calls the same val knees,
with the shortcut in all of them, severe; a translator that is trained with the network changes them until it
does not.

A method shows the shortcut in an image where the share of its map (or of the counterfactual's change) that is
the shortcut exceeds 95 of 100 shares of the first comparison network's maps of the same images. The second
one's maps say how often that happens without a shortcut that was learned. Networks, translators and shares are
kept in `--work`: a run that was ended goes on.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from scipy.ndimage import binary_dilation
from torch import Tensor

import contrafact as cf
from contrafact.core import ContrafactError, Image, Predictor
from contrafact.counterfactual import Bundle, Translation
from contrafact.generators import Translator, TranslatorConfig, TranslatorTrainerConfig, TranslatorTraining
from contrafact.models import Preprocessing, load_predictor
from contrafact.models.example_networks import ResidualNetwork
from experiments.data import Cohort, balanced, load
from experiments.evaluate.picture_sheet import sheet
from experiments.tables import mean, share, table
from experiments.train.classifiers import train

Values = NDArray[np.float64]
SIDE, TARGET = 64, "class:1"
SIZE: dict[str, Any] = {"channels": 1, "outputs": 1, "width": 16, "stages": 4}
DOSES = {"marker": (10, 30, 90), "stripes": (3, 9, 27), "edge": (10, 30, 90)}  # grey levels of 255
COMPARED = (0, 1)  # the networks for comparison, in place of a dose: for the limit, and for false alarms
TOGETHER = 0.95  # share of training images whose shortcut goes with the label
PERIOD = 4  # pixels from stripe to stripe
LETTER = np.array([[int(c) for c in row] for row in ("1110", "1001", "1001", "1110", "1010", "1001", "1001")])
METHODS: dict[str, dict[str, Any]] = {
    "gradcam": {},
    "layercam": {},
    "guided-backprop": {},
    "input-x-gradient": {},
    "integrated-gradients": {},
    "expected-gradients": {},
    "smooth": {},
    "excitation-backprop": {},
    "lrp": {},
    "occlusion": {},
    "rise": {"masks": 200},
    "kernel-shap": {"samples": 100},
}
ENGINE = "counterfactual (translate)"


@dataclass(frozen=True)
class Asked:
    """A network that took a shortcut, or did not, with its translator."""

    kind: str
    dose: int
    predictor: Predictor
    bundle: Bundle

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.dose}"


def pattern(kind: str, rng: np.random.Generator) -> Values:
    """A shortcut of one grey level (64, 64), at another place or phase each time."""
    made = np.zeros((SIDE, SIDE))
    if kind == "stripes":
        rows = np.arange(SIDE)[:, None] + 0.35 * np.arange(SIDE)[None]
        return np.asarray(np.sin(2 * math.pi * (rows / PERIOD + rng.random())))
    if kind == "edge":
        made[:, : 3 + int(rng.integers(2))] = -1
        return made
    top, left = 3 + rng.integers(0, 3, 2)
    letter = np.kron(LETTER, np.ones((1, 1)))
    made[top : top + letter.shape[0], SIDE - left - letter.shape[1] : SIDE - left] = letter
    return made


def planted(images: Tensor, has: NDArray[np.bool_], kind: str, dose: int, seed: int) -> tuple[Tensor, Values]:
    """Images uint8 (N, 1, 64, 64) with the shortcut where `has`, and the pattern (N, 64, 64) of each."""
    rng = np.random.default_rng(seed)
    patterns = np.stack([pattern(kind, rng) for _ in range(len(images))])
    added = torch.from_numpy(dose * patterns * has[:, None, None])[:, None]
    return (images + added).round().clamp(0, 255).to(torch.uint8), patterns


def cohort_with(cohort: Cohort, kind: str, dose: int, *, compared: bool, seed: int) -> Cohort:
    """A cohort whose shortcut goes with the label, or with nothing."""
    rng = np.random.default_rng(seed)
    severe = cohort.labels == 1
    has = (
        rng.random(len(cohort)) < 0.5
        if compared
        else np.where(rng.random(len(cohort)) < TOGETHER, severe, ~severe)
    )
    images, _ = planted(cohort.images, has, kind, dose, seed)
    return Cohort(
        images=images,
        labels=cohort.labels,
        levels=cohort.labels,
        patients=cohort.patients,
        names=cohort.names,
        classes=cohort.classes,
    )


def vary(x: Tensor, rng: torch.Generator) -> Tensor:
    """Other contrast, shade and noise; no shift, which would move the shortcut out of the image."""
    contrast, shade = (torch.rand(2, len(x), 1, 1, 1, generator=rng) - 0.5) * 0.3
    return x * (1 + contrast) + shade + 0.02 * torch.randn(x.shape, generator=rng)


def made(kind: str, dose: int, cohort: Cohort, folder: Path, *, epochs: int, kimg: float) -> Asked:
    """A network and its translator, from `folder` or trained into it."""
    compared = dose in COMPARED
    planted_dose = DOSES[kind][-1] if compared else dose
    name = f"{kind}-{dose}"
    seed = 7 + 100 * list(DOSES).index(kind) + dose
    torch.manual_seed(seed)
    network = ResidualNetwork(**SIZE)
    own = cohort_with(cohort, kind, planted_dose, compared=compared, seed=seed)
    weights, drawn = folder / f"{name}.safetensors", folder / f"{name}-translator.safetensors"
    if not weights.exists():
        network = train(network, own, vary=vary, epochs=epochs, seed=seed, batch=64)  # type: ignore[assignment]
        save_file({k: v.contiguous() for k, v in network.state_dict().items()}, weights)
    network.load_state_dict(load_file(weights))
    network.eval().requires_grad_(False)
    size = TranslatorConfig(resolution=SIDE, channels=1, widths=(24, 48, 96))
    translator = Translator(size)
    if not drawn.exists():
        config = TranslatorTrainerConfig(kimg=kimg, seed=seed, jitter=0.0, regions=0.0)
        training = TranslatorTraining(size, config, own.images, guide=lambda x: network(x)[:, :1])
        while training.seen < 1000 * kimg:
            training.step()
        save_file({k: v.contiguous().clone() for k, v in training.average.state_dict().items()}, drawn)
        print(f"{name}: trained", flush=True)
    translator.load_state_dict(load_file(drawn))
    classifier = ResidualNetwork(**SIZE, pair=0)  # its logit as two classes, whose log-odds it is
    classifier.load_state_dict(network.state_dict())
    predictor = load_predictor(
        classifier.eval().requires_grad_(False),
        head="pair",
        classes=list(cohort.classes),
        preprocessing=Preprocessing(
            size=(SIDE, SIDE), channels=1, window=(0.0, 255.0), mean=(0.5,), std=(0.5,)
        ),
    )
    bundle = Bundle(
        name=name,
        window=(0.0, 255.0),
        translator=translator.eval().requires_grad_(False),
        translations=(Translation(model=predictor.digest, target=TARGET),),
        predictor=predictor,
        predictors={"classifier": predictor},
    )
    return Asked(kind, dose, predictor, bundle)


def share_of(values: Values, made_of: Values, kind: str) -> float:
    """Share of a signed map, or change, (64, 64) that is the shortcut: of its absolute values those in the
    mask, two pixels wider; of stripes, of its power that at their frequency."""
    if kind == "stripes":
        power, theirs = (np.abs(np.fft.rfft2(one - one.mean())) ** 2 for one in (values, made_of))
        near = theirs > 0.02 * theirs.max()
        return float(power[near].sum() / max(power.sum(), 1e-12))
    mask = binary_dilation(made_of != 0, iterations=2)
    return float(np.abs(values)[mask].sum() / max(np.abs(values).sum(), 1e-12))


def taken_out(change: Values, made_of: Values, dose: int) -> float:
    """How much of the planted pattern a change takes out of the image: 1, all of it; 0, none."""
    return float(-(change * made_of).sum() / (dose * np.square(made_of).sum()))


def explained(model: Asked, method: str, images: Sequence[Image]) -> Values:
    """The maps (N, 64, 64) of a method, or the counterfactual's changes."""
    if method == ENGINE:
        strips = cf.explain(
            "translate", model.predictor, list(images), target=TARGET, bundle=model.bundle, goal=0.1
        )
        return np.stack([(s.frames[s.end] - s.frames[s.origin]).mean(axis=0) for s in strips]).astype(float)
    settings = METHODS[method]
    given = {"background": list(images[:8])} if method == "expected-gradients" else {}
    maps = cf.explain(method, model.predictor, list(images), target=TARGET, **settings, **given)
    return np.stack([np.asarray(one.values, dtype=float) for one in maps])


def figures_of(model: Asked, cohort: Cohort, folder: Path, dose: int) -> dict[str, Any]:
    """Shares by method, what the counterfactual takes out, and how much the network uses the shortcut."""
    path = folder / f"{model.name}-at-{dose}.json"
    if path.exists():
        return dict(json.loads(path.read_text()))
    with_it, patterns = planted(cohort.images, np.ones(len(cohort), dtype=bool), model.kind, dose, 99)
    both = [
        model.predictor(one.numpy().astype(np.float32)).detach()[:, 1] * 2 for one in (with_it, cohort.images)
    ]
    images = [Image(one.numpy().astype(np.float32), window=(0.0, 255.0)) for one in with_it]
    found: dict[str, Any] = {
        "given by it": (both[0] - both[1]).tolist(),
        "turned": ((both[0] > 0) != (both[1] > 0)).tolist(),
        "shares": {},
    }
    for method in [ENGINE, *METHODS]:
        try:
            maps = explained(model, method, images)
        except ContrafactError as error:
            print(f"{model.name}: {method}: {error}", flush=True)
            continue
        found["shares"][method] = [share_of(m, p, model.kind) for m, p in zip(maps, patterns, strict=True)]
        if method == ENGINE:
            found["taken out"] = [taken_out(m, p, dose) for m, p in zip(maps, patterns, strict=True)]
    path.write_text(json.dumps(found))
    return found


def rows_of(
    cohort: Cohort, val: Cohort, work: Path, options: Any
) -> tuple[list[str], list[list[str]], list[Any]]:
    """The table: one row a method, one column a kind and dose."""
    names, columns, models = list[str](), list[dict[str, str]](), list[Asked]()
    for kind, doses in DOSES.items():
        if kind not in options.kinds:
            continue
        known = {
            dose: made(kind, dose, cohort, work, epochs=options.epochs, kimg=options.kimg)
            for dose in (*COMPARED, *doses)
        }
        models += known.values()
        for dose in doses:
            own, other, third = (figures_of(known[which], val, work, dose) for which in (dose, *COMPARED))
            names.append(f"{kind}, {dose}")
            cells = {
                "logits that the shortcut gives": mean(np.array(own["given by it"]), "+.1f"),
                "answers that it turns": share(own["turned"]),
                "the same, first network for comparison": share(other["turned"]),
            }
            for method in [ENGINE, *METHODS]:
                if any(method not in one["shares"] for one in (own, other, third)):
                    cells[method] = "–"
                    continue
                limit = np.quantile(other["shares"][method], 0.95)
                found, false = (np.array(one["shares"][method]) > limit for one in (own, third))
                cells[method] = f"{share(found)}, {false.mean():.2f}"
            cells["of the pattern, the counterfactual takes out"] = mean(np.array(own["taken out"]), "+.2f")
            cells["the same, first network for comparison "] = mean(np.array(other["taken out"]), "+.2f")
            columns.append(cells)
            print(names[-1], cells, flush=True)
    return names, [[key, *(column[key] for column in columns)] for key in columns[0]], models


def wall(models: Sequence[Asked], val: Cohort, path: Path) -> None:
    """Two rows for each network of the strongest dose and for its comparison: a knee, its counterfactual, the
    change, then the maps of all methods."""
    blocks = dict[str, list[list[Values]]]()
    for model in models:
        if model.dose not in (COMPARED[0], DOSES[model.kind][-1]):
            continue
        with_it, _ = planted(val.images[:2], np.ones(2, dtype=bool), model.kind, DOSES[model.kind][-1], 99)
        images = [Image(one.numpy().astype(np.float32), window=(0.0, 255.0)) for one in with_it]
        compared = model.dose == COMPARED[0]
        name = "network for comparison" if compared else f"network that learned the {model.kind}"
        for row, image in enumerate(images):
            change = explained(model, ENGINE, images)[row]
            tiles = [image.values[0], image.values[0] + change, _signed(change)]
            for method in METHODS:
                try:
                    tiles.append(_signed(explained(model, method, images)[row]))
                except ContrafactError:
                    tiles.append(np.full((SIDE, SIDE), 60.0))
            blocks.setdefault(name, []).append(tiles)
    sheet(blocks, ["image", "counterfactual", "its change", *METHODS], path, made=(1, 2))


def _signed(values: Values) -> Values:
    """A signed map as greys round 127."""
    scale = float(np.percentile(np.abs(values), 99.5)) or 1.0
    return 127.5 + 127.5 * np.clip(values / scale, -1, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("runs/real_shortcuts"))
    parser.add_argument("--kinds", nargs="*", choices=list(DOSES), default=list(DOSES))
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--kimg", type=float, default=4.0)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    fit, val = (load("knee", options.data, part, side=SIDE) for part in ("fit", "val"))
    severe = [i for i in range(len(val)) if val.labels[i] == 1]
    chosen = balanced(val.rows(severe), 2 * options.images, seed=3)
    names, rows, models = rows_of(
        fit, chosen.rows(list(range(min(options.images, len(chosen))))), options.work, options
    )
    text = table(["", *names], rows)
    print(text)
    if options.page:
        options.page.write_text(text)
    if options.picture:
        wall(models, chosen, options.picture)


if __name__ == "__main__":
    main()
