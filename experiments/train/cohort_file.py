"""Write the training part of a cohort as a cohort file, which `contrafact fit` reads.

    python -m experiments.train.cohort_file chest DATA/chestxray_pneumonia_224 runs/chest/train.csv

The brain slices are grey pictures stored as colour, some with traces of it; they are written beside the list as
grey ones. Windows of nodules are no files; they are written there too, enlarged to 64 pixels. `--part fit`
leaves out the patients who choose settings.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from PIL import Image
from torch import Tensor

from experiments.data import PARTS, Cohort, load


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--part", choices=PARTS, default="train")
    words = parser.parse_args()
    name, root, out = words.name, words.data, words.out
    fit = load(name, root, words.part, side=64)
    out.parent.mkdir(parents=True, exist_ok=True)
    paths = files_of(name, fit, out.parent / "images")
    with out.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "patient", "label"])
        for path, patient, label in zip(paths, fit.patients, fit.labels, strict=True):
            table.writerow([path, patient, fit.classes[int(label)]])


def files_of(name: str, cohort: Cohort, folder: Path) -> list[Path]:
    """The files of a cohort, in its order; written to `folder` where they have to be."""
    if name == "nodule":
        named = zip(cohort.images, cohort.names, strict=True)
        return [_written(one[0], folder / f"{who.replace('/', '_')}.png") for one, who in named]
    paths = [path.resolve() for path in cohort.paths]
    if name == "brain":
        named = zip(paths, cohort.patients, strict=True)
        return [grey(path, folder / f"{who}.png") for path, who in named]
    return paths


def _written(values: Tensor, target: Path) -> Path:
    """A grey picture (H, W), written as `target`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.numpy()).save(target)
    return target.resolve()


def grey(path: Path, target: Path) -> Path:
    """The picture in one channel, written as `target`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(path) as picture:
        picture.convert("L").save(target)
    return target.resolve()


if __name__ == "__main__":
    main()
