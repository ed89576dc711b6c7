"""What the package computes for fixed small inputs is what it computed before, to a thousandth; texts exactly.

Other tests know the truth of one thing; these notice that anything has changed, wherever it is. A change on
purpose is written with

    PYTHONPATH=src:tests python tests/contracts/test_reference_values.py

which prints what differs from the kept values: read it, since a value kept with a fault hides the fault.
Left out is what rounding decides: the ends of long searches, and trainings of more than a step.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from reference import kept

PARTS = sorted(path.stem for path in kept.FOLDER.glob("*.py") if path.stem not in ("__init__", "kept"))
SLOW = ("counterfactuals", "searches", "variants")  # more than five seconds
pytestmark = pytest.mark.filterwarnings("ignore::contrafact.core.EmptyMapWarning")


def values_of(part: str) -> Any:
    return kept.plain(import_module(f"reference.{part}").values())


@pytest.mark.parametrize(
    "part", [pytest.param(part, marks=pytest.mark.slow if part in SLOW else ()) for part in PARTS]
)
def test_values_are_those_that_were_kept(part: str) -> None:
    differences = list(kept.differences(values_of(part), kept.read(part)))
    assert not differences, "\n".join(differences[:20])


if __name__ == "__main__":
    for part in sys.argv[1:] or PARTS:
        found = values_of(part)
        before = kept.read(part) if (kept.FOLDER / f"{part}.json").exists() else {}
        print("\n".join(kept.differences(found, before, part)) or f"{part}: nothing differs")  # noqa: T201
        kept.write(part, found)
