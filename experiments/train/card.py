"""Write the model card of a bundle with a translator: what it was made from, what was measured, its limits.

    python -m experiments.train.card knee --bundle src/contrafact/bundles/knee --figures RUNS/knee/engines.json
    \
        --history RUNS/knee/translator/best.json

`--figures` is what `experiments.evaluate.engines --json` wrote; the first engine is the bundle's own.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from contrafact.io import read_json, write_atomic, write_json

CARDS: dict[str, dict[str, str]] = {
    "knee": {
        "about": "knee radiographs, osteoarthritis (Kellgren-Lawrence 2 to 4) against none (0 and 1)",
        "data": "Knee radiographs of the Osteoarthritis Initiative with Kellgren-Lawrence grade (Chen 2018, "
        "Mendeley Data, doi 10.17632/56rmx5bjcr.1), at 128 x 128 pixels: 5,200 images to train on, "
        "578 of other patients to choose settings, 826 of other patients to measure.",
        "licence": "Data: CC BY 4.0 (Chen 2018). Weights: CC BY 4.0, with that attribution.",
        "limits": "128 pixels a side. One cohort, one contrast equalisation (CLAHE). Not tested on implants, "
        "fractures or other projections. The latent space beside it (classifier_64) is a StyleGAN2 at"
        " 64 pixels that saw 175 thousand images and cannot reproduce a patient's image; its "
        "counterfactuals show doubled edges.",
    },
    "chest": {
        "about": "frontal chest radiographs of children, pneumonia against normal",
        "data": "Paediatric chest radiographs of one hospital (Kermany, Zhang, Goldbaum, Mendeley Data, doi "
        "10.17632/rscbjbr9sj.2), reduced to 128 x 128 pixels, split by patient. In training every image had"
        " the histogram of another one of either class.",
        "licence": "Data: CC BY 4.0 (Kermany et al.). Weights: CC BY 4.0, with that attribution.",
        "limits": "128 pixels a side. Children of one to five years from one hospital; sick and well differ in "
        "exposure and positioning too: eight numbers of an image's greys, which say nothing of any place, "
        "tell the classes with an AUC of 0.918. The model does as well (0.996) on images whose histograms "
        "were exchanged, where those numbers say nothing. Counterfactuals towards pneumonia blur the "
        "diaphragm and whiten the middle of the chest; those towards normal darken the lung above the "
        "diaphragm, in some images to black. Only 0.27 of the change lies in the lung fields, which cover "
        "0.21 of the image. None shows a focal consolidation, and no radiologist has "
        "evaluated them (docs/results/chest.md).",
    },
    "nodule": {
        "about": "windows of chest CT, a lung nodule against none",
        "data": "Windows of 48 pixels at the scanner's resolution from LIDC-IDRI (Armato et al. 2011, TCIA), "
        "lung window, 8 bits, enlarged to 64; every window with a nodule has a window without one "
        "from the same slice, with the same share of air and bright tissue, so that neither tells "
        "which is which. Patients are split.",
        "licence": "Data: CC BY 3.0 (LIDC-IDRI, TCIA). Weights: CC BY 3.0, with that attribution.",
        "limits": "Single slices, nodules of up to 38 pixels that at least two of four readers marked. Windows "
        "without a nodule hold vessels, walls and airways of the same patients. A nodule is removed in one "
        "disc of at most four fifths of the side, and what replaces it is smoother than lung; large ones "
        "leave a rim. An added nodule is round, faint, and mostly where the model likes it best. Two "
        "segmenters of nodules ship beside it (a U-Net, Dice 0.71, and a SegResNet, 0.77): of a lesion that is "
        "not segmented any more, two fifths of the area stay; a missed nodule is drawn far too large, and what "
        "removes a false positive convinces the second segmenter half of the time "
        "(docs/results/segmenter_counterfactuals.md). Not tested on other scanners.",
    },
    "nodule_3d": {
        "about": "stacks of slices of chest CT, a lung nodule against none",
        "data": "Stacks of 8 to 10 slices of 48 x 48 pixels at the scanner's resolution from LIDC-IDRI "
        "(Armato et al. 2011, TCIA), lung window, 8 bits, resized to 32 x 32 x 32; every stack with a "
        "nodule has one without from the same slices, with the same share of air. Patients are split.",
        "licence": "Data: CC BY 3.0 (LIDC-IDRI, TCIA). Weights: CC BY 3.0, with that attribution.",
        "limits": "The distance of the slices was not released: a stack is read as a cube. 144 patients to "
        "train on, 33 to measure. A nodule is removed in one ball of at most four fifths of the side; what "
        "replaces it is as grey as its surroundings, and smooth. An added nodule is a hazy ball with cut "
        "edges, and looks like none (docs/results/nodule_3d.md).",
    },
    "histology": {
        "about": "lung tissue under the microscope (H&E), tumour against benign",
        "data": "Crops of 64 pixels from LC25000 tiles of 224 pixels (Borkowski et al. 2019, arXiv "
        "1912.12142), colour, split by source tile, as many of each class for every tenth of air. "
        "In training every crop had the stain of another tile. A substitute for the lymph nodes of "
        "Schutte et al. 2021 (Camelyon16).",
        "licence": "Data: free to be used by AI researchers in any way they see fit (its authors' words; no "
        "named licence). Weights: CC BY 4.0.",
        "limits": "64 pixels a side, about a dozen nuclei. 250 source tiles a class of few patients, turned "
        "and mirrored by the authors of the set. The stain of a tile tells its class, so the models"
        " see greys alone. Towards tumour nuclei turn pale, towards benign small and dark; colours "
        "follow the greys. The probability of 0.9 is reached in half of the crops, since the model "
        "is seldom that sure. No pathologist has evaluated it (docs/results/histology.md).",
    },
}


def card_text(name: str, about: dict[str, Any], size: int) -> str:
    """The card as Markdown."""
    card, translator = about["card"], about["translator"]
    rows = [f"| {f['what']} | {f['value']} | {f['interval']} | {f['wanted']} |" for f in card["figures"]]
    return "\n".join(
        [
            f"# Model card: bundle `{name}`",
            "",
            f"{card['about'][0].upper()}{card['about'][1:]}. A translator at {translator['resolution']} "
            f"pixels, the "
            f"model that it explains, and a second model of another architecture. {size / 1e6:.1f} MB, half "
            f"precision, "
            "safetensors.",
            "",
            "**Intended use.** To show how the bundled model decides, and to try Contrafact. For research "
            "and teaching. "
            "Not a medical device, not for diagnosis. Changed images are synthetic.",
            "",
            *(f"**{key.capitalize()}.** {card[key]}\n" for key in ("data", "licence", "limits")),
            f"**Training.** {card['training']}",
            "",
            "| measured on val patients | figure | 95 % interval | wanted |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
        ]
    )


WANTED = {
    "goal reached": "≥ 0.95",
    "real or synthetic: AUC": "≤ 0.65",
    "columns with a double joint line": "≤ 0.05",
    "the same as a share of two readers' IoU": "≥ 0.75",
    "removed: nodule area by a segmenter falls by": "≥ 0.80",
}
PLACE = {"knee": "≥ 0.60", "nodule": "≥ 0.70"}  # the share of a change in the joint band, or at the nodule


def figures_of(row: dict[str, str], auc: float, name: str) -> list[dict[str, str]]:
    """The rows of a card from one engine's row of figures."""
    found = [{"what": "model: AUC against the label", "value": f"{auc:.3f}", "interval": "", "wanted": ""}]
    for what, text in row.items():
        if what in ("engine", "images", "seconds an image") or what.startswith("KID") or text == "–":
            continue
        value, _, rest = text.partition(" (")
        wanted = WANTED.get(what, "")
        if what == "change where it belongs":
            wanted = PLACE.get(name, "")
        wanted = "≤ 0.70" if name == "histology" and what.startswith("real or synthetic") else wanted
        wanted = "≥ 0.90" if what.startswith("followed by A") else wanted
        wanted = "≥ 0.80" if what.startswith("followed by B") else wanted
        wanted = "0.8 to 1.2" if what.startswith("slope") else wanted
        interval, _, more = rest.partition(")")
        value = f"{value}{more}" if more else value
        found.append({"what": what, "value": value, "interval": interval, "wanted": wanted})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(CARDS))
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--figures", type=Path, required=True)
    parser.add_argument("--networks", type=Path, required=True)
    parser.add_argument("--hours", type=float, required=True, help="of training the translator")
    options = parser.parse_args()
    about = read_json(options.bundle / "bundle.json")
    best = read_json(options.networks / "translator" / "best.json")
    model = read_json(options.networks / "model" / "about.json")
    row = json.loads(options.figures.read_text())[0]
    about["card"] = {
        **CARDS[options.name],
        "training": f"`python -m experiments.train.classifiers` (the model, the second model, and a third "
        f"that chose "
        f"the moment), `experiments.train.translator` ({best['seen'] / 1000:.0f} thousand images in "
        f"{options.hours:.1f} "
        "hours of one core), `experiments.train.bundle`.",
        "figures": figures_of(row, model["auc_val"], options.name),
    }
    write_json(options.bundle / "bundle.json", about)
    size = sum(file.stat().st_size for file in options.bundle.iterdir())
    write_atomic(options.bundle / "MODEL_CARD.md", card_text(options.name, about, size).encode())


if __name__ == "__main__":
    main()
