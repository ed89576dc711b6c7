"""What a metric is evidence of: which family it belongs to, and what may not be read from it.

A metric class says it in class variables:

family           metrics of one family ask nearly the same, so that a ranking weighs families and not metrics
finds_truth      False where the exact map of a linear model does not come first: the metric tells something
                 else (how a map is shaped, how stable it is, whether it depends on the weights), not *where*
yes_or_no        True where it is 0 or 1 for each image, so that its mean is a share of images
by_construction  True where methods are made so that it holds (a step asked is a step measured, because the
                 search corrects itself until it is): no evidence, and in no card, ranking or table of results
"""

from __future__ import annotations

from typing import Any

WORD = "does not see the truth"


def family_of(metric: Any) -> str:
    """The family of a metric or of its class; its own name where a plug-in says none."""
    return str(getattr(metric, "family", "") or getattr(metric, "__name__", type(metric).__name__))


def finds_truth(metric: Any) -> bool:
    """Whether the exact map of a linear model comes first by it."""
    return bool(getattr(metric, "finds_truth", True))


def by_construction(metric: Any) -> bool:
    """Whether methods are made so that it holds."""
    return bool(getattr(metric, "by_construction", False))


def is_yes_or_no(metric: Any) -> bool:
    """Whether it is 0 or 1 for each image."""
    return bool(getattr(metric, "yes_or_no", False))
