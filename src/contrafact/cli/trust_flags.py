"""Flags of the verbs that open models."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

TrustFile = Annotated[bool, Parameter(name="--trust", negative="")]
TrustCode = Annotated[bool, Parameter(name="--trust-code", negative="")]
# --no-trust is what --no-checks was called before files could be trusted.
CHECKS = Parameter(name="--checks", negative=("--no-checks", "--no-trust"))
