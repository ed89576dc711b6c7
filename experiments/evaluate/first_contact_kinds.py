"""The kinds of model of the page, each with the shortest way of other libraries to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from experiments.evaluate import first_contact_files as files
from experiments.evaluate import first_contact_libraries as libraries
from experiments.evaluate.first_contact_files import Maker, of_weights
from experiments.evaluate.first_contact_scripts import COLOURS, PICTURE, SIZE, VOLUME, WEIGHTS, Other

CHECKPOINT = """from nets import Spots
state = torch.load("last.ckpt")["state_dict"]
model = Spots().eval()
model.load_state_dict({k.removeprefix("net."): v for k, v in state.items()})
"""
SESSION = """import onnxruntime
session = onnxruntime.InferenceSession("net.onnx")
score = lambda x: torch.tensor(session.run(None, {'images': x.numpy()})[0])
"""
FLAT = """import skops.io
fitted = skops.io.load("fitted.skops")
score = lambda x: torch.tensor(fitted.predict_proba(x.flatten(1).numpy()))
"""
FOREST = """import skops.io
fitted = skops.io.load("forest.skops", trusted=["sklearn.tree._tree.Tree"])
score = lambda x: torch.tensor(fitted.predict_proba(x.flatten(1).numpy()))
"""
ROWS = """import onnxruntime
session = onnxruntime.InferenceSession("forest.onnx")
score = lambda x: torch.tensor(session.run(None, {'X': x.flatten(1).numpy()})[1])
"""
BOX = """net = model
pair = lambda score: torch.stack([1 - score, score])
score = lambda x: torch.stack([pair(one["scores"][0]) for one in net(x)]).detach()
"""
ASKED = """import urllib.request
def score(x):
    given = {"name": "images", "shape": list(x.shape), "datatype": "FP32", "data": x.flatten().tolist()}
    answer = urllib.request.urlopen("ADDRESS/infer", json.dumps({"inputs": [given]}).encode())
    return torch.tensor(json.load(answer)["outputs"][0]["data"])[None]
