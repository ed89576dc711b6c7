"""What models, targets, preprocessing and files take at their limits, and what they refuse."""

from __future__ import annotations

import functools
import json
import tempfile
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from contrafact.models import BlackBox, Preprocessing, TorchPredictor, load_predictor
from contrafact.models.calls import first_tensor, function_name, with_first
from contrafact.models.declaration_checks import check_kind, range_line, within_unit
from contrafact.models.description_schema import read_description
from contrafact.models.determinism import Steadiness, steadiness
from contrafact.models.factories import build
from contrafact.models.inspection import inspect_network
from contrafact.models.onnx_files import external_files
from contrafact.models.onnx_inputs import OnnxInput
from contrafact.models.predictor_info import pick
from contrafact.models.preprocessing import preprocessing_from
from contrafact.models.region_targets import RegionTarget, class_sizes, predicted
from contrafact.models.target_syntax import is_form, parse_target
from contrafact.models.targets import logit
from contrafact.models.weights import without_prefix
from reference.heatmaps import network
from reference.kept import asked, brief, tried


class Odd(nn.Module):
    """Functions and modules that hooks on modules miss, or see twice."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.act, self.soft = nn.BatchNorm2d(1), nn.ReLU(inplace=True), nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        x = (
            self.act(self.norm(x))
            + self.act(x.clone())
            + F.relu(x)
            + F.hardtanh(x, 0.0, 6.0)
            + F.hardtanh(x, -1.0, 1.0)
        )
        return torch.stack([self.soft(x).mean((1, 2, 3)), torch.tanh(F.gelu(x)).mean((1, 2, 3)) - 2], dim=1)


def checks() -> dict[str, Any]:
    image = torch.linspace(-1, 1, 12).reshape(1, 1, 3, 4)
    odd = TorchPredictor(Odd().eval(), classes="ab")
    findings = inspect_network(odd, image)
    company = BlackBox(lambda x: np.stack([x.mean((1, 2, 3)), 3 * x.mean((1, 2, 3)) - x.mean()], 1), digest="x")
    rows = torch.tensor([[0.2, 0.8], [0.5, 0.5]])
    pair = namedtuple("pair", "a b")
    return {
        "findings": [
            findings.functional,
            findings.reused,
            findings.in_place,
            findings.unchanged,
            findings.relus,
            findings.lines(),
        ],
        "nothing": inspect_network(
            TorchPredictor(network(2, 1), classes="abc"), torch.rand(1, 1, 6, 6)
        ).lines(),
        "steady": [
            [s.again, s.company, s.allowed, s.steady, s.lines()]
            for s in (steadiness(odd, image), steadiness(company, image + 1))
        ],
        "lines": [
            [Steadiness(*v).steady, Steadiness(*v).lines()]
            for v in ((0.1, 0.2, 0.3), (0.3, 0.2, 0.3), (0.4, 0.5, 0.3), (0.1, 0.5, 0.3))
        ],
        "kinds": [
            asked(functools.partial(check_kind, rows * factor + more, kind))
            for kind in ("logits", "probabilities", "sigmoid")
            for factor, more in ((1.0, 0.0), (1.0, 1e-3), (2.0, 0.0), (1.0, -0.3), (1.0, 2e-5))
        ]
        + tried(
            lambda: check_kind(rows[:0], "logits"),
            lambda: check_kind(rows.half() * 1.004, "logits"),
            lambda: check_kind(rows.half() * 1.03, "logits"),
        ),
        "unit": [within_unit(one) for one in (rows, rows * 2, rows - 0.3, rows[:0], torch.tensor([0.0, 1.0]))],
        "ranges": [
            range_line(low, high) for low, high in ((0, 255), (3, 128), (-5, 129), (0, 256), (-1000, 400))
        ],
        "functions": [
            function_name(f)
            for f in (
                torch.add,
                Tensor.add_,
                Tensor.__iadd__,
                Tensor.__radd__,
                Tensor.__rsub__,
                torch.relu_,
                torch.mm,
                Tensor.__imul__,
                Tensor.__add__,
                Tensor.__rmul__,
                Tensor.__invert__,
                3,
            )
        ],
        "first": [
            first_tensor(v) is image
            for v in (
                image,
                (image, 1),
                [image],
                {"a": image, "b": 2},
                {},
                (),
                (1, image),
                None,
                {"a": (image,)},
            )
        ],
        "replaced": [
            str(type(v)) + str([x is rows for x in (v.values() if isinstance(v, dict) else v)])
            for v in (
                with_first((image, 1), rows),
                with_first([image, 2], rows),
                with_first(pair(image, 1), rows),
                with_first({"a": image, "b": 1}, rows),
            )
        ]
        + [with_first(image, rows) is rows, with_first({1}, rows) == {1}],
        "picked": tried(
            *(
                functools.partial(pick, outputs, head)
                for outputs in ({"a": 1, "b": 2}, [1, 2], (3, 4), 5)
                for head in (None, 0, 1, 2, -1, "b", "c", True, False)
            )
        ),
    }


def outputs() -> dict[str, Any]:
    """Outputs of shapes and kinds that predictors take or refuse."""
    shapes = ((2,), (2, 1), (2, 3), (3, 3), (2, 3, 4), (2, 3, 4, 4), (2, 3, 4, 4, 4))
    images = torch.zeros(2, 1, 4, 4)

    def ask(shape: tuple[int, ...], kind: str, classes: str) -> Any:
        made = BlackBox(lambda _: np.full(shape, 0.25), output=kind, classes=classes, digest="x")
        return [tuple(made(images).shape), made.class_count]

    kinds = (
        ("logits", "abc"),
        ("sigmoid", ""),
        ("ordinal", "abcd"),
        ("regression", "a"),
        ("probabilities", "ab"),
    )
    return {
        "shapes": [asked(functools.partial(ask, shape, *kind)) for kind in kinds for shape in shapes],
        "refused": tried(
            lambda: BlackBox(len, output="logit"),
            lambda: TorchPredictor(nn.Linear(2, 2, device="meta")),
            lambda: TorchPredictor(network(2, 1), classes="ab")(torch.zeros(1, 1, 6, 6)),
            lambda: TorchPredictor(network(2, 1), classes="abc").layer("4x"),
            lambda: TorchPredictor(network(2, 1), classes="abc").layer("relu#1"),
            lambda: TorchPredictor(nn.Flatten(), classes="ab").layer(None),
            lambda: TorchPredictor(network(2, 1), classes="abc").layer(""),
            lambda: TorchPredictor(nn.Sequential(network(2, 1), nn.Sigmoid()), output="sigmoid")(
                torch.rand(2, 1, 6, 6)
            ),
            lambda: (
                TorchPredictor(nn.Sequential(network(2, 1), nn.Softmax(1)), output="probabilities")(
                    torch.rand(2, 1, 6, 6)
                ).shape
            ),
            lambda: TorchPredictor(nn.Sequential(network(2, 1), nn.Softmax(1)))(torch.rand(2, 1, 6, 6)),
            lambda: BlackBox(len, digest="x").feature_layer(None),
            lambda: BlackBox(len, digest="x").replacing(1, 2, (3,), 4),
        ),
        "layers": [TorchPredictor(network(2, 1), classes="abc")._name_of(n) for n in (None, "0", "relu#2")],
    }


def targets() -> dict[str, Any]:
    texts = (
        "class:0",
        "class:3",
        "class:c",
        "class:-1",
        "class:",
        "class:0,1",
        "margin:0",
        "margin:0,1",
        "grade",
        "grade:1",
        "value:0",
        "value:3",
        "value:above a",
        "probability:b",
        "class:01",
        "clas:1",
        "b",
        "region:1",
        "region:b@0.5",
        "lesion:1#2",
        "region:1#2",
        "missed:1#0",
        "region:1@0",
        "region:1@1",
        "region:1@0.2+0.7,sum",
        "region:1@1..2",
        "volume:1,sum",
        "region:",
        "region:1,",
        "dice:9",
        "mask: b",
    )
    kinds = (("logits", "abc"), ("ordinal", "abc"), ("regression", ""), ("sigmoid", ""), ("logits", "210"))
    maps = torch.full((1, 2, 5, 5), -1.0)
    maps[0, 1, 0, 0] = maps[0, 1, 2:4, 2:4] = 1.0
    maps[0, 1, 0, 4] = -1.0
    image = torch.zeros(1, 1, 5, 5)
    reference = np.zeros((5, 5), dtype=bool)
    reference[0, 0] = reference[4, :3] = True

    def frozen(**settings: Any) -> Any:
        made = RegionTarget(**{"index": 1, **settings}).freeze(lambda _: maps, image)  # type: ignore[arg-type]
        return [
            type(made).__name__,
            brief(made.places),
            made(maps),
            getattr(made, "default_goal", 0),
            str(made),
        ]

    whole = RegionTarget(index=1).freeze(lambda _: maps, image)  # type: ignore[arg-type]
    named = [
        BlackBox(len, classes=classes, digest="x", output=kind)
        for classes, kind in (("ab", "logits"), ("ba", "sigmoid"), ("", "logits"), ("ac", "logits"))
    ]
    places_of = ("region", "lesion", "boundary", "mask", "false-positive", "missed", "volume", "dice")
    equal = torch.zeros(1, 3, 2, 2)
    equal[0, 0, 0, 0], equal[0, 2, 1] = 1, 1
    nan = equal.clone()
    nan[0, 1, 0, 1] = float("nan")
    return {
        "parsed": [
            [
                asked(
                    lambda text=text, kind=kind, classes=classes: str(
                        parse_target(text, kind=kind, classes=list(classes))
                    )
                )  # type: ignore[misc]
                for text in texts
            ]
            for kind, classes in kinds
        ],
        "forms": [is_form(text) for text in (*texts, "grades", "K:1", "margin", "cla:1")],
        "logit": tried(*(functools.partial(logit, goal) for goal in (0, 0.25, 0.9, 1, -1))),
        "frozen": [
            asked(functools.partial(frozen, place=place, reference=given))
            for place in places_of
            for given in (None, reference)
        ],
        "parts": [
            asked(functools.partial(frozen, place=place, lesion=n, reference=reference))
            for place in ("lesion", "missed")
            for n in (0, 1, 2, 3)
        ],
        "more": tried(
            lambda: frozen(total=True),
            lambda: frozen(thresholds=(0.2, 0.6)),
            lambda: frozen(index=0, kind="sigmoid"),
            lambda: frozen(place="boundary", width=3),
            lambda: frozen(thresholds=(0.999,)),
            lambda: frozen(reference=reference[:4]),
            lambda: RegionTarget(index=1)(maps),
            lambda: RegionTarget(index=1).freeze(lambda _: maps[:, :, 0, 0], image),  # type: ignore[arg-type]
            lambda: whole(maps[:, :1]),
            lambda: whole(maps[..., 0]),
            lambda: whole(maps[..., :3, :3]),
            lambda: whole(maps[..., :1, 4:]),
            lambda: whole(F.interpolate(maps, (9, 10))),
        ),
        "of": [
            asked(lambda a=a, b=b: [(made := whole.of(a, b)).target.index, made.target.kind])
            for a in named
            for b in named
        ],  # type: ignore[misc]
        "sizes": [
            [
                class_sizes(one, kind),
                *(int(predicted(one, kind, k, cut).sum()) for k in range(3) for cut in (None, 0.4)),
            ]
            for one in (equal, nan)
            for kind in ("logits", "sigmoid")
        ],
    }


def prepared() -> dict[str, Any]:
    settings: list[dict[str, Any]] = [
        {"window": (1, 1)},
        {"window": (2, 1)},
        {"window": (0,)},
        {"window": "01"},
        {"window": (0, np.inf)},
        {"mean": (0.5,)},
        {"std": (0.5,)},
        {"mean": (0.5,), "std": (0,)},
        {"mean": ("a",), "std": (1,)},
        {"mean": (), "std": ()},
        {"channels": 0},
        {"channels": 1.0},
        {"channels": True},
        {"size": (0, 2)},
        {"size": 3},
        {"size": {}},
        {"size": (2.0, 2)},
        {"least": 0},
        {"most": 0},
        {"least": 3, "most": 2},
        {"least": 2, "most": 2},
    ]
    asked_for: list[tuple[dict[str, Any], tuple[int, ...]]] = [
        ({"size": (4, 4)}, (1, 1, 4, 3)),
        ({"size": (4, 4), "least": 3}, (1, 1, 3, 9)),
        ({"size": (4, 4), "least": 5}, (1, 1, 4, 9)),
        ({"size": (4, 4)}, (1, 1, 4, 4, 4)),
        ({"channels": 3}, (1, 1, 2, 2)),
        ({"channels": 3}, (1, 2, 2, 2)),
        ({"channels": 1}, (1, 3, 2, 2)),
        ({"most": 4}, (1, 1, 4, 4)),
        ({"most": 4}, (1, 1, 3, 5)),
        ({}, (1, 2, 2)),
        ({}, (1, 1, 2, 2, 2, 2)),
        ({"size": (2, 3)}, (1, 1, 3, 2)),
    ]
    return {
        "made": [asked(lambda one=one: str(Preprocessing(**one))) for one in settings],  # type: ignore[misc]
        "asked": [
            asked(lambda s=s, size=size: tuple(Preprocessing(**s)(torch.zeros(size)).shape))
            for s, size in asked_for
        ],  # type: ignore[misc]
        "tables": tried(
            lambda: preprocessing_from([]),
            lambda: preprocessing_from({"siez": 3}),
            lambda: str(preprocessing_from({"size": [3, 4], "channels": 1})),
        ),  # type: ignore[arg-type]
    }


def files() -> dict[str, Any]:
    tables: list[Any] = [
        [],
        {"mode": 1},
        {"classes": "ab"},
        {"classes": [1]},
        {"tokens": [1.5]},
        {"tokens": [True]},
        {"output": 3},
        {"head": True},
        {"head": 1.5},
        {"head": None},
        {"preprocessing": []},
        {"arguments": 3},
        {"model": "x.json"},
        {"model": 3},
        {"factory": "a:b"},
        {"model": "no.onnx"},
        {"factory": "torch.nn:Linear", "weights": 3},
    ]
    state = {"module.model.a": torch.ones(1), "module.model.b": torch.ones(2)}
    factories: list[tuple[Any, Any]] = [
        ("torch.nn:Linear", {"in_features": 2, "out_features": 3}),
        ("torch.nn:Linear", {}),
        ("os:system", {}),
        (3, {}),
        ("torch.nn:Linear", []),
        ("torch.nn:functional", {}),
        ("torch.nn:Linear.x", {}),
        ("torch.nn:ModuleList", {"modules": "a/b"}),
        ("torch.nn:Linear", {"a b": 1}),
        ("torch.nn:Linear", {"in_features": 2, "out_features": 3, "weights": "a"}),
        ("torch.nn:Linear", {"in_features": [".a"]}),
        ("contrafact.model.networks:SmallCNN", {}),
        ("monai.networks.nets:MILModel", {"num_classes": 1}),
    ]
    given = [
        ((None, 2, 4, 5), False),
        ((3, 4, 5, 2), True),
        ((None, None, None, 5), False),
        ((None, 1, 4, 5, 6), False),
    ]
    graphs = [
        OnnxInput("x", np.float32 if n else np.uint8, shape, last) for n, (shape, last) in enumerate(given)
    ]
    images = np.arange(40, dtype=np.float32).reshape(1, 2, 4, 5) + 0.6
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "here")
        folder.mkdir()

        def described(table: Any, read: Callable[[Path], Any]) -> Any:
            (folder / "m.json").write_text(json.dumps(table))
            return asked(lambda: bool(read(folder / "m.json")))

        return {
            "tables": [
                [described(table, read) for read in (read_description, load_predictor)] for table in tables
            ],
            "names": tried(
                *(functools.partial(load_predictor, folder / n) for n in ("a.onnx", "", "m.json")),
                lambda: load_predictor(3),
            ),  # type: ignore[arg-type]
            "prefixes": tried(
                lambda: list(without_prefix(state, {"a": 0}, folder)),
                lambda: list(without_prefix(state, {"module.model.a": 0}, folder)),
                lambda: list(without_prefix({"x.a": torch.ones(1)}, {"a": 0}, folder)),
                lambda: list(without_prefix({}, {"a": 0}, folder)),
            ),
            "factories": [asked(lambda f=f, a=a: type(build(f, a)).__name__) for f, a in factories],  # type: ignore[misc]
            "graphs": [
                [
                    g.batch,
                    g.channels,
                    g.size,
                    str(g.declared(None)),
                    str(g.declared(Preprocessing(size=(9, 9), channels=3))),
                ]
                for g in graphs
            ],
            "given": [
                asked(lambda g=g, v=v: [brief(made := g.of(v)), str(made.dtype)])
                for g in graphs
                for v in (images, images * 10, images[..., :4], -images)
            ],  # type: ignore[misc]
            "external": [
                asked(lambda c=c: sorted(external_files(c)))
                for c in (  # type: ignore[misc]
                    b"",
                    b"\x08\x01",
                    b"\x3a\x0b\x2a\x09\x6a\x07\x0a\x05other",
                    b"\x3a\x19\x2a\x17\x6a\x15\x0a\x08location\x12\x09over/here",
                    b"\x3a\x63",
                    b"\x0d1234\x09" + b"1" * 8,
                    b"\x0b",
                    b"\xff" * 11,
                    b"\x09123",
                )
            ],
        }


def values() -> dict[str, Any]:
    parts = (checks, outputs, targets, prepared, files)
    return {part.__name__: part() for part in parts}
