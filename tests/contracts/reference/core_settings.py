"""Settings, files, registries and the door `explain`: what each gives at its limits, and what it refuses."""

from __future__ import annotations

import dataclasses
import functools
import re
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from contrafact.core import (
    EXPLAINERS,
    METRICS,
    ContrafactError,
    Image,
    InputError,
    Trust,
)
from contrafact.core.configuration import check_types, configure, read_toml, to_toml
from contrafact.core.display import html_of
from contrafact.core.execution import explain, parameters_of
from contrafact.core.field_docs import has_parts, hint_of, kind_of, settings_of, text_of, value_of
from contrafact.core.limits import check_size, check_stored, set_largest_image, stored_arrays
from contrafact.core.method_cards import card, cards_of
from contrafact.core.reading import naming, one_line, reading
from contrafact.core.request import Request, text_of_target
from contrafact.core.traits import engines, traits_of
from contrafact.core.trust import check_file, inside, is_folder
from contrafact.models import BlackBox, TorchPredictor
from reference.heatmaps import network
from reference.kept import asked, brief, tried


@dataclass(frozen=True)
class Inner:
    """Part of a whole.

    weight  of the part
    """

    weight: float = 0.5
    name: str = "in, side"


@dataclass(frozen=True)
class Whole:
    """Settings of every kind.

    count, more   how many there are,
                  and how many more
    share         a number
    names         several
    either        one of two
    """

    count: int
    more: int | None = None
    share: float = 0.25
    yes: bool = False
    names: tuple[str, ...] = ()
    sizes: tuple[int, int] = (1, 2)
    either: float | tuple[float, ...] = 1.0
    table: dict[str, float] = field(default_factory=dict)
    inner: Inner = field(default_factory=Inner)
    hidden: int = field(default=3, init=False)


TABLES: tuple[Any, ...] = (
    {"count": 1},
    {"count": 1, "share": 2},
    {"count": True},
    {"count": 1.0},
    {},
    {"cuont": 1},
    {"count": 1, "yes": 1},
    {"count": 1, "names": ["a", "b"]},
    {"count": 1, "names": "a"},
    {"count": 1, "names": [1]},
    {"count": 1, "more": None},
    {"count": 1, "sizes": [3, 4]},
    {"count": 1, "sizes": [3]},
    {"count": 1, "either": 3},
    {"count": 1, "either": [3, 4.5]},
    {"count": 1, "either": "x"},
    {"count": 1, "table": {"a": 1}},
    {"count": 1, "table": [1]},
    {"count": 1, "table": {"a": "b"}},
    {"count": 1, "inner": {"weight": 2}},
    {"count": 1, "inner": {"wait": 2}},
    {"count": 1, "inner": 3},
    [1],
    {"count": 1, "share": 2**1000},
    {"count": 1, "share": 2**1000 + 1},
    {"count": 1, "share": True},
    {"count": "1"},
)
HINTS: tuple[Any, ...] = (
    int,
    float,
    str,
    bool,
    tuple[str, ...],
    tuple[int, ...],
    int | None,
    float | tuple[float, ...],
    Any,
    Inner,
    str | tuple[str, ...],
    int | str,
)
TEXTS = (
    "3",
    "3.5",
    "a",
    '"a"',
    "a, b",
    "1, 2",
    "[1, 2]",
    "true",
    "",
    "a\nb",
    ' ["a"] ',
    "{a = 1}",
    "2020-01-01",
    "1 = 2",
)
VALUES: tuple[Any, ...] = (
    None,
    3,
    3.5,
    "a",
    "3",
    "",
    True,
    ("a", "b"),
    ("a", "b, c"),
    (1, 2),
    (1.0, "x"),
    [],
    {"a": 1},
    ("a\nb",),
    (" a",),
    '"q"',
)


