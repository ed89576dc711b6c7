"""Measure the speed of heatmaps against other libraries, at equal settings, in one run.

    python -m experiments.speed.attribution --page docs/results/speed_attribution.md

Each pair is measured in turns; a ratio is theirs over ours, of medians. Forward passes are counted. Libraries
that are not installed are skipped with a message: torchcam is `pip install torchcam`. With `--page` all is
measured twice, with memory kept by the allocator and without.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import contrafact as cf
from contrafact.attribution import MEMBERS, RISE, cam_panel
from contrafact.core import Image, Question
from contrafact.models import TorchPredictor
from contrafact.models.example_networks import ResidualNetwork

Job = Callable[[], Any]


class Counting(nn.Module):
    """Counts the images a network is shown."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.passes = network, 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += len(x)
        return torch.as_tensor(self.network(x))


class Small3D(nn.Module):
    """Two convolutions in 3D and a linear answer."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv3d(1, 8, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv3d(8, 16, 3, stride=2, padding=1),
            nn.ReLU(),
        )
        self.head = nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(self.body(x).mean(dim=(2, 3, 4)))
        return scores


def timed(job: Job, device: str) -> float:
    began = time.perf_counter()
    job()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def pair(name: str, ours: Job, theirs: Job, *, rounds: int, device: str, wanted: float) -> str:
    """One row: medians in turns, after one of each to warm up."""
    ours(), theirs()
    times = [(timed(ours, device), timed(theirs, device)) for _ in range(rounds)]
    mine, other = (statistics.median(part) for part in zip(*times, strict=True))
    row = f"| {name} | {1000 * mine:.1f} | {1000 * other:.1f} | {other / mine:.2f} | {wanted:g} |"
    print(row, flush=True)
    return row


def network2d(device: str) -> tuple[TorchPredictor, Image, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Counting(ResidualNetwork(width=16, stages=3)).eval()
    predictor = TorchPredictor(network, classes=["a", "b"], device=device)
    values = np.random.default_rng(0).uniform(0, 1, (1, 128, 128)).astype(np.float32)
    return predictor, Image(values), torch.from_numpy(values[None]).to(device)


class Nothing(nn.Module):
    """Costs next to nothing, so that only what a library does around the network is timed."""

    def forward(self, x: Tensor) -> Tensor:
        corner = x[:, 0, :2, :2, :2].sum(dim=(1, 2, 3))
        return torch.stack([-corner, corner], dim=1)


def occlusion(rounds: int, device: str) -> list[str]:
    """With a small network, with one that costs nothing, and with a ResNet."""
    from monai.networks.nets import ResNet

    with torch.random.fork_rng():
        torch.manual_seed(0)
        narrow = ResNet(
            "basic", [1, 1, 1, 1], [16, 32, 64, 128], spatial_dims=3, n_input_channels=1, num_classes=2
        )
    return [
        *occlusion_of(Small3D(), "a small network", rounds, device),
        *occlusion_of(Nothing(), "bookkeeping alone", rounds, device),
        *occlusion_of(narrow, "ResNet-10 of MONAI, 16 channels", min(rounds, 3), device, side=64, box=16),
    ]


def occlusion_of(
    module: nn.Module, what: str, rounds: int, device: str, *, side: int = 48, box: int = 8
) -> list[str]:
    """3D, boxes side by side, zero fill: captum and MONAI with their own batch sizes, captum with ours too."""
    from captum.attr import Occlusion
    from monai.visualize import OcclusionSensitivity

    network = Counting(module).eval()
    predictor = TorchPredictor(module.eval(), classes=["a", "b"], device=device)
    values = np.random.default_rng(0).uniform(0, 1, (1, side, side, side)).astype(np.float32)
    image, x = Image(values), torch.from_numpy(values[None]).to(device)

    window = (1, box, box, box)

    def ours() -> Any:
        return cf.explain("occlusion", predictor, image, target="value:1", box=box, stride=box, fill=0.0)

    def by_captum(together: int = 1) -> Any:
        more = {"target": 1, "baselines": 0.0, "perturbations_per_eval": together}
        with torch.no_grad():
            return Occlusion(network).attribute(x, sliding_window_shapes=window, strides=window, **more)

    def by_monai() -> Any:
        return OcclusionSensitivity(network, mask_size=box, overlap=0.0, mode=0.0, verbose=False)(x)

    def by_captum_64() -> Any:
        return by_captum(64)

    rows = []
    libraries = (("captum", by_captum), ("captum, 64 at once as ours", by_captum_64), ("MONAI", by_monai))
    for name, theirs in libraries:
        mine, network.passes = ours().record.forward_passes, 0
        theirs()
        label = f"occlusion {side}³, box {box}, {what}, against {name} ({mine:.0f} and {network.passes} passes)"
        rows.append(pair(label, ours, theirs, rounds=rounds, device=device, wanted=3))
    return rows


def plain_masks(
    count: int, size: tuple[int, int], cells: int, rng: np.random.Generator
) -> np.ndarray[Any, Any]:
    """RISE's masks as published: one after another, enlarged by scikit-image, cut at random."""
    from skimage.transform import resize

    masks = np.empty((count, *size), dtype=np.float32)
    step = [int(np.ceil(n / cells)) for n in size]
    for number in range(count):
        coarse = (rng.random((cells, cells)) < 0.5).astype(np.float32)
        large = resize(coarse, [(cells + 1) * s for s in step], order=1, mode="reflect", anti_aliasing=False)
        at = [int(rng.integers(0, s)) for s in step]
        masks[number] = large[at[0] : at[0] + size[0], at[1] : at[1] + size[1]]
    return masks


