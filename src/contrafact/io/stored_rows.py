"""Rows of a run folder that was damaged or written by others: which field or array makes one unreadable."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contrafact.core import InputError

Row = Mapping[str, Any]
Check = Callable[[Any], bool]


def is_number(value: Any) -> bool:
    """Whether a value is a finite number."""
    if type(value) is float:
        return math.isfinite(value)
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number that no float holds
        return False


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _table(value: Any) -> bool:
    return isinstance(value, dict)


def _numbers(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(map(is_number, value))


def _values(value: Any) -> bool:
    """Whether a value is a list of numbers, which need not be finite: another model's scores."""
    return isinstance(value, list) and all(isinstance(one, float) or is_number(one) for one in value)


def _checks(value: Any) -> bool:
    """Whether a value is a list of reliability checks."""
    return isinstance(value, list) and all(
        isinstance(check, dict)
        and _text(check.get("name"))
        and "passed" in check
        and isinstance(check["passed"], (bool, type(None)))
        and _text(check.get("sentence", ""))
        and (check.get("value") is None or is_number(check["value"]))
        for check in value
    )


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_text, value))


def _window(value: Any) -> bool:
    return _numbers(value) and len(value) == 2


def _later(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(one, dict) and {"name", "answer"} <= one.keys() for one in value
    )


def _images(value: Any) -> bool:
    """Whether a value names files of images."""
    return isinstance(value, dict) and all(map(_text, value.values()))


def _nearest(value: Any) -> bool:
    """Whether a value is what `NearestCases.stored` gives."""
    return (
        isinstance(value, dict)
        and _text(value.get("words"))
        and isinstance(value.get("cases"), list)
        and all(map(_real_case, value["cases"]))
    )


def _real_case(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and all(_text(value.get(name)) for name in ("name", "label", "answer"))
        and is_number(value.get("distance"))
        and all(value.get(name) is None or is_number(value[name]) for name in ("nearer", "other_rank"))
        and _window(value.get("window"))
    )


ALWAYS: dict[str, Check] = {"array": _text, "window": _window, "record": _table}
OF_A_RECORD: dict[str, Check] = dict.fromkeys(("method", "model", "image", "target"), _text) | {
    "seconds": is_number,
    "forward_passes": is_number,
    "parameters": _table,
    "versions": _table,
    "seed": is_number,
    "notes": _table,
}
OPTIONAL_OF_A_RECORD: dict[str, Check] = {"details": _table, "bundle": _text, "generator": _text}
OF_A_STRIP: dict[str, Check] = {
    "requested": _numbers,
    "scores": _numbers,
    "latent_distance": _numbers,
    "origin": lambda value: isinstance(value, int),
    "reconstruction_error": lambda value: isinstance(value, float) or is_number(value),  # NaN where unknown
    "above_tolerance": lambda value: isinstance(value, bool),
    "outcome": _text,
}
# Fields that a row may lack, and that may be null.
OPTIONAL: dict[str, Check] = {
    "about": _table,
    "images": _images,
    "trust": _checks,
    "answers": _texts,
    "source": _text,
    "followup": _later,
    "nearest": _nearest,
    "goal": is_number,
    "second": _values,
}
PLAIN: dict[Check, type] = {_text: str, _table: dict}


def _typed(checks: dict[str, Check]) -> list[tuple[str, type | None, Check]]:
    """Return each check with a type whose values pass it, which spares its call in most rows."""
    return [(name, PLAIN.get(check), check) for name, check in checks.items()]


WANTED = {
    "heatmap": _typed(ALWAYS),
    "strip": _typed(ALWAYS | OF_A_STRIP),
    "record": _typed(OF_A_RECORD),
}
MAY_HAVE = _typed(OPTIONAL)
ARRAYS = {
    "heatmap": ("image", "affine", "values"),
    "strip": ("image", "affine", "frames", "reconstruction", "strip_affine"),
}


def row_flaw(row: Row) -> str:
    """Return which field makes a row of `results.jsonl` unreadable; empty for a row that is whole."""
    if not isinstance(row.get("kind"), str) or row["kind"] not in ARRAYS:
        return _said("kind", row)
    for name, plain, check in WANTED[row["kind"]]:
        value = row.get(name)
        if type(value) is not plain and not check(value):
            return _said(name, row)
    for name, plain, check in MAY_HAVE:
        value = row.get(name)
        if value is not None and type(value) is not plain and not check(value):
            return _said(name, row)
    record = row["record"]
    for name, plain, check in WANTED["record"]:
        value = record.get(name)
        if type(value) is not plain and not check(value):
            return _said(f"record.{name}", row)
    for name, check in OPTIONAL_OF_A_RECORD.items():
        if record.get(name) is not None and not check(record[name]):
            return _said(f"record.{name}", row)
    return _frames_flaw(row) if row["kind"] == "strip" else ""


