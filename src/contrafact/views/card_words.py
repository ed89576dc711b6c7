"""A result in words: its trust card, and why a search stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

REASONS = {
    "reached": "the goal was reached with this change",
    "already": "the image met the goal already; nothing was changed",
    "budget": "no counterfactual within the plausibility budget: what is shown is the largest change allowed",
    "search": "the goal was not found on the way tried, with plausibility budget left",
    "no_change": "the model does not answer to this direction for this image",
    "steps": "a fixed row of steps",
}
GOOD_ENDS = ("reached", "steps", "already")


def trust_words(row: Mapping[str, Any], *, said: Sequence[str] = ()) -> dict[str, list[str]]:
    """The trust card of a result: what failed and what could not be checked as sentences, what passed by name.

    said  names of checks that stand elsewhere on the page already
    """
    card = [check for check in row.get("trust") or () if check["name"] not in said]
    return {
        "failed": [check["sentence"] for check in card if check["passed"] is False],
        "passed": [check["name"] for check in card if check["passed"]],
        "open": [f"{c['name']}: {c['sentence']}" for c in card if c["passed"] is None],
    }


def in_odds(target: str) -> bool:
    """Whether scores of this target are logits, so that they have a probability."""
    return target.split(":")[0] in ("class", "margin")
