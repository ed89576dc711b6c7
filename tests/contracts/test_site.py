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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "registry"),
    [("methods", EXPLAINERS), ("metrics", METRICS), ("generators", GENERATORS), ("formats", FORMATS)],
)
def test_the_reference_has_every_member_of_a_registry(site: Path, page: str, registry: Registry) -> None:
    path = site / f"reference/{page}.html"
    assert set(registry.names()) <= headings(path)
    shown = text_of(path)
    missing = [a for aliases in registry.names().values() for a in aliases if a not in shown]
    settings = [s.name for name in registry.names() for s in settings_of(settings_class(registry, name))]
    assert not missing + [name for name in settings if name not in shown]


def settings_class(registry: Registry, name: str) -> type:
    """The class whose fields the reference lists for a member."""
    member: Any = registry.get(name)
    return (
        member.settings if registry is GENERATORS else FormatWithoutSettings if registry is FORMATS else member
    )


@dataclass
class FormatWithoutSettings:
    """A format is opened without settings."""


@pytest.mark.slow
def test_the_reference_has_every_verb_with_its_options_and_every_setting_of_a_study(site: Path) -> None:
    shown = text_of(site / "reference/command-line.html")
    _load_commands()
    verbs = [name for name in app if not name.startswith("-") and app[name].show]
    assert {f"contrafact {name}" for name in verbs} <= headings(site / "reference/command-line.html")
    arguments = [argument for name in verbs for argument in app[name].assemble_argument_collection()]
    assert len(arguments) > 60
    names = [name for argument in arguments if argument.show for name in argument.names]
    assert not [
        name for name in names if name not in shown and not name.startswith("--empty-")
    ]  # turned off by app
    study = text_of(site / "reference/study.html")
    assert not [s.name for cls in (StudyConfig, ModelChoice) for s in settings_of(cls) if s.name not in study]
    assert not [row["name"] for row in targets() if row["name"] not in text_of(site / "reference/targets.html")]
