"""Targets by text, as on the command line."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from contrafact.core import InputError, nearest
from contrafact.models.region_targets import PLACES, RegionTarget
from contrafact.models.targets import (
    AnyTarget,
    ClassTarget,
    GradeTarget,
    MarginTarget,
    ProbabilityTarget,
    ValueTarget,
)

FORMS = ("class:K", "margin:A,B", "probability:K", "value:K", "grade", *(f"{p}:K" for p in PLACES))


def is_form(text: str) -> bool:
    """Whether a text is a target's own, such as class:1, and not the bare name of a class."""
    word, colon, _ = text.partition(":")
    return text == "grade" or bool(colon and any(form.startswith(f"{word}:") for form in FORMS))


def parse_target(text: str, *, kind: str, classes: Sequence[str]) -> AnyTarget | RegionTarget:
    """`class:1`, `class:pneumonia`, `margin:3,1`, `probability:1`, `value:0` or `grade`; for a
    segmenter `region:2`, `lesion:2#1` (largest part), `boundary:2`, `mask:2`, `false-positive:2`,
    `missed:2` (`missed:2#1`), `volume:2`, `dice:2`, with `@0.3` or `@0.3+0.5` for thresholds of the
    probability and `,sum` for the sum over the place.

    kind     what the model gives, one of OUTPUTS
    classes  names of its outputs; digits are an index where there is one, and a name otherwise; an
             index outside them is refused
    """
    word, _, rest = text.partition(":")
    makers: dict[str, Callable[[list[int]], AnyTarget]] = {
        "class": lambda at: ClassTarget(at[0], kind),
        "margin": lambda at: MarginTarget(at[0], at[1], kind),
        "probability": lambda at: ProbabilityTarget(at[0], kind),
        "value": lambda at: ValueTarget(at[0]),
        "grade": lambda _: GradeTarget(),
    }
    if word in PLACES:
        return _region(text, word, rest, kind, classes)
    if word not in makers:
        near = nearest(word, [*makers, *PLACES, *classes])
        raise InputError(f"target must be {', '.join(FORMS)}, or the name of a class; got '{text}'{near}")
    if word == "grade" and kind != "ordinal":
        raise InputError(f"target 'grade' needs an ordinal model; this one gives {kind}")
    if word in ("class", "margin", "probability") and kind == "regression":
        raise InputError(f"target '{text}' needs classes; this model gives regression: use value:0")
    if word == "value" and kind == "ordinal":
        # K grades have K - 1 cumulative logits, which have no names of their own.
        classes = [f"above {name}" for name in classes[:-1]]
    names = [part.strip() for part in rest.split(",")] if rest else []
    wanted = {"margin": 2, "grade": 0}.get(word, 1)
    if len(names) != wanted:
        raise InputError(f"target '{word}' takes {wanted} class(es); got '{text}'")
    return makers[word]([_index(name, classes) for name in names])


def _region(text: str, place: str, rest: str, kind: str, classes: Sequence[str]) -> RegionTarget:
    found = re.fullmatch(r"(?P<name>[^#@,]+)(#(?P<lesion>\d+))?(@(?P<cuts>[\d.+]+))?(?P<sum>,sum)?", rest)
    if not found or kind in ("regression", "ordinal"):
        raise InputError(
            f"target '{place}' is {place}:CLASS, with #PART, @THRESHOLD and ,sum where wanted, for a model "
            f"with classes; got '{text}'"
        )
    if found["lesion"] and place not in ("lesion", "missed"):
        raise InputError(f"a part (#N) belongs to lesion or missed; got '{text}'")
    try:
        cuts = tuple(float(cut) for cut in (found["cuts"] or "").split("+") if cut)
    except ValueError:
        cuts = (-1.0,)
    if not all(0 < cut < 1 for cut in cuts):
        raise InputError(f"thresholds are probabilities above 0 and below 1; got '{text}'")
    return RegionTarget(
        index=_index(found["name"].strip(), classes),
        place=place,
        kind=kind,
        lesion=int(found["lesion"]) if found["lesion"] else None,
        thresholds=cuts,
        total=bool(found["sum"]),
    )


def _index(name: str, classes: Sequence[str]) -> int:
    """The place of a class: of digits their number where there is such a class, so that the text of every
    target reads back as the same target; else of the class with that name."""
    number = int(name) if re.fullmatch("0|-?[1-9][0-9]*", name) else None
    if number is not None and number >= 0 and (number < len(classes) or not classes):
        return number  # a model without names is checked when it answers
    if name in classes:
        return list(classes).index(name)
    if number is None:
        raise InputError(
            f"expected a class index or one of {', '.join(classes)}; got '{name}'{nearest(name, classes)}"
        )
    raise InputError(f"class index must be 0 to {len(classes) - 1}; got {number}")
