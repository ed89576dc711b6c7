"""Text for people uses standard terms: words of an older dialect do not come back.

Checked: templates, TypeScript sources, every page in Markdown (README, docs, decisions, changelog, model cards,
experiments, templates of issues); docstrings, comments and messages of the package and of the experiments.
Names in code (keys, parameters) are no text.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from contrafact.render.text import TITLES

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "contrafact"
RENDER = SOURCE / "render"
# Words that must not come back, and what to write.
WORDS = {
    r"chang(?:es?|ed|ing) (?:its|their) mind": "the prediction flips",
    r"the model (?:says|said|answers|thinks)": "the prediction",
    r"sp(?:eaks?|oke) (?:for|against)": "evidence for, evidence against",
    r"put to the test": "evaluated",
    r"judged": "evaluated",
    r"tak(?:es?|en|ing) away": "removed",
    r"drift(?:s|ed)?": "reconstruction error",
    r"turing": "real-versus-synthetic classifier",
    r"what was asked|was asked (?:of|for|about)": "the request, the change requested",
    r"asked (?:and|against) measured": "requested and achieved change",
    r"doubts?": "warning",
    r"trust cards?": "reliability checks",
    r"how far (?:this|it) can be trusted": "reliability checks",
    r"h[eo]ld still": "keep constant",
    r"cohort's (?:own )?direction": "global direction",
    r"length of the change|standard deviations of synthetic images": "latent distance (SD)",
    r"(?:this|the) map's own|(?:its|their) own scale": "per-image scale",
    r"as the generator draws (?:it|them)": "reconstruction",
    r"what counts": "the region sufficient for the model",
    r"(?:a|the) generator (?:can |cannot |could )?(?:draws?|drew)|drawn by (?:a|the) generator": "generated",
    r"walked|walkers?": "latent path, changed along a latent path",
    r"puts? on|putting on": "added",
    r"(?:the )?run's (?:own )?scale": "cohort scale",
    r"(?:a|the|this|each|every|other) rooms?": "package",
}
FORBIDDEN = re.compile(r"\b(?:" + "|".join(f"(?:{word})" for word in WORDS) + r")\b", re.IGNORECASE)
# Text that may contain such a word: (end of the path, text around it), each with its reason.
ALLOWED = (
    ("metrics/trust/counterfactual_card.py", "drift by a second model"),  # the key of a check in a run
    ("render/text.py", "drift by a second model"),  # the same key, with the name that is shown
    ("generators/medxgan_training.py", "judged must be"),  # the name of a setting
)


def found_in(text: str, path: str = "") -> list[str]:
    """Return the forbidden words of a text, each with its surroundings and what to write."""
    flat = " ".join(text.split())
    found = []
    for match in FORBIDDEN.finditer(flat):
        around = flat[max(0, match.start() - 40) : match.end() + 40]
        if not any(path.endswith(end) and words in around for end, words in ALLOWED):
            use = next(use for word, use in WORDS.items() if re.fullmatch(word, match[0], re.IGNORECASE))
            found.append(f"'{match[0]}' in '… {around} …'; write: {use}")
    return found


def texts_of_python(source: str) -> Iterator[str]:
    """Yield comments, docstrings and messages. A string without a space is a name or a key."""
    tree = ast.parse(source)
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            text = node.value
        else:
            continue
        if " " in text.strip():
            yield without_names(text)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield without_names(token.string)


def without_names(text: str) -> str:
    """Leave out code between backticks, and the names of fields before their descriptions."""
    return re.sub(r"`[^`]*`|^ *\w+(?:, \w+)*  +", " ", text, flags=re.MULTILINE)


def texts_of_typescript(source: str) -> Iterator[str]:
    """Yield comments and string literals; what is interpolated into a template literal is code."""
    for match in re.finditer(r"//[^\n]*|/\*.*?\*/|\"[^\"\n]*\"|`[^`]*`", source, re.DOTALL):
        text = re.sub(r"\$\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}", " ", match[0])
        if " " in text.strip('`" '):
            yield text


def text_of_template(source: str) -> str:
    """Return the text and labels of a template, without expressions, tags and attributes that are keys."""
    text = re.sub(r"\{\{.*?\}\}|\{%.*?%\}", " ", source, flags=re.DOTALL)
    return re.sub(r"\b(?:class|id|value|for|name|style|data-\w+)=\"[^\"]*\"", " ", text)


def text_of_page(source: str) -> str:
    """Return the prose of a Markdown page, without code, addresses and pictures' paths."""
    text = re.sub(r"```.*?```|`[^`\n]*`", " ", source, flags=re.DOTALL)
    return re.sub(r"\]\([^)]*\)", "]", text)


