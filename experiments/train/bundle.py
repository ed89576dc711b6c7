"""Put trained networks and a translator together as a bundle.

    python -m experiments.train.bundle knee --networks RUNS/knee --out src/contrafact/bundles/knee

Takes the roles `model` and `second` of `classifiers.py` and the chosen state of `translator.py`. A bundle that
is there already keeps its latent space; its directions must be fitted anew to the new model (`--directions`),
which takes some minutes.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import contrafact as cf
from contrafact.bundles import load_bundle, save_bundle
from contrafact.core import Image
from contrafact.counterfactual import Anchors, Bundle, DirectionConfig, Translation, fit_direction
from contrafact.generators import Translator, TranslatorConfig
from contrafact.io import write_json
from experiments.data import Cohort, load
from experiments.train.classifiers import MIRROR, row_of

FACTORIES = {"model": "ResidualNetwork", "second": "PlainNetwork"}
NATIVE = {"nodule": 48}  # sides of images that are enlarged inside
GRADES = {"knee": "KL"}  # cohorts with more than two levels: the word before the number


def describe(folder: Path, name: str, state: dict[str, Tensor], about: dict[str, Any]) -> str:
    """Write half-precision weights beside a description that `load_predictor` reads; its file name."""
    small = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    save_file({k: v.contiguous() for k, v in small.items()}, folder / f"{name}.safetensors")
    write_json(folder / f"{name}.json", {**about, "weights": f"{name}.safetensors"})
    return f"{name}.json"


def two_classes(state: dict[str, Tensor], row: int) -> dict[str, Tensor]:
    """The same network with the two-class head that has the same log-odds as output `row`."""
    out = {k: v.clone() for k, v in state.items()}
    for key in ("head.weight", "head.bias"):
        out[key] = torch.stack([-state[key][row], state[key][row]]) / 2
    return out


def write_networks(
    name: str, cohort: Cohort, networks: Path, out: Path
) -> tuple[dict[str, str], dict[str, str]]:
    """Files of the predictors and of their second models, by the predictor's name."""
    files: dict[str, dict[str, str]] = {"model": {}, "second": {}}
    for role in files:
        about = json.loads((networks / role / "about.json").read_text())
        state, channels = load_file(networks / role / "best.safetensors"), cohort.images.shape[1]
        grey = {"mean": [0.5] * channels, "std": [0.5] * channels}
        side = [about["side"], about["side"]]
        common = {
            "factory": f"contrafact.models.example_networks:{FACTORIES[role]}",
            "preprocessing": {"size": side, "channels": channels, "window": [0, 255], **grey},
        }
        stem = "classifier" if role == "model" else "second"
        heads = {stem: ("classifier", two_classes(state, row_of(name)), list(cohort.classes), "logits")}
        if name in GRADES:
            levels = [f"{GRADES[name]} {level}" for level in range(len(state["head.bias"]) + 1)]
            heads["grade" if role == "model" else "second_grade"] = ("grade", state, levels, "ordinal")
        for file, (predictor, weights, classes, output) in heads.items():
            arguments = {**about["arguments"], "outputs": len(weights["head.bias"])}
            told = {**common, "arguments": arguments, "classes": classes, "output": output}
            files[role][predictor] = describe(out, file, weights, told)
    return files["model"], files["second"]


def translator_of(networks: Path, *, side: int, channels: int) -> Translator:
    """The chosen state of a training run."""
    state = load_file(networks / "translator" / "best.safetensors")
    widths = tuple(len(state[f"down.{k}.first.bias"]) for k in range(9) if f"down.{k}.first.bias" in state)
    made = Translator(TranslatorConfig(resolution=side, channels=channels, widths=widths))
    made.load_state_dict(state)
    return made.eval().requires_grad_(False)


def with_directions(bundle: Bundle, cohort: Cohort, name: str) -> Bundle:
    """The bundle with directions fitted to its predictors, on sampled images and on real ones."""
    rows = torch.randperm(len(cohort), generator=torch.Generator().manual_seed(0))[:5000]
    canvas = torch.cat([bundle.to_canvas(part.float()) for part in cohort.images[rows].split(200)])
    if MIRROR[name]:
        canvas = torch.cat([canvas, canvas.flip(-1)])
    with torch.no_grad():
        latents = torch.cat([bundle.latent.encoder(part) for part in canvas.split(128)])
    found = []
    for key, target in (("classifier", "class:1"), ("grade", "grade")):
        if key not in bundle.predictors:
            continue
        predictor = bundle.predictors[key]
        wanted = predictor.target(target)
        with predictor.frozen():
            direction = fit_direction(
                bundle.latent.generator,
                bundle.scorer(predictor, wanted),
                target=wanted,
                model=predictor.digest,
                anchors=Anchors(images=canvas, latents=latents, gradients=True),
                config=DirectionConfig(samples=6000),
            )
        direction.fit["classes"] = 2 if key == "classifier" else 0
        found.append(direction)
    return dataclasses.replace(bundle, directions=tuple(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--networks", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument(
        "--directions", action="store_true", help="keep the latent space; fit its directions anew"
    )
    options = parser.parse_args()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    cohort = load(options.name, options.data, "fit", side=options.side)
    before = load_bundle(out) if options.directions else None
    encoder = json.loads((out / "bundle.json").read_text()).get("encoder", {}) if before else {}
    files, seconds = write_networks(options.name, cohort, options.networks, out)
    predictors = {key: cf.load_predictor(out / file) for key, file in files.items()}
    main_model = predictors["classifier"].digest
    translations = [Translation(model=main_model, target="class:1")]
    if "grade" in predictors:
        own = Translation(model=predictors["grade"].digest, target="grade", by=(main_model, "class:1"))
        translations.append(own)
    parts: dict[str, Any] = {}
    if before is not None:
        parts = {k: getattr(before, k) for k in ("generator", "encoder", "statistics", "crop")}
    bundle = Bundle(
        name=options.name,
        window=(0.0, 255.0),
        least=NATIVE.get(options.name),
        translator=translator_of(options.networks, side=options.side, channels=cohort.images.shape[1]),
        translations=tuple(translations),
        engine="translate",
        predictor=predictors["classifier"],
        predictors=predictors,
        seconds={key: cf.load_predictor(out / file) for key, file in seconds.items()},
        card=before.card if before is not None else {},
        **parts,
    )
    if before is not None:
        bundle = with_directions(bundle, cohort, options.name)
    save_bundle(out, bundle, descriptions=files, main="classifier", encoder_size=encoder, seconds=seconds)
    image = Image(cohort.images[0].float().numpy(), window=(0.0, 255.0))
    strip = cf.explain("counterfactual", bundle.predictor, image, target="class:1", bundle=load_bundle(out))
    print(f"{out}: {strip.outcome}, scores {strip.scores.round(2).tolist()}")


if __name__ == "__main__":
    main()
