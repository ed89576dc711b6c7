"""Registries of explainers, metrics, generators and model formats: name to class. Built-in members are loaded
by entry points, as plug-ins are."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any, TypeVar

from contrafact.core.configuration import configure
from contrafact.core.errors import InputError, nearest

_T = TypeVar("_T", bound=type)
FEW = 8  # names that an error lists; more are printed by a command


class Registry:
    """The registered classes of one role.

    role    singular noun for its members in messages ("explainer")
    group   entry point group of modules to import; importing a module registers its members
    """

    def __init__(self, role: str, group: str) -> None:
        self.role, self.group = role, group
        self._classes: dict[str, type] = {}
        self._aliases: dict[str, str] = {}
        self._presets: dict[str, dict[str, Any]] = {}
        self._loaded = False

    def register(self, name: str, *, aliases: tuple[str, ...] = ()) -> Callable[[_T], _T]:
        """Return a class decorator: `@EXPLAINERS.register("occlusion")`."""

        def put(cls: _T) -> _T:
            for word in (name, *aliases):
                if self._classes.get(self._aliases.get(word, word), cls) is not cls:
                    raise ValueError(f"{self.role} '{word}' is registered twice")
            self._classes[name] = cls
            self._aliases.update(dict.fromkeys(aliases, name))
            return cls

        return put

    def alias(self, alias: str, name: str, **preset: Any) -> None:
        """Add another name for a registered class, with the hyper-parameters that it implies."""
        if self._aliases.get(alias, name) != name or alias in self._classes:
            raise ValueError(f"{self.role} '{alias}' is registered twice")
        self._aliases[alias] = name
        self._presets[alias] = preset

    def preset(self, alias: str) -> dict[str, Any]:
        """Return the hyper-parameters that an alias implies."""
        self.get(alias)
        return dict(self._presets.get(alias, {}))

    def fields_of(self, name: str) -> tuple[str, ...]:
        """Return the names of the hyper-parameters of a class."""
        return tuple(f.name for f in dataclasses.fields(self.get(name)) if f.init)

    def names(self) -> dict[str, tuple[str, ...]]:
        """Return every name with its aliases, sorted."""
        self._load()
        return {
            name: tuple(sorted(a for a, n in self._aliases.items() if n == name))
            for name in sorted(self._classes)
        }

    def get(self, name: str) -> type:
        """Return the class of a name or alias; raise InputError with the nearest name for an unknown one."""
        self._load()
        name = self._aliases.get(name, name)
        if name not in self._classes:
            known = [*self._classes, *self._aliases]
            article = "an" if self.role[0] in "aeiou" else "a"
            raise InputError(
                f"expected the name of {article} {self.role}; got '{name}'{nearest(name, known)}{self._all()}"
            )
        return self._classes[name]

    def canonical(self, name: str) -> str:
        """Return the registered name of a name or alias; raise InputError for an unknown one."""
        self.get(name)
        return self._aliases.get(name, name)

    def make(self, name: str, **parameters: Any) -> Any:
        """Return an instance; raise InputError with the nearest name for an unknown name or hyper-parameter."""
        cls = self.get(name)
        known = self.fields_of(name)
        parameters = {**self.preset(name), **parameters}
        for key in parameters:
            if key not in known:
                raise InputError(
                    f"{name} takes {', '.join(known) or 'no parameters'}; got '{key}'{nearest(key, known)}"
                )
        parts = {f.name: f.default_factory for f in dataclasses.fields(cls)}
        return cls(**{key: _part(value, parts[key]) for key, value in parameters.items()})

    def name_of(self, member: object) -> str:
        """Return the registered name of an object's class, or else the name of the class."""
        names = (name for name, cls in self._classes.items() if type(member) is cls)
        return next(names, type(member).__name__)

    def _all(self) -> str:
        """Return where all names are found: the names where they are few, else how to list them."""
        if len(self._classes) <= FEW:
            return f" (there are {', '.join(sorted(self._classes))})"
        return f" (contrafact list {self.group.rpartition('.')[2]} prints all)"

    def _load(self) -> None:
        if not self._loaded:
            self._loaded = True
            for point in entry_points(group=self.group):
                point.load()


def _part(value: Any, kind: Any) -> Any:
    """Convert a table to the dataclass that the field has by default; return anything else unchanged."""
    if isinstance(value, Mapping) and dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return configure(kind, {k: v for k, v in value.items() if k != "name"}, where=kind.__name__.lower())
    return value


EXPLAINERS = Registry("explainer", "contrafact.explainers")
METRICS = Registry("metric", "contrafact.metrics")
GENERATORS = Registry("generator family", "contrafact.generators")
FORMATS = Registry("model format", "contrafact.formats")
