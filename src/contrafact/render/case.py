"""One case for the viewer: the data of its page, and its arrays prepared for the screen."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contrafact.core import Grid, InputError
from contrafact.io import Run, stored_grid
from contrafact.io.stored_rows import check_arrays, image_files
from contrafact.render import outcome
from contrafact.render.boxes import box_about, shown_shape
from contrafact.render.charts import Curve, curve
from contrafact.render.difference import difference_scale, difference_words, half_share
from contrafact.render.figures import aspect_of, moving_slice, plane_names, png, telling_slice, turned
from contrafact.render.map_display import MapScale, colour_names, display_sign, map_flaw
from contrafact.render.nearest import nearest_about
from contrafact.render.pixels import grey, signed_scale
from contrafact.render.run_index import CaseResults, RunIndex
from contrafact.render.text import GOOD_ENDS, engine_words, few, layer_words, part_words, trust_words

CT_WINDOWS = (("lung", -600, 1500), ("soft tissue", 40, 400), ("bone", 400, 1800), ("brain", 40, 80))  # HU
LETTERS = {"axial": "RLAP", "coronal": "RLSI", "sagittal": "APSI"}  # left, right, top, bottom of a slice
SIDE = 1024  # pixels at most; larger images are shown at 1/2, 1/3, ...


def case_page(cohort: RunIndex, case: CaseResults) -> dict[str, Any]:
    """Return the data of the case page, without pixel arrays; these are requested one at a time."""
    page: dict[str, Any] = {
        "id": case.id,
        "name": case.name,
        "source": case.source,
        "model": case.model,
        "answers": few(case.answers),
        "synthetic": case.synthetic,
        "failures": list(case.failures),
        "image": None,
        "maps": [],
        "strips": [],
        "nearest": [],
        "warnings": bundle_warnings(cohort, case),
    }
    for number in (*case.maps, *case.strips):
        row = cohort.row(number)
        try:
            check_arrays(row, _arrays(cohort.run, row))
            about = _image(cohort.run, row) | {"row": number}
            one = _map(cohort, row) if row["kind"] == "heatmap" else _strip(cohort.run, row)
            near = nearest_about(row, _arrays(cohort.run, row))
        except (InputError, OSError, LookupError, TypeError, ValueError) as error:
            failure = {"method": row["record"]["method"], "target": "", "seconds": None}
            page["failures"].append({**failure, "error": f"cannot be shown: {error}"})
            continue
        page["image"] = page["image"] or about
        page["maps" if row["kind"] == "heatmap" else "strips"].append({**one, "row": number})
        page["nearest"] += [{**near, "row": number}] if near else []
    return finite(page)


def bundle_warnings(cohort: RunIndex, case: CaseResults) -> list[str]:
    """Return the key warning of each bundle that made results of the case, as its card states it."""
    used = {str(cohort.row(number)["record"].get("bundle") or "") for number in (*case.maps, *case.strips)}
    cards = [card for card in cohort.run.manifest().get("bundles") or () if isinstance(card, dict)]
    return [
        f"Bundle {card.get('name', '')}: {card['warning']}"
        for card in cards
        if card.get("warning") and str(card.get("bundle")) in used
    ]


def _image(run: Run, row: Mapping[str, Any]) -> dict[str, Any]:
    arrays = _arrays(run, row)
    image = arrays["image"]
    low, high = (float(v) for v in row["window"])
    shape = image.shape[1:]
    return {
        "channels": len(image),
        "size": shape,
        "plane": shown_shape(stored_grid(row, shape, arrays["affine"]))[-2:],
        "slices": shape[0] if len(shape) == 3 else 0,
        "shrunk": shrink_by(shape[-2:]),
        "aspect": aspect_of(Grid(shape, affine=arrays["affine"])),
        "window": [low, high],
        "range": [float(image.min()), float(image.max())],
        "presets": window_presets(row, image),
        **image_measures(stored_grid(row, shape, arrays["affine"])),
        "factors": (row.get("about") or {}).get("factors") or {},
        "spacing": spacing_words(stored_grid(row, shape, arrays["affine"])),
    }


def image_measures(grid: Grid, axis: int = 0) -> dict[str, Any]:
    """Return the letters of the sides of a plane across `axis` as shown (left, right, top, bottom; none for an
    image) and the width of the picture in mm; None where the size of a pixel is unknown."""
    if not grid.spacing_known:
        return {"letters": None, "mm": None}
    if len(grid.shape) == 2:
        return {"letters": None, "mm": grid.shape[1] * float(grid.spacing_mm[1])}
    others = [a for a in range(3) if a != axis]
    sides, shape = [float(grid.spacing_mm[a]) for a in others], tuple(grid.shape[a] for a in others)
    plane, spacing = turned(np.zeros(shape), grid, axis, sides)
    return {"letters": LETTERS[plane_names(grid)[axis]], "mm": plane.shape[1] * float(spacing[1])}


def window_presets(row: Mapping[str, Any], image: NDArray[Any]) -> list[tuple[str, float, float]]:
    """Return display windows to choose from, as (name, low, high): that of the file, those of the values, and
    for CT (by its modality, or by values as only CT has them) those of radiology."""
    low, high = (float(v) for v in row["window"])
    least, most = float(image.min()), float(image.max())
    first, last = (float(v) for v in np.percentile(image, (1, 99)))
    found = [("as stored", low, high), ("whole range", least, most), ("middle 98 % of the values", first, last)]
    modality = str((row.get("about") or {}).get("Modality") or "")
    if modality == "CT" or (not modality and least < -500 and most > 200):
        found += [(f"CT {name}", level - width / 2, level + width / 2) for name, level, width in CT_WINDOWS]
    return [preset for preset in found if preset[2] > preset[1]]


def spacing_words(grid: Grid) -> str:
    """Return the size of a pixel or voxel in mm as text, or that it is unknown."""
    name = "pixel" if len(grid.shape) == 2 else "voxel"
    if not grid.spacing_known:
        return f"{name} size unknown"
    return f"{name}s of {' × '.join(f'{v:.3g}' for v in grid.spacing_mm)} mm"


def holds_volumes(cohort: RunIndex, case: CaseResults) -> bool:
    """Return whether the image of the case is a volume; False if it cannot be read."""
    for number in (*case.maps, *case.strips):
        try:
            return bool(_arrays(cohort.run, cohort.row(number))["image"].ndim == 4)
        except (InputError, OSError, KeyError, ValueError):
            continue
    return False


def _map(cohort: RunIndex, row: Mapping[str, Any]) -> dict[str, Any]:
    values = _arrays(cohort.run, row)["values"]
    return map_about(row, values, cohort.map_scale(row, values))


def map_about(row: Mapping[str, Any], values: NDArray[Any], scale: MapScale) -> dict[str, Any]:
    """Return the data of a heatmap for a page; `scale` comes from `RunIndex.map_scale`."""
    orange, blue = colour_names(row)
    return {
        **_made(row),
        "scale": scale.drawn,
        "shared": scale.shared,
        "own": max(signed_scale([values]), 1e-12),
        "scale_from": [scale.seen, scale.there],
        "scale_words": scale.words,
        "sign": display_sign(row),
        "orange": orange,
        "blue": blue,
        "flaw": map_flaw(values, scale.drawn),
        "unit": outcome.unit_of(str(row["record"]["target"])),
        "levels": _levels(values),
        "slice": telling_slice(values, 0) if values.ndim == 3 else 0,
        "trust": trust_words(row),
    }


def _levels(values: NDArray[Any]) -> list[float]:
    """Return, of a volume, the value that the strongest 100, 99, ... 1 % of the map reach, so that its slices
    and its rendering have one threshold; of an image an empty list."""
    if values.ndim < 3:
        return []
    return [float(v) for v in np.percentile(np.abs(values), np.arange(100))]


def _strip(run: Run, row: Mapping[str, Any]) -> dict[str, Any]:
    arrays = _arrays(run, row)
    return strip_about(row, grid_of(arrays, "frames"), arrays["frames"])


def strip_about(row: Mapping[str, Any], grid: Grid, frames: NDArray[Any]) -> dict[str, Any]:
    """Return the data of a counterfactual for a page; `grid` is that of the frames (K, C, *S)."""
    steps, scores = row["requested"], row["scores"]
    if not np.isfinite(
        [*steps, *scores, *row["latent_distance"], row.get("goal") or 0, row["reconstruction_error"]]
    ).all():
        raise InputError("expected finite steps, scores, latent distances, goal and reconstruction error")
    target = str(row["record"]["target"])
    shares = [outcome.probability_of(target, score) for score in scores]
    plain = ["requested", "scores", "latent_distance", "origin", "goal", "reconstruction_error"]
    plain += ["above_tolerance", "outcome"]
    trust = trust_words(row, said=("drift", "goal"))
    second = outcome.second_words(row)
    bad = (
        row["above_tolerance"]
        or second == outcome.NOT_CONFIRMED
        or trust["failed"]
        or row["outcome"] not in GOOD_ENDS
    )
    return {
        **_made(row),
        **{name: row[name] for name in plain},
        "engine": engine_words(row),
        "aspect": aspect_of(grid),
        "picture": bool(row.get("picture")),
        "unit": outcome.unit_of(target),
        "shares": None if None in shares else shares,
        "heading": outcome.heading(row),
        "verdict": outcome.verdict(row),
        "second": second,
        "tone": outcome.tone(row, doubtful=bool(bad)),
        "before_after": outcome.before_after(row),
        "kinds": outcome.frame_titles(row),
        "levels": outcome.levels(row),
        "table": outcome.frame_table(row),
        "order": outcome.display_order(row),
        "end": outcome.last_frame(row),
        "telling": _telling(row, frames),
        "sentence": outcome.sentence(row, half_share(_change(row, frames))) if outcome.found(row) else "",
        "reason": outcome.ending(row),
        "doubtful": bool(bad),
        "trust": trust,
        "curve": dataclasses.asdict(_curve(row)),
        "difference": difference_about(row, frames),
        "followup": row.get("followup") or [],
        "box": box_about(row),
    }


def difference_about(row: Mapping[str, Any], frames: NDArray[Any]) -> dict[str, Any]:
    """Return the scale of the difference pictures and a description of the last frame on it."""
    scale = difference_scale(row["window"])
    last = difference_words(_change(row, frames), scale)
    return {"scale": scale.value, "words": scale.words, "last": last}


def _telling(row: Mapping[str, Any], frames: NDArray[Any]) -> float:
    """Return where the slice of a volume lies that changes most, as a share of its depth; 0.5 for an image."""
    if frames.ndim < 5:
        return 0.5
    return (moving_slice(frames, int(row["origin"])) + 0.5) / frames.shape[2]


def _change(row: Mapping[str, Any], frames: NDArray[Any]) -> NDArray[Any]:
    """Return the change from the image to the last frame, averaged over channels."""
    return np.asarray((frames[outcome.last_frame(row)] - frames[int(row["origin"])]).mean(axis=0))


def _curve(row: Mapping[str, Any]) -> Curve:
    """Return the chart of the prediction over the requested change: as probabilities where the target has them,
    else as changes of the score from the original, in units of the target."""
    origin, scores = int(row["origin"]), np.asarray(row["scores"], dtype=float)
    target, steps = str(row["record"]["target"]), np.asarray(row["requested"], dtype=float)
    moved, goal = (steps - steps[origin]).tolist(), None if row.get("goal") is None else float(row["goal"])
    if outcome.probability_of(target, scores[origin]) is not None:
        return curve(moved, scores.tolist(), scores[origin], goal, share=lambda s: _share(target, s))
    goal = None if goal is None else goal - scores[origin]
    return curve(moved, (scores - scores[origin]).tolist(), 0.0, goal)


def _share(target: str, score: float) -> float:
    return outcome.probability_of(target, score) or 0.0


def _made(row: Mapping[str, Any]) -> dict[str, Any]:
    record, strip = row["record"], row.get("kind") == "strip"
    return {
        "method": str(record["method"]),
        "label": str(row.get("label") or record["method"]),
        "target": str(record["target"]),
        "target_name": str(row.get("target_name") or record["target"]),
        "seconds": record["seconds"],
        "passes": record["forward_passes"],
        "parameters": record["parameters"],
        "layer": layer_words(record.get("details") or {}),
        "part": part_words(record.get("details") or {}, *(["nothing outside changes"] if strip else [])),
    }


def pixels(
    run: Run, row: Mapping[str, Any], name: str, *, at: int | None = None, of: int | None = None
) -> NDArray[np.float32]:
    """Return an array of a result for the screen, float32 and at most `SIDE` pixels a side.

    at     slice along the first axis of a volume, shown upright
    of     number of slices that `at` counts in; None: slices of the image. A counterfactual with fewer slices
           shows the slice at the same position.
    gives  (K, C, H, W) for frames, (C, H, W) for images, (1, H, W) for heatmaps
    """
    return shown(_arrays(run, row), name, at=at, of=of)


def shown(
    arrays: Mapping[str, NDArray[Any]], name: str, *, at: int | None = None, of: int | None = None
) -> NDArray[np.float32]:
    """Do the same as `pixels` for arrays that are already read."""
    if name not in arrays or name.endswith("affine"):
        known = ", ".join(sorted(n for n in arrays if not n.endswith("affine")))
        raise InputError(f"expected one of {known}; got '{name}'")
    values, grid = arrays[name], grid_of(arrays, name)
    if at is not None:
        of = of or arrays["image"].shape[1]
        at = (2 * at + 1) * grid.shape[0] // (2 * of)  # compares the centres of slices
    values = plane_of(values, grid, at)
    return np.ascontiguousarray(shrunk(values[None] if name == "values" else values), dtype="<f4")


def grid_of(arrays: Mapping[str, NDArray[Any]], name: str) -> Grid:
    """Return the grid of one array of a result."""
    lead = 0 if name == "values" else 2 if name == "frames" else 1
    own = "affine" if name in ("values", "image") else "strip_affine"
    own = f"{name}_affine" if f"{name}_affine" in arrays else own
    return Grid(arrays[name].shape[lead:], affine=arrays.get(own, arrays["affine"]))


def plane_of(values: NDArray[Any], grid: Grid, at: int | None = None) -> NDArray[Any]:
    """Return slice `at` of volumes (..., D, H, W), upright (None: the middle), and (..., H, W) unchanged."""
    lead = values.ndim - len(grid.shape)
    if len(grid.shape) == 2:
        return values
    at = values.shape[lead] // 2 if at is None else at
    if not 0 <= at < values.shape[lead]:
        raise InputError(f"expected a slice from 0 to {values.shape[lead] - 1}; got {at}")
    plane = np.moveaxis(values.take(at, axis=lead), (-2, -1), (0, 1))
    return np.moveaxis(turned(plane, grid, 0, grid.spacing_mm[1:])[0], (0, 1), (-2, -1))


def shrink_by(size: Sequence[int], side: int = SIDE) -> int:
    return max(1, -(-max(size) // side))


def shrunk(values: NDArray[Any], side: int = SIDE, *, by: int = 0) -> NDArray[Any]:
    """Average blocks of `by` x `by` pixels, so that the longer side is at most `side`. (..., H, W)"""
    by = by or shrink_by(values.shape[-2:], side)
    if by == 1:
        return values
    high, wide = (n // by * by for n in values.shape[-2:])
    cut = values[..., :high, :wide]
    return np.asarray(cut.reshape(*cut.shape[:-2], high // by, by, wide // by, by).mean(axis=(-3, -1)))


def thumbnail(run: Run, row: Mapping[str, Any], side: int = 96) -> bytes:
    """Return the image, or the middle slice of a volume, upright, as a small PNG."""
    arrays = run.arrays(row)
    image = plane_of(arrays["image"], grid_of(arrays, "image"))
    by = max(1, -(-max(image.shape[-2:]) // side))
    return png(grey(image[..., ::by, ::by], tuple(row["window"])))


def finite(value: Any) -> Any:
    """Make a value fit for JSON: NaN and infinity become None."""
    if isinstance(value, Mapping):
        return {str(k): finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(v) for v in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return value if isinstance(value, (str, int, bool, type(None))) else str(value)


def _arrays(run: Run, row: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Read the arrays of a result. The last few are cached, because sliders request many slices."""
    return _read(run.folder, str(row["array"]), image_files(row))


@lru_cache(maxsize=4)
def _read(folder: Path, array: str, images: tuple[tuple[str, str], ...]) -> dict[str, NDArray[Any]]:
    return Run(folder).array_file(array, images)
