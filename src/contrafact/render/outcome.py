"""Outcome of a counterfactual as text: heading, tone, levels before and after, kind of every frame."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from contrafact.core.results import PLACES_WITH_ODDS, answering, decides
from contrafact.render.text import REASONS

Row = Mapping[str, Any]
ORIGINAL, SYNTHETIC = "original", "synthetic"
NOTHING_FOUND = {
    "budget": "No counterfactual was found: the goal lies beyond the plausibility budget",
    "search": "No counterfactual was found: the search came to its end before the goal",
    "no_change": "No counterfactual was found: the prediction does not respond to this change",
}
SHORT = {
    "reached": "reached",
    "already": "met before",
    "budget": "not found",
    "search": "not found",
    "no_change": "not found",
    "steps": "fixed steps",
}
SHORT_MISSED = "flips, goal not reached"
NOT_ASKED = "Not checked by a second model."
CONFIRMED = "Confirmed by a second model."
NOT_CONFIRMED = "Not confirmed by a second model."
ALONE = "A second model does not follow: this model may read something that has nothing to do with the finding."
NOTHING = "Nothing was found that changes the prediction."
PARTLY = "The prediction flips, but the goal was not reached."
NO_FLIP = "Evaluated by a second model; there is no flip to confirm."
UNITS = {
    "class": "logits",
    "margin": "logits",
    "probability": "probability",
    "grade": "grades",
    "volume": "voxels",
    "dice": "Dice",
    "value": "units of the model's output",
}


def in_odds(target: str) -> bool:
    """Return whether scores of this target are logits with a probability; of a place in a segmenter's
    prediction it is that of the mean log-odds there."""
    return decides(target)


def kind_of(target: str) -> str:
    """Return the kind of a target, the part before the colon: class, margin, grade, region, …"""
    return target.split(":")[0]


def unit_of(target: str) -> str:
    """Return the unit of a target's scores."""
    kind = kind_of(target)
    return "logits" if kind in (*PLACES_WITH_ODDS, "boundary") else UNITS.get(kind, "units of the target")


def probability_of(target: str, score: float) -> float | None:
    """Return the probability of a score, 0 to 1; None where the target has none."""
    if in_odds(target):
        return 1 / (1 + math.exp(-max(-60.0, min(60.0, score))))
    return score if kind_of(target) == "probability" else None


def level(target: str, score: float, *, unit: bool = True) -> str:
    """Return a score as text: `83 %`, or a number with its unit."""
    share = probability_of(target, score)
    if share is not None:
        return _percent(share)
    words = f"{score:.2f}" if abs(score) < 1000 else f"{score:.4g}"
    return f"{words} {unit_of(target)}" if unit else words


def before_after(row: Row) -> str:
    """Return `10 % → 90 %`, or `1.20 → 2.85 grades` for a target without probability."""
    target, scores = str(row["record"]["target"]), row["scores"]
    first, last = scores[int(row["origin"])], scores[last_frame(row)]
    return f"{level(target, first, unit=False)} → {level(target, last)}"


def short(row: Row) -> str:
    """Return the outcome for a table, as `KL 2-4: 10 % → 90 %, reached`."""
    stopped, name = str(row["outcome"]), str(row.get("target_name") or row["record"]["target"])
    levels = _now(row) if stopped == "already" else before_after(row)
    return f"{name}: {levels}, {SHORT_MISSED if misses(row) else SHORT.get(stopped, stopped)}"


def misses(row: Row) -> bool:
    """Return whether the prediction flips although the search did not reach its goal."""
    return str(row["outcome"]) in NOTHING_FOUND and bool(flips(row))


def found(row: Row) -> bool:
    """Return whether the row is a counterfactual that reached its goal, or that flips by fixed steps."""
    if row.get("picture"):
        return False
    return bool(row["outcome"] == "reached" or (row["outcome"] == "steps" and flips(row)))


