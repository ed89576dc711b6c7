"""Flags of the commands that load models."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

TrustFile = Annotated[bool, Parameter(name="--trust", negative="")]
TrustCode = Annotated[bool, Parameter(name="--trust-code", negative="")]
# --no-trust is the former name of --no-checks.
CHECKS = Parameter(name="--checks", negative=("--no-checks", "--no-trust"))
