"""The shortest script that makes a map with captum, pytorch-grad-cam, torchcam or MONAI, by kind of model.

A line is one that is neither blank nor an import; the code of the network itself is the user's and not counted.
Each script here is run; one that fails is a cell with its error.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from contrafact.core.reading import one_line

LIBRARIES = {
    "captum": "captum",
    "pytorch-grad-cam": "pytorch_grad_cam",
    "torchcam": "torchcam",
    "MONAI": "monai",
}
IMPORTS = """import json
import numpy as np, torch
from PIL import Image
from safetensors.torch import load_file
"""
PICTURE = 'x = torch.tensor(np.array(Image.open("lesion.png")), dtype=torch.float32)[None, None] / 255\n'
VOLUME = """import nibabel
x = torch.tensor(nibabel.load("lesion.nii.gz").get_fdata(), dtype=torch.float32)[None, None] / 255
"""
COLOURS = """mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
x = (x - mean[:, None, None]) / std[:, None, None]
"""
SIZE = "x = torch.nn.functional.interpolate(x, ({0}, {0}), mode='bilinear', antialias=True)\n"
SAVE = 'np.save("theirs.npy", np.asarray(torch.as_tensor(heat).detach()))\n'
WEIGHTS = """from nets import {kind}
model = {kind}({arguments}).eval()
model.load_state_dict(load_file("w.safetensors"))
"""
MAPS = {
    "captum": """from captum.attr import Saliency
heat = Saliency(model).attribute(x, target={target}, abs=False)
""",
    "pytorch-grad-cam": """from pytorch_grad_cam import GradCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
heat = GradCAM(model, [{layer}])(x, [ClassifierOutputTarget({target})])
""",
    "torchcam": """from torchcam.methods import GradCAM
cam = GradCAM(model, {layer})
heat = cam({target}, model(x))[0]
""",
    "MONAI": "from monai.visualize import VanillaGrad\nheat = VanillaGrad(model)(x, index={target})\n",
}
HIDING = """from captum.attr import Occlusion
heat = Occlusion(score).attribute(x, sliding_window_shapes=(1, 8, 8), strides=(1, 4, 4), target=1)
"""
REGION = {
    "captum": """from captum.attr import Saliency
odds = (lambda y: y[:, {a}] - y[:, {b}])
place = odds(model(x)) > 0
score = lambda x: (odds(model(x)) * place).flatten(1).sum(1)
heat = Saliency(score).attribute(x, abs=False)
""",
    "pytorch-grad-cam": """from pytorch_grad_cam import GradCAM
odds = (lambda y: y[{a}] - y[{b}])
place = odds(model(x)[0]) > 0
target = lambda y: (odds(y) * place).sum()
heat = GradCAM(model, [{layer}])(x, [target])
""",
}


@dataclass(frozen=True)
class Other:
    """How other libraries meet a kind of model.

    load    lines that make `model` (a torch module) from the files and, after `score`, a function
    layer   of the class activation maps
    read    lines that make `x`
    target  index of the output
    maps    the map is of a segmenter, for its larger class
    """

    load: str
    read: str = PICTURE
    layer: str = "model.conv"
    target: int = 1
    maps: bool = False
    hiding: bool = False


def script(library: str, other: Other) -> str:
    """The text of a script; empty where the library has no way to such a model."""
    if other.hiding:
        return IMPORTS + other.read + other.load + HIDING + SAVE if library == "captum" else ""
    if other.maps and library not in REGION:
        return ""
    form = (REGION if other.maps else MAPS)[library]
    layer = other.layer
    lines = form.replace("{layer}", layer).replace("{target}", str(other.target))
    return IMPORTS + other.read + other.load + lines.replace("{a}", "1").replace("{b}", "0") + SAVE


def count(text: str) -> int:
    """Lines that are neither blank nor an import."""
    lines = [line.strip() for line in text.splitlines()]
    return sum(bool(line) and not line.startswith(("import ", "from ")) for line in lines)


def cell(library: str, other: Other | None, folder: Path, *, installed: bool) -> str:
    """The number of lines of a script that ran; or why there is none."""
    text = script(library, other) if other is not None else ""
    if not text:
        return "–"
    if not installed:
        return f"{count(text)}, not run"
    here = Path.cwd()
    try:
        os.chdir(folder)
        exec(compile(text, f"{library} script", "exec"), {"__name__": "script"})
    except Exception as error:  # whatever another library raises is what a beginner meets
        return f"{count(text)}, fails: {type(error).__name__}: {one_line(error)[:90]}"
    finally:
        os.chdir(here)
    return str(count(text))
