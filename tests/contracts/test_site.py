"""The documentation site builds without a warning, and its reference has everything."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import contrafact as cf
from contrafact import interop
from contrafact.bundles.fit_config import DataConfig, FitConfig, ModelConfig
from contrafact.cli import _load_commands, app
from contrafact.cli.listing import targets
from contrafact.core import EXPLAINERS, FORMATS, GENERATORS, METRICS, Registry
from contrafact.core.field_docs import settings_of
from contrafact.study import ModelChoice, StudyConfig

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `python3 dev.py docs` does."""
    if any(find_spec(name) is None for name in ("sphinx", "myst_parser", "furo")):
        pytest.skip("needs Sphinx: pip install 'contrafact[docs]'")
    out = tmp_path_factory.mktemp("site")
    words = ["-WEnq", "--keep-going", "-d", str(out / "trees"), "docs", str(out / "html")]
    done = subprocess.run([sys.executable, "-m", "sphinx", *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out / "html"


@pytest.mark.slow
def test_every_page_is_in_the_site_and_no_link_of_it_is_broken(site: Path) -> None:
    pages = [path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")]
    assert not [page for page in pages if not (site / page).exists()]


def text_of(page: Path) -> str:
    """The text of a page as a reader sees it."""
    return html.unescape(re.sub(r"<[^>]*>", "", page.read_text(encoding="utf-8")))


def headings(page: Path) -> set[str]:
    return {
        html.unescape(re.sub(r"<a .*|<[^>]*>", "", inner))
        for inner in re.findall(r"<h[23]>(.*?)</h[23]>", page.read_text(encoding="utf-8"))
    }


@pytest.mark.slow
def test_the_reference_has_every_public_name(site: Path) -> None:
    found = {
        name
        for page in ("python", "methods", "metrics")
        for name in re.findall(r'id="contrafact\.(\w+)"', (site / f"reference/{page}.html").read_text("utf-8"))
    }
    assert found == set(cf.__all__)
    page = (site / "reference/interop.html").read_text("utf-8")
    assert set(re.findall(r'id="contrafact\.interop\.(\w+)"', page)) == set(interop.__all__)


@dataclass(frozen=True)
class Section:
    """What stands below a heading of a page: the rows of its tables by their first cell, and its options, the
    items of lists that begin with code, by their words."""

    text: str
    rows: dict[str, str]
    options: dict[str, str]


def sections(page: Path) -> dict[str, Section]:
    """The sections of a page by heading."""
    parts = re.split(r"<h[23]>(.*?)</h[23]>", page.read_text(encoding="utf-8"))
    found = {}
    for head, body in zip(parts[1::2], parts[2::2], strict=True):
        cells = [re.findall(r"<td>(.*?)</td>", row, re.DOTALL) for row in re.split(r"<tr[ >]", body)[1:]]
        rows = {plain(row[0]): plain(row[-1]) for row in cells if row}
        items = re.findall(r"<li><p><code.*?>(.*?)</code>(.*?)</p>", body, re.DOTALL)
        options = {word: plain(text) for names, text in items for word in re.split(r"[\s,]+", plain(names))}
        found[plain(re.sub(r"<a .*", "", head))] = Section(plain(body), rows, options)
    return found


def plain(text: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", text)).strip()


def undocumented(cls: type, section: Section) -> list[str]:
    """The settings of a dataclass that have no row in a section, or a row without a word of help."""
    return [s.name for s in settings_of(cls) if not section.rows.get(s.name)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "registry"),
    [("methods", EXPLAINERS), ("metrics", METRICS), ("generators", GENERATORS), ("formats", FORMATS)],
)
def test_the_reference_has_every_member_of_a_registry(site: Path, page: str, registry: Registry) -> None:
    found = sections(site / f"reference/{page}.html")
    for name, aliases in registry.names().items():
        assert name in found
        words = re.split(r"[\s,]+", found[name].text)
        assert not [alias for alias in aliases if alias not in words], name
        for cls in settings_classes(registry, name):
            assert not undocumented(cls, found[name]), name


def settings_classes(registry: Registry, name: str) -> tuple[type, ...]:
    """The classes whose fields the reference lists for a member."""
    member: Any = registry.get(name)
    if registry is GENERATORS:
        return member.size, member.settings
    return () if registry is FORMATS else (member,)


@pytest.mark.slow
def test_the_reference_has_every_verb_with_the_help_of_its_options(site: Path) -> None:
    found = sections(site / "reference/command-line.html")
    _load_commands()
    verbs = [name for name in app if not name.startswith("-") and app[name].show]
    count = 0
    for verb in verbs:
        options = found[f"contrafact {verb}"].options
        for argument in app[verb].assemble_argument_collection():
            names = [name for name in argument.names if not name.startswith(("--empty-", "--no-"))]
            if argument.show and names:
                count += 1
                told = re.sub(r"\[(required|default).*", "", options[names[0]], flags=re.DOTALL)
                assert re.search(r"\w", told), f"{verb} {names[0]} has no help"
    assert count > 60


@pytest.mark.slow
def test_the_reference_has_every_setting_of_a_study_and_of_a_fit_and_every_target(site: Path) -> None:
    study, fit = sections(site / "reference/study.html"), sections(site / "reference/fit.html")
    assert not undocumented(StudyConfig, study["The study"])
    assert not undocumented(ModelChoice, study["[model] and [models.NAME]"])
    for cls, heading in ((FitConfig, "The fit"), (DataConfig, "[data]"), (ModelConfig, "[models.NAME]")):
        assert not undocumented(cls, fit[heading])
    text = (site / "reference/targets.html").read_text(encoding="utf-8")
    rows = re.findall(r"<td><p><code.*?>(.*?)</code></p></td>\s*<td><p>(.*?)</p></td>", text, re.DOTALL)
    told = {plain(name): plain(about) for name, about in rows}
    assert not [row["name"] for row in targets() if not told.get(row["name"])]


@pytest.mark.parametrize("registry", [EXPLAINERS, METRICS, GENERATORS], ids=lambda one: one.role)
def test_every_setting_of_a_member_has_a_word_of_help(registry: Registry) -> None:
    for name in registry.names():
        for cls in settings_classes(registry, name):
            assert not [s.name for s in settings_of(cls) if not s.help], name


def test_a_setting_without_help_or_without_a_row_is_found(tmp_path: Path) -> None:
    @dataclass
    class Mine:
        """A setting with help, and one without.

        told  what it is
        """

        told: int = 1
        bare: int = 2

    page = tmp_path / "page.html"
    row = "<tr><td><p><code>{0}</code></p></td><td><p>{1}</p></td></tr>"
    page.write_text("<h3>mine</h3>" + row.format("told", "what it is") + row.format("bare", ""))
    assert undocumented(Mine, sections(page)["mine"]) == ["bare"]
    page.write_text("<h3>mine</h3>told bare")
    assert undocumented(Mine, sections(page)["mine"]) == ["told", "bare"]