def pages() -> list[Path]:
    """Every page in Markdown that the repository has."""
    folders = [*ROOT.glob("docs/**/*.md"), *ROOT.glob("experiments/**/*.md"), *ROOT.glob(".github/**/*.md")]
    return sorted([*ROOT.glob("*.md"), *folders, *SOURCE.glob("bundles/*/MODEL_CARD.md")])


def test_checks_have_one_name() -> None:
    """The page on the checks has the names that report and viewer show, and no page has those of the files."""
    page = (ROOT / "docs/explanation/reading-the-checks.md").read_text(encoding="utf-8")
    rows = set(re.findall(r"^\| ([^|]+) \| ", page, re.MULTILINE))
    assert rows >= {*TITLES.values(), "removal test", "goal", "second model"}
    keys = "|".join(TITLES)
    named = re.compile(rf"\*\*(?:{keys})\*\*|[“\"](?:{keys})[”\"]|^\| (?:{keys}) \|", re.MULTILINE)
    assert named.search("The check **random weights** says")
    found = {path.name: named.findall(path.read_text(encoding="utf-8")) for path in pages()}
    assert not {name: words for name, words in found.items() if words}


def named(paths: list[Path]) -> list[object]:
    return [pytest.param(path, id=path.relative_to(ROOT).as_posix()) for path in paths]


@pytest.mark.parametrize("path", named(pages()))
def test_documents_use_standard_terms(path: Path) -> None:
    assert not found_in(text_of_page(path.read_text(encoding="utf-8")), path.as_posix())


@pytest.mark.parametrize("path", named(sorted(RENDER.glob("templates/*.html"))))
def test_templates_use_standard_terms(path: Path) -> None:
    assert not found_in(text_of_template(path.read_text(encoding="utf-8")), path.as_posix())


@pytest.mark.parametrize("path", named(sorted(RENDER.glob("web/source/*.ts"))))
def test_scripts_of_pages_use_standard_terms(path: Path) -> None:
    texts = texts_of_typescript(path.read_text(encoding="utf-8"))
    assert not [words for text in texts for words in found_in(text, path.as_posix())]


def sources(package: str) -> list[Path]:
    """The files of a package; of "" those at the root."""
    folder = ROOT / package if package == "experiments" else SOURCE / package
    return sorted(folder.rglob("*.py") if package else folder.glob("*.py"))


PACKAGES = sorted(path.parent.name for path in SOURCE.glob("*/__init__.py"))


@pytest.mark.parametrize("package", ["", *PACKAGES, "experiments"])
def test_docstrings_comments_and_messages_use_standard_terms(package: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}: {words}"
        for path in sources(package)
        for text in texts_of_python(path.read_text(encoding="utf-8"))
        for words in found_in(text, path.as_posix())
    ]
    assert not found, "\n".join(found)


PROPERTIES = ("property", "cached_property", "functools.cached_property")
NOUN = re.compile(r"(?:The|An?|How|What|Its?|None|Nothing|Refused|Of|As|Number|Size|Share|Mean)\b|[(\d]")


def functions() -> Iterator[tuple[str, str]]:
    """Yield place and docstring of every function and method that is no property."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (text := ast.get_docstring(node)):
                kinds = [ast.unparse(decorator) for decorator in node.decorator_list]
                if not any(kind in PROPERTIES or kind.endswith(".setter") for kind in kinds):
                    yield f"{path.relative_to(SOURCE)}:{node.name}", text


def test_docstrings_of_functions_begin_with_a_verb() -> None:
    known = dict(functions())
    assert len(known) > 1000 and NOUN.match("The family of that name.") and not NOUN.match("Return it.")
    found = [f"{place}: {text.splitlines()[0]}" for place, text in known.items() if NOUN.match(text)]
    assert not found, "\n".join(found)


def test_a_word_of_the_older_dialect_is_found_in_every_kind_of_text() -> None:
    said = "Ask until the model\n changes its mind"
    assert len(found_in(said)) == 1 and "the prediction flips" in found_in(said)[0]
    python = f'"""{said}."""\nkey = "drift"\nraise ValueError(f"{{key}} drifted twice")  # what counts\n'
    assert [len(found_in(text)) for text in texts_of_python(python)].count(1) == 3
    script = '// a doubt\nlet drift = strip.drift, a = "taken away", b = `one doubt of ${row.doubts}`;'
    assert [len(found_in(text)) for text in texts_of_typescript(script)] == [1, 1, 1]
    page = "# Trust card\n\n`drift` [x](judged_knee.md)\n\n```\ndrift\n```\n"
    assert len(found_in(text_of_page(page))) == 1
    template = (
        '<p class="doubt" aria-label="speaks for it">{{ strip.drift }} {% if doubts %}Turing{% endif %}</p>'
    )
    assert len(found_in(text_of_template(template))) == 2
