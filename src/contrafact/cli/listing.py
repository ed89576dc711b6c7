"""`contrafact list`"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from cyclopts import Parameter

from contrafact.cli.progress import say

KINDS = {"heatmap": "heatmap", "strip": "counterfactual"}  # what a metric evaluates, in words
Lists = Literal["explainers", "metrics", "targets", "bundles", "formats"]
Flag = Annotated[bool, Parameter(negative="")]


def list_(what: Lists, *, json: Flag = False) -> None:
    """List the available explainers, metrics, targets, bundles or formats of models.

    Example: `contrafact list explainers --json`

    Args:
        what: explainers, metrics, targets, bundles or formats.
        json: Print names, aliases and descriptions as JSON.
    """
    lists = {"explainers": _explainers, "metrics": _metrics, "targets": targets, "bundles": _bundles}
    rows = {**lists, "formats": _formats}[what]()
    lines = [
        f"{row['name']:<22} {row['about']}"
        + (f" (also: {', '.join(row['aliases'])})" if row.get("aliases") else "")
        for row in rows
    ]
    say(rows, as_json=json, lines=lines or [f"no {what}"])


def _explainers() -> list[dict[str, Any]]:
    from contrafact.core import EXPLAINERS

    return [
        {
            "name": name,
            "aliases": list(aliases),
            "about": (EXPLAINERS.get(name).__doc__ or "").strip().splitlines()[0],
        }
        for name, aliases in EXPLAINERS.names().items()
    ]


def _metrics() -> list[dict[str, Any]]:
    from contrafact.core import METRICS

    rows: list[tuple[str, tuple[str, ...], Any]] = [
        (name, aliases, METRICS.get(name)) for name, aliases in METRICS.names().items()
    ]
    return [
        {
            "name": name,
            "aliases": list(aliases),
            "of": cls.of,
            "better": cls.better,
            "about": f"{KINDS[cls.of]}, {cls.better} is better: {(cls.__doc__ or '').strip().splitlines()[0]}",
        }
        for name, aliases, cls in rows
    ]


def targets() -> list[dict[str, Any]]:
    """Return the forms of targets with their descriptions."""
    about = {
        "class:K": "log-odds of a class, by index or name",
        "margin:A,B": "log-odds of class A against class B",
        "probability:K": "probability of a class",
        "value:K": "one raw output (regression, or a raw logit)",
        "grade": "expected grade of an ordinal model",
        "risk": "survival model: minus the expected number of intervals without an event",
        "similarity:FILE": "similarity of the outputs, an embedding, to those of a reference image",
        "box:N": "detector (--output detection): overlap times score of the N-th box that is found",
        "box:LABEL@X0,Y0,X1,Y1": "detector: the same of a box of this label, in pixels of the network's input",
        "region:K": "segmenter: mean log-odds of a class where it is predicted (@0.3: above a probability; "
        ",sum: summed)",
        "lesion:K#N": "segmenter: in the N-th largest connected component of the prediction",
        "boundary:K": "segmenter: in a band on both sides of the predicted edge",
        "mask:K": "segmenter: in the reference mask",
        "false-positive:K": "segmenter: where the class is predicted outside the reference",
        "missed:K#N": "segmenter: where the class is in the reference but not predicted (N: a whole component)",
        "volume:K": "segmenter: soft volume in voxels",
        "dice:K": "segmenter: soft Dice with the reference, or with the prediction itself",
    }
    return [{"name": name, "about": text} for name, text in about.items()]


def _formats() -> list[dict[str, Any]]:
    from contrafact.core import FORMATS

    formats: dict[str, Any] = {name: FORMATS.get(name) for name in FORMATS.names()}
    return [
        {"name": name, "reads": cls.reads, "about": f"{cls.reads}: {' '.join((cls.__doc__ or '').split())}"}
        for name, cls in formats.items()
    ]


def _bundles() -> list[dict[str, Any]]:
    from contrafact.bundles import list_bundles
    from contrafact.io import read_json

    rows: list[dict[str, Any]] = []
    for name, folder in list_bundles().items():
        card = read_json(folder / "bundle.json").get("card", {})
        rows.append({"name": name, "about": card.get("about", ""), "folder": str(folder)})
    return rows
