"""One result in one file: arrays and record as NPZ, without any pickle."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from contrafact.core.errors import InputError
from contrafact.core.grid import Grid

KINDS = {"heatmap": ("values",), "strip": ("frames", "steps", "scores", "lengths", "reconstruction")}
OPTIONAL = ("second",)  # of strips: an array where there is one
PLAIN = ("origin", "drift", "drifted", "stopped", "goal")


def save_result(result: Any, path: str | Path, kind: str) -> Path:
    """Write a `Heatmap` or `Counterfactual` with its grid and record; `read_result` gives the same back.

    raises  InputError for a name that does not end in .npz
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise InputError(
            f"a result is saved as .npz; got '{path.name}': for NIfTI and pictures write a run and use "
            "`contrafact export`"
        )
    record = None if result.record is None else dataclasses.asdict(result.record)
    about = {"kind": kind, "record": record}
    if kind == "strip":
        about |= {name: getattr(result, name) for name in PLAIN}
    arrays: Any = {name: np.asarray(getattr(result, name)) for name in KINDS[kind]}
    arrays |= {name: found for name in OPTIONAL if (found := getattr(result, name, None)) is not None}
    with path.open("wb") as file:
        np.savez_compressed(file, about=np.array(json.dumps(about)), affine=result.grid.affine, **arrays)
    return path


def read_result(path: str | Path) -> Any:
    """A `Heatmap` or `Counterfactual` that `save` wrote.

    raises  InputError for a missing file, or one that holds something else
    """
    from contrafact.core.results import Counterfactual, Heatmap, Record

    path = Path(path)
    if not path.exists():
        raise InputError(f"expected a saved result; got '{path}', which does not exist")
    try:
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            arrays = {name: file[name] for name in KINDS[about["kind"]]}
            arrays |= {name: file[name] for name in OPTIONAL if name in file}
            affine = file["affine"]
    except (ValueError, OSError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"'{path.name}' is not a result that `save` wrote ({type(error).__name__})") from error
    record: Any = None if about["record"] is None else Record(**about["record"])
    if about["kind"] == "heatmap":
        return Heatmap(values=arrays["values"], grid=Grid(arrays["values"].shape, affine=affine), record=record)
    grid = Grid(arrays["frames"].shape[2:], affine=affine)
    return Counterfactual(grid=grid, record=record, **arrays, **{name: about[name] for name in PLAIN})
