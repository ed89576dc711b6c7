"""What a stranger meets first."""

from __future__ import annotations

import subprocess
import sys

import contrafact as cf
from contrafact.core import EXPLAINERS


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_importing_the_package_and_asking_for_help_loads_no_torch() -> None:
    assert run("import contrafact, sys; print('torch' in sys.modules)") == "False"
    code = "import sys\nfrom contrafact.cli import main\nmain(['--help'])\nprint('torch' in sys.modules)"
    assert run(code).endswith("False")


def test_reading_an_image_loads_no_torch() -> None:
    code = "import sys, contrafact as cf; cf.read_image; cf.Image; print('torch' in sys.modules)"
    assert run(code) == "False"


def test_at_most_sixteen_public_names_and_all_of_them_load() -> None:
    assert len(cf.__all__) <= 16
    for name in cf.__all__:
        assert getattr(cf, name).__doc__, f"{name} has no docstring"


def test_every_explainer_says_where_it_comes_from_and_what_it_costs() -> None:
    for name in EXPLAINERS.names():
        text = EXPLAINERS.get(name).__doc__ or ""
        for word in ("Source:", "images ", "gives ", "cost ", "raises "):
            assert word in text, f"{name} does not say '{word.strip()}'"
