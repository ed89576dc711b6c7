"""One result in one file: arrays and record as NPZ, without pickles. `read_stored` reads it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from contrafact.core.errors import InputError

KINDS = {
    "heatmap": ("values",),
    "strip": ("frames", "requested", "scores", "latent_distance", "reconstruction"),
}
OPTIONAL = ("second",)  # array of a counterfactual that may be None
PLAIN = ("origin", "reconstruction_error", "above_tolerance", "outcome", "goal")
RENAMED = {
    "steps": "requested",
    "lengths": "latent_distance",
    "drift": "reconstruction_error",
    "drifted": "above_tolerance",
    "stopped": "outcome",
}  # fields of a counterfactual in files of earlier versions


def present_names(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a counterfactual by their present names."""
    return {RENAMED.get(name, name): value for name, value in fields.items()}


def save_result(result: Any, path: str | Path, kind: str) -> Path:
    """Write a `Heatmap` or `Counterfactual` with its grid and record, for `read_result`.

    raises  InputError for a name that does not end in .npz
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise InputError(
            f"a result is saved as .npz; got '{path.name}': for NIfTI or pictures write a run and use "
            "`contrafact export`"
        )
    record = None if result.record is None else dataclasses.asdict(result.record)
    header = {"kind": kind, "record": record}
    if kind == "strip":
        header |= {name: getattr(result, name) for name in PLAIN}
    arrays: Any = {name: np.asarray(getattr(result, name)) for name in KINDS[kind]}
    arrays |= {name: array for name in OPTIONAL if (array := getattr(result, name, None)) is not None}
    with path.open("wb") as file:
        np.savez_compressed(file, about=np.array(json.dumps(header)), affine=result.grid.affine, **arrays)
    return path
