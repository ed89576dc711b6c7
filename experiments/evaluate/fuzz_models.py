"""Valid files of models and bundles, small enough to change thousands of times, and a prediction of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx as onnx_library
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import contrafact as cf
from contrafact.api.explanation import ask
from contrafact.bundles import save_bundle
from contrafact.core import Image
from contrafact.core.reading import naming
from contrafact.counterfactual import Bundle, Direction, LatentStatistics, Translation
from contrafact.generators import ResNetEncoder, StyleGAN2, StyleGAN2Config, Translator, TranslatorConfig
from contrafact.io import write_json, write_tensors
from contrafact.models.example_networks import PlainNetwork


def network() -> nn.Module:
    torch.manual_seed(5)
    return PlainNetwork(widths=(4, 4)).eval()


ABOUT: dict[str, Any] = {
    "factory": "contrafact.models.example_networks:PlainNetwork",
    "arguments": {"widths": [4, 4]},
    "weights": "model.safetensors",
    "classes": ["no", "yes"],
    "output": "logits",
    "preprocessing": {"size": [16, 16], "channels": 1, "window": [0, 255], "mean": [0.5], "std": [0.5]},
}


def described(folder: Path) -> str:
    write_tensors(folder / "model.safetensors", network().state_dict())
    write_json(folder / "model.json", ABOUT)
    return "model.json"


def described_by_torch(folder: Path) -> str:
    torch.save({"state_dict": {f"module.{k}": v for k, v in network().state_dict().items()}}, folder / "w.pt")
    write_json(folder / "model.json", {**ABOUT, "weights": "w.pt"})
    return "model.json"


def script(folder: Path) -> str:
    torch.jit.save(torch.jit.script(network()), folder / "model.ts")
    return "model.ts"


def program(folder: Path) -> str:
    batch = {"x": {0: torch.export.Dim.DYNAMIC}}
    program = torch.export.export(network(), (torch.rand(2, 1, 16, 16),), dynamic_shapes=batch)
    torch.export.save(program, folder / "model.pt2")
    return "model.pt2"


def onnx(folder: Path) -> str:
    rng = np.random.default_rng(0)
    weights = [
        numpy_helper.from_array(rng.normal(size=(4, 1, 3, 3)).astype(np.float32), "kernel"),
        numpy_helper.from_array(rng.normal(size=(4, 2)).astype(np.float32), "head"),
    ]
    nodes = [
        helper.make_node("Conv", ["images", "kernel"], ["maps"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["maps"], ["positive"]),
        helper.make_node("GlobalAveragePool", ["positive"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "head"], ["scores"]),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("images", ["n", 1, 16, 16]), ("scores", ["n", 2]))
    ]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], weights)
    opset = [helper.make_opsetid("", 17)]
    onnx_library.save(helper.make_model(graph, opset_imports=opset, ir_version=8), folder / "model.onnx")
    return "model.onnx"


def predicted(path: Path) -> Any:
    predictor = cf.load_predictor(path, trust=True)
    with naming(path.name):  # weights that became NaN are told by the model's answer
        return ask(predictor, Image(np.full((1, 16, 16), 0.5, np.float32)))


def latent_bundle(folder: Path) -> str:
    described(folder)
    predictor = cf.load_predictor(folder / "model.json")
    generator = StyleGAN2(StyleGAN2Config(resolution=8, channel_base=64, channel_max=8, z_dim=8, w_dim=8))
    encoder = ResNetEncoder.of(generator, kind="compact", width=4)
    size = generator.latent_size
    direction = Direction(
        alpha=torch.ones(size), intercept=0.0, step=torch.ones(size), deviation=1.0, target="class:1",
        model=predictor.digest, fit={"r2": 0.9}, held=torch.zeros(0, size),
    )  # fmt: skip
    made: Any = {"generator": generator, "encoder": encoder, "directions": (direction,), "predictor": predictor}
    statistics = LatentStatistics(torch.zeros(size), torch.eye(size))
    bundle = Bundle(name="a", window=(0.0, 255.0), statistics=statistics, predictors={"m": predictor}, **made)
    size_of_encoder = {"kind": "compact", "width": 4}
    save_bundle(folder, bundle, descriptions={"m": "model.json"}, main="m", encoder_size=size_of_encoder)
    return "."


def translator_bundle(folder: Path) -> str:
    described(folder)
    predictor = cf.load_predictor(folder / "model.json")
    made: Any = Translator(TranslatorConfig(resolution=16, widths=(4, 4)))
    entry = Translation(model=predictor.digest, target="class:1")
    bundle = Bundle(
        name="a", window=(0.0, 255.0), translator=made, translations=(entry,), engine="translate",
        predictor=predictor, predictors={"m": predictor}, card={"about": "a", "limits": ["b"]},
    )  # fmt: skip
    save_bundle(folder, bundle, descriptions={"m": "model.json"}, main="m")
    return "."
