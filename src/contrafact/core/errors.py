"""The errors a user can cause or must know of. Each message says: expected, got, do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ContrafactError(Exception):
    """Anything Contrafact refuses to do or could not finish."""


class InputError(ContrafactError, ValueError):
    """The caller gave something that cannot be used; the message says what would be."""


class UnsupportedError(ContrafactError):
    """The question is sound, but this model or this machine cannot answer it."""


class ContrafactWarning(UserWarning):
    """An answer was given, and something about the question makes it doubtful."""


class InputRangeWarning(ContrafactWarning):
    """A network was shown values that it was probably not trained on: a preprocessing is not declared."""


class EmptyMapWarning(ContrafactWarning):
    """A heatmap tells nothing: it is zero, or has one value, everywhere, or almost."""


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the closest known name, or an empty text."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.4)
    return f"; did you mean '{close[0]}'?" if close else ""
