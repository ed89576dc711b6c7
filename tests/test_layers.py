"""The rooms and their arrows (docs/map.md): a new import across rooms fails here."""

from __future__ import annotations

import ast
from pathlib import Path

import contrafact

ROOT = Path(contrafact.__file__).parent
ALLOWED = {
    "core": set(),
    "io": {"core"},
    "phantoms": {"core"},
    "model": {"core"},
    "attribution": {"core", "perturbation"},
    "perturbation": {"core"},
    # Hides parts of images as the heatmap methods do (docs/map.md).
    "metrics": {"core", "perturbation"},
    "generation": {"core"},
    "counterfactual": {"core"},
    "views": {"core", "io"},
    # Joins weights on disk with the things they are (docs/decisions/0004).
    "bundles": {"core", "io", "model", "generation", "counterfactual"},
    "face": {"core", "io", "model", "attribution", "perturbation", "counterfactual", "bundles", "fitting"},
    "fitting": {
        "core",
        "io",
        "model",
        "generation",
        "counterfactual",
        "bundles",
        "families",
        "fitting_models",
        "fitting_translator",
    },
    "fitting_models": {"core", "io", "model", "generation", "families"},
    "fitting_translator": {
        "core",
        "io",
        "generation",
        "counterfactual",
        "bundles",
        "families",
        "fitting_models",
    },
    # The kinds of generators that a fit can train (docs/map.md).
    "families": {"core", "generation", "counterfactual"},
    "study": {"core"},
    # Joins what a case needs (docs/map.md): the face, the disk, a target's words, and its trust card.
    "cases": {"core", "io", "model", "face", "judging", "metrics"},
    # Live questions of the viewer: joins a run's pages with bundles, in processes of their own (docs/map.md).
    "living": {"core", "io", "bundles", "cases", "counterfactual", "face", "study", "views"},
    "checking": {"core", "model", "face"},
    # Join what a study needs: files with models, maps with metrics (docs/map.md).
    "sources": {"core", "io", "model", "face", "study"},
    "judging": {"core", "io", "face", "metrics"},
    "scoring": {"core", "io", "face", "judging", "metrics", "sources", "study"},
    "studying": {"core", "io", "cases", "scoring", "sources", "study"},
    # What the form shows and does: the study's own reader and paths, put together (docs/map.md).
    "drafting": {"core", "study"},
    "surveying": {"core", "io", "bundles", "drafting", "sources", "study"},
    "desk": {"core", "io", "drafting", "study", "surveying"},
    "cli": {
        "cases",
        "desk",
        "checking",
        "study",
        "studying",
        "core",
        "io",
        "phantoms",
        "model",
        "generation",
        "bundles",
        "face",
        "fitting",
        "living",
        "views",
        "counterfactual",
    },
}
HEAVY = {
    "core": {"torch", "monai", "captum", "sklearn", "scipy", "PIL"},
    "io": {"monai", "captum", "sklearn"},
    "phantoms": {"torch", "monai", "captum", "sklearn"},
    "views": {"torch", "monai", "captum", "sklearn"},
}


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


def test_every_room_only_knows_the_rooms_it_may() -> None:
    wrong = []
    for path in ROOT.rglob("*.py"):
        room = room_of(path)
        if room == "__init__":
            continue
        assert room in ALLOWED, f"{room} is not on the map"
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == "contrafact" and len(parts) > 1 and parts[1] != room:
                if parts[1] not in ALLOWED[room]:
                    wrong.append(f"{path.relative_to(ROOT)} imports {name}")
            elif parts[0] in HEAVY.get(room, ()):
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_no_file_is_longer_than_400_lines_and_no_function_longer_than_55() -> None:
    long = []
    for path in ROOT.rglob("*.py"):
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
