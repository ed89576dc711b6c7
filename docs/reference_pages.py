"""The generated part of the reference pages: docstrings and settings from the package and its registries.

`<!-- generated: NAME -->` in a page stands for the text of `PAGES[NAME]`, in Markdown of MyST.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import contrafact
import contrafact.interop
from contrafact.bundles.fit_config import DataConfig, FitConfig, ModelConfig
from contrafact.core import EXPLAINERS, FORMATS, GENERATORS, METRICS, Registry
from contrafact.core.field_docs import settings_of
from contrafact.study import ModelChoice, StudyConfig

MARK = re.compile(r"^<!-- generated: ([\w-]+) -->$", re.MULTILINE)
NAMED = re.compile(r"([ (])docs/([\w/-]+\.md)\b(?!`)")  # a page that a docstring names
PUBLIC = {getattr(contrafact, name): name for name in contrafact.__all__}
ROW = re.compile(r"(`?\w+`?(?:, `?\w+`?)*)(?: {2,}| (?=\S))(\S.*)")


def generated(text: str) -> str:
    """Replace the marks of a page."""
    return MARK.sub(lambda mark: NAMED.sub(r"\1[\2](../\2)", PAGES[mark[1]]()), text)


# Docstrings: prose, and rows "name  what it is" whose further lines are indented.


def docstring(thing: Any, names: Iterable[str] = (), *, tabled: bool = False) -> str:
    """Return a docstring in Markdown. `names`: of settings or parameters, which begin a row; `tabled`: these
    rows are left out, since a table has them."""
    known = {*names, "gives", "cost", "raises", "warns", "images"}
    blocks = re.split(r"\n\s*\n", inspect.getdoc(thing) or "")
    parts = (part for block in blocks for part in parts_of(block.splitlines(), known))
    left_out = set(names) if tabled else set()
    return "\n\n".join(p for p in parts if not set(re.findall(r"\w+", p.partition("\n: ")[0])) <= left_out)


def parts_of(lines: list[str], known: set[str]) -> Iterator[str]:
    """Yield the rows and the prose of a paragraph."""
    prose: list[str] = []
    row: list[str] | None = None
    rows_begun = False
    for line in lines:
        match = ROW.fullmatch(line)
        words = re.findall(r"\w+", match[1]) if match else []
        wide = bool(match) and line[len(match[1]) : len(match[1]) + 2] == "  "  # type: ignore[index]
        if match and (wide or (words[0] in known and (rows_begun or not prose))):
            yield from finished(prose, row)
            prose, row, rows_begun = [], [match[1], match[2]], True
        elif row and line.startswith("  "):
            row.append(line.strip())
        else:
            yield from finished([], row)
            row = None
            prose.append(line)
    yield from finished(prose, row)


def finished(prose: list[str], row: list[str] | None) -> Iterator[str]:
    if prose:
        yield plain(" ".join(prose))
    if row:
        yield f"`{row[0].replace('`', '')}`\n: {plain(' '.join(row[1:]))}"


def plain(text: str) -> str:
    """Return prose with every sign of Markdown outside code escaped."""
    pieces = re.split(r"(`[^`]*`)", text)
    shown = [p if p.startswith("`") else re.sub(r"([\\*_<>\[\]|$#{}~])", r"\\\1", p) for p in pieces]
    return re.sub(r"^(\d+)\.|^([-+:])", r"\\\g<0>", "".join(shown))


def settings(cls: type, *, title: str = "") -> str:
    """Return the settings of a dataclass as a table: name, kind, default and help."""
    rows = [f"| `{s.name}` | {s.kind} | {code(s.default)} | {plain(s.help)} |" for s in settings_of(cls)]
    return (
        "\n".join([title, "", "| setting | kind | default | |", "| --- | --- | --- | --- |", *rows])
        if rows
        else ""
    )


def code(text: str) -> str:
    flat = " ".join(text.split()).replace("|", "\\|")
    return f"`{flat}`" if flat else ""


# Objects


def signature(thing: Any) -> str:
    """Return the parameters without types; defaults that are no plain values are `...`."""
    try:
        given = inspect.signature(thing)
    except (TypeError, ValueError):
        return "()"
    plains = (str, int, float, bool, type(None), tuple)
    parameters = [
        p.replace(
            annotation=p.empty,
            default=p.default if p.default is p.empty or isinstance(p.default, plains) else ...,
        )
        for p in given.parameters.values()
        if p.name != "self"
    ]
    text = str(given.replace(parameters=parameters, return_annotation=given.empty))
    return text.replace("Ellipsis", "...")


def thing_named(name: str, thing: Any, body: str, *, heading: str = "", level: int = 3) -> str:
    """Return the entry of a public name, which the index and searches find."""
    kind = "class" if inspect.isclass(thing) else "function"
    head = f"{'#' * level} {heading or name}\n\n" if heading or level else ""
    return f"{head}``````{{py:{kind}}} contrafact.{name}{signature(thing)}\n``````\n\n{body}\n"


def public(name: str) -> str:
    """Return the entry of a public name that is in no registry, with its public methods."""
    return entry(name, getattr(contrafact, name))


def entry(name: str, thing: Any, *, level: int = 3) -> str:
    """Return the entry of a class, with its public methods, or of a function."""
    parts = [docstring(thing, parameters(thing))]
    for key, member in inspect.getmembers(thing) if inspect.isclass(thing) else ():
        home = getattr(member.fget if isinstance(member, property) else member, "__module__", "") or ""
        shown = isinstance(member, property) or inspect.isroutine(member)
        if key.startswith("_") or not shown or not home.startswith("contrafact") or not member.__doc__:
            continue
        call = key if isinstance(member, property) else f"{key}{signature(member)}"
        parts.append(f"**`.{call}`**\n\n{docstring(member, parameters(member))}")
    return thing_named(name, thing, "\n\n".join(parts), level=level)


def parameters(thing: Any) -> list[str]:
    try:
        return list(inspect.signature(thing).parameters)
    except (TypeError, ValueError):
        return []


def registered(registry: Registry, name: str) -> str:
    """Return the entry of a registered method or metric."""
    cls = registry.get(name)
    also = [f"`{alias}`" for alias in registry.names()[name]]
    fields = [setting.name for setting in settings_of(cls)]
    about = [f"Also: {', '.join(also)}"] if also else []
    body = "\n\n".join([*about, docstring(cls, fields, tabled=True), settings(cls)])
    if cls in PUBLIC:
        return thing_named(PUBLIC[cls], cls, body, heading=name)
    return f"### {name}\n\n{body}\n"


def by_folder(registry: Registry) -> str:
    """Return the members of a registry under the folder of the package in which they lie."""
    folders: dict[str, list[str]] = {}
    for name in registry.names():
        parts = registry.get(name).__module__.split(".")
        folders.setdefault(parts[2] if len(parts) == 4 else parts[1], []).append(name)
    return "\n\n".join(
        f"## {folder.capitalize()}\n\n" + "\n\n".join(registered(registry, name) for name in names)
        for folder, names in sorted(folders.items())
    )


# Pages


def python() -> str:
    members = {registry.get(name) for registry in (EXPLAINERS, METRICS) for name in registry.names()}
    names = [name for name in contrafact.__all__ if getattr(contrafact, name) not in members]
    calls = sorted((n for n in names if not inspect.isclass(getattr(contrafact, n))), key=str.lower)
    rest = sorted((n for n in names if n not in calls), key=str.lower)
    return "\n\n".join(["## Functions", *map(public, calls), "## Classes", *map(public, rest)])


def interop() -> str:
    names = sorted(contrafact.interop.__all__, key=str.lower)
    return "\n\n".join(entry(f"interop.{name}", getattr(contrafact.interop, name), level=2) for name in names)


def command_line() -> str:
    from contrafact.cli import _load_commands, app

    _load_commands()
    text = app.generate_docs(output_format="markdown")
    verbs = text[text.index("\n## contrafact ") :]
    return re.sub(r"```console\n(.*?)```", r"```\n\1```", verbs, flags=re.DOTALL)


def targets() -> str:
    from contrafact.cli.listing import targets

    rows = [f"| `{row['name']}` | {plain(row['about'])} |" for row in targets()]
    return "\n".join(["| target | |", "| --- | --- |", *rows])


def generators() -> str:
    pages = []
    for name in GENERATORS.names():
        family: Any = GENERATORS.get(name)
        tables = [
            settings(family.size, title="`[generator]`"),
            settings(family.settings, title="`[training]`"),
        ]
        pages.append("\n\n".join([f"## {name}", docstring(family), *tables]))
    return "\n\n".join(pages)


def formats() -> str:
    kinds: dict[str, Any] = {name: FORMATS.get(name) for name in FORMATS.names()}
    return "\n\n".join(
        f"## {name}\n\nReads {plain(kind.reads)}.\n\n{docstring(kind)}" for name, kind in kinds.items()
    )


def tables(*classes: tuple[str, type]) -> Callable[[], str]:
    return lambda: "\n\n".join(settings(cls, title=title) for title, cls in classes)


PAGES: dict[str, Callable[[], str]] = {
    "python": python,
    "command-line": command_line,
    "interop": interop,
    "methods": lambda: by_folder(EXPLAINERS),
    "metrics": lambda: by_folder(METRICS),
    "targets": targets,
    "generators": generators,
    "formats": formats,
    "study": tables(("## The study", StudyConfig), ("## `[model]` and `[models.NAME]`", ModelChoice)),
    "fit": tables(("## The fit", FitConfig), ("## `[data]`", DataConfig), ("## `[models.NAME]`", ModelConfig)),
}
