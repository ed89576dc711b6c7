"""What a beginner reads after a mistake: in torch, captum and others, in an earlier commit, and now."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as Picture
from torch import nn

from contrafact.core.reading import one_line
from experiments.evaluate.first_contact_files import FACTORY, NETS, planted, spots
from experiments.tables import table

PROBE = """import contextlib, io, json, sys
from contrafact.cli import main
found = []
for number, words in enumerate(json.loads(sys.argv[1])):
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            code = main(["explain", *words, "--no-checks", "--out", f"runs/{sys.argv[2]}-{number}"])
        except SystemExit as error:
            code = error.code
    lines = [line for line in said.getvalue().splitlines() if line.startswith("contrafact:")]
    found.append(("" if code else "a map, ") + ("; ".join(lines) or "without a word"))
print(json.dumps(found))
"""
SOFT = """

class Soft(Spots):
    def forward(self, x):
        return super().forward(x).softmax(1)
"""


def errors_table(place: Path, before: Path | None) -> str:
    """The table of mistakes: what others say, what an earlier checkout said, and what is said now."""
    folder = place / "errors"
    folder.mkdir()
    _files(folder)
    mistakes = [*_mistakes(), *_mended()]
    words = [one[1] for one in mistakes]
    now = _said(folder, words, "now")
    earlier = [_earlier(folder, number, one) for number, one in enumerate(words)]
    former = _said(folder, earlier, "before", before) if before else [""] * len(now)
    here = Path.cwd()
    os.chdir(folder)
    try:
        others = [_raised(one[2]) for one in mistakes]
    finally:
        os.chdir(here)
    rows = [
        [one[0], other, "the same" if old == new else old, new]
        for one, other, old, new in zip(mistakes, others, former, now, strict=True)
    ]
    return table(["mistake", "torch, captum or the library says", "before", "now"], rows)


def _files(folder: Path) -> None:
    """Write the files of every mistake."""
    planted(folder)
    (folder / "nets.py").write_text(NETS + SOFT)
    grey = np.asarray(Picture.open(folder / "lesion.png"))
    Picture.fromarray(np.stack([grey, grey // 2, grey], axis=-1)).save(folder / "colour.png")
    state = spots(folder).state_dict()
    torch.save(state, folder / "w.pth")
    torch.save(
        {"state_dict": state, "config": Namespace(lr=0.1), "view": Picture.new("L", (2, 2))},
        folder / "last.ckpt",
    )
    (folder / "net.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64))
    _sigmoid_graph(folder / "sigmoid.onnx", state)
    _sigmoid_graph(folder / "findings.onnx", spots(folder, outputs=3).state_dict(), head=True)
    _estimator(folder / "fitted.skops")


def _sigmoid_graph(path: Path, state: Any, *, head: bool = False) -> None:
    """Write a graph that ends in a sigmoid: of the one feature, or with `head` of each of its three logits."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    kept = {"w": state["conv.weight"].numpy(), "b": state["conv.bias"].numpy()}
    nodes = [
        helper.make_node("Conv", ["images", "w", "b"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("GlobalAveragePool", ["c"], ["m"]),
        helper.make_node("Flatten", ["m"], ["f"]),
        helper.make_node("Sigmoid", ["f"], ["y"]),
    ]
    if head:
        kept |= {"v": state["head.weight"].numpy(), "d": state["head.bias"].numpy()}
        nodes[-1:] = [
            helper.make_node("Gemm", ["f", "v", "d"], ["z"], transB=1),
            helper.make_node("Sigmoid", ["z"], ["y"]),
        ]
    ends = [
        helper.make_tensor_value_info(k, TensorProto.FLOAT, s)
        for k, s in (("images", ["n", 1, 64, 64]), ("y", ["n", 3 if head else 1]))
    ]
    weights = [numpy_helper.from_array(v, k) for k, v in kept.items()]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def _estimator(path: Path) -> None:
    import skops.io
    from sklearn.linear_model import LogisticRegression

    values = np.random.default_rng(0).random((20, 64))
    skops.io.dump(LogisticRegression().fit(values, values[:, 0] > 0.5), path)


def _net(kind: str = "Spots", **arguments: Any) -> nn.Module:
    return spots(Path(), kind, **arguments)


def _saliency(model: nn.Module, target: int = 1) -> Any:
    from captum.attr import Saliency

    return Saliency(model).attribute(torch.rand(1, 1, 64, 64, requires_grad=True), target=target)


def _misspelt() -> Any:
    from captum.attr import LayerGradCAM

    return LayerGradCAM


GIVEN = ("--model", "w.pth", "--factory", "nets.py:Spots", *FACTORY, "--methods", "gradient")
PAIR = (
    "--model",
    "sigmoid.onnx",
    "--methods",
    "occlusion",
    "--classes",
    "without,with",
    FACTORY[1],
    FACTORY[2],
)
THREE = ("--model", "findings.onnx", "--methods", "occlusion", *FACTORY[1:3])
SILENT = "a map, without a word"


Mistake = tuple[str, Sequence[str], Callable[[], Any] | str]


def _mistakes() -> list[Mistake]:
    """Each with the words of the command, and what is called in another library; a text: what happens there."""
    kind = [word if word != "nets.py:Spots" else "nets.py:Heads" for word in GIVEN]
    soft = [word if word != "nets.py:Spots" else "nets.py:Soft" for word in GIVEN]
    three = ("--arguments", '{"outputs": 3}')
    return [
        (
            "weights given as the model",
            ("lesion.png", "--model", "w.pth"),
            lambda: torch.load("w.pth")(torch.rand(1, 1, 64, 64)),
        ),
        (
            "weights of another number of classes",
            ("lesion.png", *GIVEN, *three),
            lambda: _net(outputs=3).load_state_dict(torch.load("w.pth")),
        ),
        (
            "a checkpoint with pickled objects",
            ("lesion.png", "--model", "last.ckpt", *GIVEN[2:]),
            lambda: torch.load("last.ckpt"),
        ),
        ("a file of Keras", ("lesion.png", "--model", "net.h5"), lambda: torch.load("net.h5")),
        ("a colour image for a grey model", ("colour.png", *GIVEN), lambda: _net()(torch.rand(1, 3, 64, 64))),
        ("a model of two outputs", ("lesion.png", *kind), lambda: _saliency(_net("Heads"))),
        ("a model that ends in a softmax", ("lesion.png", *soft), SILENT),
        (
            "pixels to 255, no preprocessing",
            ("lesion.png", *(w for w in GIVEN if w not in FACTORY[1:])),
            SILENT,
        ),
        (
            "a class that is not there",
            ("lesion.png", *GIVEN, "--target", "class:5"),
            lambda: _saliency(_net(), 5),
        ),
        ("a method misspelt", ("lesion.png", *GIVEN[:-1], "gradcma"), _misspelt),
    ]


def _mended() -> list[Mistake]:
    """Those of which nothing was said before."""
    return [
        (
            "a factory for a file with a network",
            ("lesion.png", *PAIR, "--factory", "nets.py:Spots"),
            "no such option",
        ),
        ("two classes of one name", ("lesion.png", *GIVEN, "--classes", "ill,ill"), "no names of classes"),
        ("one probability taken for a logit", ("lesion.png", *PAIR), SILENT),
        (
            "a format that assumes something",
            ("lesion.png", "--model", "fitted.skops", "--methods", "occlusion"),
            "no such format",
        ),
        ("probabilities of three findings taken for logits", ("lesion.png", *THREE), SILENT),
    ]


def _earlier(folder: Path, number: int, words: Sequence[str]) -> list[str]:
    """The same question for a checkout whose command line takes no factory, classes and preprocessing: what
    says these is a description of the model, which is written."""
    kept, about = list(words), {}
    for key in ("model", "factory", "arguments", "preprocessing", "classes"):
        if f"--{key}" in kept:
            at = kept.index(f"--{key}")
            about[key] = kept[at + 1]
            del kept[at : at + 2]
    if set(about) <= {"model"}:
        return list(words)
    table: dict[str, Any] = {
        key: json.loads(about[key]) for key in ("arguments", "preprocessing") if key in about
    }
    table |= {"classes": about["classes"].split(",")} if "classes" in about else {}
    if "factory" in about:
        table |= {"factory": about["factory"].replace(".py:", ":"), "weights": about["model"]}
    else:
        table |= {"model": about["model"]}
    path = folder / f"before-{number}.json"
    path.write_text(json.dumps(table))
    return [kept[0], "--model", path.name, *kept[1:]]


def _raised(call: Callable[[], Any] | str) -> str:
    """The error of a call, cut after 200 characters; of a text, the text."""
    if isinstance(call, str):
        return call
    try:
        call()
    except Exception as error:  # whatever another library raises is what a beginner meets
        text, lines = re.sub(r" \(/\S+\)", "", one_line(error)), len(str(error).splitlines())
        return f"{type(error).__name__}: {text[:200]}{'…' * (len(text) > 200)}" + f" ({lines} lines)" * (
            lines > 1
        )
    return "a map, without a word"


def _said(folder: Path, words: Any, name: str, checkout: Path | None = None) -> list[str]:
    """What the command line prints for each list of words, in one process of this checkout or another."""
    source = Path("src") if checkout is None else checkout / "src"
    env = {**os.environ, "PYTHONPATH": f"{source.resolve()}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    command = [sys.executable, "-c", PROBE, json.dumps(words), name]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=True)
    found: list[str] = json.loads(done.stdout.splitlines()[-1])
    return [text.replace("contrafact: ", "") for text in found]
