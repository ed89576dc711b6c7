"""Validate what pages send: small JSON objects and whole numbers."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request

from contrafact.core import InputError


async def said(request: Request) -> dict[str, Any]:
    """Return the JSON object of a request."""
    if request.headers.get("content-type", "").split(";")[0] != "application/json":
        raise InputError("expected JSON")
    try:
        found = json.loads(await request.body())
        json.dumps(found, ensure_ascii=False).encode()  # refuses half surrogates, which cannot be encoded
    except (ValueError, RecursionError) as error:
        raise InputError("expected JSON") from error
    if not isinstance(found, dict):
        raise InputError("expected a JSON object")
    return found


def text(found: dict[str, Any], name: str) -> str:
    """Return a short text of the object."""
    value = found.get(name)
    if not isinstance(value, str) or len(value) > 200:
        raise InputError(f"expected a short text as '{name}'")
    return value


def whole(text: str | None) -> int:
    """Return a whole number from an address."""
    if not text or not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise InputError(f"expected a whole number; got '{(text or '')[:20]}'")
    return int(text)
