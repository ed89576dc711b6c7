"""Evaluate third-party networks by their default layer against independent implementations.

    pip install timm grad-cam && python -m experiments.evaluate.strangers --page docs/results/strangers.md

Ten architectures of timm and MONAI with random weights (nothing is downloaded; the statistics of batch
normalisation are those of a few images). Class activation maps are compared with pytorch-grad-cam at the
layer that is the default here, gradients with captum. A cell of the table is the correlation of two maps, or
the reason why there is no map.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import contrafact as cf
from contrafact.core import ContrafactError, Image
from contrafact.models import TorchPredictor
from experiments.tables import table

CAMS = {
    "gradcam": "GradCAM",
    "gradcam++": "GradCAMPlusPlus",
    "xgradcam": "XGradCAM",
    "hirescam": "HiResCAM",
    "layercam": "LayerCAM",
}
GRADIENTS = ("input-x-gradient", "integrated-gradients", "guided-backprop")
SETTINGS: dict[str, dict[str, Any]] = {
    "integrated-gradients": {"baseline": 0.0, "steps": 32},
    "input-x-gradient": {"baseline": 0.0},
}
CLASS = 1
SCALE = 1000.0  # pytorch-grad-cam adds 1e-6 to the squared gradient of Grad-CAM++, which must not count


@dataclass(frozen=True)
class OneClass:
    """The raw output of one class; of a segmenter, its mean over a square in the middle."""

    index: int = CLASS

    def __call__(self, outputs: Tensor) -> Tensor:
        own = SCALE * outputs[:, self.index]
        if own.ndim < 3:
            return own
        low, high = own.shape[-1] // 3, 2 * own.shape[-1] // 3
        return own[..., low:high, low:high].mean(dim=(-2, -1))

    def __str__(self) -> str:
        return f"output {self.index}"


def networks() -> dict[str, tuple[Callable[[], nn.Module], int]]:
    """Makers by name, and the channels of their images."""
    import monai.networks.nets as nets
    import timm

    def classifier(name: str) -> tuple[Callable[[], nn.Module], int]:
        return lambda: timm.create_model(name, num_classes=5), 3

    shared = {"spatial_dims": 2, "in_channels": 1, "out_channels": 3}
    return {
        "ResNet-50 (timm)": classifier("resnet50"),
        "DenseNet-121 (timm)": classifier("densenet121"),
        "EfficientNet-B0 (timm)": classifier("efficientnet_b0"),
        "ConvNeXt-nano (timm)": classifier("convnext_nano"),
        "ViT-S/16 (timm)": classifier("vit_small_patch16_224"),
        "Swin-T (timm)": classifier("swin_tiny_patch4_window7_224"),
        "UNet (MONAI)": (
            lambda: nets.UNet(**shared, channels=(16, 32, 64, 128), strides=(2, 2, 2), num_res_units=2),
            1,
        ),
        "SegResNet (MONAI)": (lambda: nets.SegResNet(**shared, init_filters=8), 1),
        "DynUNet (MONAI)": (
            lambda: nets.DynUNet(
                **shared, kernel_size=[3, 3, 3, 3], strides=[1, 2, 2, 2], upsample_kernel_size=[2, 2, 2]
            ),
            1,
        ),
        "SwinUNETR (MONAI)": (lambda: nets.SwinUNETR(**shared, feature_size=24), 1),
    }


def picture(channels: int, side: int = 224) -> Image:
    """Smooth random grey levels with a bright disc."""
    noise = np.random.default_rng(0).normal(size=(channels, side // 8, side // 8)).astype(np.float32)
    values = nn.functional.interpolate(torch.from_numpy(noise)[None], (side, side), mode="bilinear")[0].numpy()
    rows, columns = np.mgrid[:side, :side]
    values[:, np.hypot(rows - 0.45 * side, columns - 0.6 * side) < side / 8] += 2
    return Image(values)


def prepared(make: Callable[[], nn.Module], image: Image) -> nn.Module:
    """A network with seeded weights, none of them zero, and its own statistics of batch normalisation."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = make()
        for weights in module.parameters():
            if weights.ndim > 1 and not bool(weights.any()):
                nn.init.normal_(weights, std=0.02)
        some = torch.randn(4, *image.values.shape) + torch.from_numpy(image.values)
    module.train()
    with torch.no_grad():
        for _ in range(10):
            module(some)
    for part in module.modules():
        if getattr(part, "inplace", False):
            part.inplace = False  # pytorch-grad-cam keeps no copy of what is then overwritten
    return module.eval().requires_grad_(False)


