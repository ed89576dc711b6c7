"""The nearest real cases of a result, for pages and reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contrafact.core import Grid
from contrafact.render.figures import aspect_of

HEADING = "Real cases on the other side of the decision"


def nearest_about(row: Mapping[str, Any], arrays: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the data of the nearest real cases of a row; None for a row without."""
    near = row.get("nearest")
    if not near:
        return None
    cases = []
    for number, one in enumerate(near["cases"]):
        name = f"nearest_{number:03d}"
        grid = Grid(arrays[name].shape[1:], affine=arrays[f"{name}_affine"])
        shown = {"array": name, "name": one["name"], "answer": one["answer"], "label": one["label"]}
        cases.append({**shown, "place": place_words(one), "window": one["window"], "aspect": aspect_of(grid)})
    target = str(row["record"]["target"])
    return {"heading": HEADING, "words": near["words"], "target": target, "cases": cases}


def place_words(one: Mapping[str, Any]) -> list[str]:
    """Return the distance of a real case, and what it means, as sentences."""
    lines = [f"distance {one['distance']:.2f}"]
    if one["nearer"] is not None:
        lines.append(f"{100 * one['nearer']:.0f} % of the cases on the image's own side are nearer")
    if one["other_rank"] is not None:
        lines.append(f"place {one['other_rank']} by the independent network")
    return lines
