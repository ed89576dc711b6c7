"""The first screens of a five-second test: an honest model, a model with a shortcut, and no counterfactual.

    python -m experiments.evaluate.five_seconds --image KNEE.jpg --out FOLDER

Writes a run and its report for each case, and the first screen at 1280 by 900 as a reader meets it. The phantom
is that of the demo. "No counterfactual" allows changes only in a corner without the joint.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
from PIL import Image as Picture
from playwright.sync_api import sync_playwright

from contrafact import load_bundle
from contrafact.api.case import Plan, explain_case
from contrafact.cli import main as contrafact
from contrafact.io import Run
from contrafact.phantoms import draw_factors, knee_phantom
from contrafact.report.page import write_report

CASES = ("honest", "cheat", "none")
SCREEN = {"width": 1280, "height": 900}


def knee(image: Path, out: Path, *only: str) -> Path:
    """Explain a radiograph with the bundle of knees; return the report."""
    words = ["--bundle", "knee", "--target", "class:1", "--methods", "counterfactual,gradcam"]
    contrafact(["explain", str(image), *words, "--out", str(out), *only])
    return out / "report.html"


def shortcut(out: Path) -> Path:
    """Explain a phantom for the model that was trained to read the marker; return the report."""
    bundle, rng = load_bundle("phantom"), np.random.default_rng(0)
    cards = [{"name": bundle.name, **bundle.hashes, **bundle.card}]
    run = Run.create(out, about={"title": "Explanation", "bundles": cards})
    methods = ("latent-walk", "gradcam")
    plan = Plan(predictor=bundle.predictors["cheat"], methods=methods, target="class:1", bundle=bundle)
    explain_case(run, "Phantom 1", knee_phantom(draw_factors(rng), rng).image, plan)
    return write_report(run)


def corner(image: Path, path: Path) -> Path:
    """Write a mask of the lower left corner, a quarter of each side."""
    high, wide = np.asarray(Picture.open(image).convert("L")).shape
    mask = np.zeros((high, wide), np.uint8)
    mask[3 * high // 4 :, : wide // 4] = 255
    Picture.fromarray(mask).save(path)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, required=True, help="a knee radiograph with KL 2 to 4")
    parser.add_argument("--out", type=Path, required=True)
    words = parser.parse_args()
    words.out.mkdir(parents=True, exist_ok=True)
    mask = corner(words.image, words.out / "corner.png")
    reports = {
        "honest": knee(words.image, words.out / "honest"),
        "cheat": shortcut(words.out / "cheat"),
        "none": knee(words.image, words.out / "none", "--only", str(mask)),
    }
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        for name in CASES:
            page = chromium.new_page(viewport=SCREEN)
            page.goto(reports[name].resolve().as_uri())
            page.screenshot(path=words.out / f"{name}.png")
        chromium.close()


if __name__ == "__main__":
    main()
