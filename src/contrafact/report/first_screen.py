"""The first screen of the report: for each model, one counterfactual in three pictures and a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from contrafact.render import outcome
from contrafact.render.difference import OUTLINED, difference_picture, half_share
from contrafact.render.outcome import found, frame_titles, last_frame, level, part_of, sentence
from contrafact.render.pixels import grey
from contrafact.render.run_index import RunIndex
from contrafact.render.text import check_title, checks_of
from contrafact.report.case import ShownCase, picture_text, strip_planes

SIDE = 512  # least pixels of the longer side of a difference picture, for a thin outline
PLAIN = {"ends": (), "words": ""}  # of a picture without a scale


def first_screen(cohort: RunIndex, cases: Sequence[ShownCase]) -> list[dict[str, Any]]:
    """Return a row of the first screen for each model: of its first case, in the order of the run, with a
    counterfactual that was found; without one, of its first heatmap; without that, a sentence."""
    known = cohort.cases()
    by_model: dict[str, list[ShownCase]] = {}
    for case in sorted(cases, key=lambda case: known[case.about["id"]].order):
        by_model.setdefault(known[case.about["id"]].digest, []).append(case)
    rows = [_row_of(cohort, own) for own in by_model.values()]
    return [{**row, "model": row["model"] if len(rows) > 1 else ""} for row in rows]


def _row_of(cohort: RunIndex, cases: Sequence[ShownCase]) -> dict[str, Any]:
    """Return the row of one model."""
    changes = [(case, one) for case in cases for one in case.about["strips"] if not one["picture"]]
    for case, one in changes:
        if found(cohort.row(one["row"])):
            return _about(case) | _change(cohort, one)
    verdict = _verdict(cohort.row(changes[0][1]["row"]) if changes else None)
    why = _why(changes[0][1]["heading"]) if changes else "No counterfactual was computed."
    for case in cases:
        for one in case.about["maps"]:
            said = why if not changes or case is changes[0][0] else _none(changes)
            return _about(case) | _map(cohort, case, one, said) | verdict
    empty = {"sentence": why, "panels": [], "checks": ""}
    return _about(changes[0][0] if changes else cases[0]) | empty | verdict


def _none(changes: Sequence[Any]) -> str:
    count = len({case.about["id"] for case, _ in changes})
    return f"No counterfactual was found in {count} case{'' if count == 1 else 's'}."


def _about(case: ShownCase) -> dict[str, Any]:
    return {name: case.about[name] for name in ("id", "name", "model")}


def _change(cohort: RunIndex, one: Mapping[str, Any]) -> dict[str, Any]:
    """Return the sentence and the three pictures of a counterfactual."""
    row = cohort.row(one["row"])
    origin, last, target = one["origin"], last_frame(row), str(row["record"]["target"])
    frames = cohort.run.arrays(row)["frames"]
    share = half_share((frames[last] - frames[origin]).mean(axis=0))
    shown = strip_planes(cohort, {**one})["frames"]
    titles, window, scores = frame_titles(row), tuple(row["window"]), row["scores"]
    ends = [
        {
            "picture": picture_text(grey(shown[k], window), one),
            "title": titles[k],
            "level": f"{one['target_name']}: {level(target, scores[k])}",
            **PLAIN,
        }
        for k in (origin, last)
    ]
    picture, line = difference_picture(shown[origin], shown[last], window=window, side=SIDE)
    outlined = f"white line: the {100 * OUTLINED:.0f} % of the image that change most" if line else ""
    words = (one["difference"]["words"], outlined, one["difference"]["last"], one.get("where", ""))
    difference = {
        "picture": picture_text(picture, one),
        "title": "difference",
        "level": "changed image minus original",
        "ends": (f"darker: {one['difference']['scale']:.3g}", f"brighter: {one['difference']['scale']:.3g}"),
        "words": "; ".join(filter(None, words)),
    }
    about = {"tone": one["tone"], "verdict": outcome.verdict(row), "checks": _checks(row)}
    return {"sentence": sentence(row, share), "panels": [*ends, difference], **about}


def _verdict(row: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what is said first where there was no search (None), or where that of this row found nothing."""
    first = outcome.verdict(row) if row else ""
    return {"tone": "warn" if first else "plain", "verdict": first}


def _why(heading: str) -> str:
    """Return why nothing was found, as a sentence that follows the verdict."""
    why = heading.removeprefix("No counterfactual was found: ")
    return f"{why[0].upper()}{why[1:]}."


def _checks(row: Mapping[str, Any]) -> str:
    """Return the names of the checks that a result does not pass; the second model's is said elsewhere."""
    failed = [check["name"] for check in checks_of(row) if check["passed"] is False]
    return ", ".join(check_title(name) for name in failed if name != "second model")


def _map(cohort: RunIndex, case: ShownCase, one: Mapping[str, Any], why: str) -> dict[str, Any]:
    """Return the sentence and the pictures of a heatmap, where no counterfactual was found; `why` says so."""
    still = case.stills[one["row"]]
    answers = ", ".join(case.about["answers"])
    given = f"Prediction: {answers}. " if answers else ""
    row = cohort.row(one["row"])
    part = (
        f"The heatmap, by {one['label']}, shows the evidence in this part alone, and says nothing of the rest."
    )
    whole = f"The heatmap shows where the model looks, by {one['label']}."
    said = f"{why} {given}{part if part_of(row) else whole}"
    image = {
        "picture": case.stills[-1]["image"],
        "title": "synthetic" if case.about["synthetic"] else "original",
        "level": "",
        **PLAIN,
    }
    heat = {
        "picture": still["picture"],
        "title": "heatmap of a part" if part_of(row) else "heatmap",
        "level": f"{one['label']}, target {one['target_name']}",
        "ends": (f"{one['blue']}: {still['scale']}", f"{one['orange']}: {still['scale']}"),
        "words": "; ".join(
            filter(None, (one["scale_words"], one["flaw"], one["layer"], one["part"], one.get("where", "")))
        ),
    }
    return {"sentence": said, "panels": [image, heat], "checks": _checks(row)}
