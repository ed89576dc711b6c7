"""Add a fitted bundle to the package, with its model card.

python -m experiments.train.ship brain --bundle runs/brain/bundle
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

from contrafact.bundles import load_bundle
from contrafact.io import read_json, write_atomic, write_json

ROOT = Path(__file__).parents[2]
CARDS: dict[str, dict[str, str]] = {
    "brain": {
        "about": "MRI slices of the head, with a tumour (glioma, meningioma, pituitary) against without",
        "data": "800 slices, 80 % of a part of the Kaggle set masoudnickparvar/brain-tumor-mri-dataset (from "
        "Cheng, figshare 1512427, SARTAJ and Br35H), grey, reduced to 64 x 64 pixels.",
        "licence": "Data: CC0 as named on Kaggle; the part of Cheng (figshare 1512427) CC BY 4.0; SARTAJ and "
        "Br35H name none. Weights: CC BY 4.0, with that attribution.",
        "limits": "64 pixels a side. No patients are named and slices have near duplicates, so held-out slices "
        "are no other patients. The classes come from different sources and differ in contrast, in brightness "
        "and, to the eye, in the plane of section. The model tells them apart by that too, and the strips show "
        "it: they change brightness, rim, ventricles and outline, and seldom a lesion; a second classifier "
        "confirms two in five tumours that are added (docs/results/brain.md). The generator saw {kimg} "
        "thousand images of 800 slices, in two parts: the first 26.6 thousand with "
        "experiments/train/brain_start.toml, the rest, from that state on, with experiments/train/brain.toml. "
        "It draws blurred slices; what it cannot draw is carried over from the image.",
    },
    "phantom": {
        "about": "drawn knees whose cause is planted: an honest model, and one that cheats on the marker",
        "data": "4,000 phantoms drawn by contrafact.phantoms at 32 x 32 pixels; no patient.",
        "licence": "Apache-2.0.",
        "limits": "For tests and demonstrations of known truth.",
        "images": "phantoms",
    },
}


def model_card(name: str, about: dict[str, Any], size: int) -> str:
    card, generator = about["card"], about["generator"]
    of = "slices" if name == "brain" else "patients"
    script = "phantom" if name == "phantom" else "latent_classifier"
    medxgan = about.get("family") == "medxgan"
    kind, parts = ("MedXGAN", "") if medxgan else ("StyleGAN2", "directions, ")
    return "\n".join(
        [
            f"# Model card: bundle `{name}`",
            "",
            f"{card['about'][0].upper()}{card['about'][1:]}. {kind} at {generator['resolution']} px "
            f"({generator['channel_base']}/{generator['channel_max']} channels), encoder, {parts}and the "
            f"models they explain. {size / 1e6:.1f} MB, half precision, safetensors.",
            "",
            "**Intended use.** To show how the bundled models decide, and to try Contrafact. For research and "
            "teaching. Not a medical device, not for diagnosis. Images it generates are synthetic.",
            "",
            f"**Data.** {card['data']}",
            "",
            f"**Licence.** {card['licence']}",
            "",
            f"**Limits.** {card['limits']}",
            "",
            f"**Made by** `experiments/train/{name}.toml` and `experiments/train/{script}.py`.",
            "",
            *targets_of(about, medxgan=medxgan),
            *measured_on(card.get("figures", []), of),
            "",
        ]
    )


def targets_of(about: dict[str, Any], *, medxgan: bool) -> list[str]:
    """Return the lines on what the bundle can change: its findings, or its directions and how well they fit."""
    if medxgan:
        rows = [f"| {f['predictor']} | {f['target']} |" for f in about["findings"]]
        return ["## Findings, each with its own code", "", "| model | target |", "| --- | --- |", *rows]
    head = "| model | target | R² | slope | logits per unit before calibration |"
    rows = [
        f"| {d['predictor']} | {d['target']} | {d['fit']['r2']:.3f} | {d['fit']['slope']:.3f} | "
        f"{d['fit'].get('calibration') or float('nan'):.3f} |"
        for d in about["directions"]
    ]
    return ["## Directions, on held-out latents", "", head, "| --- | --- | --- | --- | --- |", *rows]


def measured_on(figures: list[dict[str, Any]], of: str) -> list[str]:
    """Return the lines on what was measured on held-out patients or slices (`of`), where anything was."""
    if not figures:
        return []
    return [
        "",
        f"## Measured on held-out {of}",
        "",
        f"Intervals: bootstrap over {of}; of a share of 0 or 1 Wilson's, for as many {of} as have such a row.",
        "",
        "| measured | figure | 95 % interval | wanted |",
        "| --- | --- | --- | --- |",
        *(f"| {f['what']} | {f['value']} | {f['interval']} | {f['wanted']} |" for f in figures),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=list(CARDS))
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--kimg", default="some", help="thousands of images that the generator saw")
    options = parser.parse_args()
    about = read_json(options.bundle / "bundle.json")
    card = {key: text.replace("{kimg}", options.kimg) for key, text in CARDS[options.name].items()}
    about["card"] = {**about["card"], **card}
    write_json(options.bundle / "bundle.json", about)
    target = ROOT / "src" / "contrafact" / "bundles" / options.name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(options.bundle, target)
    size = sum(p.stat().st_size for p in target.iterdir())
    write_atomic(target / "MODEL_CARD.md", model_card(options.name, about, size).encode())
    load_bundle(options.name)
    print(f"{target}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