def settings() -> dict[str, Any]:
    def shown(table: Any) -> Any:
        return dataclasses.asdict(configure(Whole, table, where="it"))

    return {
        "configured": [asked(functools.partial(shown, table)) for table in TABLES],
        "checked": [
            asked(
                functools.partial(
                    check_types,
                    Whole,
                    {k: tuple(v) if isinstance(v, list) else v for k, v in t.items()},
                    where="it",
                )
            )
            for t in TABLES
            if isinstance(t, dict)
        ],
        "described": [dataclasses.astuple(one) for one in settings_of(Whole)],
        "hints": [
            str(hint_of(Whole, n))
            for n in ("count", "inner", "inner.weight", "inner.no", "count.a", "no", "names")
        ],
        "parts": [has_parts(Whole, name) for name in ("inner", "count", "no", "table")],
        "kinds": [kind_of(hint) for hint in HINTS],
        "texts": [[asked(functools.partial(text_of, hint, value)) for value in VALUES] for hint in HINTS],
        "values": [[repr(value_of(hint, text)) for text in TEXTS] for hint in HINTS],
        "toml": tried(
            lambda: to_toml(
                {
                    "a": 1,
                    "b c": {"d": 1.5, "é": [1, {"f": True}]},
                    "t": {"u": {"v": {}, "w": {"x": 1}}},
                    "z": "q",
                }
            ),
            lambda: to_toml({}),
            lambda: to_toml({"a": {}}),
            lambda: to_toml({"a": "\x7f\n\\"}),
            lambda: to_toml({"a": None}),
            lambda: to_toml({"a": "\ud800"}),
            lambda: to_toml({"m": {"n": 1, "o": {"p": 2}}}),
            lambda: to_toml({"": 1}),
        ),
    }


def files() -> dict[str, Any]:
    def packed(kinds: tuple[int, ...]) -> zipfile.ZipFile:
        archive = zipfile.ZipFile(folder / "z.zip", "w")
        for number, kind in enumerate(kinds):
            archive.writestr(str(number), b"0" * 40, compress_type=kind)
        return archive

    def limited(most: int, ask: Callable[[], Any]) -> Any:
        set_largest_image(most)
        try:
            return asked(ask)
        finally:
            set_largest_image()

    def raising(error: BaseException, name: str = "") -> Any:
        with naming(name) if name else reading(Path("in/a.png"), "a picture"):
            raise error

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "here")
        folder.mkdir()
        (folder / "a.toml").write_text("a = 1")
        (folder / "b.toml").write_text("a = ")
        np.savez(folder / "c.npz", a=np.arange(10))
        path = Path("p.png")

        def arrays() -> Any:
            with stored_arrays(folder / "c.npz") as file:
                return {key: file[key] for key in file}

        return {
            "sizes": [
                limited(24, functools.partial(check_size, path, shape, page=page))
                for page in (False, True)
                for shape in ((2, 3, 4), (5, 5), (2, 3), (7, 1), (0, 3), (), (-1, -2))
            ],
            "archives": [
                limited(1, functools.partial(check_stored, packed(kinds)))
                for kinds in ((0,), (8, 0), (0, 0), (12,))
            ],
            "many": limited(10**6, functools.partial(check_stored, packed((0,) * 1001)))[:60],
            "arrays": [arrays(), limited(1, arrays)],
            "limits": [*tried(lambda: set_largest_image(0), lambda: set_largest_image(1)), set_largest_image()],
            "lines": [
                one_line(error)
                for error in (
                    ValueError("a\nb"),
                    ValueError("  "),
                    KeyError("x"),
                    ValueError("bad. : Use force=True x"),
                    ValueError("é\x07"),
                    ValueError("a" * 300),
                    ValueError("\n c \n"),
                    ValueError("end.:"),
                )
            ],
            "read": [
                asked(functools.partial(raising, error, name))
                for error in (
                    MemoryError(),
                    RecursionError(),
                    ValueError("v"),
                    InputError("own"),
                    OSError("o"),
                    InputError("has n.x"),
                )
                for name in ("", "n.x")
            ],
            "toml": tried(
                *(functools.partial(read_toml, folder / one) for one in ("a.toml", "b.toml", "no.toml", ""))
            ),
            "files": tried(
                *(
                    functools.partial(check_file, folder / one, "a file")
                    for one in ("a.toml", "", "no", "a.toml/b", "\udc80")
                )
            ),
            "inside": [
                re.sub(r".*/", "", str(asked(functools.partial(inside, folder, one, what="a name"))))[:60]
                for one in ("a", "../a", "b/../c", "/etc", 3, "\0", "x" * 5000, "")
            ],
            "folders": [is_folder(folder / one) for one in ("", "a.toml", "no", "x" * 5000)],
            "errors": [str(ContrafactError(text)) for text in ("a", "a\n b", "é\x07 c")],
            "trust": dataclasses.astuple(Trust()),
        }


