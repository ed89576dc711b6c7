"""Test what the medXGAN paper claims on real lesions: lung nodules, against the masks of up to four readers.

    contrafact fit experiments/train/nodule_medxgan.toml
    python -m experiments.evaluate.medxgan_nodules --data ../shared/data --latent RUNS/nodule_medxgan/bundle \
        --page FILE --picture FILE

The claims: its change and latent integrated gradients localise better than Grad-CAM and integrated gradients,
and noise on the image takes less from them. Windows of val patients, one a patient, whose nodule the model
finds. A map is evaluated against the readers' consensus, on the image as it is and with noise. What becomes of
the image itself: `evaluate.engines nodule --latent FOLDER --engines "translator (default)" medXGAN`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

import contrafact as cf
from experiments.evaluate.engines import with_latent
from experiments.evaluate.latent_ig import Cases, better, localisation, measured, under_noise
from experiments.evaluate.medxgan import CHANGE, LINE, OTHERS, OURS, WHOLE
from experiments.evaluate.picture_sheet import sheet
from experiments.evaluate.real_truth import Asked, Case, cases_of, ceiling
from experiments.tables import mean, ratio

TRANSLATED = "translator, size of the change"
BOTH = "latent IG, mean with integrated-gradients"
FORMS = (CHANGE, WHOLE, LINE, BOTH, "latent IG, as published")
ENGINES = ("medXGAN", "translator")
LIMIT = 99.5  # percentile of a map that is drawn white


def cases_for(bundle: Any, found: list[Case]) -> Cases:
    """The windows, their readers' consensus, and every method."""
    ours = {name: OURS[name] for name in FORMS}
    other = {"rise": ("rise", {"masks": 600}), TRANSLATED: ("translate", {"goal": 0.1})}
    return Cases(
        "nodules",
        bundle,
        bundle.predictor,
        [case.image for case in found],
        [case.truth for case in found],
        {**OTHERS, **other, **ours},
        ("rise", WHOLE, "latent IG, as published"),
    )


def shares(scores: dict[str, NDArray[Any]], found: list[Case]) -> list[str]:
    """The IoU of every map as a share of what a reader reaches against the consensus of the others."""
    best = np.array([ceiling(case)[1, 0] for case in found])
    lines = [f"- one reader against the consensus of the others: IoU {mean(best)}"]
    return lines + [f"- {name}: {ratio(scores[name][1], best)} of that" for name in scores]


def wall(cases: Cases, path: Path, count: int = 12) -> None:
    """The first windows, one a row: the image, the consensus's outline, without the nodule by medXGAN and by
    the translator, then the maps of five methods."""
    asked = {"target": "class:1", "bundle": cases.bundle}
    rows, others = [], (LINE, "gradcam", *list(OTHERS)[1:2])
    for image, mask in zip(cases.images[:count], cases.masks[:count], strict=True):
        strips = [
            cf.explain(method, cases.predictor, image, goal=0.1, **asked) for method in ("medxgan", "translate")
        ]
        outlined = image.values[0].copy()
        outlined[binary_dilation(mask > 0) & ~(mask > 0)] = 255
        tiles = [image.values[0], outlined, *(strip.frames[strip.end][0] for strip in strips)]
        maps = [np.abs(strip.change).sum(axis=0) for strip in strips]
        maps += [cases.maps(name, [image])[0][0] for name in others]
        tiles += [np.clip(one / (np.percentile(np.abs(one), LIMIT) or 1.0), 0, 1) * 255 for one in maps]
        rows.append(tiles)
    names = ["image", "what the readers marked", *(f"without the nodule, {one}" for one in ENGINES)]
    sheet({"": rows}, [*names, *(f"change, {one}" for one in ENGINES), *others], path, made=(2, 3, 4, 5))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--latent", type=Path, required=True, help="the bundle of `nodule_medxgan.toml`")
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    bundle = with_latent(cf.load_bundle("nodule"), options.latent)
    found = cases_of(
        "windows", options.data, [Asked("classifier", bundle.predictor, "class:1")], options.images
    )
    cases = cases_for(bundle, found)
    seen = measured(cases)
    others = [name for name in seen.scores if name not in FORMS]
    text = [
        f"Windows of {len(found)} val patients.",
        "",
        localisation(seen),
        f"IoU of {CHANGE}, less that of another on the same windows:",
        "",
        better(seen, CHANGE, others),
        f"IoU of {LINE}, less that of another on the same windows:",
        "",
        better(seen, LINE, others),
        "IoU on the window with Gaussian noise less that on the window without:",
        "",
        under_noise(seen),
        *shares(seen.scores, found),
        "",
    ]
    print("\n".join(text))
    if options.page:
        options.page.write_text("\n".join(text))
    if options.picture:
        wall(cases, options.picture)


if __name__ == "__main__":
    main()