def image_files(row: Row) -> tuple[tuple[str, str], ...]:
    """Return the images that a row names, as (array, file); empty for a row of schema 1."""
    return tuple((row.get("images") or {}).items())


def _frames_flaw(row: Row) -> str:
    count = len(row["requested"])
    for name in ("scores", "latent_distance", "second"):
        if row.get(name) is not None and len(row[name]) != count:
            return f"'{name}' has {len(row[name])} values for {count} frames"
    return "" if 0 <= row["origin"] < count else f"'origin' is frame {row['origin']} of {count}"


def _said(name: str, row: Row) -> str:
    value: Any = row
    for part in name.split("."):
        if part not in value:
            return f"the field '{name}' is missing"
        value = value[part]
    return f"the field '{name}' is damaged"


def check_arrays(row: Row, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Raise InputError where the arrays of a row are not those of a result of its kind."""
    flaw = _arrays_flaw(row, arrays)
    if flaw:
        raise InputError(f"'arrays/{row['array']}' of the run is unreadable: {flaw}")


def _arrays_flaw(row: Row, arrays: Mapping[str, NDArray[Any]]) -> str:
    later = [f"followup_{number:03d}" for number in range(len(row.get("followup") or ()))]
    for number in range(len((row.get("nearest") or {}).get("cases", ()))):
        later += [f"nearest_{number:03d}", f"nearest_{number:03d}_affine"]
    for name in (*ARRAYS[row["kind"]], *later):
        if name not in arrays:
            return f"the array '{name}' is missing"
        if arrays[name].dtype.kind not in "fiub" or not arrays[name].size:
            return f"the array '{name}' holds no numbers"
        if "affine" in name and arrays[name].shape != (4, 4):
            return f"the array '{name}' is {_by(arrays[name].shape)}"
    planes = [name for name in later if name.startswith("nearest") and "affine" not in name]
    if any(arrays[name].ndim not in (3, 4) for name in planes):
        return "a real case is no image"
    image, main = arrays["image"], arrays["values" if row["kind"] == "heatmap" else "frames"]
    if image.ndim not in (3, 4):
        return f"the image is {_by(image.shape)}"
    if not np.isfinite(main).all():
        return "it holds NaN or infinite values"
    if row["kind"] == "heatmap" and main.shape != image.shape[1:]:
        return f"the map is {_by(main.shape)} and the image {_by(image.shape[1:])}"
    if row["kind"] == "strip" and (len(main) != len(row["scores"]) or main.ndim != image.ndim + 1):
        return f"the frames are {_by(main.shape)} for {len(row['scores'])} scores"
    return ""


def _by(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape))


def whole_failure(row: Row) -> dict[str, Any]:
    """Return a line of `failures.jsonl` with every field; a line that lacks the reason says so."""
    texts = {name: _as_text(row.get(name)) for name in ("method", "target", "source", "model_name", "trace")}
    error = _as_text(row.get("error")) or "unreadable: this line of failures.jsonl has no reason"
    seconds = row.get("seconds")
    return {**row, **texts, "error": error, "seconds": seconds if is_number(seconds) else None}


TEXTS_OF_SCORES = ("model", "image", "patient", "label", "target", "source")


def scores_readable(row: Row) -> bool:
    """Whether no field of a line of `scores.jsonl` is damaged; a study evaluates its image again where one is.
    Lines of other writers need no more than scores."""
    scores, failed, outputs = row.get("scores"), row.get("failed", []), row.get("outputs")
    return (
        all(_text(row[name]) for name in TEXTS_OF_SCORES if name in row)
        and _table(row.get("columns", {}))
        and isinstance(scores, list)
        and all(map(_score, scores))
        and isinstance(failed, list)
        and all(
            isinstance(one, dict) and _text(one.get("method")) and _text(one.get("reason")) for one in failed
        )
        and (outputs is None or _numbers(outputs))
    )


def _score(value: Any) -> bool:
    texts = isinstance(value, dict) and _text(value.get("metric")) and _text(value.get("method"))
    return texts and "value" in value and (value["value"] is None or is_number(value["value"]))


def _as_text(value: Any) -> str:
    return "" if value is None else str(value)
