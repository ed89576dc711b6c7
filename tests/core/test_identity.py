"""One key for everything that can change an answer: models, bundles, images, methods, studies."""

from __future__ import annotations

import collections
import copy
import dataclasses
import functools
import json
import os
import subprocess
import sys
import textwrap
import types
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import contrafact as cf
from conftest import noise_image, planted_predictor, small_network
from contrafact.api.case import Plan, explain_case, request_of
from contrafact.attribution import Occlusion
from contrafact.core import EXPLAINERS, Image, InputError, Request, fingerprint
from contrafact.core.contents import digest_of_content
from contrafact.core.request import source_of_method
from contrafact.counterfactual import Bundle, Direction, LatentStatistics
from contrafact.io import Run, open_run
from contrafact.models import (
    BlackBox,
    Preprocessing,
    RegionTarget,
    TiledPredictor,
    TorchPredictor,
    load_predictor,
)
from contrafact.models.targets import ClassTarget
from contrafact.study.runner import study

WEIGHTS = small_network().eval().state_dict()


def made(source: str, folder: Path) -> type[nn.Module]:
    """The class `Net` of a module `own_network` with that source, imported anew."""
    folder.mkdir()
    (folder / "own_network.py").write_text("import torch\nfrom torch import nn\n" + textwrap.dedent(source))
    sys.path.insert(0, str(folder))
    try:
        return __import__("own_network").Net  # type: ignore[no-any-return]
    finally:
        sys.path.remove(str(folder))
        del sys.modules["own_network"]


NET = """
    SCALE = {scale}
    def head(x):
        return x * SCALE
    class Net(nn.Module):
        def __init__(self, power=1.0):
            super().__init__()
            self.power = power
            self.conv = nn.Conv2d(1, 2, 3, stride={stride})
            self.register_buffer("shift", torch.full((1,), {shift}), persistent=False)
        def forward(self, x):
            return head(self.conv(x).mean((2, 3))){more}
"""


def digest(folder: Path, *, power: float = 1.0, **words: Any) -> str:
    text = NET.format(**{"scale": 1, "stride": 1, "shift": 0.0, "more": "", **words})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TorchPredictor(made(text, folder)(power=power)).digest


def test_the_digest_of_a_model_follows_its_source_settings_and_what_it_calls(tmp_path: Path) -> None:
    plain = digest(tmp_path / "0")
    others = [{"more": " + 0.5"}, {"scale": 2}, {"stride": 2}, {"shift": 1.0}, {"power": 2.0}]
    found = [digest(tmp_path / str(n), **words) for n, words in enumerate(others, start=1)]
    assert digest(tmp_path / "9") == plain
    assert len({plain, *found}) == 6


def test_the_digest_follows_how_a_model_is_declared() -> None:
    def digest_with(**words: Any) -> str:
        return TorchPredictor(small_network().eval(), **{"classes": ["no", "yes"], **words}).digest

    ways: list[dict[str, Any]] = [
        {},
        {"preprocessing": Preprocessing(window=(0, 255))},
        {"preprocessing": Preprocessing(window=(0, 200))},
        {"output": "sigmoid"},
        {"head": 0},
        {"classes": ["well", "ill"]},
    ]
    assert len({digest_with(**words) for words in ways}) == len(ways)
    assert digest_with() == digest_with(preprocessing=Preprocessing())


def test_the_digest_follows_weights_that_are_trained_on_and_not_what_a_passage_leaves_behind() -> None:
    predictor = TorchPredictor(small_network())
    before = predictor.digest
    with predictor.frozen():
        predictor(np.zeros((2, 1, 16, 16), np.float32))
    assert predictor.digest == before
    with torch.no_grad():
        predictor.module[0].weight.add_(0.1)
    assert predictor.digest not in ("", before)
    twin = copy.deepcopy(predictor)
    assert twin.digest == predictor.digest


