"""The documentation site: `python3 dev.py docs` builds it into build/docs, offline."""

import re
import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent.resolve()
ROOT = DOCS.parent
sys.path[:0] = [str(ROOT / "src"), str(DOCS)]

from reference_pages import generated  # noqa: E402  it lies in DOCS

# Address of the repository's files, such as "https://example.org/contrafact/blob/main"; "": the files to which
# pages link are copied into the site.
REPOSITORY = ""

project = "Contrafact"
author = "the Contrafact authors"
extensions = ["myst_parser"]
exclude_patterns = ["_build"]
root_doc = "index"
html_theme = "furo"
html_title = "Contrafact"
html_copy_source = False
myst_enable_extensions = ["deflist", "attrs_inline"]
myst_heading_anchors = 4
nitpicky = True
smartquotes = False  # --trust and "x" stay as they are typed
highlight_language = "none"
LINK = re.compile(r"(\]\()([^)\s#:]+)(#[^)\s]*)?(?=\))")


def made_whole(_app: Any, page: str, source: list[str]) -> None:
    """Put the generated text into a page; make its links to files outside docs/ links to the repository, or to
    copies of the files."""
    folder = (DOCS / page).parent

    def moved(match: re.Match[str]) -> str:
        path = (folder / match[2]).resolve()
        if path.is_relative_to(DOCS) or not path.exists():
            return match[0]
        if REPOSITORY:
            return f"{match[1]}{REPOSITORY}/{path.relative_to(ROOT).as_posix()}{match[3] or ''}"
        return f"{match[1]}path:{match[2]}"

    source[0] = generated(LINK.sub(moved, source[0]))


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("source-read", made_whole)