def sentence(row: Row, half: float) -> str:
    """Return what a found counterfactual shows, in plain sentences; `half` is the share of the image that holds
    half of the change."""
    name, second = str(row.get("target_name") or row["record"]["target"]), second_words(row)
    words = f"Prediction {name}: {before_after(row)}, {second[0].lower()}{second[1:]}"
    words += f" Half of the change lies in {_percent(half)} of the image{_main_place(row)}."
    if (part := part_of(row)) and not isinstance(row.get("box"), Mapping):  # a box has words of its own
        words += f" Only {part} was allowed to change."
    if row["above_tolerance"]:
        words += " Generating this image without a change moves the prediction: do not rely on it."
    return words


def _main_place(row: Row) -> str:
    """Return the marked region with the most of the change, as ", mainly the joint (61 % of the change)"; empty
    where no region has a name."""
    places = row.get("change_places")
    known = [
        (str(name), float(share))
        for name, share in (places.items() if isinstance(places, Mapping) else ())
        if isinstance(share, (int, float)) and 0 < share <= 1
    ]
    if not known:
        return ""
    name, share = max(known, key=lambda place: place[1])
    name = name if name.startswith("the ") else f"the {name}"
    if share > 0.5:
        return f", mainly {name} ({_percent(share)} of the change)"
    return f"; {_percent(share)} of all change lies in {name}"


def ending(row: Row) -> str:
    """Return how the search ended; of one in a box that missed its goal and yet flips the prediction, both, as
    the heading does."""
    words, stopped = REASONS.get(str(row["outcome"]), str(row["outcome"])), str(row["outcome"])
    if stopped in NOTHING_FOUND and isinstance(row.get("box"), Mapping) and flips(row):
        return f"the prediction flips, but {NOTHING_FOUND[stopped].partition(': ')[2]}"
    return words


def verdict(row: Row) -> str:
    """Return what is said before all else: that a second model does not follow, or that nothing was found;
    empty for a change that was found and that no model contradicts."""
    if row.get("picture") or row["outcome"] == "already":
        return ""
    if found(row):
        return ALONE if second_words(row) == NOT_CONFIRMED else ""
    if row["outcome"] not in NOTHING_FOUND:
        return ""
    if flips(row):
        return PARTLY
    share = part_of(row)
    return f"Nothing was found in the {share} that may change." if share else NOTHING


def part_of(row: Row) -> str:
    """Return the part of the image that a result is limited to, as "6 % of the image"; empty for all of it."""
    share = (row["record"].get("details") or {}).get("region")
    return f"{_percent(share)} of the image" if share else ""


def last_frame(row: Row) -> int:
    """Return the final frame, the same as `Counterfactual.end`."""
    return answering(row["scores"], int(row["origin"]), str(row["record"]["target"]))


def display_order(row: Row) -> list[int]:
    """Return the frames in the order in which they are shown: from the image to the changed image, also where
    the search went down from an image that is stored as the last frame."""
    count, origin = len(row["requested"]), int(row["origin"])
    return list(range(count))[::-1] if 0 < origin == count - 1 else list(range(count))


def flips(row: Row) -> bool | None:
    """Return whether the prediction flips on the last frame; None for targets without a decision."""
    target, scores = str(row["record"]["target"]), row["scores"]
    ends = [probability_of(target, scores[k]) for k in (int(row["origin"]), last_frame(row))]
    if ends[0] is None or ends[1] is None:
        return None
    return (ends[0] >= 0.5) != (ends[1] >= 0.5)


def heading(row: Row) -> str:
    """Return the outcome as a heading."""
    stopped, name = str(row["outcome"]), str(row.get("target_name") or row["record"]["target"])
    if row.get("picture"):
        return f"Image that maximises the score ({row.get('label') or row['record']['method']}, {name})"
    if stopped == "already":
        return f"The prediction already met the goal: nothing was changed ({name}: {_now(row)})"
    words = f"{name}: {before_after(row)}"
    if stopped in NOTHING_FOUND:
        share = (row["record"].get("details") or {}).get("region")
        where = "" if share is None else f", within {_percent(share)} of the image"
        return f"{_nothing_found(row)}{where} ({words})"
    if stopped == "steps":
        return f"Fixed steps{', and the prediction flips' if flips(row) else ''} ({words})"
    if flips(row):
        return f"The prediction flips ({words})"
    why = "" if flips(row) is None else "; the prediction does not flip"
    return f"The goal was reached{why} ({words})"


