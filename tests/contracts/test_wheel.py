"""What is uploaded: the wheel as `python -m build` makes it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_string
from email.message import Message
from importlib.util import find_spec
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
LARGEST = 100_000_000  # bytes of a file, without asking the package index for more


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree."""
    if find_spec("hatchling") is None:
        pytest.skip("needs hatchling: pip install 'contrafact[dev]'")
    out = tmp_path_factory.mktemp("wheel")
    words = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [path] = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as file:
        [name] = [name for name in file.namelist() if name.endswith(".dist-info/METADATA")]
        return message_from_string(file.read(name).decode())


def places(markdown: str) -> list[str]:
    """Where the links and pictures of a page lead, those in HTML too."""

    def of(token: Token) -> list[str]:
        found = [str(token.attrs[name]) for name in ("href", "src") if name in token.attrs]
        if token.type in ("html_block", "html_inline"):
            found += re.findall(r"(?:href|src|srcset)\s*=\s*[\"']?([^\"'\s>]+)", token.content)
        return found + [place for child in token.children or () for place in of(child)]

    return [place for token in MarkdownIt("commonmark").parse(markdown) for place in of(token)]


def relative(markdown: str) -> list[str]:
    """Links and pictures that lead nowhere on the page of a package index."""
    return [place for place in places(markdown) if not re.match(r"https://[\w.-]+\.\w+(/|$)", place)]


@pytest.mark.slow
def test_no_link_or_picture_of_the_index_page_is_relative(metadata: Message) -> None:
    page = str(metadata.get_payload())
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert page.startswith("# Contrafact") and len(page) > 1000
    assert not relative(page)


@pytest.mark.parametrize(
    "markdown",
    [
        "![a](docs/a.png)",
        "[a](docs/a.md#b)",
        "[a]\n\n[a]: docs/a.md",
        '<img src="docs/a.png" width=300>',
        "<p align=center><img src=docs/a.png></p>",
        '<picture><source srcset="a.webp"></picture>',
        'a <a href="docs/a.md">b</a>',
        "[![a](https://example.org/a.svg)](CHANGELOG.md)",
        "* [a](#b)",
        "[a](/docs/a.md)",
    ],
)
def test_a_relative_link_is_found(markdown: str) -> None:
    assert relative(markdown)
    assert not relative("[a](https://example.org/a.md) `[a](b.md)` https://example.org")


@pytest.mark.slow
def test_the_wheel_has_each_file_of_the_package_and_no_other(wheel: Path) -> None:
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "src/contrafact"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("needs a clone of git")
    with zipfile.ZipFile(wheel) as file:
        inside = {name for name in file.namelist() if ".dist-info/" not in name}
    assert inside == {line.removeprefix("src/") for line in done.stdout.splitlines()}
    assert wheel.stat().st_size < LARGEST


@pytest.mark.slow
def test_the_metadata_has_extras_pythons_and_licences(wheel: Path, metadata: Message) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(metadata.get_all("Provides-Extra", [])) == set(project["optional-dependencies"])
    pythons = [line.rpartition(" ")[2] for line in project["classifiers"] if "Python ::" in line]
    low, high = re.findall(r"3\.(\d+)", metadata["Requires-Python"])
    if "<" in metadata["Requires-Python"].partition(",")[0]:
        low, high = high, low
    assert pythons == [f"3.{minor}" for minor in range(int(low), int(high))]
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
    for licence in metadata.get_all("License-File", []):
        assert any(name.endswith(f".dist-info/licenses/{licence}") for name in names)
    assert len(metadata.get_all("License-File", [])) == 2
