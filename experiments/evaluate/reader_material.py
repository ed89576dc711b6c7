"""Make the material of a reader study: unselected held-out images and their counterfactuals, as a run.

    python -m experiments.evaluate.reader_material knee --data ../shared/data --images 100 --out runs/read_knee
    contrafact reader-study runs/read_knee

One image a patient, half of each label, drawn from the val patients by the seed; each with the
counterfactual of the bundle's engine across the decision. Nothing is left out: an image without a
counterfactual is a failure of the run. The reader study shows, from the same run, one image at a time (real
or synthetic?) and pairs (which is more severe?). Phantoms (`phantom`, without --data) are never shown as
real: that run has pairs alone.
"""

from __future__ import annotations

import argparse
import traceback
from pathlib import Path
from typing import Any

import numpy as np

import contrafact as cf
from contrafact.api.case import Plan, explain_case
from contrafact.core import ContrafactError, Image
from contrafact.io import Run
from contrafact.phantoms import draw_factors, knee_phantom
from experiments.data import balanced, load


def images_of(
    name: str, data: Path | None, bundle: cf.Bundle, *, count: int, seed: int
) -> list[tuple[str, Image]]:
    """Held-out images by name, in random order: of a cohort's val patients, or new phantoms."""
    side = bundle.image_shape[-1]
    if data is None:
        rng = np.random.default_rng([seed, 1])
        return [
            (f"Phantom {k}", knee_phantom(draw_factors(rng), rng, side=side).image) for k in range(1, count + 1)
        ]
    cohort = balanced(load(name, data, "val", side=side), count, seed=seed)
    values = cohort.images.float().numpy()
    # The files' names hold the label of some cohorts: readers and their run know numbers.
    return [
        (f"Image {k}", Image(one, window=(0.0, 255.0), source=f"image_{k:03d}"))
        for k, one in enumerate(values, start=1)
    ]


def material(run: Run, bundle: cf.Bundle, images: list[tuple[str, Image]]) -> int:
    """Add the counterfactual of every image to a run; return the number of failures."""
    plan = Plan(predictor=bundle.predictor, methods=["counterfactual"], target="class:1", bundle=bundle)
    for name, image in images:
        try:
            explain_case(run, name, image, plan)
        except ContrafactError as error:
            told: dict[str, Any] = {"method": "counterfactual", "target": "class:1", "model_name": ""}
            run.add_failure(name, source=image.source, error=str(error), trace=traceback.format_exc(), **told)
    return len(run.failures())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="bundle, and the cohort of that name")
    parser.add_argument("--data", type=Path, help="folder of the cohorts; none: phantoms")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    bundle = cf.load_bundle(options.name)
    if options.data is None and bundle.card.get("images") != "phantoms":
        parser.error(f"expected --data with the cohort of '{options.name}'; only phantoms need none")
    images = images_of(options.name, options.data, bundle, count=options.images, seed=options.seed)
    run = Run.create(options.out, about={"title": f"Reader study: {options.name}", "seed": options.seed})
    failed = material(run, bundle, images)
    print(f"{len(run.rows())} counterfactuals, {failed} images without: contrafact reader-study {options.out}")


if __name__ == "__main__":
    main()
