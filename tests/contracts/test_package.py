"""What a stranger meets first."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import contrafact as cf
from contrafact.core import EXPLAINERS, METRICS
from contrafact.core.registry import Registry


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


def test_every_public_name_loads_and_is_documented() -> None:
    for name in cf.__all__:
        assert getattr(cf, name).__doc__, f"{name} has no docstring"


@pytest.mark.parametrize("registry", [EXPLAINERS, METRICS])
def test_every_method_and_metric_is_a_public_name(registry: Registry) -> None:
    for name in registry.names():
        assert getattr(cf, registry.get(name).__name__) is registry.get(name)


def test_a_type_checker_sees_every_public_name() -> None:
    """The block under TYPE_CHECKING names each one, or takes in the `__all__` of its package."""
    tree = ast.parse(Path(cf.__file__ or "").read_text(encoding="utf-8"))
    [block] = [node for node in tree.body if isinstance(node, ast.If)]
    seen = set[str]()
    for node in block.body:
        assert isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names:
            seen |= (
                set(import_module(node.module).__all__) if alias.name == "*" else {alias.asname or alias.name}
            )
    assert not set(cf.__all__) - seen


def test_names_of_the_last_release_are_found_with_a_warning() -> None:
    with pytest.warns(DeprecationWarning, match="Counterfactual"):
        assert cf.Strip is cf.Counterfactual


def test_a_description_may_name_the_networks_where_they_lay_before() -> None:
    from contrafact.models.factories import build

    assert type(build("contrafact.model.networks:PlainNetwork", {})).__name__ == "PlainNetwork"


def test_every_explainer_says_where_it_comes_from_and_what_it_costs() -> None:
    for name in EXPLAINERS.names():
        text = EXPLAINERS.get(name).__doc__ or ""
        for word in ("Source:", "images ", "gives ", "cost ", "raises "):
            assert word in text, f"{name} does not say '{word.strip()}'"


def test_the_citation_has_the_version_of_the_package() -> None:
    root = Path(__file__).parents[2]
    version = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    assert f"\nversion: {version}\n" in (root / "CITATION.cff").read_text()


def test_every_package_that_the_tests_are_installed_with_has_a_version() -> None:
    root = Path(__file__).parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    [every] = extras["all"]
    names = [*re.findall(r"\w+", every)[1:], "dev", "docs"]  # as dev.py installs
    needed = [line for name in names for line in extras[name]] + project["dependencies"]
    pinned = set(re.findall(r"^([\w.-]+)==", (root / "constraints.txt").read_text().lower(), re.MULTILINE))
    assert len(names) > 5 and not {re.split(r"[<>=\[ ]", line)[0].lower() for line in needed} - pinned