def rise(rounds: int, device: str) -> list[str]:
    """Masks alone at 224 x 224, and a whole run, against the plain form."""
    draws, rng, memory = (
        torch.Generator().manual_seed(0),
        np.random.default_rng(0),
        torch.empty(10, 2, 224, 224),
    )
    made = RISE()
    rows = [
        pair(
            "RISE, making 1,000 masks of 224², against one by one",
            lambda: [made._masks(draws, memory) for _ in range(50)],  # as a run does
            lambda: plain_masks(1000, (224, 224), 7, rng),
            rounds=rounds, device=device, wanted=20,
        )
    ]  # fmt: skip
    predictor, image, x = network2d(device)

    def plain() -> Any:
        masks = plain_masks(400, (128, 128), 7, rng)
        total = np.zeros((128, 128))
        with torch.no_grad():
            for start in range(0, 400, 64):
                some = torch.from_numpy(masks[start : start + 64, None]).to(device)
                scores = predictor.module(x * some)[:, 1].cpu().numpy()
                total += (scores[:, None, None] * masks[start : start + 64]).sum(axis=0)
        return total

    rows.append(
        pair(
            "RISE, a whole run of 400 masks at 128², against the plain form (400 passes each)",
            lambda: cf.explain("rise", predictor, image, target="value:1", masks=400, fill=0.0),
            plain, rounds=rounds, device=device, wanted=1.3,
        )
    )  # fmt: skip
    return rows


def cams(rounds: int, device: str) -> list[str]:
    """Eight maps of the family (two layers' worth where there are fewer members) from one pass."""
    predictor, image, x = network2d(device)
    layer = "network.body.2.conv2"
    members = {**MEMBERS, "sum": MEMBERS["hirescam"], "positive": MEMBERS["layercam"]}

    def panel() -> Any:
        with predictor.frozen():
            question = Question(
                predictor=predictor,
                images=image.values[None],
                target=predictor.target("value:1"),
                grid=image.grid,
            )
            return cam_panel(question, members, layer=layer)

    def one_by_one() -> Any:
        names = [*MEMBERS, "hirescam", "layercam"]
        return [cf.explain(name, predictor, image, target="value:1", layer=layer) for name in names]

    def by_captum() -> Any:
        from captum.attr import LayerAttribution, LayerGradCam

        method = LayerGradCam(predictor.module, predictor.layer(layer))
        return [LayerAttribution.interpolate(method.attribute(x, target=1), (128, 128)) for _ in range(8)]

    fair: dict[str, Any] = {"rounds": rounds, "device": device, "wanted": 4}
    rows = [
        pair("eight CAMs from one pass, against our own one by one", panel, one_by_one, **fair),
        pair("eight CAMs from one pass, against captum one by one", panel, by_captum, **fair),
    ]
    try:
        from torchcam.methods import GradCAM
    except ImportError:
        print("torchcam is not installed: left out")
        return rows

    def by_torchcam() -> Any:
        with GradCAM(predictor.module, target_layer=layer, input_shape=(1, 128, 128)) as method:
            scores = predictor.module(x)
            found = method(1, scores)[0]
        return F.interpolate(found[None], (128, 128), mode="bilinear")

    def ours() -> Any:
        return cf.explain("gradcam", predictor, image, target="value:1", layer=layer)

    rows.append(
        pair("Grad-CAM at the last layer, against torchcam", ours, by_torchcam, **{**fair, "wanted": 1})
    )
    return rows


