"""The scripts behind docs/results: each imports and shows its help, and the package needs none of them."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import sys
from pathlib import Path
from typing import Any

import pytest

import experiments
from contrafact.bundles.fit_config import read_config

ROOT = Path(__file__).parents[2]
MODULES = sorted(m.name for m in pkgutil.walk_packages(experiments.__path__, "experiments.") if not m.ispkg)


def source(module: str) -> str:
    return (ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")


SCRIPTS = [name for name in MODULES if '__name__ == "__main__"' in source(name)]


def imported(name: str) -> Any:
    """The module, or a skip where a library is missing that only this script needs."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in ("contrafact", "experiments"):
            raise
        pytest.skip(f"needs {error.name}")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of libraries that only scripts import
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_shows_its_help(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = imported(name)
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--help"])
    with pytest.raises(SystemExit) as ended:
        script.main()
    assert ended.value.code == 0
    told = " ".join(capsys.readouterr().out.split())
    assert " ".join(script.__doc__.split())[:60] in told


def test_commands_in_documents_name_scripts_that_are_there() -> None:
    texts = [p.read_text(encoding="utf-8") for p in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"))]
    told = {name for text in texts for name in re.findall(r"python -m (experiments[.\w]*\w)", text)}
    assert len(told) > 20
    assert told <= set(SCRIPTS)


def test_no_script_edits_the_import_path() -> None:
    assert not [name for name in MODULES if "sys.path" in source(name)]


def test_the_package_does_not_import_experiments() -> None:
    for path in (ROOT / "src").rglob("*.py"):
        if "node_modules" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.split(".")[0] == "experiments"], path


@pytest.mark.parametrize("path", sorted((ROOT / "experiments").rglob("*.toml")), ids=lambda path: path.stem)
def test_a_configuration_of_a_shipped_bundle_can_be_read_and_writes_to_runs(path: Path) -> None:
    _, out = read_config(path)
    assert out.parent == ROOT / "runs"
