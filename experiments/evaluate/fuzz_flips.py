"""Change one byte of each format with a checksum, and count how often other values are read without a word.

    python -m experiments.evaluate.fuzz_flips

A byte of the text of a header has no checksum; it is not changed here.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

from contrafact.core import ContrafactError
from contrafact.io import read_image
from experiments.evaluate.fuzz_images import IMAGES

BIT = 0x10
# The file that holds the values, and what stands before them.
PACKED = {
    "png": ("a.png", b"IDAT"), "png of 16 bits": ("wide.png", b"IDAT"),
    "png with transparency": ("alpha.png", b"IDAT"), "png with a palette": ("palette.png", b"PLTE"),
    "npz": ("a.npz", b"PK"), "nifti, gzip": ("a.nii.gz", b""),
    "MetaImage, deflate": ("packed.mha", b"LOCAL\n"), "NRRD of two files": ("a.raw.gz", b""),
}  # fmt: skip


def flips(kind: str, *, most: int = 400) -> Counter[str]:
    """Return what became of reading a file of a kind with one byte changed, at up to `most` places: "refused",
    "same" or "other" values."""
    name, before = PACKED[kind]
    found = Counter[str]()
    with tempfile.TemporaryDirectory() as text, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(text)
        entry = IMAGES[kind](folder)
        truth, raw = read_image(folder / entry).values, (folder / name).read_bytes()
        start = raw.index(before)
        for at in range(start, len(raw), math.ceil((len(raw) - start) / most)):
            (folder / name).write_bytes(raw[:at] + bytes([raw[at] ^ BIT]) + raw[at + 1 :])
            try:
                found["same" if np.array_equal(read_image(folder / entry).values, truth) else "other"] += 1
            except ContrafactError:
                found["refused"] += 1
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    print("| format | bytes changed | refused | same values | other values |\n| --- | --- | --- | --- | --- |")
    for kind in PACKED:
        found = flips(kind)
        print(f"| {kind} | {found.total()} | {found['refused']} | {found['same']} | {found['other']} |")


if __name__ == "__main__":
    main()
