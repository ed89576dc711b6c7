"""The report: one HTML file that opens offline, from any run folder."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray

from contrafact.core import InputError
from contrafact.io import Run, write_atomic
from contrafact.views.card_words import REASONS, in_odds, trust_words
from contrafact.views.charts import curve
from contrafact.views.figures import telling_slice
from contrafact.views.pictures import (
    grey,
    middle_slice,
    png_text,
    scales_by_method,
    signed_overlay,
    signed_scale,
)
from contrafact.views.study_report import study_section

IMAGES = 24  # on one page


def write_report(run: Run, path: str | Path | None = None) -> Path:
    """Write `report.html` into the run folder (or to `path`) and give its path.

    raises  InputError for a run without results
    """
    manifest, rows = run.manifest(), run.rows()
    if not rows:
        raise InputError(f"expected results in '{run.folder}'; the run is empty")
    rows, left_out = _shown(rows)
    arrays = {row["key"]: run.arrays(row) for row in rows}
    scales = _scales(rows, arrays)
    cases: dict[str, dict[str, Any]] = {}
    for row in rows:
        about_image = f"{row.get('case', row['key'])}/{row['record']['image']}/{row['record']['model']}"
        case = cases.setdefault(about_image, _case(row, arrays[row["key"]]))
        if row["kind"] == "heatmap":
            scale = scales[row["record"]["method"]]
            case["heatmaps"].append(_heatmap(row, arrays[row["key"]], scale))
        else:
            case["strips"].append(_strip(row, arrays[row["key"]]))
    page = (
        environment()
        .get_template("report.html")
        .render(
            title=manifest.get("title", run.folder.name),
            manifest=manifest,
            bundles=_bundle_cards(manifest),
            cases=list(cases.values()),
            study=study_section(run),
            left_out=left_out,
            failures=[{**f, "source": Path(str(f.get("source", ""))).name} for f in run.failures()],
            first={**rows[0]["record"], "source": Path(rows[0]["source"]).name},
        )
    )
    path = Path(path or run.folder / "report.html")
    write_atomic(path, page.encode())
    return path


def _shown(rows: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], int]:
    """The results of the first images, and how many more there are: a page of thousands does not open."""
    images = list(dict.fromkeys(row["record"]["image"] for row in rows))[:IMAGES]
    shown = [row for row in rows if row["record"]["image"] in images]
    return shown, len(rows) - len(shown)


def environment() -> jinja2.Environment:
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    return jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)


def _scales(rows: list[dict[str, Any]], arrays: Mapping[str, Any]) -> dict[str, float]:
    """One scale per method over the whole run, so that cases can be compared."""
    return scales_by_method((row, arrays[row["key"]]) for row in rows if row["kind"] == "heatmap")


def _case(row: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    image = arrays["image"]
    image = middle_slice(image) if image.ndim == 4 else image
    return {
        "name": row.get("case", row["key"]),
        "source": Path(row["source"]).name if row["source"] else "",
        "synthetic": bool(row["about"].get("synthetic")),
        "answers": row.get("answers", []),
        "factors": row["about"].get("factors", {}),
        "size": " × ".join(map(str, arrays["image"].shape[1:])),
        "image": png_text(grey(image, tuple(row["window"]))),
        "heatmaps": [],
        "strips": [],
    }


def _heatmap(row: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], scale: float) -> dict[str, Any]:
    image, values = arrays["image"], arrays["values"]
    where = ""
    if image.ndim == 4:
        at = telling_slice(values, 0)
        where = f"slice {at + 1} of {len(values)}, where it says most"
        image, values = image[:, at], values[at]
    base = (grey(image, tuple(row["window"])) * 0.75).astype(np.uint8)
    return {
        "method": row["record"]["method"],
        "target": row["record"]["target"],
        "picture": png_text(signed_overlay(base, values, scale)),
        "scale": f"{scale:.2g}",
        "where": where,
        "words": row.get("words", ""),
        "seconds": row["record"]["seconds"],
        "passes": round(row["record"]["forward_passes"]),
        "trust": trust_words(row),
    }


def _strip(row: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    frames, window = flat_frames(arrays["frames"], row["origin"]), tuple(row["window"])
    steps, scores, origin = row["steps"], row["scores"], row["origin"]
    changes = frames.mean(axis=1) - frames[origin].mean(axis=0)
    scale = max(signed_scale([changes]), 1e-6)
    odds = in_odds(row["record"]["target"])
    followup = [name for name in sorted(arrays) if name.startswith("followup")]
    return {
        "id": row["array"].removesuffix(".npz"),
        "target": row["record"]["target"],
        "method": row["record"]["method"],
        "picture": bool(row.get("picture")),
        "target_name": row.get("target_name", row["record"]["target"]),
        "unit": "logits" if odds else "units of the target",
        "frames": [png_text(grey(frame, window)) for frame in frames],
        "changes": [png_text(_change(frame, frames[origin], window, scale)) for frame in frames],
        "scale": f"{scale:.0f}",
        "steps": steps,
        "scores": scores,
        "shares": [1 / (1 + math.exp(-max(-60.0, min(60.0, s)))) for s in scores] if odds else None,
        "lengths": row["lengths"],
        "origin": origin,
        "drift": row["drift"],
        "drifted": row["drifted"],
        "stopped": row["stopped"],
        "reason": REASONS[row["stopped"]],
        "trust": trust_words(row, said=("drift", "goal")),
        "goal": row["goal"],
        "curve": curve(steps, scores, scores[origin], row["goal"]),
        "reconstruction": png_text(grey(flat_frames(arrays["reconstruction"][None], 0)[0], window)),
        "followup": [
            {"picture": png_text(grey(arrays[name], window)), **about}
            for name, about in zip(followup, row.get("followup", []), strict=True)
        ],
    }


def flat_frames(frames: NDArray[Any], origin: int) -> NDArray[Any]:
    """Frames (K, C, H, W); of volumes the slice that changes most from the image."""
    if frames.ndim == 4:
        return frames
    moved = np.abs(frames - frames[origin]).sum(axis=(0, 1))
    at = telling_slice(moved, 0) if moved.any() else frames.shape[2] // 2
    return frames[:, :, at]


def _change(
    frame: NDArray[Any], image: NDArray[Any], window: tuple[float, float], scale: float
) -> NDArray[np.uint8]:
    base = (grey(image, window) * 0.35).astype(np.uint8)
    return signed_overlay(base, (frame - image).mean(axis=0), scale, strength=0.95)


def _bundle_cards(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The measured figures of each bundle, as rows (what, figure, interval, wanted)."""
    return [
        {
            "name": card.get("name", "bundle"),
            "data": card.get("data", ""),
            "licence": card.get("licence", ""),
            "figures": card.get("figures", []),
        }
        for card in manifest.get("bundles", [])
    ]