"""
MONAI = """from monai.networks.nets import UNet
about = json.load(open("bundle/configs/inference.json"))["network_def"]
model = UNet(**{k: v for k, v in about.items() if k != "_target_"}).eval()
model.load_state_dict(torch.load("bundle/models/model.pt"))
"""
TRANSFORMERS = """from transformers import AutoModelForImageClassification
net = AutoModelForImageClassification.from_pretrained("vit").eval()
class Logits(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.net = net
    def forward(self, x):
        return self.net(x).logits
model = Logits()
"""
NAMED = "from {0} import {1}\nmodel = {2}.eval()\nmodel.load_state_dict({3})\n"
PART = """net = model
class Part(torch.nn.Module):
    def forward(self, x):
        return {0}
model = Part()
model.net = net
"""
SPOTS = "from nets import Spots\n"


@dataclass(frozen=True)
class Kind:
    """A kind of model: what makes it, the other libraries' way to it, and the library that it needs."""

    make: Maker
    other: Other | None = None
    needs: str = ""


def weights(kind: str = "Spots", **arguments: Any) -> str:
    """Lines that fill a network of `nets.py`."""
    given = ", ".join(f"{k}={v!r}" for k, v in arguments.items())
    return WEIGHTS.format(kind=kind, arguments=given)


def kinds(address: str) -> dict[str, Kind]:
    """Every kind by its name; a server answers at the address."""
    return {**of_files(address), **of_libraries(), **of_outputs()}


def of_files(address: str) -> dict[str, Kind]:
    """Kinds by the form of their file, or in memory."""
    last = SESSION.replace("x.numpy", "x.permute(0, 2, 3, 1).numpy")
    knee = PICTURE.replace("lesion", "knee")
    exported = 'model = torch.export.load("net.pt2").module()\n'
    function = "lambda x: Spots()(torch.from_numpy(x)).detach().numpy()"
    return {
        "weights (state_dict) with a factory": Kind(of_weights(), Other(weights())),
        "the same by a description, two commands": Kind(files.description, Other(weights())),
        "Lightning checkpoint": Kind(files.lightning, Other(CHECKPOINT)),
        "TorchScript": Kind(files.script, Other('model = torch.jit.load("net.ts")\n')),
        "torch.export (.pt2)": Kind(files.program, Other(exported)),
        "ONNX, channels first": Kind(files.onnx(last=False), Other(SESSION, hiding=True), "onnxruntime"),
        "ONNX, channels last (Keras, TensorFlow)": Kind(
            files.onnx(last=True), Other(last, hiding=True), "onnxruntime"
        ),
        "scikit-learn by skops": Kind(files.estimator, Other(FLAT, knee, hiding=True), "skops"),
        "random forest by skops": Kind(files.forest(graph=False), Other(FOREST, knee, hiding=True), "skops"),
        "random forest by skl2onnx": Kind(files.forest(graph=True), Other(ROWS, knee, hiding=True), "skl2onnx"),
        "served model (Open Inference Protocol v2)": Kind(
            files.served(address), Other(ASKED.replace("ADDRESS", address), hiding=True)
        ),
        "bundle that ships": Kind(files.shipped),
        "torch module in Python": Kind(
            files.in_python("Spots()", "gradient"), Other(SPOTS + "model = Spots().eval()\n")
        ),
        "function in Python": Kind(
            files.in_python(function, "occlusion"),
            Other(SPOTS + "score = lambda x: Spots()(x).detach()\n", hiding=True),
        ),
    }


def of_libraries() -> dict[str, Kind]:
    """Kinds of other libraries."""
    colours = PICTURE.replace("[None, None]", "[None, None].expand(-1, 3, -1, -1)")
    sized = {side: colours + SIZE.format(side) + COLOURS for side in (32, 176, 224)}
    from_file = ("load_file('w.safetensors')", "torch.load('w.pth')")
    timm = NAMED.format("timm", "create_model", "create_model('resnet10t', num_classes=3)", from_file[0])
    vision = NAMED.format(
        "torchvision.models", "get_model", "get_model('squeezenet1_1', num_classes=4)", from_file[1]
    )
    smp = NAMED.format(
        "segmentation_models_pytorch", "Unet", "Unet('resnet18', encoder_weights=None, classes=2)", from_file[1]
    )
    segmenter = Other(smp, colours + COLOURS, "model.decoder", maps=True)
    return {
        "MONAI bundle": Kind(
            libraries.monai_bundle, Other(MONAI, VOLUME, "model.model[0]", maps=True), "monai"
        ),
        "nnU-Net v2 folder": Kind(libraries.nnunet, None, "dynamic_network_architectures"),
        "Hugging Face folder": Kind(libraries.huggingface, Other(TRANSFORMERS, sized[32]), "transformers"),
        "timm, name with weights": Kind(libraries.timm_name, Other(timm, sized[176], "model.layer4"), "timm"),
        "torchvision, name with weights": Kind(
            libraries.torchvision_name, Other(vision, sized[224], "model.features"), "torchvision"
        ),
        "segmentation-models-pytorch": Kind(
            libraries.segmentation_models, segmenter, "segmentation_models_pytorch"
        ),
    }


def of_outputs() -> dict[str, Kind]:
    """Kinds by what the network takes and returns."""
    three = ("--output", "sigmoid", "--classes", "marker,lesion,fracture")
    levels = ("--output", "ordinal", "--classes", "none,mild,severe")
    segments: dict[str, Any] = {"outputs": 2, "maps": True}
    finding, aged = PART.format("net(x)['finding']"), PART.format("net(x, torch.tensor([60.0]))")
    return {
        "3D classifier": Kind(of_weights(axes=3), Other(weights(axes=3), read=VOLUME)),
        "3D segmenter": Kind(
            of_weights(axes=3, target="region:1", **segments),
            Other(weights(axes=3, **segments), read=VOLUME, maps=True),
        ),
        "several findings": Kind(
            of_weights(*three, target="class:lesion", outputs=3), Other(weights(outputs=3))
        ),
        "one logit with two names": Kind(
            of_weights("--classes", "without,with", target="class:with", outputs=1),
            Other(weights(outputs=1), target=0),
        ),
        "several heads": Kind(
            of_weights("--head", "finding", kind="Heads"), Other(weights("Heads") + finding, layer="net.conv")
        ),
        "several inputs": Kind(
            of_weights("--inputs", '{"age": 60.0}', kind="WithAge"),
            Other(weights("WithAge") + aged, layer="net.conv"),
        ),
        "boxes of a detector": Kind(
            of_weights("--output", "detection", kind="Boxes", target="box:1", method="occlusion"),
            Other(weights("Boxes") + BOX, hiding=True),
        ),
        "ordinal grades": Kind(of_weights(*levels, target="grade", first=9.0), Other(weights())),
    }
