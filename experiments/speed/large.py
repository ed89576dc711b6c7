"""Compare time and memory of heatmaps of large images and volumes with captum and MONAI, at equal settings.

    python -m experiments.speed.large --page docs/results/speed_large.md

Every figure is of a process of its own with one thread, which builds the network and makes the map once or,
where that takes less than twenty seconds, twice: processor time is that of the last, memory the highest
resident memory while the first was made, beside what the process held before. Sides take turns, `--rounds`
times (once where it is slow). A ratio is theirs over ours: above 1, ours is quicker or smaller. Finished
figures are kept (`--work`): a run that was ended goes on.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from contrafact.core import EXPLAINERS, Image
from contrafact.core.execution import explain
from contrafact.models import TorchPredictor
from experiments.speed.peaks import resident
from experiments.tables import table

CLASS = 1
QUICK = 20.0  # seconds: what takes longer is done once
BATCH = 4  # images at once in the other libraries, which have no limit of their own; ours finds its own
Theirs = Callable[[nn.Module, Tensor, int], Any]


@dataclass(frozen=True)
class Case:
    """A network and the side of its image."""

    network: str
    side: int

    @property
    def name(self) -> str:
        return f"{self.network}, {self.side}{'²' if self.network == 'ResNet-50' else '³'}"

    @property
    def batch(self) -> int:
        return 1 if self.side > 128 and self.network == "UNet" else BATCH


CASES = (Case("UNet", 64), Case("UNet", 96), Case("ResNet-50", 256), Case("ResNet-50", 512), Case("UNet", 256))
METHODS: dict[str, dict[str, Any]] = {
    "gradient": {},
    "input-x-gradient": {},
    "guided-backprop": {},
    "gradcam": {},
    "deeplift": {},
    "integrated-gradients": {"steps": 8},
    "gradient-shap": {"samples": 8, "baselines": ("min",)},
    "smooth": {"samples": 8},
    "occlusion": {"fill": "min"},
    "feature-ablation": {"count": 4, "fill": "min"},
    "kernel-shap": {"count": 4, "samples": 64, "fill": "min"},
}


def built(case: Case) -> tuple[TorchPredictor, nn.Module, Image, Tensor]:
    """The predictor and its network, and the image as both sides take it."""
    from monai.networks.nets import UNet, resnet50

    torch.manual_seed(0)
    flat = case.network == "ResNet-50"
    network: nn.Module
    if flat:
        network = resnet50(spatial_dims=2, n_input_channels=1, num_classes=3)
    else:
        network = UNet(3, 1, 3, channels=(16, 32, 64, 128), strides=(2, 2, 2), num_res_units=1, act="relu")
    values = np.random.default_rng(0).random((1, *((2 if flat else 3) * [case.side])), dtype=np.float32)
    predictor = TorchPredictor(network.eval(), classes=["a", "b", "c"])
    return predictor, network, Image(values), torch.from_numpy(values[None])


class Region(nn.Module):
    """The mean logit of a class where the network predicted it at first, as a classifier of (N, 1)."""

    def __init__(self, network: nn.Module, x: Tensor) -> None:
        super().__init__()
        self.network = network
        with torch.no_grad():
            self.place = network(x).argmax(dim=1) == CLASS

    def forward(self, x: Tensor) -> Tensor:
        return (self.network(x)[:, CLASS] * self.place).flatten(1).sum(dim=1, keepdim=True) / self.place.sum()


def groups(x: Tensor, count: int) -> Tensor:
    """Boxes of `count` along each axis, numbered."""
    sides = x.shape[2:]
    number = torch.zeros(sides, dtype=torch.long)
    for axis, side in enumerate(sides):
        step = torch.arange(side) * count // side
        number = number * count + step.reshape([-1 if k == axis else 1 for k in range(len(sides))])
    return number[None, None]


def of_captum(name: str, layer: str, case: Case) -> Theirs:
    """The same method of captum as a call."""
    from captum import attr

    least = {"baselines": 0.0}
    few = {"perturbations_per_eval": case.batch}

    def call(network: nn.Module, x: Tensor, target: int) -> Any:
        made = METHODS[name]
        if name == "gradient":
            return attr.Saliency(network).attribute(x, target=target, abs=False)
        if name == "input-x-gradient":
            return attr.InputXGradient(network).attribute(x, target=target)
        if name == "guided-backprop":
            return attr.GuidedBackprop(network).attribute(x, target=target)
        if name == "gradcam":
            inner = network.network if isinstance(network, Region) else network
            cells = attr.LayerGradCam(network, inner.get_submodule(layer)).attribute(x, target=target)
            return attr.LayerAttribution.interpolate(cells, x.shape[2:])
        if name == "deeplift":
            return attr.DeepLift(network).attribute(x, target=target, **least)
        if name == "integrated-gradients":
            return attr.IntegratedGradients(network).attribute(
                x, target=target, n_steps=made["steps"], internal_batch_size=case.batch, **least
            )
        if name == "gradient-shap":
            return attr.GradientShap(network).attribute(
                x, target=target, n_samples=made["samples"], baselines=torch.zeros_like(x)
            )
        if name == "smooth":
            return attr.NoiseTunnel(attr.Saliency(network)).attribute(
                x, target=target, abs=False, nt_samples=made["samples"], nt_samples_batch_size=case.batch
            )
        if name == "occlusion":
            box = (1, *(side // 8 for side in x.shape[2:]))
            return attr.Occlusion(network).attribute(x, box, strides=box, target=target, **least, **few)
        mask = groups(x, made["count"])
        if name == "feature-ablation":
            return attr.FeatureAblation(network).attribute(x, target=target, feature_mask=mask, **least, **few)
        return attr.KernelShap(network).attribute(
            x, target=target, feature_mask=mask, n_samples=made["samples"], **least, **few
        )

    return call


def of_monai(name: str, layer: str, case: Case) -> Theirs:
    from monai.visualize import GradCAM, OcclusionSensitivity

    def call(network: nn.Module, x: Tensor, target: int) -> Any:
        if name == "gradcam":
            return GradCAM(network, layer)(x, class_idx=target)
        box = tuple(side // 8 for side in x.shape[2:])
        made = OcclusionSensitivity(network, mask_size=box, n_batch=case.batch, overlap=0.0, verbose=False)
        return made(x)

    return call


def child(side: str, name: str, case: Case) -> dict[str, float]:
    """Seconds and megabytes of one map."""
    torch.set_num_threads(1)
    import captum.attr  # noqa: F401  an import is not a map's memory, nor its time

    predictor, network, image, x = built(case)
    flat = case.network == "ResNet-50"
    target = predictor.target(f"value:{CLASS}" if flat else f"region:{CLASS}")
    layer = predictor.feature_layer(x, module=True).name if name == "gradcam" else ""
    if side == "ours":
        settings = dict(METHODS[name])
        if name == "occlusion":
            settings |= {"box": case.side // 8, "stride": case.side // 8}
        explainer = EXPLAINERS.make(name, **settings)
        job: Callable[[], Any] = lambda: explain(explainer, predictor, [image], target=target)  # noqa: E731
    else:
        theirs = {"captum": of_captum, "MONAI": of_monai}[side](name, layer, case)
        x.requires_grad_(name not in ("occlusion", "feature-ablation", "kernel-shap"))
        asked_of: Callable[[], nn.Module] = lambda: network if flat else Region(network, x.detach())  # noqa: E731
        job = lambda: theirs(asked_of(), x, CLASS if flat else 0)  # noqa: E731
    before = resident("VmRSS")
    seconds = timed(job)
    megabytes = resident("VmHWM") - before
    if seconds < QUICK:
        seconds = timed(job)  # the first was for warming up
    return {"seconds": seconds, "megabytes": max(0.0, megabytes)}


def timed(job: Callable[[], Any]) -> float:
    """Seconds of processor time; one thread, so that other work on the machine counts little."""
    began = time.process_time()
    job()
    return time.process_time() - began


def asked(side: str, name: str, case: Case, number: int, work: Path) -> dict[str, Any]:
    """The figures of one process; what was measured before is read again."""
    kept = work / f"{case.network}-{case.side}-{name}-{side}-{number}.json"
    if not kept.exists():
        words = [
            sys.executable,
            "-m",
            "experiments.speed.large",
            "--child",
            side,
            name,
            case.network,
            str(case.side),
        ]
        done = subprocess.run(words, capture_output=True, text=True)
        last = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()[-1:]
        found = json.loads(last[0]) if done.returncode == 0 else {"failed": (last or ["ended"])[0][:200]}
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(found), encoding="utf-8")
        print(kept.stem, found, flush=True)
    return dict(json.loads(kept.read_text(encoding="utf-8")))


def sides_of(name: str, case: Case) -> list[str]:
    monai = case.network == "ResNet-50" and name in ("gradcam", "occlusion")
    return ["ours", "captum", *(["MONAI"] if monai else [])]


def row(name: str, case: Case, rounds: int, work: Path) -> list[list[str]]:
    """A line for each other library."""
    sides = sides_of(name, case)
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    for number in range(rounds):
        if number and max(one.get("seconds", 0.0) for many in found.values() for one in many) > QUICK:
            break
        for side in sides:
            found[side].append(asked(side, name, case, number, work))
    ours, lines = found.pop("ours"), []
    for side, theirs in found.items():
        cells = [f"`{name}`", case.name, side]
        failed = any("failed" in one for one in (*ours, *theirs))
        for field, places in (("seconds", 2), ("megabytes", 0)):
            ratio = "" if failed else f"{middle(theirs, field) / max(middle(ours, field), 1e-9):.2f}"
            cells += [both(ours, field, places), both(theirs, field, places), ratio]
        lines.append(cells)
    return lines


def middle(found: list[dict[str, Any]], field: str) -> float:
    return statistics.median(one[field] for one in found)


def both(found: list[dict[str, Any]], field: str, places: int) -> str:
    """The median with the range, or that the network is refused."""
    if any("failed" in one for one in found):
        return "refused"
    values = [one[field] for one in found]
    spread = f" ({min(values):.{places}f} to {max(values):.{places}f})" if len(values) > 1 else ""
    return f"{middle(found, field):.{places}f}{spread}"


def growth(name: str, cases: list[Case], work: Path) -> list[str]:
    """How time and memory of larger volumes relate to a straight line through the smallest, by voxels."""
    found = [asked("ours", name, case, 0, work) for case in cases]
    cells = [f"`{name}`"]
    for field in ("seconds", "megabytes"):
        for case, one in zip(cases[1:], found[1:], strict=True):
            voxels = (case.side / cases[0].side) ** 3
            known = "failed" not in one and "failed" not in found[0]
            cells.append(f"{one[field] / max(found[0][field], 1e-9) / voxels:.2f}" if known else "refused")
    return cells


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--child", nargs=4)
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--work", type=Path, default=Path("runs/speed_large"))
    words.add_argument("--methods", nargs="*", choices=list(METHODS), default=list(METHODS))
    words.add_argument("--cases", nargs="*", type=int, default=list(range(len(CASES))), help="rows of CASES")
    words.add_argument("--page", type=Path)
    given = words.parse_args()
    if given.child:
        side, name, network, length = given.child
        print(json.dumps(child(side, name, Case(network, int(length)))))
        return
    cases = [CASES[k] for k in given.cases]
    lines = [
        one for case in cases for name in given.methods for one in row(name, case, given.rounds, given.work)
    ]
    text = table(HEAD, lines)
    volumes = [case for case in cases if case.network == "UNet"]
    if len(volumes) > 1:
        head = ["method", *(f"{what} at {case.side}³" for what in ("time", "memory") for case in volumes[1:])]
        text += f"\n\n{GROWTH}\n\n" + table(head, [growth(name, volumes, given.work) for name in given.methods])
    print(text)
    if given.page:
        given.page.write_text(PAGE + text + "\n", encoding="utf-8")


HEAD = ("method", "network, side", "beside", "ours, s", "theirs, s", "ratio", "ours, MB", "theirs, MB", "ratio")
GROWTH = (
    "Time and memory over those of the smallest volume, divided by the ratio of voxels: 1 is a straight line."
)
PAGE = """# Heatmaps of large images and volumes beside captum and MONAI

`python -m experiments.speed.large --page docs/results/speed_large.md`

A ResNet-50 of MONAI for two-dimensional images, and a residual U-Net of MONAI (16 to 128 channels) for volumes,
whose class 1 is explained where the network predicts it. Equal settings on both sides: 8 points of integrated
gradients, 8 samples, 64 boxes or samples of groups, the same groups of voxels, and the layer that the package
chooses by itself. One thread; processor seconds; memory is the peak beside what the process held before. A
ratio is theirs over ours: above 1, ours is quicker or smaller. The other libraries get at most four images at
once (one at 256³), the package finds its own number.

"""


if __name__ == "__main__":
    main()