def test_functions_with_other_source_or_other_weights_are_other_models() -> None:
    def box(network: nn.Module, factor: float) -> BlackBox:
        return BlackBox(lambda x: factor * network(torch.as_tensor(x)).detach().numpy())

    other = small_network().eval()
    with torch.no_grad():
        other[0].weight.mul_(2)
    same = [box(small_network().eval(), 1.0).digest for _ in range(2)]
    assert same[0] == same[1]
    assert len({same[0], box(other, 1.0).digest, box(small_network().eval(), 2.0).digest}) == 3
    one, two = (lambda x: x + 1), (lambda x: x + 2)  # on one line
    assert BlackBox(one).digest != BlackBox(two).digest


def test_an_onnx_model_is_known_by_file_and_declaration(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    path = tmp_path / "net.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        torch.onnx.export(small_network().eval(), (torch.zeros(1, 1, 16, 16),), path, dynamo=False)
    plain = load_predictor(path).digest
    assert load_predictor(path).digest == plain != load_predictor(path, output="sigmoid").digest
    assert load_predictor(path, preprocessing=Preprocessing(window=(0, 9))).digest != plain


def test_patches_of_another_size_make_another_model() -> None:
    inner = TorchPredictor(nn.Conv2d(1, 2, 3, padding=1))
    digests = {TiledPredictor(inner, (8, 8)).digest, TiledPredictor(inner, (8, 4)).digest, inner.digest}
    assert len(digests | {TiledPredictor(inner, (8, 8), overlap=0.25).digest}) == 4


def test_a_digest_is_the_same_in_another_process() -> None:
    words = (
        "from conftest import small_network; from contrafact.models import TorchPredictor;"
        "print(TorchPredictor(small_network().eval(), classes=['a', 'b']).digest)"
    )
    there = subprocess.run(
        [sys.executable, "-c", words], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1]
    )
    assert there.stdout.strip() == TorchPredictor(small_network().eval(), classes=["a", "b"]).digest


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("ab", "c"), ("a", "bc")),
        ((1,), ("1",)),
        ((1,), (1.0,)),
        (([1, 2], []), ([1], [2])),
        ((np.zeros(2, np.float32),), (np.zeros(2, np.float64),)),
        ((np.zeros((2, 3)),), (np.zeros((3, 2)),)),
        (({"a": 1},), ({"b": 1},)),
        ((None,), ("None",)),
    ],
)
def test_fingerprints_tell_kind_and_length_apart(one: Any, other: Any) -> None:
    assert fingerprint(*one) != fingerprint(*other)
    assert fingerprint(*one) == fingerprint(*one)


def test_tensors_of_the_same_values_in_another_shape_or_type_are_others() -> None:
    flat = torch.arange(6.0)
    others = (flat.reshape(2, 3), flat.reshape(3, 2), flat.view(torch.int32))
    assert len({digest_of_content(one) for one in (flat, *others)}) == 4
    assert digest_of_content(flat.clone()) == digest_of_content(flat)


def test_a_fingerprint_is_of_plain_values_alone() -> None:
    with pytest.raises(TypeError, match="expected a plain value"):
        fingerprint(object())


def test_every_field_of_a_request_is_in_its_key() -> None:
    plain = Request(image="i", model="m", method={"name": "x"}, target="class:1")
    changed: dict[str, Any] = dict.fromkeys(("image", "model", "target", "bundle", "reference"), "other")
    changed |= {"region": "other", "source": "other", "version": "other", "seed": 1, "background": ("b",)}
    changed |= {"method": {"name": "y"}, "also": {"trust": True}}
    assert set(changed) == {f.name for f in dataclasses.fields(Request)}
    keys = {dataclasses.replace(plain, **{name: value}).key for name, value in changed.items()}
    assert len(keys | {plain.key}) == len(changed) + 1


class Drawn(nn.Module):
    """A generator of four numbers, without directions."""

    image_shape, latent_size = (1, 16, 16), 4

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((1,), factor))


