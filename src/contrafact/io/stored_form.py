"""Results as the run folder stores them: fields of a line, arrays, and images apart from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contrafact.core import Counterfactual, Grid, Heatmap, Image
from contrafact.core.real_cases import NearestCases

Arrays = dict[str, NDArray[Any]]


def stored_form(
    image: Image,
    result: Heatmap | Counterfactual,
    followup: Sequence[tuple[Image, str]] = (),
    nearest: NearestCases | None = None,
    **extra: Any,
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return the line of a result without its key, and its arrays, as `Run.add` writes them."""
    arrays: dict[str, NDArray[Any]] = {"image": image.values, "affine": image.grid.affine}
    row: dict[str, Any] = {"window": list(image.window), "source": image.source}
    spacing = {} if image.grid.spacing_known else {"spacing": "unknown"}
    row |= {"about": plain_json({**image.about, **spacing}), **extra}
    if nearest is not None:
        row["nearest"] = nearest.stored(str(extra.get("target_name") or ""))
        for number, one in enumerate(nearest.cases):
            arrays |= {
                f"nearest_{number:03d}": one.image.values,
                f"nearest_{number:03d}_affine": one.image.grid.affine,
            }
    if isinstance(result, Heatmap):
        arrays["values"] = result.values
        return row | {"kind": "heatmap", "record": dataclasses.asdict(result.record)}, arrays
    arrays |= {"frames": result.frames, "reconstruction": result.reconstruction}
    arrays["strip_affine"] = result.grid.affine
    plain = ("origin", "reconstruction_error", "above_tolerance", "outcome", "goal")
    row |= {"kind": "strip", **{k: getattr(result, k) for k in plain}}
    row |= {k: getattr(result, k).tolist() for k in ("requested", "scores", "latent_distance")}
    row |= {"second": None if result.second is None else result.second.tolist(), "confirmed": result.confirmed}
    arrays |= {f"followup_{i:03d}": later.values for i, (later, _) in enumerate(followup)}
    row["followup"] = [{"name": Path(later.source).name, "answer": answer} for later, answer in followup]
    return row | {"record": dataclasses.asdict(result.record) if result.record else None}, arrays


def stored_grid(row: Mapping[str, Any], shape: Sequence[int], affine: NDArray[np.float64]) -> Grid:
    """Return the grid of an array of a row; its spacing is unknown if that of the image was."""
    grid = Grid(shape, affine=affine)
    return grid.of_unknown_spacing() if (row.get("about") or {}).get("spacing") == "unknown" else grid


def without_images(arrays: Mapping[str, NDArray[Any]]) -> tuple[Arrays, dict[str, Arrays]]:
    """Return the arrays of a result that are its own, and its images by name: each the arrays `values` and, but
    for later images of a patient, `affine`."""
    own, images = dict(arrays), dict[str, Arrays]()
    for name in arrays:
        if name == "image" or (name.startswith(("nearest_", "followup_")) and not name.endswith("_affine")):
            affine = own.pop(affine_of(name), None)
            images[name] = {"values": own.pop(name)} | ({} if affine is None else {"affine": affine})
    return own, images


def affine_of(name: str) -> str:
    """Return the name of the affine of an image among the arrays of a result."""
    return "affine" if name == "image" else f"{name}_affine"


def plain_json(value: Any) -> Any:
    """Return a value as JSON has it; what JSON has not becomes text."""
    if isinstance(value, dict):
        return {str(k): plain_json(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_json(v) for v in value]
    if isinstance(value, (np.integer, np.floating)):
        return value.item()
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