def _nothing_found(row: Row) -> str:
    """Return that the search found nothing, and why; where a reader's box limited it, within what."""
    words, box = NOTHING_FOUND[str(row["outcome"])], row.get("box")
    if not isinstance(box, Mapping):
        return words
    limit = "with this box unchanged" if box.get("mode") == "keep" else "in this region"
    why = words.partition(": ")[2]
    return (
        f"Possible {limit} in part: the prediction flips, but {why}"
        if flips(row)
        else f"Not possible {limit}: {why}"
    )


def second_words(row: Row) -> str:
    """Return whether a second model confirms a counterfactual: that of the reliability checks, which a user may
    have named, or else the model of the bundle. Empty for a picture by activation maximisation."""
    if row.get("picture"):
        return ""
    asked = [check["passed"] for check in row.get("trust") or () if check["name"] == "second model"]
    if asked:
        said = asked[0] if flips(row) else None
        if said is None and flips(row):  # the model could not be asked
            return NOT_ASKED
    elif row.get("second") is not None:
        said = row.get("confirmed")
    else:
        return NOT_ASKED
    if said is None:
        return NO_FLIP
    return CONFIRMED if said else NOT_CONFIRMED


def tone(row: Row, *, doubtful: bool) -> str:
    """Return "good", "plain" or "warn"; only a found change that passed its checks, with a flip that a second
    model confirms, is good."""
    if doubtful:
        return "warn"
    return "good" if found(row) and second_words(row) == CONFIRMED else "plain"


def frame_kinds(row: Row) -> list[str]:
    """Return the kind of every frame, original or synthetic; frame `origin` is the image itself."""
    origin = int(row["origin"])
    drawn = bool(row.get("picture"))
    return [ORIGINAL if k == origin and not drawn else SYNTHETIC for k in range(len(row["requested"]))]


def frame_titles(row: Row) -> list[str]:
    """Return `frame_kinds` for captions; a generated original is named as such."""
    generated = bool((row.get("about") or {}).get("synthetic"))
    first = f"{ORIGINAL} (itself a synthetic image)" if generated else ORIGINAL
    return [first if kind == ORIGINAL else SYNTHETIC for kind in frame_kinds(row)]


def frame_table(row: Row) -> list[dict[str, str]]:
    """Return a table of the frames: kind, level, and changes requested and achieved in target units."""
    target, scores, steps, origin = (
        str(row["record"]["target"]),
        row["scores"],
        row["requested"],
        int(row["origin"]),
    )
    return [
        {
            "kind": kind,
            "level": level(target, scores[k], unit=False),
            "score": f"{scores[k]:+.2f}",
            "requested": f"{steps[k] - steps[origin]:+.2f}",
            "achieved": f"{scores[k] - scores[origin]:+.2f}",
            "distance": f"{row['latent_distance'][k]:.2f}" if max(row["latent_distance"]) > 0 else "–",
        }
        for k, kind in enumerate(frame_kinds(row))
    ]


def levels(row: Row) -> list[str]:
    """Return the level of every frame."""
    target: str = str(row["record"]["target"])
    scores: Sequence[float] = row["scores"]
    return [level(target, score) for score in scores]


def _now(row: Row) -> str:
    return level(str(row["record"]["target"]), row["scores"][int(row["origin"])])


def _percent(share: float) -> str:
    """Return a whole percentage; values that only round to 0 or 100 become <1 % or >99 %."""
    if 0 < share <= 0.005 or 0.995 <= share < 1:
        return "<1 %" if share < 0.5 else ">99 %"
    return f"{100 * share:.0f} %"
