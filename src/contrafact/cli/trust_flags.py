"""Flags that several commands have, under the same headings of their help."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Group, Parameter

TRUST = Group("Trust in files and code", sort_key=8)
SERVER = Parameter(group=Group("The server of the pages", sort_key=3))
TrustFile = Annotated[bool, Parameter(name="--trust", negative="", group=TRUST)]
TrustCode = Annotated[bool, Parameter(name="--trust-code", negative="", group=TRUST)]
# --no-trust is the former name of --no-checks.
CHECKS = Parameter(name="--checks", negative=("--no-checks", "--no-trust"))
