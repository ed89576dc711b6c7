"""A worker of the live viewer that computes nothing: answers known by construction, and every way to fail."""

from __future__ import annotations

import dataclasses
import os
import time
from typing import Any

import numpy as np

from browsing import HOSTILE, record
from contrafact.core import Counterfactual, Heatmap, InputError
from contrafact.viewer.live.tasks import LiveResult, Task

SLOW, BAD, DEAD = 7.0, 6.0, 5.0  # amounts that never end, are refused, and kill the process
NOTHING = {"slides": False, "holds": False, "latent": False}
LATENT = {"known": np.arange(3.0)}


def start(setting: Any, device: str) -> Any:
    if "broken" in setting.bundles:
        raise InputError("expected a bundle; got\nnone")
    return answer


def answer(task: Task, say: Any) -> tuple[Any, dict[str, Any]]:
    if task.kind == "about":
        return about(task), {}
    if task.kind == "find":
        for step in range(3):
            say("finding", step, 3)
            time.sleep(0.02)
        return {"reconstruction_error": 0.1}, LATENT
    if task.kind in ("move", "reach"):
        grid = task.image.grid
        values = task.image.values[None] + np.float32(task.amount) * may(task)
        arrays = {"frames": values, "strip_affine": grid.affine, "affine": grid.affine}
        held = [{"name": name, "from": 0.0, "to": 0.5} for name in task.hold]
        score = task.amount - (2 if task.kind == "move" else 1)
        found = {"score": score, "length": 1.0, "spent": task.amount > 7, "held": held}
        return {"arrays": arrays, **found}, LATENT
    say("asking", os.getpid(), None)
    if task.amount == SLOW:
        time.sleep(600)
    if task.amount == BAD:
        raise InputError("expected another\n goal; got this")
    if task.amount == DEAD:
        os._exit(3)
    extra: dict[str, Any] = {"case": task.case, "answers": ["yes"]}
    if task.box is not None:
        extra["box"] = {**task.box.stored(), "exact": True}
    cards = {task.method: {"about": "Pretends."}}
    return LiveResult(result=result(task), extra=extra, held=[], cards=cards), {}


def may(task: Task) -> Any:
    """Where the image of a task may change: 1, elsewhere 0."""
    everywhere = np.ones(task.image.grid.shape, dtype=np.float32)
    return everywhere if task.box is None else np.float32(task.box.mask(task.image.grid))


def about(task: Task) -> dict[str, Any]:
    plain = {"odds": True, "unit": "logits", "start": -2.0, "span": 8.0}
    moved: dict[str, Any] = {
        "text": "class:1",
        "name": HOSTILE,
        "strips": ["latent-walk", "medxgan"],
        "holds": [HOSTILE, "b/c"],
    }
    still = {"text": "class:0", "name": "no", "strips": [], "holds": []}
    return {
        "bundle": HOSTILE,
        "model": HOSTILE,
        "targets": [{**plain, **moved}, {**plain, **still}],
        "maps": ["gradcam", "occlusion"],
        "methods": {
            "latent-walk": {"slides": True, "holds": True, "latent": True},
            "medxgan": {"slides": False, "holds": False, "latent": True},
            "gradcam": NOTHING,
            "occlusion": NOTHING,
        },
        "why_not": "",
        "case": task.case,
    }


def result(task: Task) -> Any:
    made = dataclasses.replace(record(task.method, task.image.digest), model=task.model, target=task.target)
    image = task.image
    if task.method not in ("latent-walk", "medxgan"):
        return Heatmap(values=image.values[0], grid=image.grid, record=made)
    made = dataclasses.replace(made, parameters={"amount": task.amount, "hold": list(task.hold)})
    steps = np.linspace(0, task.amount, 5)
    answered = {"outcome": "steps", "goal": None}
    if task.box is not None:
        made = dataclasses.replace(made, details={"region": float(may(task).mean())})
        found = task.box.columns[1] > task.box.columns[0]  # a box of one column is too small for this worker
        answered = {"outcome": "reached" if found else "no_change", "goal": task.amount}
    return Counterfactual(
        frames=np.stack([image.values + np.float32(step) * may(task) for step in steps]),
        requested=steps,
        scores=steps - 2,
        latent_distance=np.abs(steps) / 4,
        origin=0,
        reconstruction_error=0.1,
        above_tolerance=False,
        **answered,
        reconstruction=image.values,
        grid=image.grid,
        record=made,
    )
