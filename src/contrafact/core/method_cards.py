"""Method cards: summary, result, cost, errors and source of a method, parsed from its docstring."""

from __future__ import annotations

import inspect
import re
from typing import Any

from contrafact.core.execution import parts_of
from contrafact.core.registry import EXPLAINERS

KEYS = ("gives", "cost", "raises")


def cards_of(explainer: Any) -> dict[str, dict[str, str]]:
    """Return the cards of a method and of the methods nested in it, by registered name.

    gives  per card: about (the first line), and gives, cost, raises, source, differs if the docstring has them
    """
    parts = [p for p in parts_of(explainer) if type(p).__doc__ and EXPLAINERS.name_of(p) in EXPLAINERS.names()]
    return {EXPLAINERS.name_of(part): card(inspect.cleandoc(type(part).__doc__ or "")) for part in parts}


def card(text: str) -> dict[str, str]:
    """Parse a docstring of the form described in docs/map.md, "Add a heatmap method"."""
    fields = {"about": text.split("\n")[0]}
    for key in KEYS:  # the key at the margin, its text on the same line and indented below
        if match := re.search(rf"^{key} +(.*(?:\n +.*)*)", text, re.MULTILINE):
            fields[key] = " ".join(match[1].split())
    if match := re.search(r"^Source:(.*?)(?:Differs:(.*?))?(?:\n\n|\Z)", text, re.MULTILINE | re.DOTALL):
        fields["source"] = " ".join(match[1].split())
        if match[2]:
            fields["differs"] = " ".join(match[2].split())
    return fields
