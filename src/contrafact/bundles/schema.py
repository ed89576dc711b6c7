"""Validation of `bundle.json` before it is used, with one line for each error."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from contrafact.core import InputError, configure, engines, nearest

_T = TypeVar("_T")
BUILD_ERRORS = (
    TypeError,
    ValueError,
    KeyError,
    IndexError,
    AttributeError,
    RuntimeError,
    ArithmeticError,
    MemoryError,
)
ROW = {"predictor": "text", "target": "text"}
TRANSLATION = {**ROW, "number": "a number"}
CARD = {"about": "text", "data": "text", "licence": "text", "images": "text", "warning": "text"}
CROPS = ("squeeze", "center")
NETWORKS = {"translations": "translator", "directions": "generator", "findings": "generator"}  # of an engine
SHOWN = ("what", "value", "interval", "wanted", "paper")  # of a figure of a card
DIRECTION = {**ROW, "intercept": "a number", "deviation": "a number", "fit": "a table"}


def checked(about: Any, schema: int) -> Mapping[str, Any]:
    """Return the content of `bundle.json`.

    raises  InputError for a missing key, a value of another type, or an unknown predictor
    """
    if not isinstance(about, dict):
        raise InputError(f"expected a table in 'bundle.json'; got {type(about).__name__}")
    if about.get("schema") != schema:
        raise InputError(f"expected a bundle of schema {schema}; got {about.get('schema')!r:.60}")
    kinds = {"name": "text", "main": "text", "window": "a list", "predictors": "a table"}
    latent = {"generator": "a table", "directions": "a list"}
    own = {"translator": "a table", "translations": "a list"}
    _require(about, {**kinds, **(own if "translator" in about else latent)}, "bundle.json")
    kinds = {"encoder": "a table", "findings": "a list", "seconds": "a table", "card": "a table"}
    optional = {
        "family": "text",
        "translator_family": "text",
        "crop": "text",
        "engine": "text",
        "least": "a number",
        **latent,
        **kinds,
    }
    _require(about, {k: kind for k, kind in optional.items() if k in about}, "bundle.json")
    _check_choices(about)
    window = about["window"]
    if len(window) != 2 or not all(_is(limit, "a number") for limit in window) or not window[0] < window[1]:
        raise InputError(f"'window' in 'bundle.json' must be [low, high] with low < high; got {window!r:.60}")
    for key, kind in (("directions", DIRECTION), ("findings", ROW), ("translations", TRANSLATION)):
        for number, row in enumerate(about.get(key, ())):
            where = f"{key} {number} of bundle.json"
            if not isinstance(row, dict):
                raise InputError(f"expected a table as {where}; got {row!r:.60}")
            _require(row, kind, where)
            _require_predictor(row["predictor"], about["predictors"], where)
            if "by" in row:
                _require(row["by"] if isinstance(row["by"], dict) else {}, ROW, f"'by' of {where}")
                _require_predictor(row["by"]["predictor"], about["predictors"], f"'by' of {where}")
    _require_predictor(about["main"], about["predictors"], "'main' of bundle.json")
    for name in about.get("seconds", ()):
        _require_predictor(name, about["predictors"], "'seconds' of bundle.json")
    _check_card(about.get("card", {}))
    return about


def _check_choices(about: Mapping[str, Any]) -> None:
    """Raise InputError for an unknown crop or engine, an engine that the bundle lacks, and an odd `least`."""
    able = tuple(name for name, part in engines().items() if NETWORKS.get(part, "name") in about)
    for key, known in (("crop", CROPS), ("engine", able)):
        if about.get(key, known[0]) not in known:
            hint = nearest(about[key], known)
            raise InputError(
                f"'{key}' in 'bundle.json' must be one of {', '.join(known)}; got '{about[key]:.60}'{hint}"
            )
    least = about.get("least", 1)
    if least != int(least) or least < 1:
        raise InputError(f"'least' in 'bundle.json' must be a whole number above 0; got {least}")


def _check_card(card: Mapping[str, Any]) -> None:
    where = "'card' of bundle.json"
    _require(card, {key: kind for key, kind in CARD.items() if key in card}, where)
    limits = card.get("limits", [])
    _require({"limits": [limits] if _is(limits, "text") else limits}, {"limits": "a list"}, where)
    _require(card, {"figures": "a list"} if "figures" in card else {}, where)
    for number, text in enumerate(limits):
        if not _is(text, "text"):
            raise InputError(f"expected text as entry {number} of limits in {where}; got {text!r:.60}")
    for number, figure in enumerate(card.get("figures", ())):
        place = f"entry {number} of figures in {where}"
        if not isinstance(figure, dict):
            raise InputError(f"expected a table as {place}; got {figure!r:.60}")
        _require(figure, {"what": "text"}, place)
        for key in SHOWN:
            if not (_is(figure.get(key, ""), "text") or _is(figure.get(key, ""), "a number")):
                raise InputError(f"'{key}' in {place} must be text or a number; got {figure[key]!r:.60}")


def sized(cls: type[_T], about: Mapping[str, Any], key: str) -> _T:
    """Return the configuration of a network from the table `key` of `bundle.json`.

    raises  InputError for an unknown key, a value of another type, or sizes that do not fit each other
    """
    return built(lambda: configure(cls, about.get(key, {}), where=f"bundle.json: {key}"), f"'{key}'")


def built(make: Callable[[], _T], what: str) -> _T:
    """Return the result of `make`. Raise InputError, in one line, where the values of a bundle do not fit."""
    try:
        return make()
    except InputError as error:
        if "bundle.json" in str(error):
            raise
        raise InputError(f"{what} in 'bundle.json': {error}") from error
    except BUILD_ERRORS as error:
        line = " ".join(str(error).split())[:160]
        raise InputError(f"{what} in 'bundle.json' does not fit: {line or type(error).__name__}") from error


def _require(about: Mapping[str, Any], kinds: Mapping[str, str], where: str) -> None:
    """Raise InputError where a key is missing, or its value is of another type."""
    for key, kind in kinds.items():
        if key not in about:
            raise InputError(f"expected '{key}' ({kind}) in {where}; got {', '.join(map(str, about))[:200]}")
        if not _is(about[key], kind):
            raise InputError(f"'{key}' in {where} must be {kind}; got {about[key]!r:.60}")


def _is(value: Any, kind: str) -> bool:
    """Whether a value is of a type, named in words."""
    if kind == "a number":
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return isinstance(value, {"text": str, "a table": dict, "a list": list}[kind])


def _require_predictor(name: str, predictors: Mapping[str, Any], where: str) -> None:
    """Raise InputError for a name that is not among the predictors."""
    if name not in predictors:
        raise InputError(
            f"expected one of the predictors {', '.join(predictors) or '(none)'} in {where}; got "
            f"'{name}'{nearest(name, predictors)}"
        )
