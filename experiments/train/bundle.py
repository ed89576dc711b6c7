"""Put trained networks and a translator together as a bundle.

    python -m experiments.train.bundle knee --data ../shared/data --networks RUNS/knee --side 128 \
        --out src/contrafact/bundles/knee --latent OLD_KNEE

Takes the roles `model` and `second` of `classifiers.py` and the chosen state of `translator.py`. The latent
space of an older bundle is kept beside them (`--latent`), with the models that it was fitted to. With
`--segmenters` (of `nodule_segmenters.py`) the bundle gets a segmenter and its second one, whose counterfactuals
the translator makes by the classifier's score; without `--networks` they are added to the bundle in `--out`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

import contrafact as cf
from contrafact.bundles import load_bundle, save_bundle
from contrafact.core import Image
from contrafact.counterfactual import Bundle, Translation
from contrafact.generators import Translator, TranslatorConfig
from contrafact.io import write_json
from experiments.data import Cohort, load
from experiments.train.classifiers import row_of
from experiments.train.translator import PLACE

FACTORIES = {"model": "ResidualNetwork", "second": "PlainNetwork"}
NATIVE = {"nodule": 48, "nodule_3d": 8, "knee": 64}  # sides of images that are enlarged inside
WINDOWS = {"nodule": 64, "nodule_3d": 48, "histology": 64}  # at native resolution: the largest side
GRADES = {"knee": "KL"}  # cohorts with more than two levels: the word before the number


def write_networks(
    name: str, cohort: Cohort, networks: Path, out: Path
) -> tuple[dict[str, str], dict[str, str]]:
    """Files of the predictors and of their second models, by the predictor's name. The classifier, and the
    grade
    where there are levels, are two heads of one network."""
    files: dict[str, dict[str, str]] = {"model": {}, "second": {}}
    for role in files:
        about = json.loads((networks / role / "about.json").read_text())
        state, channels = load_file(networks / role / "best.safetensors"), cohort.images.shape[1]
        stem, axes = "classifier" if role == "model" else "second", cohort.images.ndim - 2
        side = [about["side"]] * axes
        small = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
        save_file({k: v.contiguous() for k, v in small.items()}, out / f"{stem}.safetensors")
        sides = {"most": WINDOWS[name]} if name in WINDOWS else {}
        sides |= {"least": NATIVE[name]} if name in PLACE else {}
        grey = {"mean": [0.5] * channels, "std": [0.5] * channels}
        common = {
            "factory": f"contrafact.models.example_networks:{FACTORIES[role]}",
            "arguments": {**about["arguments"], "pair": row_of(name)},
            "weights": f"{stem}.safetensors",
            "preprocessing": {
                "size": side,
                "channels": channels,
                "window": [0, 255],
                **grey,
                **sides,
            },
        }
        heads: dict[str, dict[str, Any]] = {
            "classifier": {"classes": list(cohort.classes), "output": "logits", "head": "pair"}
        }
        if name in GRADES:
            levels = [f"{GRADES[name]} {level}" for level in range(len(state["head.bias"]) + 1)]
            heads["grade"] = {"classes": levels, "output": "ordinal", "head": "scores"}
        for predictor, told in heads.items():
            file = (
                stem if predictor == "classifier" else predictor if role == "model" else f"{stem}_{predictor}"
            )
            write_json(out / f"{file}.json", {**common, **told})
            files[role][predictor] = f"{file}.json"
    return files["model"], files["second"]


def translator_of(networks: Path, name: str, *, side: int, channels: int) -> Translator:
    """The chosen state of a training run."""
    state = load_file(networks / "translator" / "best.safetensors")
    axes = state["out.weight"].ndim - 2
    widths = tuple(len(state[f"down.{k}.first.bias"]) for k in range(9) if f"down.{k}.first.bias" in state)
    config = TranslatorConfig(
        resolution=side, channels=channels, axes=axes, widths=widths, place=PLACE.get(name, 0.0)
    )
    made = Translator(config)
    made.load_state_dict(state)
    return made.eval().requires_grad_(False)


def latent_part(folder: Path, out: Path) -> tuple[dict[str, Any], dict[str, str], dict[str, str]]:
    """The latent space of an older bundle, with its models, which take smaller images: fields of the bundle,
    and
    the files of predictors and second models, under names that tell the size."""
    before, about = load_bundle(folder), json.loads((folder / "bundle.json").read_text())
    fields = {k: getattr(before, k) for k in ("generator", "encoder", "statistics", "crop")}
    fields["directions"] = tuple(d for d in before.directions if d.target == "class:1")
    side = before.latent.generator.image_shape[-1]
    files, seconds = dict[str, str](), dict[str, str]()
    for source, into, kept in (
        (about["predictors"], files, f"classifier_{side}"),
        (about["seconds"], seconds, f"second_{side}"),
    ):
        told = json.loads((folder / source["classifier"]).read_text())
        (out / f"{kept}.safetensors").write_bytes((folder / told["weights"]).read_bytes())
        write_json(out / f"{kept}.json", {**told, "weights": f"{kept}.safetensors"})
        into[f"classifier_{side}"] = f"{kept}.json"
    return fields, files, seconds


def add_segmenters(folder: Path, out: Path, *, least: int) -> None:
    """Add a segmenter and its second one to a bundle, with a translation of its places by the classifier."""
    for role, stem in (("model", "segmenter"), ("second", "second_segmenter")):
        told = json.loads((folder / f"{role}.json").read_text())
        state = load_file(folder / told["weights"])
        small = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
        save_file({k: v.contiguous() for k, v in small.items()}, out / f"{stem}.safetensors")
        preprocessing = {**told["preprocessing"], "least": least, "most": told["preprocessing"]["size"][0]}
        write_json(
            out / f"{stem}.json", {**told, "weights": f"{stem}.safetensors", "preprocessing": preprocessing}
        )
    about = json.loads((out / "bundle.json").read_text())
    about["predictors"]["segmenter"], about["seconds"]["segmenter"] = "segmenter.json", "second_segmenter.json"
    rows = [row for row in about["translations"] if row["predictor"] != "segmenter"]
    by = {"predictor": "classifier", "target": "class:1"}
    rows.append({"predictor": "segmenter", "target": "place:1", "number": 0, "by": by})
    write_json(out / "bundle.json", {**about, "translations": rows})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--networks", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--latent", type=Path, help="a bundle whose latent space and models are kept beside")
    parser.add_argument("--segmenters", type=Path, help="folder of nodule_segmenters")
    options = parser.parse_args()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    if options.networks:
        assemble(options)
    if options.segmenters:
        add_segmenters(options.segmenters, out, least=NATIVE[options.name])
    bundle = load_bundle(out)
    cohort = load(options.name, options.data, "choice", side=options.side)
    image = Image(cohort.images[0].float().numpy(), window=(0.0, 255.0))
    strip = cf.explain("counterfactual", bundle.predictor, image, target="class:1", bundle=bundle)
    print(f"{out}: {strip.outcome}, scores {strip.scores.round(2).tolist()}")


def assemble(options: argparse.Namespace) -> None:
    """Write the bundle of trained networks and a translator."""
    out: Path = options.out
    cohort = load(options.name, options.data, "fit", side=options.side)
    parts: dict[str, Any] = {}
    old, old_seconds, encoder = dict[str, str](), dict[str, str](), dict[str, Any]()
    if options.latent:
        parts, old, old_seconds = latent_part(options.latent, out)
        encoder = json.loads((options.latent / "bundle.json").read_text()).get("encoder", {})
    files, seconds = write_networks(options.name, cohort, options.networks, out)
    files, seconds = {**files, **old}, {**seconds, **old_seconds}
    predictors = {key: cf.load_predictor(out / file) for key, file in files.items()}
    for key in old:
        own = predictors[key].digest
        parts["directions"] = tuple(dataclasses.replace(d, model=own) for d in parts["directions"])
    main_model = predictors["classifier"].digest
    translations = [Translation(model=main_model, target="class:1")]
    if "grade" in predictors:
        grade = predictors["grade"].digest
        translations.append(Translation(model=grade, target="grade", by=(main_model, "class:1")))
    bundle = Bundle(
        name=options.name,
        window=(0.0, 255.0),
        least=NATIVE.get(options.name),
        translator=translator_of(
            options.networks, options.name, side=options.side, channels=cohort.images.shape[1]
        ),
        translations=tuple(translations),
        engine="translate",
        predictor=predictors["classifier"],
        predictors=predictors,
        seconds={key: cf.load_predictor(out / file) for key, file in seconds.items()},
        **parts,
    )
    save_bundle(out, bundle, descriptions=files, main="classifier", encoder_size=encoder, seconds=seconds)


if __name__ == "__main__":
    main()
