"""The library of a format, which need not be installed."""

from __future__ import annotations

import importlib
from typing import Any

from contrafact.core import UnsupportedError
from contrafact.core.reading import one_line


def optional_library(name: str, what: str, extra: str) -> Any:
    """Return a module by its name.

    what    what is read with it, for the error
    raises  UnsupportedError where it is not installed, with the extra that installs it, or where it cannot be
            imported, as with a torchvision that is made for another torch
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UnsupportedError(f"reading {what} needs: pip install 'contrafact[{extra}]'") from error
    except RuntimeError as error:
        raise UnsupportedError(
            f"{name} cannot be imported ({one_line(error)}): install the torchvision made for your torch"
        ) from error