def coded_bundle(factor: float) -> Bundle:
    statistics = LatentStatistics(mean=torch.zeros(4), covariance=torch.eye(4))
    return Bundle(
        name="coded",
        generator=Drawn(factor),  # type: ignore[arg-type]
        encoder=nn.Identity(),
        statistics=statistics,
        window=(0.0, 1.0),
        directions=(),
    )


def test_a_bundle_without_directions_is_known_by_its_weights() -> None:
    image, predictor = noise_image(2, 1), planted_predictor(2, 1)

    def key(bundle: Bundle) -> str:
        plan = Plan(predictor=predictor, methods=(), bundle=bundle)
        return request_of(Occlusion(), plan, image, target="class:1").key

    assert key(coded_bundle(1.0)) == key(coded_bundle(1.0)) != key(coded_bundle(2.0))


class TwoHeads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = small_network().eval()

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        z = self.body(x)
        return z, z.flip(1)


def test_a_run_answers_anew_when_anything_about_the_question_changes(tmp_path: Path) -> None:
    image = noise_image(2, 1)
    run = Run.create(tmp_path / "run", about={})
    network = TwoHeads()

    def results(plan: Plan, image: Image = image) -> int:
        before = len(run.rows())
        explain_case(run, "a", image, plan)
        return len(run.rows()) - before

    def plan(**words: Any) -> Plan:
        known = {k: words.pop(k) for k in ("head", "preprocessing", "output") if k in words}
        predictor = TorchPredictor(network, classes=["no", "yes"], **known)
        return Plan(**{"predictor": predictor, "methods": ["gradient"], "target": "class:1", **words})

    assert (results(plan()), results(plan())) == (1, 0)
    mask = Image((noise_image(2, 1).values > 0.7).astype(np.float32))
    changes: list[dict[str, Any]] = [
        {"head": 1},
        {"preprocessing": Preprocessing(mean=(0.5,), std=(0.5,))},
        {"output": "sigmoid"},
        {"seed": 1},
        {"region": mask},
        {"labels": mask},
        {"labels": mask, "names": {1: "lesion"}},
        {"trust": True},
        {"target": "class:0"},
    ]
    for words in changes:
        assert (results(plan(**words)), results(plan(**words))) == (1, 0), words
    moved = Image(image.values, grid=cf.Grid((16, 16), spacing_mm=(2, 2)))
    assert results(plan(), moved) == 1


def study_folder(tmp_path: Path, scale: str = "1.0") -> Path:
    (tmp_path / "own_factory.py").write_text(
        "import torch\nfrom torch import nn\nfrom conftest import small_network\n"
        "class Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.body = small_network()\n"
        f"    def forward(self, x):\n        return self.body(x * {scale})\n"
    )
    save_file({f"body.{k}": v for k, v in WEIGHTS.items()}, tmp_path / "net.safetensors")
    about = {"factory": "own_factory:Net", "weights": "net.safetensors", "classes": ["no", "yes"]}
    (tmp_path / "net.json").write_text(json.dumps(about))
    np.save(tmp_path / "a.npy", noise_image(2, 1).values)
    head = 'images = ["a.npy"]\nout = "run"\ntargets = ["class:1"]\n[model]\npath = "net.json"\n'
    (tmp_path / "study.toml").write_text(head + "[methods.gradient]\n[metrics.deletion]\n")
    return tmp_path / "study.toml"


