"""The card of a method, from its docstring: what it does, what it gives and costs, where it comes from."""

from __future__ import annotations

import inspect
import re
from typing import Any

from contrafact.core.execution import parts_of
from contrafact.core.registry import EXPLAINERS

KEYS = ("gives", "cost", "raises")


def cards_of(explainer: Any) -> dict[str, dict[str, str]]:
    """Cards of a method and of the methods inside it, by registered name.

    gives  for each: about (the first line); gives, cost, raises, source, differs where it says them
    """
    parts = [p for p in parts_of(explainer) if type(p).__doc__ and EXPLAINERS.name_of(p) in EXPLAINERS.names()]
    return {EXPLAINERS.name_of(part): card(inspect.cleandoc(type(part).__doc__ or "")) for part in parts}


def card(text: str) -> dict[str, str]:
    """What a docstring in the house's form says (docs/map.md, "Add a heatmap method")."""
    found = {"about": text.split("\n")[0]}
    for key in KEYS:  # the key at the margin, what belongs to it on the same line and indented below
        if said := re.search(rf"^{key} +(.*(?:\n +.*)*)", text, re.MULTILINE):
            found[key] = " ".join(said[1].split())
    if said := re.search(r"^Source:(.*?)(?:Differs:(.*?))?(?:\n\n|\Z)", text, re.MULTILINE | re.DOTALL):
        found["source"] = " ".join(said[1].split())
        if said[2]:
            found["differs"] = " ".join(said[2].split())
    return found
