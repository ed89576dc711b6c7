"""A column of a cohort as subgroups: categories as they are, numbers of many values in quarters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from contrafact.render.run_index import name_order

MOST = 12  # values of a category; a column of more is a number in quarters, or no subgroup
MISSING = "not stated"


@dataclass(frozen=True, slots=True)
class Grouping:
    """The group of every value of a column, and the names of the groups in order."""

    by_value: Mapping[str, str]
    names: tuple[str, ...]

    def of(self, value: str) -> str:
        return self.by_value.get(value.strip(), MISSING)


def grouping(values: Sequence[str]) -> Grouping | str:
    """Return the groups of a column, or why it is no subgroup.

    A column of 2 to 12 different values is a category. A column of more numbers is divided into four groups of
    nearly equal size.
    """
    texts = [text for text in map(str.strip, values) if text]
    different = sorted(set(texts), key=name_order)
    missing = (MISSING,) if len(texts) < len(values) and MISSING not in different else ()
    if len(different) + len(missing) < 2:
        return "one value" if different else "empty"
    if len(different) <= MOST:
        return Grouping({text: text for text in different}, (*different, *missing))
    numbers = _numbers(different)
    if numbers is None:
        return f"{len(different)} different values"
    return _quarters(dict(zip(different, numbers, strict=True)), texts, missing)


def _numbers(texts: Sequence[str]) -> list[float] | None:
    try:
        numbers = [float(text) for text in texts]
    except ValueError:
        return None
    return numbers if np.isfinite(numbers).all() else None


def _quarters(numbers: Mapping[str, float], texts: Sequence[str], missing: tuple[str, ...]) -> Grouping:
    cuts = np.quantile([numbers[text] for text in texts], (0.25, 0.5, 0.75))
    place = {text: int(np.searchsorted(cuts, number)) for text, number in numbers.items()}
    names = dict[int, str]()
    for at in sorted(set(place.values())):
        inside = sorted((text for text in numbers if place[text] == at), key=numbers.__getitem__)
        low, high = inside[0], inside[-1]  # as they are written: a date of eight digits stays one
        names[at] = low if numbers[low] == numbers[high] else f"{low} to {high}"
    return Grouping({text: names[place[text]] for text in numbers}, (*names.values(), *missing))
