"""Trials of a reader study: sampled from a run, balanced, in random order, without hints to the true answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

from contrafact.core import Grid, InputError, nearest
from contrafact.io import Run
from contrafact.render.case import grid_of, pixels
from contrafact.render.figures import aspect_of, png, telling_slice
from contrafact.render.map_display import display_sign, finding_of
from contrafact.render.pixels import grey

TASKS = ("real", "worse")
CHOICES = {"real": ("real", "synthetic"), "worse": ("left", "right"), "decide": ("no", "yes")}
IMAGE, MAP, CHANGE = -1, -2, -3  # pictures of a row that are no frame
Window = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial. `shows` lists pictures as (row of the run, frame), with frame -1 for the image itself.

    arm, session             of a decision, see `sessions.Design`
    predicted, probability   what the model predicts for the image of a decision, and the finding's probability
    """

    task: str
    case: str
    shows: tuple[tuple[int, int], ...]
    truth: str
    arm: str = ""
    session: int = 0
    predicted: str = ""
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """Source of a trial: `first` is the real image, or the less severe image of a pair."""

    task: str
    case: str
    row: int
    first: int
    second: int


def items_of(run: Run, task: str) -> list[Item]:
    """Return the items of a task, at most one per image.

    real   the image itself, or the last frame of its counterfactual; images that are not of a patient
           (generated ones, phantoms) are left out, and `left_out` counts them
    worse  the frames of a counterfactual nearest to its image and farthest from it, both synthetic; the more
           severe one has the higher score for the finding
    raises InputError for a run without items
    """
    if task not in TASKS:
        raise InputError(f"task must be one of {', '.join(TASKS)}; got '{task}'{nearest(task, TASKS)}")
    found: dict[str, Item] = {}
    for number, row in enumerate(run.rows()):
        if row.get("kind") != "strip" or row.get("picture") or run.flaw(row) or len(row["requested"]) < 2:
            continue
        item = _real(number, row) if task == "real" else _worse(number, row)
        if item is not None:
            found.setdefault(row["record"]["image"], item)
    if not found:
        why = "counterfactuals of real images" if task == "real" else "counterfactuals with several frames"
        out = left_out(run, task)
        also = f" ({out} images are phantoms or generated, which are never shown as real)" if out else ""
        raise InputError(f"expected {why} in '{run.folder}' for the task '{task}'; the run has none{also}")
    return list(found.values())


def left_out(run: Run, task: str) -> int:
    """Return the number of images that cannot be shown as real, because they are phantoms or generated."""
    if task != "real":
        return 0
    rows = (row for row in run.rows() if row.get("kind") == "strip" and not row.get("picture"))
    return len({row["record"]["image"] for row in rows if not run.flaw(row) and not of_a_patient(row)})


def of_a_patient(row: Mapping[str, Any]) -> bool:
    """Return whether the image is of a patient: neither its marks, nor its source, nor the bundle declare it a
    phantom or generated."""
    about = row.get("about") or {}
    marks = any(about.get(name) for name in ("synthetic", "phantom", "factors")) or row.get("phantoms")
    return not marks and str(row.get("source")) not in ("synthetic", "phantom")


def question_of(row: Mapping[str, Any]) -> str:
    """Return the question about two frames, with the name of the finding."""
    kind, finding = str(row["record"]["target"]).split(":")[0], finding_of(row)
    if kind == "grade":
        return "Which of the two images shows the higher grade?"
    more = f"the higher {finding}" if kind == "value" else f"more severe {finding}"
    return f"Which of the two images shows {more}?"


def _real(number: int, row: Mapping[str, Any]) -> Item | None:
    far = _farthest(row)
    if far == row["origin"] or not of_a_patient(row):  # an unchanged frame is the image
        return None
    return Item("real", str(row.get("case") or row["key"]), number, -1, far)


def _worse(number: int, row: Mapping[str, Any]) -> Item | None:
    far, origin = _farthest(row), int(row["origin"])
    scores = [display_sign(row) * score for score in row["scores"]]
    near = origin + (1 if far > origin else -1)
    near = origin if near == far else near
    if scores[near] == scores[far]:
        return None
    better, worse = (near, far) if scores[near] < scores[far] else (far, near)
    return Item("worse", str(row.get("case") or row["key"]), number, better, worse)


def _farthest(row: Mapping[str, Any]) -> int:
    """Return the frame with the largest requested change."""
    steps = np.abs(np.array(row["requested"]) - row["requested"][row["origin"]])
    return int(steps.argmax())


def trials_for(items: Sequence[Item], reader: int, *, seed: int, judgements: int | None = None) -> list[Trial]:
    """Return the trials of one reader in random order.

    Half of the items (to within one) are shown in one version and half in the other; the next reader sees the
    opposite versions, so that two readers see both versions of every item. All readers have the same items.
    """
    lot = np.random.default_rng([seed, 0]).permutation(len(items))[:judgements]
    trials = [_trial(items[i], (place + reader) % 2 == 1) for place, i in enumerate(lot)]
    order = np.random.default_rng([seed, 1, reader]).permutation(len(trials))
    return [trials[i] for i in order]


def _trial(item: Item, turned: bool) -> Trial:
    first, second = (item.row, item.first), (item.row, item.second)
    if item.task == "real":
        return Trial("real", item.case, (second if turned else first,), "synthetic" if turned else "real")
    shows = (second, first) if turned else (first, second)
    return Trial("worse", item.case, shows, "left" if turned else "right")


def picture(run: Run, row: Mapping[str, Any], frame: int, window: Window | None = None) -> bytes:
    """Return a picture as PNG, made in the same way for real and generated images.

    window  display window; None: that of the image
    """
    arrays, at, name = run.arrays(row), None, "image" if frame < 0 else "frames"
    if arrays["image"].ndim == 4:
        moved = np.abs(arrays["frames"] - arrays["frames"][row["origin"]]).sum(axis=(0, 1))
        at = telling_slice(moved, 0)
    values = pixels(run, row, name, at=at, of=arrays["frames"].shape[2])
    drawn = grey(values if frame < 0 else values[frame], window or tuple(row["window"]))
    return png(proportioned(drawn, grid_of(arrays, name)))


def proportioned(drawn: NDArray[np.uint8], grid: Grid) -> NDArray[np.uint8]:
    """Return a picture (H, W, 3) of a plane of the grid in its true proportions."""
    aspect = aspect_of(grid)
    if abs(aspect - 1) > 0.01:  # non-square pixels
        high, wide = drawn.shape[:2]
        size = (max(1, round(wide / min(1, aspect))), max(1, round(high * max(1, aspect))))
        drawn = np.asarray(Picture.fromarray(drawn).resize(size, Picture.Resampling.BILINEAR))
    return drawn
