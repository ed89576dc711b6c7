"""Text about a result: its reliability checks, and why a search stopped."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

REASONS = {
    "reached": "the goal was reached with this change",
    "already": "the prediction already met the goal: nothing was changed",
    "budget": "no counterfactual was found within the plausibility budget: the frames end at the largest "
    "change allowed",
    "search": "no counterfactual was found: the search came to its end before the goal",
    "no_change": "no counterfactual was found: the prediction does not respond to this change",
    "steps": "fixed steps, without a goal",
}
GOOD_ENDS = ("reached", "steps", "already")  # no reason for a warning
# Names of checks in a run (keys) and as they are shown.
TITLES = {
    "random weights": "model randomisation",
    "small noise": "robustness to noise",
    "other seeds": "seed stability",
    "adds up": "completeness",
    "image error": "reconstruction of the image",
    "drift": "reconstruction error",
    "drift by a second model": "reconstruction error by a second model",
    "length": "latent distance",
    "another engine": "agreement with another engine",
}
# The question of each check, by the name shown; a check that is not here has its name alone.
QUESTIONS = {
    "model randomisation": "does the map change when the network's weights are random",
    "robustness to noise": "is the map stable under invisible noise",
    "seed stability": "is the map stable under other random seeds",
    "completeness": "does the sum of the map equal the change of the prediction",
    "removal test": "does hiding the region with the most evidence lower the prediction more than hiding other "
    "regions of the image: the only check of the location",
    "reconstruction of the image": "how similar are the image and its reconstruction",
    "reconstruction error": "how much does generating the image without a change move the prediction",
    "reconstruction error by a second model": "the same for a model that the search has not used",
    "goal": "does the prediction reach the requested goal",
    "latent distance": "how far is the changed image from the original in the generator's latent space",
    "second model": "does the prediction of a second model change too",
    "agreement with another engine": "does an engine with another network change the same places",
}


MOST = 8  # answers of a model on one line
SHARE = re.compile(r".* (\d+(?:\.\d+)?) %", re.DOTALL)


def check_title(name: str) -> str:
    """Return the shown name of a check; runs store other names for some."""
    return TITLES.get(name, name)


def checks_of(row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the checks of a result. If nothing was changed, checks of the change count as not run."""
    checks = row.get("trust") or ()
    if row.get("kind") != "strip" or row.get("outcome") != "already":
        return list(checks)
    open_ = {"passed": None, "sentence": "Not checked: nothing was changed."}
    return [{**c, **open_} if c["passed"] and c["name"] in OF_A_CHANGE else c for c in checks]


OF_A_CHANGE = ("goal", "length", "second model", "another engine")


def trust_words(row: Mapping[str, Any], *, said: Sequence[str] = ()) -> dict[str, list[str]]:
    """Return the reliability checks of a result: failed and open ones as sentences, passed ones by name.

    said  names of checks that the page shows elsewhere
    """
    card = [check for check in checks_of(row) if check["name"] not in said]
    return {
        "failed": [check["sentence"] for check in card if check["passed"] is False],
        "passed": [check_title(check["name"]) for check in card if check["passed"]],
        "open": [f"{check_title(c['name'])}: {c['sentence']}" for c in card if c["passed"] is None],
    }


def engine_words(row: Mapping[str, Any]) -> str:
    """Return the method that made a counterfactual, with the result's own label where it has one: a method that
    chooses another one is named by its choice."""
    record = row.get("record") or {}
    method = str(record.get("method", ""))
    label = str(row.get("label") or method)
    engine = str((record.get("details") or {}).get("engine") or "")
    if not engine:
        return label
    return engine if label == method else f"{engine} ({label})"


def layer_words(details: Mapping[str, Any]) -> str:
    """Return the layer of a method and the resolution of its map, as "layer body.7, 4 × 4 cells"; empty if the
    method uses no layer."""
    if not details.get("layer"):
        return ""
    return f"layer {details['layer']}, {' × '.join(map(str, details.get('cells', ())))} cells"


def part_words(details: Mapping[str, Any], outside: str = "nothing outside is shown") -> str:
    """Return the share of the image that a result is limited to, and what that means outside; empty for a
    result of the whole image."""
    share = details.get("region")
    return f"limited to {100 * share:.0f} % of the image: {outside}" if share else ""


def few(answers: Sequence[str]) -> list[str]:
    """Return a model's answers for a line that is read: of more than MOST, the most probable classes, or the
    first values of an embedding, and how many others there are. The run keeps all."""
    if len(answers) <= MOST:
        return list(answers)
    shares = [float(share[1]) for share in map(SHARE.fullmatch, answers) if share]
    order = list(range(len(answers)))
    if len(shares) == len(answers):
        order.sort(key=lambda k: -shares[k])
    shown = [answers[k] for k in order[: MOST - 1]]
    return [*shown, f"and {len(answers) - len(shown)} more"]


def printable(text: str) -> str:
    """Return a text as one line in which control characters, also of the direction of writing, are escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(text.split()))
