"""The values of an image or a result as one array (C, *S), with the metadata that travels with it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from contrafact.core import Counterfactual, Grid, Heatmap, Image, InputError

Shown: TypeAlias = Image | Heatmap | Counterfactual


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Voxels:
    """values (C, *S) float32 on `grid`; `about`: texts by name, such as the record in JSON."""

    values: NDArray[np.float32]
    grid: Grid
    about: dict[str, str]


def voxels_of(result: Shown, frame: int | None = None) -> Voxels:
    """Return the values of an image, a heatmap (one channel), or one frame of a counterfactual.

    frame   of a counterfactual, from 0; None: the changed image
    raises  InputError for another type, a frame that is not there, or a frame of something else
    """
    if frame is not None and not isinstance(result, Counterfactual):
        raise InputError(f"expected a counterfactual for frame {frame}; got {type(result).__name__}")
    if isinstance(result, Image):
        return Voxels(values=result.values, grid=result.grid, about={})
    if isinstance(result, Heatmap):
        return Voxels(values=result.values[None], grid=result.grid, about=_about(result.record, "heatmap"))
    if not isinstance(result, Counterfactual):
        raise InputError(f"expected an Image, a Heatmap or a Counterfactual; got {type(result).__name__}")
    number = result.end if frame is None else frame
    count = len(result.frames)
    if not 0 <= number < count:
        raise InputError(f"frame must be 0 to {count - 1}; got {number}")
    kind = "original" if number == result.origin else "synthetic, not for diagnosis"
    return Voxels(values=result.frames[number], grid=result.grid, about=_about(result.record, kind))


def _about(record: Any, kind: str) -> dict[str, str]:
    """Return the kind of the values, and how they were made; the record names the file of the image."""
    return {"contrafact": kind} | ({"contrafact_record": json.dumps(asdict(record))} if record else {})
