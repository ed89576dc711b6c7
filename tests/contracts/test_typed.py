"""The types that a user's checker sees: `typed_use.py` under mypy, as strict as it can be."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import contrafact as cf
from contrafact.api import explanation
from contrafact.api.types import ExplainOptions
from contrafact.bundles import load_bundle

ROOT = Path(__file__).parents[2]


def checked(path: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    pytest.importorskip("mypy", reason="the dev extra is not installed")
    words = ["--strict", "--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(cache)]
    paths = {"MYPYPATH": str(ROOT / "src"), "PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(
        [sys.executable, "-m", "mypy", *words, "--follow-imports", "silent", str(path)],
        env={**os.environ, **paths},
        capture_output=True,
        text=True,
        cwd=ROOT,
    )


@pytest.mark.slow
def test_a_checker_knows_the_kind_of_every_result_and_refuses_what_explain_would() -> None:
    found = checked(Path(__file__).with_name("typed_use.py"), ROOT / ".mypy_cache")
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("name", ["explain", "evaluate", "study", "fit", "load_bundle", "load_predictor"])
def test_no_parameter_of_the_python_functions_is_of_any_type(name: str) -> None:
    function: Any = load_bundle if name == "load_bundle" else getattr(cf, name)
    function = type(function).__call__ if inspect.ismodule(function) else function
    signature = inspect.signature(function)
    kinds = {key: str(parameter.annotation) for key, parameter in signature.parameters.items()}
    loose = {key for key, kind in kinds.items() if kind in ("Any", "typing.Any")}
    assert not loose
    assert str(signature.return_annotation) not in ("Any", "typing.Any")


def test_the_options_of_explain_that_a_checker_knows_are_its_keywords() -> None:
    parameters = inspect.signature(explanation.explain).parameters.values()
    keywords = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
    assert "keep" in keywords and keywords == set(ExplainOptions.__annotations__)
