"""A result in words: its reliability checks, and why a search stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

REASONS = {
    "reached": "the goal was reached with this change",
    "already": "the prediction already met the goal: nothing was changed",
    "budget": "no counterfactual was found within the plausibility budget: what is shown is the largest change "
    "allowed",
    "search": "no counterfactual was found on the latent path tried, with plausibility budget left",
    "no_change": "no counterfactual was found: the prediction does not respond to this change",
    "steps": "a fixed row of steps, without a goal",
}
GOOD_ENDS = ("reached", "steps", "already")  # no reason for a warning
# What each check asks, for the table of checks; a check that is not here stands by its name alone.
QUESTIONS = {
    "random weights": "does the map change when the network's weights are random",
    "small noise": "does the map stay when the noise is too weak to see",
    "other seeds": "does the map stay with other random numbers",
    "adds up": "do the values add up to the change of the prediction",
    "removal test": "does hiding the place it points to lower the prediction more than hiding other places of "
    "the same image: the only check that sees where",
    "image error": "how well the generator draws the image",
    "drift": "what generating the image without a change does to the prediction of the explained model",
    "drift by a second model": "the same for a model that no search has seen",
    "goal": "did the prediction reach the goal that was requested",
    "length": "how long is the change in the generator's latents",
    "second model": "does a second model follow the change",
}


def checks_of(row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The checks of a result. Where nothing was changed, nothing that a change must show was passed."""
    checks = row.get("trust") or ()
    if row.get("kind") != "strip" or row.get("stopped") != "already":
        return list(checks)
    open_ = {"passed": None, "sentence": "Not checked: nothing was changed."}
    return [{**c, **open_} if c["passed"] and c["name"] in OF_A_CHANGE else c for c in checks]


OF_A_CHANGE = ("goal", "length", "second model")


def trust_words(row: Mapping[str, Any], *, said: Sequence[str] = ()) -> dict[str, list[str]]:
    """The trust card of a result: what failed and what could not be checked as sentences, what passed by name.

    said  names of checks that stand elsewhere on the page already
    """
    card = [check for check in checks_of(row) if check["name"] not in said]
    return {
        "failed": [check["sentence"] for check in card if check["passed"] is False],
        "passed": [check["name"] for check in card if check["passed"]],
        "open": [f"{c['name']}: {c['sentence']}" for c in card if c["passed"] is None],
    }


def layer_words(details: Mapping[str, Any]) -> str:
    """Which layer a method looked into, and how coarse its map is: "layer body.7, 4 × 4 cells"; empty where it
    looked into none."""
    if not details.get("layer"):
        return ""
    return f"layer {details['layer']}, {' × '.join(map(str, details.get('cells', ())))} cells"