def theirs(method: str, module: nn.Module, image: Image, layer: Any) -> np.ndarray[Any, Any]:
    """The same map by the other library, on the image's grid."""
    x = torch.from_numpy(image.values[None]).requires_grad_()
    target = OneClass()
    if method in CAMS:
        import pytorch_grad_cam

        part = dict(module.named_modules())[layer.name]
        with getattr(pytorch_grad_cam, CAMS[method])(module, [part], reshape_transform=layer.read) as cam:
            cam.outputs = cam.activations_and_grads(x)
            target(cam.outputs).sum().backward()
            acts, slopes = (
                found[-1].cpu().numpy()
                for found in (cam.activations_and_grads.activations, cam.activations_and_grads.gradients)
            )
            cells = cam.get_cam_image(x, part, [target], acts, slopes, False)
        return layer.on_image(torch.from_numpy(np.asarray(cells, dtype=np.float32)))[0].numpy()
    return gradient_map(method, module, x, target)


def gradient_map(method: str, module: nn.Module, x: Tensor, target: OneClass) -> np.ndarray[Any, Any]:
    """A map by captum."""
    from captum.attr import GuidedBackprop, InputXGradient, IntegratedGradients

    class Scored(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, images: Tensor) -> Tensor:
            return target(self.module(images))[:, None]

    scored = Scored()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if method == "integrated-gradients":
            found = IntegratedGradients(scored).attribute(
                x, baselines=0.0, target=0, n_steps=32, internal_batch_size=8
            )
        elif method == "input-x-gradient":
            found = InputXGradient(scored).attribute(x, target=0)
        else:
            found = GuidedBackprop(scored).attribute(x, target=0)
    return found[0].sum(dim=0).detach().numpy()


def compare(make: Callable[[], nn.Module], channels: int) -> tuple[str, dict[str, str]]:
    """The default layer with its cells, and a cell of the table by method."""
    image = picture(channels)
    module = prepared(make, image)
    predictor = TorchPredictor(module, classes=[str(k) for k in range(5 if channels == 3 else 3)])
    layer = predictor.feature_layer(image.values[None])
    cells: dict[str, str] = {}
    for method in (*CAMS, *GRADIENTS):
        try:
            heat = cf.explain(method, predictor, image, target=OneClass(), **SETTINGS.get(method, {}))
        except ContrafactError as error:
            cells[method] = "refused: " + " ".join(str(error).split()).split(";")[0].split(":")[0]
            continue
        other = theirs(method, module, image, layer)
        cells[method] = f"{np.corrcoef(heat.values.ravel(), other.ravel())[0, 1]:.4f}"
    return f"`{layer.name}`, {' x '.join(map(str, layer.cells))}", cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    methods = (*CAMS, *GRADIENTS)
    rows = []
    for name, (make, channels) in networks().items():
        layer, cells = compare(make, channels)
        rows.append([name, layer, *(cells[m] for m in methods)])
        print(" | ".join(rows[-1]), flush=True)
    if options.page:
        options.page.write_text(PAGE + table(["network", "default layer, cells", *methods], rows))


PAGE = """# Networks of strangers

`pip install timm grad-cam`, then `python -m experiments.evaluate.strangers --page docs/results/strangers.md`.

Ten architectures with random weights (nothing is downloaded) on one image of 224 x 224, target: the raw output
of one class times 1,000 (of a segmenter, its mean over a square): pytorch-grad-cam adds 1e-6 to the squared
gradient in Grad-CAM++, which would count otherwise. No layer is named: each CAM looks into the layer that
the predictor chooses, the last feature map that everything after depends on. A number is the correlation with
an independent implementation **at that layer**: the CAMs with pytorch-grad-cam (its maps of cells laid on the
image by the centres of their receptive fields, as ours), the others with captum, from the same baseline.
A method that does not apply to a network is refused, with its reason.

"""


if __name__ == "__main__":
    main()
