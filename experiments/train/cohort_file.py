"""Write the training part of a cohort as a cohort file, which `contrafact fit` reads.

    python -m experiments.train.cohort_file chest DATA/chestxray_pneumonia_224 runs/chest/train.csv

The brain slices are grey pictures stored as colour, some with traces of it; they are written beside the list as
grey ones.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from PIL import Image

from experiments.data import load


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    words = parser.parse_args()
    name, root, out = words.name, words.data, words.out
    fit = load(name, root, "train", side=64)
    out.parent.mkdir(parents=True, exist_ok=True)
    paths = [path.resolve() for path in fit.paths]
    if name == "brain":
        paths = [
            grey(path, out.parent / "images" / f"{who}.png")
            for path, who in zip(paths, fit.patients, strict=True)
        ]
    with out.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "patient", "label"])
        for path, patient, label in zip(paths, fit.patients, fit.labels, strict=True):
            table.writerow([path, patient, fit.classes[int(label)]])


def grey(path: Path, target: Path) -> Path:
    """The picture in one channel, written as `target`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(path) as picture:
        picture.convert("L").save(target)
    return target.resolve()


if __name__ == "__main__":
    main()
