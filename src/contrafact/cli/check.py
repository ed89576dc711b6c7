"""`contrafact check`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from contrafact.cli.screen import say

Flag = Annotated[bool, Parameter(negative="")]


def check(model: str, *, image: Path | None = None, bundle: str | None = None, json: Flag = False) -> None:
    """Say what can and cannot be computed for a model, and why: every method is tried once.

    Example: `contrafact check net.onnx --image knee.png`

    Parameters
    ----------
    model: A model file, or a shipped bundle by name (its predictor is checked).
    image: What to try it on; default: noise of the size the model takes.
    bundle: To try counterfactuals with.
    json: For machines.
    """
    from contrafact.bundles import list_bundles
    from contrafact.cli.asking import pick_predictor
    from contrafact.face import load_bundle

    bundle = bundle or (model if model in list_bundles() else None)
    loaded = load_bundle(bundle) if bundle else None
    predictor = pick_predictor(None if model == bundle else model, loaded)
    rows = _try_all(predictor, image, loaded)
    about = {
        "classes": list(predictor.classes),
        "output": predictor.output,
        "gradients": getattr(predictor, "differentiable", True),
        "methods": rows,
    }
    lines = [f"{len(predictor.classes)} classes ({', '.join(predictor.classes)}), gives {predictor.output}"]
    lines += [f"{r['name']:<22} {'yes' if r['works'] else 'no':<4} {r['why']}" for r in rows]
    say(about, as_json=json, lines=lines)


def _try_all(predictor: Any, path: Path | None, bundle: Any) -> list[dict[str, Any]]:
    from contrafact import face
    from contrafact.core import EXPLAINERS, ContrafactError
    from contrafact.io import read_image

    image = read_image(path) if path else _noise(predictor)
    target = face.parse(predictor, None, image)
    rows = []
    for name in EXPLAINERS.names():
        try:
            result = face.explain(_small(name), predictor, image, target=target, bundle=bundle)
        except ContrafactError as error:
            rows.append({"name": name, "works": False, "why": " ".join(str(error).split())})
            continue
        record = result.record
        why = f"{record.forward_passes:.0f} passes, {record.seconds:.2f} s an image, target {target}"
        rows.append({"name": name, "works": True, "why": why})
    return rows


# What makes a method quick: whether it works does not hang on it.
SMALL = {"samples": 4, "masks": 64, "steps": 8, "count": 2}


def _small(name: str) -> Any:
    import dataclasses

    from contrafact.core import EXPLAINERS

    fields = {field.name for field in dataclasses.fields(EXPLAINERS.get(name))}
    counts = {k: v for k, v in SMALL.items() if k in fields and name != "latent-walk"}
    return EXPLAINERS.make(name, **counts)


def _noise(predictor: Any) -> Any:
    import numpy as np

    from contrafact.core import Image

    wanted = predictor.preprocessing
    size = wanted.size or (64, 64)
    low, high = wanted.window or (0.0, 1.0)
    values = np.random.default_rng(0).uniform(low, high, (wanted.channels or 1, *size))
    return Image(values.astype(np.float32), source="noise")
