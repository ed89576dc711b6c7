"""Read a result that `save` wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from contrafact.core.grid import Grid
from contrafact.core.limits import stored_arrays
from contrafact.core.reading import naming, reading
from contrafact.core.results import Counterfactual, Heatmap, Record
from contrafact.core.stored import KINDS, OPTIONAL, PLAIN, present_names
from contrafact.core.trust import check_file


def read_result(path: str | Path) -> Heatmap | Counterfactual:
    """Return a `Heatmap` or `Counterfactual` that `save` wrote.

    raises  InputError for a missing file, or a file of another kind
    """
    path = Path(path)
    check_file(path, "a saved result")
    with naming(path.name), reading(path, "a result that `save` wrote"):
        with stored_arrays(path) as file:
            header = present_names(json.loads(str(file["about"])))
            stored = present_names({name: file[name] for name in file if name != "about"})
            arrays = {name: stored[name] for name in KINDS[header["kind"]]}
            arrays |= {name: stored[name] for name in OPTIONAL if name in stored}
            affine = stored["affine"]
        record: Any = None if header["record"] is None else Record(**header["record"])
        if header["kind"] == "heatmap":
            grid = Grid(arrays["values"].shape, affine=affine)
            return Heatmap(values=arrays["values"], grid=grid, record=record)
        grid = Grid(arrays["frames"].shape[2:], affine=affine)
        return Counterfactual(grid=grid, record=record, **arrays, **{name: header[name] for name in PLAIN})
