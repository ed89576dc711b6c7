"""Small models of every kind, with the place of their evidence known: a planted lesion or marker."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Picture
from safetensors.torch import save_file
from torch import nn

from contrafact.export.arrays import write_nifti
from contrafact.phantoms import KneeFactors, knee_phantom, lesion_phantom

NETS = '''import torch
from torch import nn


class Spots(nn.Module):
    """Evidence for every class but the first: what is brighter than all healthy tissue, and nothing else."""

    def __init__(self, outputs=2, axes=2, maps=False, first=-9.0):
        super().__init__()
        self.conv = (nn.Conv2d if axes == 2 else nn.Conv3d)(1, 1, 3, padding=1)
        self.act, self.over = nn.ReLU(), () if maps else tuple(range(2, 2 + axes))
        self.head = nn.Linear(1, outputs)
        with torch.no_grad():
            self.conv.weight.fill_(1 / 3**axes)
            self.conv.bias.fill_(-0.58)
            self.head.weight.fill_(9.0)
            self.head.weight[0] = 9.0 if outputs == 1 else first
            self.head.bias.zero_()
            if maps:
                self.head.bias.copy_(torch.tensor([0.1, -0.1]))

    def forward(self, x):
        y = self.act(self.conv(x))
        if self.over:
            return self.head(10 * y.mean(self.over))
        return self.head(y.movedim(1, -1)).movedim(-1, 1)


class Heads(Spots):
    def forward(self, x):
        finding = super().forward(x)
        return {"age": finding[:, :1] * 0 + 60, "finding": finding}


class WithAge(Spots):
    def forward(self, x, age):
        return super().forward(x) + 0.01 * age


class Boxes(Spots):
    """A detector of one box: the brightest place, and as its score how bright it is."""

    def forward(self, x):
        y, tables = self.act(self.conv(x)), []
        for one in y[:, 0]:
            row, column = divmod(int(one.argmax()), one.shape[1])
            box = torch.tensor([[column - 5.0, row - 5, column + 5, row + 5]])
            score = torch.tanh(one[row, column])[None]
            tables.append({"boxes": box, "labels": torch.tensor([1]), "scores": score})
        return tables
'''
WINDOW = ("--preprocessing", '{"window": [0, 255]}')
FACTORY = ("--trust-code", *WINDOW)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Made:
    """A model's files, the words that explain it, and what its map must be.

    words      of the command after `contrafact explain`; before: of commands that come first
    cause      where the evidence is, bool (*S); None: unknown, and `reference` is the map's truth
    python     a program instead of a command
    """

    words: tuple[str, ...]
    cause: NDArray[np.bool_] | None = None
    reference: NDArray[np.float32] | None = None
    before: tuple[tuple[str, ...], ...] = ()
    python: str = ""


Maker = Callable[[Path], Made]


def planted(folder: Path, axes: int = 2) -> NDArray[np.bool_]:
    """Write `lesion.png` or `lesion.nii.gz` and `nets.py`; return the mask of the lesion."""
    side, radius = (64, 5.0) if axes == 2 else (24, 4.0)
    phantom = lesion_phantom(np.random.default_rng(3), side=side, radius=radius, axes=axes)
    values = np.round(phantom.image.values)
    if axes == 2:
        Picture.fromarray(values[0].astype(np.uint8)).save(folder / "lesion.png")
    else:
        write_nifti(folder / "lesion.nii.gz", values[0].astype(np.float32), phantom.image.grid)
    (folder / "nets.py").write_text(NETS)
    return phantom.masks["lesion"]


def spots(folder: Path, kind: str = "Spots", **arguments: Any) -> nn.Module:
    """The network of `nets.py` in the folder."""
    names: dict[str, Any] = {}
    exec(compile(NETS, str(folder / "nets.py"), "exec"), names)
    network: nn.Module = names[kind](**arguments).eval()
    return network


def of_weights(
    *options: str,
    kind: str = "Spots",
    axes: int = 2,
    target: str = "class:1",
    method: str = "gradient",
    **arguments: Any,
) -> Maker:
    """A file of weights with its factory, and the options that its outputs need."""

    def make(folder: Path) -> Made:
        cause = planted(folder, axes)
        more = {**arguments, **({"axes": 3} if axes == 3 else {})}
        save_file(spots(folder, kind, **more).state_dict(), folder / "w.safetensors")
        more.pop("first", None)  # the file has the weights
        given = ("--arguments", json.dumps(more)) if more else ()
        words = ("--model", "w.safetensors", "--factory", f"nets.py:{kind}", *given, *FACTORY, *options)
        image = "lesion.png" if axes == 2 else "lesion.nii.gz"
        return Made((image, *words, "--target", target, "--methods", method), cause)

    return make


def description(folder: Path) -> Made:
    made = of_weights()(folder)
    words = (
        "w.safetensors",
        "--factory",
        "nets.py:Spots",
        *FACTORY,
        "--classes",
        "well,ill",
        "--image",
        "lesion.png",
    )
    command = (
        "lesion.png",
        "--model",
        "model.json",
        "--trust-code",
        "--target",
        "ill",
        "--methods",
        "gradient",
    )
    return Made(command, made.cause, before=(("init", *words),))


def lightning(folder: Path) -> Made:
    cause = planted(folder)
    state = {f"net.{k}": v for k, v in spots(folder).state_dict().items()}
    about = {"pytorch-lightning_version": "2.6.0", "hyper_parameters": {"lr": 0.1}, "epoch": 3}
    torch.save({"state_dict": state, **about}, folder / "last.ckpt")
    words = ("--model", "last.ckpt", "--factory", "nets.py:Spots", *FACTORY, "--methods", "gradient")
    return Made(("lesion.png", *words, "--target", "class:1"), cause)


def script(folder: Path) -> Made:
    cause = planted(folder)
    torch.jit.save(torch.jit.trace(spots(folder), torch.rand(1, 1, 64, 64)), folder / "net.ts")
    words = ("--model", "net.ts", "--trust", *WINDOW, "--target", "class:1", "--methods", "gradient")
    return Made(("lesion.png", *words), cause)


def program(folder: Path) -> Made:
    cause = planted(folder)
    many = ({0: torch.export.Dim.DYNAMIC},)
    exported = torch.export.export(spots(folder), (torch.rand(2, 1, 64, 64),), dynamic_shapes=many)
    torch.export.save(exported, folder / "net.pt2")
    words = ("--model", "net.pt2", *WINDOW, "--target", "class:1", "--methods", "gradient")
    return Made(("lesion.png", *words), cause)


def onnx(*, last: bool) -> Maker:
    """A graph of the network of `nets.py`, channels first, or last as TensorFlow and Keras export it."""

    def make(folder: Path) -> Made:
        import onnx as library
        from onnx import TensorProto, helper, numpy_helper

        cause = planted(folder)
        state = spots(folder).state_dict()
        kept = {k.replace(".", "_"): v.numpy() for k, v in state.items()}
        kept["head_weight"] = 10 * kept["head_weight"]  # Spots multiplies the mean by 10
        nodes = [helper.make_node("Transpose", ["images"], ["x"], perm=[0, 3, 1, 2])] if last else []
        nodes += [
            helper.make_node(
                "Conv", ["x" if last else "images", "conv_weight", "conv_bias"], ["c"], pads=[1, 1, 1, 1]
            ),
            helper.make_node("Relu", ["c"], ["r"]),
            helper.make_node("GlobalAveragePool", ["r"], ["m"]),
            helper.make_node("Flatten", ["m"], ["f"]),
            helper.make_node("Gemm", ["f", "head_weight", "head_bias"], ["scores"], transB=1),
        ]
        shape = ["n", 64, 64, 1] if last else ["n", 1, 64, 64]
        ends = [
            helper.make_tensor_value_info(k, TensorProto.FLOAT, s)
            for k, s in (("images", shape), ("scores", ["n", 2]))
        ]
        weights = [numpy_helper.from_array(v, k) for k, v in kept.items()]
        graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], weights)
        opset = [helper.make_opsetid("", 17)]
        library.save(helper.make_model(graph, opset_imports=opset, ir_version=8), folder / "net.onnx")
        words = ("--model", "net.onnx", *WINDOW, "--target", "class:1", "--methods", "occlusion")
        return Made(("lesion.png", *words), cause)

    return make


def markers(folder: Path) -> tuple[Any, Any, NDArray[np.bool_]]:
    """Knees with a marker in the corner and without, as rows, their labels, and where the marker is; the last
    is written as `knee.png`."""
    rng, images, labels = np.random.default_rng(0), list[NDArray[Any]](), list[int]()
    for number in range(200):
        one = knee_phantom(KneeFactors(joint_space=rng.uniform(1, 5), marker=float(number % 2)), rng)
        images.append(np.round(one.image.values[0]))
        labels.append(number % 2)
    Picture.fromarray(images[-1].astype(np.uint8)).save(folder / "knee.png")
    return np.stack([i.ravel() / 255 for i in images]), labels, one.masks["marker"]


SMALL = ("--set", "occlusion.box=4", "--set", "occlusion.stride=2")


def estimator(folder: Path) -> Made:
    """Logistic regression that tells knees with a marker in the corner from those without."""
    import skops.io
    from sklearn.linear_model import LogisticRegression

    rows, labels, cause = markers(folder)
    skops.io.dump(LogisticRegression(max_iter=300).fit(rows, labels), folder / "fitted.skops")
    words = ("--model", "fitted.skops", *WINDOW, "--target", "class:1", "--methods", "occlusion")
    return Made(("knee.png", *words, *SMALL), cause)


def forest(*, graph: bool) -> Maker:
    """A random forest for the same knees, in a skops file or as a graph of ONNX by skl2onnx."""

    def make(folder: Path) -> Made:
        from sklearn.ensemble import RandomForestClassifier

        rows, labels, cause = markers(folder)
        fitted = RandomForestClassifier(50, random_state=0).fit(rows, labels)
        if graph:
            from skl2onnx import to_onnx

            one = rows[:1].astype(np.float32)
            content = to_onnx(fitted, one, options={"zipmap": False}).SerializeToString()
            (folder / "forest.onnx").write_bytes(content)
            file: tuple[str, ...] = ("forest.onnx", "--head", "probabilities", "--output", "probabilities")
        else:
            import skops.io

            skops.io.dump(fitted, folder / "forest.skops")
            file = ("forest.skops", "--trust")
        words = ("--model", *file, *WINDOW, "--target", "class:1", "--methods", "occlusion")
        return Made(("knee.png", *words, *SMALL), cause)

    return make


def shipped(folder: Path) -> Made:
    """The model of the bundle `phantom` that reads the marker and not the joint."""
    one = knee_phantom(KneeFactors(joint_space=3.0, marker=1.0), np.random.default_rng(1))
    Picture.fromarray(np.round(one.image.values[0]).astype(np.uint8)).save(folder / "knee.png")
    words = ("knee.png", "--bundle", "phantom", "--model", "cheat", "--methods", "occlusion")
    return Made((*words, *SMALL), one.masks["marker"])


def served(address: str) -> Maker:
    """A model behind an address; the stub of the script answers for it."""

    def make(folder: Path) -> Made:
        words = ("--model", address, *WINDOW, "--target", "class:1", "--methods", "occlusion")
        return Made(("lesion.png", *words), planted(folder))

    return make


def in_python(model: str, method: str) -> Maker:
    """An object in Python, explained in a script; `model` is its expression."""

    def make(folder: Path) -> Made:
        cause = planted(folder)
        lines = (
            "import contrafact as cf, numpy as np, torch",
            "from nets import Spots",
            'image = cf.read_image("lesion.png")',
            f"model = cf.load_predictor({model}, preprocessing=cf.Preprocessing(window=(0, 255)))",
            f'heat = cf.explain("{method}", model, image, target="class:1")',
            'np.save("map.npy", heat.values)',
        )
        return Made((), cause, python="\n".join(lines))

    return make


def knows(module: str) -> bool:
    """Whether a library can be imported, by the program that runs the commands too."""
    try:
        __import__(module)
    except (ImportError, RuntimeError):
        return False
    return module in sys.modules


def prepare() -> None:
    """Let torchvision be imported where its operators are made for another torch, as the tests do."""
    try:
        from vision_operators import has_torchvision
    except ImportError:
        return
    has_torchvision()
