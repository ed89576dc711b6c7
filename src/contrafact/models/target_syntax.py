"""Parse the text form of targets, as used on the command line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence

from contrafact.core import InputError, nearest
from contrafact.models.detections import BoxTarget, FoundBox, box_target
from contrafact.models.region_targets import PLACES, RegionTarget
from contrafact.models.targets import (
    AnyTarget,
    ClassTarget,
    GradeTarget,
    MarginTarget,
    ProbabilityTarget,
    RiskTarget,
    ValueTarget,
)

ParsedTarget = AnyTarget | RegionTarget | BoxTarget | FoundBox
FEW = 8  # names of classes that an error lists
FORMS = (
    "class:K",
    "margin:A,B",
    "probability:K",
    "value:K",
    "grade",
    "risk",
    "box:N",
    *(f"{p}:K" for p in PLACES),
)


def is_form(text: str) -> bool:
    """Whether a text has the form of a target, such as class:1, and is not just the name of a class."""
    word, colon, _ = text.partition(":")
    return text in ("grade", "risk") or bool(colon and any(form.startswith(f"{word}:") for form in FORMS))


def parse_target(text: str, *, kind: str, classes: Sequence[str]) -> ParsedTarget:
    """Return the target of a text: `class:1`, `class:pneumonia`, `margin:3,1`, `probability:1`, `value:0`,
    `grade` or `risk`; for a segmenter `region:2`, `lesion:2#1` (largest part), `boundary:2`, `mask:2`,
    `false-positive:2`, `missed:2` (`missed:2#1`), `volume:2`, `dice:2`, with `@0.3` or `@0.3+0.5` for
    thresholds of the probability and `,sum` for the sum over the region; for a detector `box:1`, the first box
    that is found in the image, or `box:3@10,10,60,40`, a box of label 3.

    kind     output kind of the model, one of OUTPUTS
    classes  names of its outputs; digits are an index if there is such a class, and otherwise a name
    raises   InputError for unknown forms, classes and indices, and for targets that do not fit `kind`
    """
    word, _, rest = text.partition(":")
    if word == "box" and kind == "detection":
        return box_target(text)
    if word == "box" or kind == "detection":
        raise InputError(
            f"box:1 and box:LABEL@x0,y0,x1,y1 are the targets of a detector (--output detection); got '{text}' "
            f"for a model with {kind} outputs"
        )
    makers: dict[str, Callable[[list[int]], AnyTarget]] = {
        "class": lambda at: ClassTarget(at[0], kind),
        "margin": lambda at: MarginTarget(at[0], at[1], kind),
        "probability": lambda at: ProbabilityTarget(at[0], kind),
        "value": lambda at: ValueTarget(at[0]),
        "grade": lambda _: GradeTarget(),
        "risk": lambda _: RiskTarget(),
    }
    if word in PLACES:
        return _region(text, word, rest, kind, classes)
    if word not in makers:
        near = nearest(word, [*makers, *PLACES, *classes])
        misspelt = difflib.get_close_matches(word, [*makers, *PLACES], n=1, cutoff=0.75)
        if not _named(classes) and ":" not in text and not misspelt:
            raise InputError(
                f"expected a target, such as class:1; got '{text}', and the classes of this model have no "
                f"names: name them in the order of its outputs, such as --classes other,{text} (classes= in "
                "Python)"
            )
        raise InputError(
            f"expected a target, such as class:1, or the name of a class{_few(classes)}; got '{text}'{near} "
            "(contrafact list targets prints all)"
        )
    if word == "risk" and kind != "survival":
        raise InputError(f"target 'risk' needs a survival model; got a model with {kind} outputs")
    if word == "margin" and kind == "survival":
        raise InputError(f"target '{text}' needs classes that exclude each other; got a survival model")
    if word == "grade" and kind != "ordinal":
        raise InputError(f"target 'grade' needs an ordinal model; got a model with {kind} outputs")
    if word in ("class", "margin", "probability") and kind == "regression":
        raise InputError(f"target '{text}' needs classes; got a regression model: use value:0")
    if word == "value" and kind == "ordinal":
        # K grades have K - 1 cumulative logits, which have no names of their own.
        classes = [f"above {name}" for name in classes[:-1]]
    names = [part.strip() for part in rest.split(",")] if rest else []
    wanted = {"margin": 2, "grade": 0, "risk": 0}.get(word, 1)
    if len(names) != wanted:
        raise InputError(f"target '{word}' takes {wanted} class(es); got '{text}'")
    return makers[word]([_index(name, classes) for name in names])


def _region(text: str, place: str, rest: str, kind: str, classes: Sequence[str]) -> RegionTarget:
    match = re.fullmatch(r"(?P<name>[^#@,]+)(#(?P<lesion>\d+))?(@(?P<cuts>[\d.+]+))?(?P<sum>,sum)?", rest)
    if not match or kind in ("regression", "ordinal", "survival"):
        raise InputError(
            f"target '{place}' is {place}:CLASS, with optional #PART, @THRESHOLD and ,sum, for a model "
            f"with classes; got '{text}'"
        )
    if match["lesion"] and place not in ("lesion", "missed"):
        raise InputError(f"a part (#N) belongs to lesion or missed; got '{text}'")
    try:
        cuts = tuple(float(cut) for cut in (match["cuts"] or "").split("+") if cut)
    except ValueError:
        cuts = (-1.0,)
    if not all(0 < cut < 1 for cut in cuts):
        raise InputError(f"thresholds are probabilities above 0 and below 1; got '{text}'")
    return RegionTarget(
        index=_index(match["name"].strip(), classes),
        place=place,
        kind=kind,
        lesion=int(match["lesion"]) if match["lesion"] else None,
        thresholds=cuts,
        total=bool(match["sum"]),
    )


def _named(classes: Sequence[str]) -> bool:
    """Whether classes have names other than their numbers."""
    return list(classes) != [str(number) for number in range(len(classes))]


def _few(classes: Sequence[str]) -> str:
    """Return the names of classes in brackets, the first of many."""
    shown = [*classes[:FEW], "..."] if len(classes) > FEW else classes
    return f" ({', '.join(shown)})" if classes else ""


def _index(name: str, classes: Sequence[str]) -> int:
    """Return the index of a class: the number itself if there is such a class (so that every target's text
    parses to the same target), else the index of the class with that name."""
    number = int(name) if re.fullmatch("0|-?[1-9][0-9]*", name) else None
    if number is not None and number >= 0 and (number < len(classes) or not classes):
        return number  # without names the index is checked against the outputs
    if name in classes:
        return list(classes).index(name)
    if number is None:
        raise InputError(
            f"expected the index or the name of a class{_few(classes)}; got '{name}'{nearest(name, classes)}"
        )
    raise InputError(f"class index must be 0 to {len(classes) - 1}; got {number}")