def test_a_study_asks_again_when_the_source_of_its_model_changes(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    path = study_folder(tmp_path)

    def asked() -> list[str]:
        sys.modules.pop("own_factory", None)
        return [row.task.label for row in study(path, engine="local", trust_code=True)]

    assert (asked(), asked()) == (["gradient", "metrics"], [])
    study_folder(tmp_path, scale="(1.0 + 1.0)")
    assert (asked(), asked()) == (["gradient", "metrics"], [])
    first = (tmp_path / "run" / "scores.csv").read_text()
    study_folder(tmp_path)
    assert asked() == []  # all that it asks for is there already, and the tables are those of this model
    assert (tmp_path / "run" / "scores.csv").read_text() != first
    sys.modules.pop("own_factory", None)


def test_cf_study_can_be_called_twice_in_a_process(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    path = study_folder(tmp_path)
    assert [len(list(cf.study(path, engine="local", trust_code=True))) for _ in range(2)] == [2, 0]
    with pytest.raises(InputError, match="engine must be one of"):
        list(cf.study(path, engine="proceses"))
    assert len(open_run(tmp_path / "run").rows()) == 1
    sys.modules.pop("own_factory", None)


def test_evaluate_refuses_a_keyword_it_does_not_know() -> None:
    image, predictor = noise_image(2, 1), planted_predictor(2, 1)
    heat = cf.explain("gradient", predictor, image, target="class:1")
    with pytest.raises(TypeError, match="backgroud"):
        cf.evaluate(heat, predictor, image, ["sparseness"], backgroud=[image])  # type: ignore[call-arg]
    (score,) = cf.evaluate(heat, predictor, image, ["sparseness"], seed=3, background=[image])
    assert np.isfinite(score.value)


def test_methods_of_someone_else_are_known_by_their_source() -> None:
    def method(scale: Any) -> type:
        return type("Method", (), {"scales": scale, "__call__": lambda _self, question: question})

    assert source_of_method(method([1, 2])()) == source_of_method(method([1, 2])()) != ""
    assert source_of_method(method([1, 2])()) != source_of_method(method([1, 3])())
    assert source_of_method(Occlusion()) == source_of_method("occlusion") == ""
    assert "occlusion" in EXPLAINERS.names()


class Free(nn.Module):
    """A network whose answer hangs on whatever it is given."""

    table: Any = (1.0, 2.0)

    def __init__(self, held: Any = None) -> None:
        super().__init__()
        self.line = nn.Linear(4, 2)
        with torch.no_grad():
            self.line.weight.fill_(0.5)
            self.line.bias.zero_()
        self._held = held

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.line(x.flatten(1)[:, :4])  # type: ignore[no-any-return]


@dataclasses.dataclass
class Setting:
    scale: Any = 1.0


class Helper:
    def __init__(self, scale: Any) -> None:
        self.inner = {"scale": [scale]}

    def act(self, x: Any) -> Any:
        return x * self.inner["scale"][0]


HELD: dict[str, Any] = {
    "number": float,
    "scalar": np.float32,
    "set": lambda v: {v, "other"},
    "dataclass": Setting,
    "namespace": lambda v: types.SimpleNamespace(scale=v),
    "helper": Helper,
    "deep helper": lambda v: Setting(Helper(np.full(2, v))),
    "bound method": lambda v: Helper(v).act,
    "partial": lambda v: functools.partial(torch.mul, torch.full((2,), float(v))),
    "lambda": lambda v: (lambda tensor: lambda x: x * tensor)(torch.full((2,), float(v))),
    "dtype": lambda v: {1: torch.float32, 2: torch.float64}[v],
    "objects": lambda v: np.array([v, "a", None], dtype=object),
    "slots": lambda v: cf.Preprocessing(window=(0, v)),
    "cached function": lambda v: functools.lru_cache(functools.partial(pow, v)),
    "generator": lambda v: np.random.default_rng(v),
    "deque": lambda v: collections.deque([v]),
    "subclass": lambda v: collections.OrderedDict(scale=v),
}


@pytest.mark.parametrize("kind", HELD)
def test_the_digest_follows_whatever_a_model_holds(kind: str) -> None:
    def digests(value: int) -> set[str]:
        held = HELD[kind](value)
        return {TorchPredictor(Free(held)).digest, BlackBox(lambda x: (x, held)).digest}

    assert digests(1) == digests(1)
    assert not digests(1) & digests(2)


@pytest.mark.parametrize("value", [[1.0, 3.0], (1.0, 3.0), torch.ones(2), np.ones(2), {"a": 1}])
def test_the_digest_follows_attributes_of_the_class_and_outer_names(value: Any, monkeypatch: Any) -> None:
    before = TorchPredictor(Free()).digest, BlackBox(outer).digest
    monkeypatch.setattr(Free, "table", value)
    monkeypatch.setitem(globals(), "OUTER", value)
    after = TorchPredictor(Free()).digest, BlackBox(outer).digest
    assert before[0] != after[0]
    assert before[1] != after[1]
    assert after == (TorchPredictor(Free()).digest, BlackBox(outer).digest)


OUTER: Any = {"scale": {1, 2}}


def outer(x: Any) -> Any:
    return x, OUTER


def test_hooks_of_the_owner_count_and_those_that_watch_do_not() -> None:
    predictor = TorchPredictor(Free())
    plain = predictor.digest
    with predictor.watch("line"):
        assert predictor.digest == plain
    handle = predictor.module.line.register_forward_hook(lambda _module, _given, found: found * 2)
    assert predictor.digest != plain
    handle.remove()
    assert predictor.digest == plain
    predictor.module.register_forward_pre_hook(lambda _module, given: (given[0] + 1,))
    assert predictor.digest != plain


def test_writes_that_torch_does_not_count_change_the_digest() -> None:
    network = small_network().eval()
    box = BlackBox(lambda x: network(torch.as_tensor(x)).detach().numpy())
    predictor = TorchPredictor(network)
    tiled = TiledPredictor(predictor, (8, 8))
    seen = [(predictor.digest, tiled.digest, box.digest)]
    network[0].weight.data *= 2
    seen.append((predictor.digest, tiled.digest, box.digest))
    network[0].weight.detach().numpy()[0] = 0
    seen.append((predictor.digest, tiled.digest, box.digest))
    network[0].stride = (2, 2)
    seen.append((predictor.digest, tiled.digest, box.digest))
    assert all(len(set(column)) == 4 for column in list(zip(*seen, strict=True))[:2])
    assert len({box for *_, box in seen}) >= 3


@pytest.mark.parametrize("kind", ["array", "tensor"])
def test_every_value_of_a_small_array_is_looked_at(kind: str) -> None:
    class Holds(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = small_network()
            values = np.zeros(4096, np.float32)
            self.values: Any = values if kind == "array" else torch.from_numpy(values)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x) + float(self.values[1])  # type: ignore[no-any-return]

    model = Holds().eval()
    predictor = TorchPredictor(model, classes=["a", "b"])
    seen = {predictor.digest}
    for place in (0, 1, 2, 2047, 4095):
        np.asarray(model.values)[place] = 5.0  # torch does not count it
        seen.add(predictor.digest)
    assert len(seen) == 6


def test_what_is_declared_later_counts_from_then_on() -> None:
    for predictor in (TorchPredictor(Free()), BlackBox(lambda x: x.reshape(len(x), -1))):
        seen = [predictor.digest]
        for name, value in [
            ("preprocessing", Preprocessing(window=(0, 9))),
            ("output", "sigmoid"),
            ("head", 0),
        ]:
            setattr(predictor, name, value)
            seen.append(predictor.digest)
        assert len(set(seen)) == 4


class Counting(nn.Module):
    """Counts its passes, and keeps the last activation."""

    def __init__(self) -> None:
        super().__init__()
        self.calls, self.last = 0, None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.last = x.mean((1, 2, 3))[:, None].repeat(1, 2)
        return self.last


def test_what_passes_leave_behind_is_no_other_model() -> None:
    counting = Counting()
    predictor, box = TorchPredictor(Counting()), BlackBox(lambda x: counting(torch.as_tensor(x)))
    for asked in (predictor, box):
        before = asked.digest
        asked(np.zeros((2, 1, 8, 8), np.float32))
        assert asked.digest == before
    predictor.module.calls = 100
    assert predictor.digest != before


def test_what_cannot_be_read_never_matches() -> None:
    def digest_holding(thing: Any) -> str:
        return TorchPredictor(Free(thing)).digest

    assert digest_holding(iter_of()) != digest_holding(iter_of())
    predictor = TorchPredictor(Free(iter_of()))
    assert predictor.digest == predictor.digest


def iter_of() -> Any:
    yield 1


def test_an_estimator_in_a_closure_is_known_by_what_it_learnt() -> None:
    linear = pytest.importorskip("sklearn.linear_model")

    def box(slope: float) -> BlackBox:
        xs = np.arange(8.0)[:, None]
        model = linear.LinearRegression().fit(xs, slope * xs[:, 0])
        return BlackBox(lambda x: model.predict(x.reshape(len(x), -1)[:, :1]), output="regression")

    assert box(1.0).digest == box(1.0).digest != box(2.0).digest


def test_digests_do_not_hang_on_the_order_of_hashes() -> None:
    words = (
        "from test_identity import *; "
        "held = [{'a', 'b', 'c', 'd'}, Helper({1.5, 'x', None}), frozenset({('u', 1), ('v', 2)})];"
        "print(TorchPredictor(Free(held)).digest, BlackBox(lambda x: (x, held, OUTER)).digest)"
    )
    paths = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    found = {
        subprocess.run(
            [sys.executable, "-c", words],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parent,
            env={**os.environ, "PYTHONPATH": paths, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


def test_a_bundle_is_known_by_its_weights_as_they_are_now() -> None:
    bundle = coded_bundle(1.0)
    before = bundle.digest, bundle.generator_digest
    bundle.generator.weight.data *= 2  # type: ignore[attr-defined]
    assert before[0] != bundle.digest
    assert before[1] != bundle.generator_digest


def test_a_bundle_is_known_by_all_that_a_counterfactual_depends_on() -> None:
    plain, model = coded_bundle(1.0), planted_predictor(2, 1)
    vector = torch.zeros(len(plain.statistics.mean))
    direction = Direction(
        alpha=vector, intercept=0.0, step=vector, deviation=1.0, target="class:1", model="m", fit={},
        held=vector[None][:0],
    )  # fmt: skip
    changes: list[dict[str, Any]] = [
        {},
        {"window": (0.0, 255.0)},
        {"crop": "center"},
        {"encoder": nn.Flatten()},
        {"statistics": LatentStatistics(plain.statistics.mean + 1, plain.statistics.covariance)},
        {"directions": (direction,)},
        {"directions": (dataclasses.replace(direction, intercept=1.0),)},
        {"directions": (dataclasses.replace(direction, target="class:0"),)},
        {"findings": (("m", "class:1"),)},
        {"predictor": model},
        {"predictors": {"one": model}},
        {"seconds": {"one": model}},
    ]
    digests = [dataclasses.replace(plain, **change).digest for change in changes]
    assert len(set(digests)) == len(changes)
    assert dataclasses.replace(plain, name="other", card={"data": "D"}).digest == digests[0]


def key_of(target: Any) -> str:
    predictor = TorchPredictor(nn.Conv2d(1, 2, 3, padding=1))
    with torch.no_grad():
        for weight in predictor.module.parameters():
            weight.fill_(0.5)
    return Request.of(Occlusion(), predictor, noise_image(2, 1), target=target).key


def test_a_target_counts_with_all_that_it_holds() -> None:
    first, second = np.eye(32, dtype=bool), ~np.eye(32, dtype=bool)
    targets = [
        RegionTarget(index=1, place="mask", reference=first),
        RegionTarget(index=1, place="mask", reference=second),
        RegionTarget(index=1, place="boundary", width=2),
        RegionTarget(index=1, place="boundary", width=3),
        ClassTarget(1, "sigmoid"),
        Setting(1),
        Setting(2),
    ]
    assert len({key_of(target) for target in targets}) == len(targets)


def test_one_target_has_one_key_however_it_is_written() -> None:
    assert len({key_of(target) for target in (1, np.int64(1), "class:1", ClassTarget(1))}) == 1
    assert key_of("region:1") == key_of(RegionTarget(index=1)) != key_of("class:1")
