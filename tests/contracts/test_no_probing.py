"""What an object of this package has, its type says: no code asks it with `getattr` or `hasattr`.

Foreign objects (torch modules, graph nodes, pictures, what a user gives as a model) are asked at the door that
takes them in. Fields by a name in a variable, such as those of a dataclass one by one, are no question.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
from collections.abc import Iterator
from pathlib import Path

import contrafact.core.protocols as protocols
import contrafact.core.target_kinds as target_kinds
from contrafact.core import Counterfactual, Grid, Heatmap, Image, Question, Record
from contrafact.core.traits import Traits
from contrafact.counterfactual import Bundle, coded
from contrafact.models import Preprocessing

SOURCE = Path(protocols.__file__).parents[1]
# Where objects of other makers come in: what a user gives as a model, metrics and explainers of other packages.
DOORS = {
    "core/predictor_adapter.py",
    "core/traits.py",
    "metrics/families.py",
    "models/loading.py",
}
# Members of foreign objects that share a name with one of ours.
FOREIGN = {
    ("core/contents.py", "code"),  # of a script of torch
    ("io/tiff.py", "name"),  # of a kind of picture
}


def own_names() -> set[str]:
    """Names of the members of the package's roles and nouns."""
    kinds = [Heatmap, Counterfactual, Question, Record, Grid, Image, Bundle, Preprocessing, Traits]
    names = {f.name for kind in kinds if dataclasses.is_dataclass(kind) for f in dataclasses.fields(kind)}
    for module in (protocols, target_kinds, coded):
        for _, kind in inspect.getmembers(module, inspect.isclass):
            if kind.__module__ == module.__name__:
                names |= {name for name in vars(kind) if not name.startswith("_")}
    return names


def questions(path: Path) -> Iterator[tuple[int, str]]:
    """Line and name of every `getattr(x, "name")` and `hasattr(x, "name")` in a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) > 1):
            continue
        name = node.args[1]
        if node.func.id in ("getattr", "hasattr") and isinstance(name, ast.Constant):
            yield node.lineno, str(name.value)


def test_the_names_are_those_of_roles_and_nouns() -> None:
    assert {"freeze", "score_of", "default_goal", "second_scores", "preprocessing", "negative"} <= own_names()


def test_nothing_behind_the_doors_asks_an_object_of_ours_what_it_has() -> None:
    ours, found = own_names(), dict[tuple[str, str], int]()
    for path in sorted(SOURCE.rglob("*.py")):
        place = path.relative_to(SOURCE).as_posix()
        if place not in DOORS:
            found |= {(place, name): line for line, name in questions(path) if name in ours}
    left = [f"{place}:{line} {name}" for (place, name), line in found.items() if (place, name) not in FOREIGN]
    assert not left, f"expected a protocol and isinstance; got {', '.join(left)}"
    assert found.keys() == FOREIGN, "an exception that nothing needs any more"