def integrated(rounds: int, device: str) -> list[str]:
    """Adaptive points, stopped at the completeness that captum's 50 reach on the shipped knee classifier."""
    from captum.attr import IntegratedGradients

    bundle = cf.load_bundle("knee").for_latent_space()
    predictor = bundle.predictor
    predictor.module.to(device)
    with torch.no_grad():
        latents = bundle.generator.sample(8, torch.Generator().manual_seed(0))
        drawn = bundle.generator.decode(latents).clamp(-1, 1).cpu().numpy()
    images = [Image((values + 1) * 127.5, window=(0, 255)) for values in drawn]
    target = predictor.target("class:1")
    inputs = [torch.from_numpy(image.values[None]).to(device) for image in images]

    def theirs() -> list[Tensor]:
        with predictor.frozen():
            method = IntegratedGradients(lambda v: target(predictor(v)))
            return [
                method.attribute(x, baselines=float(x.min()), n_steps=50, internal_batch_size=16)
                for x in inputs
            ]

    def ours(gap: float) -> list[Any]:
        return [
            cf.explain("integrated-gradients", predictor, image, target="class:1", gap=gap) for image in images
        ]

    with torch.no_grad():
        changes = [(target(predictor(x)) - target(predictor(x * 0 + x.min()))).item() for x in inputs]
    both = zip(theirs(), changes, strict=True)
    gap = float(np.mean([abs(maps.sum().item() - change) / abs(change) for maps, change in both]))
    for part in (4, 3, 2.5, 2.2, 2, 1.8, 1.6, 1.4, 1.2, 1):
        asked = part * gap  # the laxest whose mean is at least as good as captum's
        notes = [heat.record.notes for heat in ours(asked)]
        points = [note["points"] for note in notes]
        mine = float(np.mean([note["completeness"] for note in notes]))
        if mine <= gap:
            break
    name = (
        f"integrated gradients of 8 knees, {np.mean(points):.0f} points (mean gap {mine:.2%}), "
        f"against captum's 50 ({gap:.2%})"
    )
    return [pair(name, lambda: ours(asked), theirs, rounds=rounds, device=device, wanted=1.5)]


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--rounds", type=int, default=5)
    words.add_argument("--device", default="cpu")
    words.add_argument("--page", type=Path)
    asked = words.parse_args()
    warnings.simplefilter("ignore")
    if asked.page is None:
        for part in (occlusion, rise, cams, integrated):
            part(asked.rounds, asked.device)
        return
    kept, given = (table(asked.rounds, asked.device, more) for more in (KEPT, {}))
    what = torch.cuda.get_device_name() if asked.device != "cpu" else f"CPU, {torch.get_num_threads()} threads"
    settings = " ".join(f"{name}={value}" for name, value in KEPT.items())
    lines = [
        "# Speed of heatmaps", "",
        f"`python -m experiments.speed.attribution --device {asked.device} --page …` on {what}: medians of",
        f"{asked.rounds} rounds in turns, after a warm-up.", "",
        *kept, "",
        f"This was with memory kept by the allocator (`{settings}`):",
        "some machines take freed memory back at once, and then both sides mostly wait for pages. Without:", "",
        *given, "",
        "Occlusion computes only what a box changes (docs/decisions/0015). Each box counts as a pass here, and",
        "so do the image whose maps are kept and the box that is compared with a whole pass.", "",
        "Integrated gradients: an equal gap is not an equal map. On three of the knees, the map of 17 adaptive",
        "points was 5 % (of its norm) from one of 120 points, that of captum's 50 points 2 %.", "",
    ]  # fmt: skip
    asked.page.write_text("\n".join(lines))


KEPT = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_TOP_PAD_": "100000000",
}


def table(rounds: int, device: str, more: dict[str, str]) -> list[str]:
    """All rows, measured in a process of its own, with these settings of the allocator or with none."""
    plain = {name: value for name, value in os.environ.items() if name not in KEPT}
    words = [sys.executable, "-m", "experiments.speed.attribution", "--rounds", str(rounds), "--device", device]
    found = subprocess.run(words, env=plain | more, stdout=subprocess.PIPE, text=True, check=True).stdout
    rows = [line for line in found.splitlines() if line.startswith("| ")]
    return ["| what | ours, ms | theirs, ms | ratio | wanted |", "| --- " * 5 + "|", *rows]


if __name__ == "__main__":
    main()
