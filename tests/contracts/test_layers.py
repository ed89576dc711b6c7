"""The packages and their arrows (docs/map.md): an import that they do not allow fails here."""

from __future__ import annotations

import ast
import re
from collections.abc import Container
from pathlib import Path

import contrafact

ROOT = Path(contrafact.__file__).parent
EXPERIMENTS = Path(__file__).parents[2] / "experiments"
TABLE = Path(__file__).parents[2] / "docs" / "map.md"
HEAVY = {
    "core": {"torch", "monai", "captum", "sklearn", "scipy", "PIL"},
    "io": {"torch", "monai", "captum", "sklearn"},
    "phantoms": {"torch", "monai", "captum", "sklearn"},
    "jobs": {"torch", "monai", "captum", "sklearn"},
    "render": {"torch", "monai", "captum", "sklearn"},
    "report": {"torch", "monai", "captum", "sklearn"},
    "export": {"torch", "monai", "captum", "sklearn"},
    "viewer": {"monai", "captum", "sklearn"},
}
WORKERS = ("viewer/live/answers.py",)  # run in a process of their own


def arrows() -> dict[str, set[str]]:
    """The arrows as docs/map.md prints them: package to packages that it may import."""
    rows = re.findall(r"^\| `(\w+)` \| .* \|([^|]*)\|$", TABLE.read_text(encoding="utf-8"), re.MULTILINE)
    return {package: set(re.findall(r"`(\w+)`", cell)) for package, cell in rows}


def imports(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "contrafact":
                names += [f"contrafact.{alias.name}" for alias in node.names]
            else:
                names.append(node.module)
    return names


def room_of(path: Path) -> str:
    part = path.relative_to(ROOT).parts[0]
    return part.removesuffix(".py")


def test_no_module_lies_loose_at_the_root() -> None:
    # __main__.py is the place where `python -m contrafact` looks.
    assert sorted(path.name for path in ROOT.glob("*.py")) == ["__init__.py", "__main__.py"]


def test_the_arrows_make_no_circle() -> None:
    left = arrows()
    assert len(left) > 15
    while left:
        done = {package for package, into in left.items() if not into & set(left)}
        assert done, f"a circle among {', '.join(sorted(left))}"
        left = {package: into for package, into in left.items() if package not in done}


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    files = {path: path.relative_to(ROOT.parent).with_suffix("").parts for path in ROOT.rglob("*.py")}
    return {".".join(parts).removesuffix(".__init__"): path for path, parts in files.items()}


def imported_modules(path: Path, known: Container[str]) -> set[str]:
    """The modules of the package that a file imports, in functions too; for a type checker alone is none."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = set[str]()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in known else node.module for name in names}
    return {name for name in found if name in known}


def test_the_modules_make_no_circle() -> None:
    known = modules()
    left = {name: imported_modules(path, known) - {name} for name, path in known.items()}
    assert "contrafact.core.grid" in left["contrafact.core.results"]
    while left:
        done = {name for name, into in left.items() if not into & set(left)}
        assert done, f"a circle among {', '.join(sorted(left))}"
        left = {name: into for name, into in left.items() if name not in done}


def test_the_map_names_every_package_and_no_other() -> None:
    there = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert set(arrows()) == there


def test_tests_lie_in_folders_that_mirror_the_packages() -> None:
    tests = Path(__file__).parents[1]
    assert not list(tests.glob("test_*.py"))
    folders = {path.parent.relative_to(tests).as_posix() for path in tests.rglob("test_*.py")}
    assert folders <= {*arrows(), "contracts", "browser", "experiments"}
    names = [path.name for path in tests.rglob("*.py")]
    assert len(names) == len(set(names))  # modules are known by their names alone


def test_every_room_only_knows_the_rooms_it_may() -> None:
    wrong, allowed = [], {**arrows(), "__main__": {"cli"}}
    for path in ROOT.rglob("*.py"):
        room = room_of(path)
        if room == "__init__":
            continue
        assert room in allowed, f"{room} is not on the map"
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == "contrafact" and len(parts) > 1 and parts[1] != room:
                if parts[1] not in allowed[room]:
                    wrong.append(f"{path.relative_to(ROOT)} imports {name}")
            elif parts[0] in {*HEAVY.get(room, ()), *(["torch"] if room == "viewer" else [])}:
                if str(path.relative_to(ROOT)) in WORKERS:
                    continue
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_no_file_is_longer_than_400_lines_and_no_function_longer_than_55() -> None:
    long = []
    for path in [*ROOT.rglob("*.py"), *EXPERIMENTS.rglob("*.py")]:
        text = path.read_text()
        if len(text.splitlines()) > 400:
            long.append(f"{path.name}: {len(text.splitlines())} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.body:
                first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
                length = (node.end_lineno or 0) - first.lineno + 1
                if length > 55:
                    long.append(f"{path.name}:{node.name}: {length} lines")
    assert not long, "\n".join(long)


# A role and the class that plays it; a part of a network, within each of two networks.
SHARED_NAMES = {"FeatureLayer", "Block"}


def test_no_two_classes_have_one_name() -> None:
    places: dict[str, list[str]] = {}
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(path.relative_to(ROOT).as_posix())
    shared = {name: where for name, where in places.items() if len(where) > 1}
    assert len(places) > 300 and shared.keys() == SHARED_NAMES, shared


def test_nothing_below_cli_prints_or_pickles() -> None:
    wrong = []
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                if node.func.id == "print" and room_of(path) != "cli":
                    wrong.append(f"{path.name}: print")
                if node.func.id in ("eval", "exec"):
                    wrong.append(f"{path.name}: {node.func.id}")
            if isinstance(node, ast.Attribute) and node.attr == "manual_seed":
                inside_fork = "fork_rng" in path.read_text()
                if isinstance(node.value, ast.Name) and node.value.id == "torch" and not inside_fork:
                    wrong.append(f"{path.name}: global seed")
    assert not wrong, "\n".join(wrong)


def test_no_circle_among_the_scripts_of_the_pages() -> None:
    source = ROOT / "render" / "web" / "source"
    left = {
        path.stem: set(re.findall(r'from "\./(\w+)"', path.read_text(encoding="utf-8")))
        for path in source.glob("*.ts")
    }
    assert {"types", "controls", "case"} <= set(left)
    while left:
        done = {name for name, into in left.items() if not into & set(left)}
        assert done, f"a circle among {', '.join(sorted(left))}"
        left = {name: into for name, into in left.items() if name not in done}