def registries() -> dict[str, Any]:
    @EXPLAINERS.register("reference-method", aliases=("reference-alias",))
    @dataclass(frozen=True)
    class Method:
        """Halve the image.

        gives   half of
                the image
        cost    one pass
        Source: someone 1999.
        Differs: by a half.

        More words.
        """

        share: float = 0.5
        inner: Inner = field(default_factory=Inner)

        def __call__(self, question: Any, rng: Any) -> Any:
            question.notes["noted"] = [1.0] * len(question.images)
            question.details["chosen"] = "it"
            question.predictor(question.images)
            return question.images[:, 0] * self.share

    try:
        EXPLAINERS.alias("reference-preset", "reference-method", share=0.25)
        predictor = BlackBox(lambda x: x.mean(axis=(2, 3)), classes=["a", "b"], digest="x")
        draw = np.random.default_rng(2)
        some = [Image(draw.normal(size=(2, *size))) for size in ((3, 4), (3, 4), (4, 4), (3, 4))]
        region = np.zeros((3, 4), dtype=bool)
        region[1:, :2] = True
        target: Any = predictor.target("class:0")
        kept: dict[int, Any] = {}
        made = explain(Method(), predictor, some, target=target, seed=3, outputs=kept)
        inside_ = explain(Method(), predictor, some[:2], target=target, region=region, batch=1)
        nested = EXPLAINERS.make("reference-preset", inner={"name": "x", "weight": 2})
        request = Request.of(Method(), predictor, some[0], target="class:0", seed=4, also={"a": 1})
        asking = {
            "image": some[0],
            "reference": some[0],
            "region": some[1],
            "background": some[:2],
            "also": {"b": 2},
        }
        return {
            "made": [
                [brief(one.values), dict(one.record.notes), dict(one.record.details), one.record.forward_passes]
                for one in made
            ],
            "inside": [brief(one.values) for one in inside_],
            "parameters": [parameters_of(v) for v in (nested, {"a": (1, [Inner()])}, Method, {1: None}, 2.5)],
            "presets": [EXPLAINERS.preset(n) for n in ("reference-preset", "reference-method")],
            "fields": EXPLAINERS.fields_of("reference-alias"),
            "names": [EXPLAINERS.canonical(n) for n in ("reference-alias", "reference-preset")]
            + [EXPLAINERS.name_of(nested), METRICS.name_of(3)],
            "own": EXPLAINERS.names()["reference-method"],
            "cards": [cards_of(nested), card("About.\n\nraises  never\nSource: x\n\nDiffers: y"), card("")],
            "request": [len(request.source), request.method, request.target, request.seed],
            "keys": [
                one == Request.of(Method(), predictor, some[0], target="class:0", seed=4, also={"a": 1}).key
                for one in [
                    request.key,
                    *(
                        Request.of(
                            Method(),
                            predictor,
                            **{"image": some[0], "target": "class:0", "seed": 4, "also": {"a": 1}, name: value},
                        ).key  # type: ignore[arg-type]
                        for name, value in asking.items()
                    ),
                ]
            ],
            "targets": [
                text_of_target(TorchPredictor(network(2), classes="abc", output=kind), t).split(" ")[0]
                for kind in ("logits", "regression")
                for t in (None, 1, "1", "a", "class:b", "margin:1,0", True, np.int64(2))
            ]
            + [asked(lambda: text_of_target(predictor, target))],
            "html": html_of("image", some[0]) is None,
            "traits": {
                name: [
                    v if isinstance(v, (bool, int, str)) else "by its settings"
                    for v in dataclasses.astuple(traits_of(name))
                ]
                for name in EXPLAINERS.names()
            },
            "engines": engines(),
            "refused": tried(
                lambda: EXPLAINERS.get("reference-metod"),
                lambda: METRICS.get("zz"),
                lambda: EXPLAINERS.make("reference-method", shore=1),
                lambda: EXPLAINERS.alias("reference-alias", "occlusion"),
                lambda: EXPLAINERS.alias("occlusion", "occlusion"),
                lambda: EXPLAINERS.register("occlusion")(Method),
                lambda: EXPLAINERS.make("reference-method", inner={"no": 1}),
                lambda: explain(Method(), predictor, [], target=target),
                lambda: explain(Method(), 3, some, target=target),  # type: ignore[arg-type]
                lambda: explain(Method(), predictor, some, target=target, region=region),
                lambda: explain(Method(), predictor, some[:1], target=target, region=region & False),
                lambda: explain(Method(), predictor, some[:1], target=target, background=some[2:]),
                lambda: explain(lambda _question, _rng: [], predictor, some[:1], target=target),
            ),
        }
    finally:
        for words in (EXPLAINERS._classes, EXPLAINERS._aliases, EXPLAINERS._presets):
            for word in [w for w in words if w.startswith("reference-")]:
                del words[word]  # type: ignore[attr-defined]


def values() -> dict[str, Any]:
    parts = (settings, files, registries)
    return {part.__name__: part() for part in parts}
