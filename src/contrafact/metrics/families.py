"""The family of a metric, and the limits of its evidence.

A metric class declares them in class variables:

family           metrics of one family measure nearly the same property; rankings weight families, not metrics
finds_truth      False if the exact map of a linear model does not rank first: the metric measures another
                 property (shape, stability, dependence on the weights), not the *location* of evidence
yes_or_no        True if the value is 0 or 1 for each image, so that its mean is a share of images
by_construction  True if methods satisfy the metric by construction (the search corrects the requested change
                 until it is achieved): no evidence, and excluded from cards, rankings and tables of results
"""

from __future__ import annotations

from typing import Any

WORD = "does not rank the true map first"


def family_of(metric: Any) -> str:
    """Return the family of a metric or its class, or its own name if a plug-in declares no family."""
    return str(getattr(metric, "family", "") or getattr(metric, "__name__", type(metric).__name__))


def finds_truth(metric: Any) -> bool:
    """Whether a metric ranks the exact map of a linear model first."""
    return bool(getattr(metric, "finds_truth", True))


def by_construction(metric: Any) -> bool:
    """Whether methods satisfy a metric by construction."""
    return bool(getattr(metric, "by_construction", False))


def is_yes_or_no(metric: Any) -> bool:
    """Whether a metric is 0 or 1 for each image."""
    return bool(getattr(metric, "yes_or_no", False))
