"""The pictures of a decision: the image, its heatmap, its counterfactual and what that changes, as PNG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contrafact.io import Run
from contrafact.render.case import grid_of, pixels
from contrafact.render.difference import difference_scale
from contrafact.render.figures import png
from contrafact.render.map_display import colour_names, display_sign
from contrafact.render.outcome import last_frame, level
from contrafact.render.pixels import grey, signed_overlay, signed_scale
from contrafact.viewer.reader_study.trials import CHANGE, IMAGE, MAP, Window, proportioned

Row = Mapping[str, Any]


def panel(run: Run, row: Row, what: int, *, window: Window | None = None, at: int | None = None) -> bytes:
    """Return a picture as PNG.

    what    IMAGE, MAP (the heatmap over the image), CHANGE (what a counterfactual changes), or a frame's number
    window  display window; None: that of the image
    at      slice of a volume; None: the middle, in every arm
    """
    arrays = run.arrays(row)
    window = window or (float(row["window"][0]), float(row["window"][1]))
    many = arrays["image"].shape[1] if arrays["image"].ndim == 4 else None
    where = {} if many is None else {"at": many // 2 if at is None else min(at, many - 1), "of": many}
    if what in (IMAGE, MAP):
        drawn = grey(pixels(run, row, "image", **where), window)
    else:
        frames = pixels(run, row, "frames", **where)
        drawn = grey(frames[int(row["origin"]) if what == CHANGE else what], window)
    if what == MAP:
        values = display_sign(row) * pixels(run, row, "values", **where)[0]
        drawn = _over(drawn, values, signed_scale([arrays["values"]]))
    if what == CHANGE:
        last = frames[last_frame(row)] - frames[int(row["origin"])]
        drawn = _over(drawn, last.mean(axis=0), difference_scale(row["window"]).value)
    return png(proportioned(drawn, grid_of(arrays, "image" if what in (IMAGE, MAP) else "frames")))


def _over(drawn: NDArray[np.uint8], values: NDArray[Any], scale: float) -> NDArray[np.uint8]:
    return signed_overlay((drawn * 0.75).astype(np.uint8), values, scale)


def slices_of(run: Run, row: Row) -> int:
    """Return the number of slices of the image; 1 for a flat one."""
    image = run.arrays(row)["image"]
    return int(image.shape[1]) if image.ndim == 4 else 1


def captions(rows: Sequence[Row], shows: Sequence[tuple[int, int]]) -> list[str]:
    """Return what each picture of a decision shows; nothing of it tells the truth."""
    return [_caption(rows[row], what) for row, what in shows]


def _caption(row: Row, what: int) -> str:
    if what == IMAGE:
        return "Image"
    if what == MAP:
        more, less = colour_names(row)
        return f"Heatmap: orange is evidence {more}, blue {less}"
    if what == CHANGE:
        return "What the counterfactual changes: orange brighter, blue darker"
    name = str(row.get("target_name") or row["record"]["target"])
    return f"Counterfactual (synthetic): {name} {level(str(row['record']['target']), row['scores'][what])}"
