"""Errors and warnings for users. Each message states what was expected, what it got, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ContrafactError(Exception):
    """Base class of all errors: Contrafact refuses a request or could not finish it.

    Its text is one printable line, whatever the names and values in it hold.
    """

    def __str__(self) -> str:
        text = super().__str__()
        if text.isprintable():
            return text
        return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(text.split()))


class InputError(ContrafactError, ValueError):
    """An argument or file cannot be used; the message states what is expected."""


class UnsupportedError(ContrafactError):
    """The request is valid, but this model or this machine does not support it."""


class ContrafactWarning(UserWarning):
    """Base class of warnings: there is a result, but something about the request makes it doubtful."""


class InputRangeWarning(ContrafactWarning):
    """The input values are far from those networks are trained on, and no preprocessing is declared."""


class EmptyMapWarning(ContrafactWarning):
    """A heatmap holds no information: it is zero or constant everywhere, or almost everywhere."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` with the closest known name, or an empty text."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.4)
    return f"; did you mean '{close[0]}'?" if close else ""
