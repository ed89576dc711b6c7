"""One case for the report: still pictures for print, and the viewer's arrays for the screen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

from contrafact.render.case import case_page, pixels, shrink_by, shrunk
from contrafact.render.figures import moving_slice
from contrafact.render.outcome import last_frame
from contrafact.render.pixels import grey, png_text, signed_overlay
from contrafact.render.run_index import CaseResults, RunIndex
from contrafact.report.encode_arrays import carried

SIDE = 512  # pixels of an image on the page
FRAME = 256  # pixels of a printed frame
Arrays = dict[str, NDArray[np.float32]]
Planes = dict[int, Arrays]


@dataclass(frozen=True, slots=True)
class ShownCase:
    """Data of the case page (`about`), still pictures by row number, and arrays as text."""

    about: dict[str, Any]
    stills: dict[int, dict[str, Any]]
    arrays: dict[str, dict[str, Any]]

    @property
    def size(self) -> int:
        return sum(len(one.get("data", "")) for one in self.arrays.values())


def shown_case(cohort: RunIndex, case: CaseResults) -> ShownCase:
    """Return a case with its pictures; volumes are shown by the slice with the most evidence or change."""
    about = case_page(cohort, case)
    planes: Planes = {}
    stills = {}
    for one in about["maps"]:
        planes[one["row"]] = _map_planes(cohort, one)
        stills[one["row"]] = _map_still(cohort.row(one["row"]), planes[one["row"]], one, about["image"])
    for one in about["strips"]:
        planes[one["row"]] = strip_planes(cohort, one)
        stills[one["row"]] = _strip_still(cohort.row(one["row"]), planes[one["row"]], one, about["image"])
    if about["image"]:
        _add_nearest(cohort, about, planes, stills)
        row = about["maps"][0]["row"] if about["maps"] else about["image"]["row"]
        image = planes[row].setdefault("image", _plane(cohort, row, "image", None))
        by = round(max(about["image"]["size"][-2:]) / max(image.shape[-2:]))
        about["image"] |= {"slices": 0, "shrunk": by}
        stills[-1] = {"image": picture_text(grey(image, about["image"]["window"]), about["image"])}
    return ShownCase(about, stills, _as_text(planes))


def _add_nearest(
    cohort: RunIndex, about: Mapping[str, Any], planes: Planes, stills: dict[int, dict[str, Any]]
) -> None:
    """Add the nearest real cases to the arrays and pictures of their rows; of volumes, the middle slice."""
    for near in about["nearest"]:
        row, pictures = near["row"], []
        for one in near["cases"]:
            volume = cohort.run.arrays(cohort.row(row))[one["array"]].ndim == 4
            plane = planes[row][one["array"]] = _plane(cohort, row, one["array"], 1 if volume else None, 3)
            pictures.append(picture_text(grey(shrunk(plane, FRAME), tuple(one["window"])), one))
        stills[row]["nearest"] = pictures


def _as_text(planes: Planes) -> dict[str, dict[str, Any]]:
    """Return arrays by the address that the page requests; equal arrays are stored once."""
    found: dict[str, dict[str, Any]] = {}
    seen: dict[tuple[Any, ...], str] = {}
    for row, arrays in planes.items():
        for name, values in arrays.items():
            address = f"/array/{row}/{name}"
            first = seen.setdefault((values.shape, values.tobytes()), address)
            found[address] = carried(values) if first == address else {"same": first}
    return found


def _plane(cohort: RunIndex, row: int, name: str, at: int | None, of: int | None = None) -> NDArray[np.float32]:
    values = pixels(cohort.run, cohort.row(row), name, at=at, of=of)
    return np.asarray(shrunk(values, SIDE), dtype=np.float32)


def _map_planes(cohort: RunIndex, one: dict[str, Any]) -> Arrays:
    values = cohort.run.arrays(cohort.row(one["row"]))["values"]
    at = one["slice"] if values.ndim == 3 else None
    if at is not None:
        one["where"] = f"slice {at + 1} of {len(values)}, with the most evidence"
    return {name: _plane(cohort, one["row"], name, at) for name in ("image", "values")}


def strip_planes(cohort: RunIndex, one: dict[str, Any]) -> Arrays:
    """Return the arrays of a counterfactual for the screen; of volumes, the slice with the largest change.
    `one["where"]` names it then."""
    arrays = cohort.run.arrays(cohort.row(one["row"]))
    frames, at = arrays["frames"], None
    if frames.ndim == 5:
        at = moving_slice(frames, one["origin"])
        one["where"] = f"slice {at + 1} of {frames.shape[2]}, with the largest change"
    later = sorted(name for name in arrays if name.startswith("followup"))
    names = ("frames", "reconstruction", *later)
    return {name: _plane(cohort, one["row"], name, at, frames.shape[2]) for name in names}


def _map_still(
    row: Mapping[str, Any], planes: Arrays, one: Mapping[str, Any], image: Mapping[str, Any]
) -> dict[str, Any]:
    base = (grey(planes["image"], tuple(row["window"])) * 0.75).astype(np.uint8)
    picture = picture_text(signed_overlay(base, one["sign"] * planes["values"][0], one["scale"]), image)
    return {"picture": picture, "words": str(row.get("words") or ""), "scale": f"{one['scale']:.3g}"}


def _strip_still(
    row: Mapping[str, Any], planes: Arrays, one: Mapping[str, Any], image: Mapping[str, Any]
) -> dict[str, Any]:
    window, origin = tuple(row["window"]), one["origin"]
    by = shrink_by(planes["frames"].shape[-2:], FRAME)
    small = {name: shrunk(values, by=by) for name, values in planes.items() if "followup" not in name}
    frames = small["frames"]
    change = (frames[last_frame(row)] - frames[origin]).mean(axis=0)
    base = (grey(frames[origin], window) * 0.35).astype(np.uint8)
    later = [values for name, values in planes.items() if "followup" in name]
    return {
        "frames": [picture_text(grey(frame, window), one) for frame in frames],
        "change": picture_text(signed_overlay(base, change, one["difference"]["scale"], strength=0.95), one),
        "reconstruction": picture_text(grey(small["reconstruction"], window), one),
        "followup": [picture_text(grey(values, window), image) for values in later],
    }


def picture_text(picture: NDArray[np.uint8], shown: Mapping[str, Any]) -> str:
    """Return a picture in true proportions as text; `shown` is the data of an image or counterfactual."""
    aspect = float(shown["aspect"])
    if abs(aspect - 1) > 0.01:
        height, width = picture.shape[:2]
        size = (width, round(height * aspect)) if aspect > 1 else (round(width / aspect), height)
        picture = np.asarray(Picture.fromarray(picture).resize(size, Picture.Resampling.BILINEAR))
    return png_text(picture)
