"""Train the networks of a bundle and the judges of its counterfactuals.

    python -m experiments.train.classifiers knee --role model --data ../shared/data --out RUNS/knee --side 128

`model` is what the bundle explains (a small ResNet); `second` ships beside it and confirms its counterfactuals
(plain convolutions, another seed). `ally` guides a translator beside the model (a residual network, finer),
`member` says when to end its training (densely connected), and `judge`, which never ships, is asked only when a
page is measured (inverted bottlenecks without normalisation by batch). All learn from the `fit` patients; the
best epoch by AUC on the `choice` patients is kept. A run that was ended goes on from its last epoch.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from contrafact.generators.precision import half_is_faster
from contrafact.models.example_networks import PlainNetwork, ResidualNetwork
from experiments.data import Cohort, load

Vary = Callable[[Tensor, torch.Generator], Tensor]
MIRROR = {
    "knee": True,
    "chest": False,
    "nodule": True,
    "nodule_3d": True,
    "malignancy": True,
    "histology": True,
}
TURN = {"nodule", "nodule_3d", "malignancy", "histology"}
STAIN = {"histology"}  # colours change at random, so that the stain of a slide does not tell its class
GREY = {"histology"}  # the networks see greys alone: coloured, they read red blood cells
EPOCHS = {"knee": 20, "chest": 10, "nodule": 40, "nodule_3d": 30, "malignancy": 60, "histology": 12}


class Judge(nn.Module):
    """Depthwise convolutions with group normalisation, in the manner of ConvNeXt: another family than both."""

    def __init__(self, *, channels: int = 1, outputs: int = 2, width: int = 32, stages: int = 4) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1)]
        for stage in range(stages):
            if stage:
                layers += [nn.GroupNorm(1, width), nn.Conv2d(width, min(2 * width, 160), 2, 2)]
                width = min(2 * width, 160)
            layers.append(_Bottleneck(width))
        self.body = nn.Sequential(*layers)
        self.norm, self.dropout, self.head = nn.LayerNorm(width), nn.Dropout(0.2), nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(self.dropout(self.norm(self.body(x).mean(dim=(2, 3)))))
        return scores


class _Bottleneck(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 7, padding=3, groups=width),
            nn.GroupNorm(1, width),
            nn.Conv2d(width, 3 * width, 1),
            nn.GELU(),
            nn.Conv2d(3 * width, width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.body(x)
        return y


class Member(nn.Module):
    """Densely connected convolutions: another family than model, second and judge."""

    def __init__(
        self, *, channels: int = 1, outputs: int = 2, growth: int = 12, stages: int = 4, grey: bool = False
    ) -> None:
        super().__init__()
        self.grey = grey
        width = 2 * growth
        layers: list[nn.Module] = [nn.Conv2d(1 if grey else channels, width, 5, 2, 2)]
        for stage in range(stages):
            if stage:
                layers += [nn.AvgPool2d(2)]
            for _ in range(3):
                layers.append(_Dense(width, growth))
                width += growth
            layers += [nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width // 2, 1)]
            width //= 2
        self.body = nn.Sequential(*layers)
        self.norm, self.dropout, self.head = nn.BatchNorm1d(width), nn.Dropout(0.1), nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = x.mean(dim=1, keepdim=True) if self.grey else x
        scores: Tensor = self.head(self.dropout(self.norm(self.body(x).mean(dim=(2, 3)))))
        return scores


class _Dense(nn.Module):
    def __init__(self, before: int, growth: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.BatchNorm2d(before), nn.ReLU(), nn.Conv2d(before, growth, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.body(x)], dim=1)


class Slices(nn.Module):
    """The densely connected network of images on a volume (N, 1, D, H, W), whose slices are its channels."""

    def __init__(self, *, channels: int, outputs: int = 2, stages: int = 3) -> None:
        super().__init__()
        self.network = Member(channels=channels, outputs=outputs, stages=stages)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.network(x[:, 0])
        return scores


def size_of(
    role: str, side: int, channels: int, outputs: int, *, axes: int = 2, grey: bool = False
) -> dict[str, object]:
    """Arguments of the network of a role; wider images get one more stage."""
    if axes == 3:
        if role == "member":
            return {"channels": side, "outputs": outputs}
        common = {"channels": channels, "outputs": outputs, "axes": 3}
        sizes: dict[str, dict[str, object]] = {
            "model": {"width": 8, "stages": 3, "dropout": 0.2},
            "ally": {"width": 8, "stages": 3, "blocks": 2},
            "second": {"widths": (8, 16, 32, 64)},
        }
        return {**common, **sizes[role]}
    deep = side > 64
    common = {"channels": channels, "outputs": outputs, **({"grey": True} if grey and role != "judge" else {})}
    if role == "second":
        return {**common, "widths": (16, 32, 64, 96, 128) if deep else (16, 32, 64, 128)}
    common["stages"] = 5 if deep else 4
    own: dict[str, dict[str, object]] = {
        "model": {"width": 24, "dropout": 0.2},
        "ally": {"width": 16, "fine": 1},
    }
    return {**common, **own.get(role, {})}


def make(role: str, arguments: dict[str, object]) -> nn.Module:
    kinds = {
        "model": ResidualNetwork,
        "ally": ResidualNetwork,
        "second": PlainNetwork,
        "member": Member,
        "judge": Judge,
    }
    if role == "member" and "stages" not in arguments:  # of volumes
        return Slices(**arguments)  # type: ignore[arg-type]
    return kinds[role](**arguments)  # type: ignore[arg-type]


def row_of(name: str) -> int:
    """Which output is the question of the bundle."""
    return 1 if name == "knee" else 0


def varied(x: Tensor, rng: torch.Generator, *, mirror: bool, turn: bool) -> Tensor:
    """Images in [-1, 1] shifted, turned, scaled, mirrored; with other contrast, a little blur and noise. Of
    volumes every slice alike; half of them with the order of their slices turned round."""
    n = len(x)
    if x.ndim == 5:
        x = torch.where(torch.rand(n, 1, 1, 1, 1, generator=rng) < 0.5, x.flip(2), x)
        return varied(x[:, 0], rng, mirror=mirror, turn=turn)[:, None]
    angle = (torch.rand(n, generator=rng) - 0.5) * (2 * math.pi if turn else 0.25)
    scale = 1 + (torch.rand(n, generator=rng) - 0.5) * 0.2
    flip = torch.where(torch.rand(n, generator=rng) < 0.5, -1.0, 1.0) if mirror else torch.ones(n)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 0, 1] = scale * angle.cos() * flip, -scale * angle.sin()
    theta[:, 1, 0], theta[:, 1, 1] = scale * angle.sin() * flip, scale * angle.cos()
    theta[:, :, 2] = (torch.rand(n, 2, generator=rng) - 0.5) * 0.2
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    x = F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)
    contrast, shade = (torch.rand(2, n, 1, 1, 1, generator=rng) - 0.5) * 0.4
    x = x * (1 + contrast) + shade
    blur = torch.rand(n, 1, 1, 1, generator=rng).sub(0.5).clamp_min(0) * 2
    x = torch.lerp(x, F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1), blur)
    noise = torch.rand(n, 1, 1, 1, generator=rng).sub(0.5).clamp_min(0) * 0.16
    return x + noise * torch.randn(x.shape, generator=rng)


def stained(x: Tensor, rng: torch.Generator) -> Tensor:
    """Colour images in [-1, 1] with other stains: channels mixed and scaled, two in five of them grey."""
    n, channels = x.shape[:2]
    mix = torch.eye(channels) + 0.4 * torch.randn(n, channels, channels, generator=rng)
    mix = mix / mix.sum(dim=2, keepdim=True).clamp_min(0.3)  # white stays white
    grey = torch.rand(n, 1, 1, generator=rng) < 0.4
    mix = torch.where(grey, torch.full_like(mix, 1 / channels), mix)
    gain = 1 + 0.8 * (torch.rand(n, channels, 1, 1, generator=rng) - 0.5)
    darkness = torch.einsum("nij,njhw->nihw", mix, 1 - x) * gain
    return (1 - darkness).clamp(-1.2, 1.2)


def running(averages: list[Tensor], values: list[Tensor], count: Tensor | int) -> None:
    """Exponential average that forgets the random start: its reach grows to 500 steps."""
    decay = min(0.998, (1 + int(count)) / (10 + int(count)))
    torch.optim.swa_utils.get_ema_multi_avg_fn(decay)(averages, values, count)


@torch.no_grad()
def outputs_of(network: nn.Module, images: Tensor) -> Tensor:
    """Raw outputs (N, K) for uint8 images."""
    return torch.cat([network(part.float() / 127.5 - 1) for part in images.split(128)])


def train(
    network: nn.Module,
    cohort: Cohort,
    *,
    vary: Vary,
    epochs: int,
    seed: int,
    batch: int = 32,
    folder: Path | None = None,
    merit: Callable[[nn.Module], float] | None = None,
) -> nn.Module:
    """AdamW with one cycle; gives back the average of the weights. `vary` changes images in [-1, 1] at random.

    With a `folder`, a run that was ended goes on from its last epoch, and the average of the epoch with the
    greatest `merit` is kept there as `best.safetensors`.
    """
    images, goals = cohort.images, cohort.goals * 0.96 + 0.02  # logits stay in a range that one can walk
    layout = torch.channels_last if images.ndim == 4 else torch.channels_last_3d
    layout = torch.contiguous_format if isinstance(network, Slices) else layout
    network = network.to(memory_format=layout)
    average = torch.optim.swa_utils.AveragedModel(network, multi_avg_fn=running, use_buffers=True)
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.05)
    steps = epochs * math.ceil(len(images) / batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    parts = {"network": network, "average": average, "optimiser": optimiser, "schedule": schedule}
    begun, best = resumed(parts, folder)
    half = half_is_faster(functools.partial(passes, network, torch.randn(batch, *images.shape[1:])))
    for epoch in range(begun, epochs):
        rng = torch.Generator().manual_seed(1000 * seed + epoch)
        began, total = time.perf_counter(), 0.0
        network.train()
        for rows in torch.randperm(len(images), generator=rng).split(batch):
            x = vary(images[rows].float() / 127.5 - 1, rng).contiguous(memory_format=layout)
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                outputs = network(x)
            loss = F.binary_cross_entropy_with_logits(outputs.float(), goals[rows])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            average.update_parameters(network)
            total += float(loss.detach()) * len(rows)
        told = f"{epoch + 1}/{epochs} loss {total / len(images):.4f}"
        if folder and merit:
            auc = merit(average.module.eval())
            if auc >= best or epoch + 1 == epochs:
                best = max(auc, best)
                weights = average.module.state_dict().items()
                save_file({k: v.contiguous().clone() for k, v in weights}, folder / "best.safetensors")
            keep(parts, folder, epoch=epoch + 1, best=best)
            told += f" choice AUC {auc:.4f}"
        print(f"{told} {time.perf_counter() - began:.0f} s", flush=True)
    return average.module.eval()


def passes(network: nn.Module, trial: Tensor, dtype: torch.dtype) -> None:
    """The passes of a step, for their time alone."""
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        outputs = network(trial)
    torch.autograd.grad(outputs.float().sum(), list(network.parameters()))


def resumed(parts: dict[str, Any], folder: Path | None) -> tuple[int, float]:
    """Put the parts into the state that `keep` wrote: the epochs that are done, and the greatest merit."""
    if folder is None:
        return 0, 0.0
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "state.pt").exists():
        return 0, 0.0
    state = torch.load(folder / "state.pt", weights_only=True)
    for key, part in parts.items():
        part.load_state_dict(state[key])
    return state["epoch"], state["best"]


def keep(parts: dict[str, Any], folder: Path, **done: float) -> None:
    """Write the state of a run, all or nothing."""
    torch.save({**{key: part.state_dict() for key, part in parts.items()}, **done}, folder / "state.new")
    (folder / "state.new").replace(folder / "state.pt")


def vary_of(name: str) -> Vary:
    """How the images of a cohort are varied."""

    def vary(x: Tensor, rng: torch.Generator) -> Tensor:
        x = varied(x, rng, mirror=MIRROR[name], turn=name in TURN)
        return stained(x, rng) if name in STAIN else x

    return vary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(EPOCHS))
    parser.add_argument("--role", choices=["model", "second", "judge", "member", "ally"], required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--epochs", type=int)
    options = parser.parse_args()
    fit, choice, val = (
        load(options.name, options.data, part, side=options.side) for part in ("fit", "choice", "val")
    )
    seed = {"model": 0, "second": 17, "judge": 31, "member": 47, "ally": 61}[options.role]
    torch.manual_seed(seed)
    channels, *shape = fit.images.shape[1:]
    arguments = size_of(
        options.role,
        options.side,
        channels,
        fit.goals.shape[1],
        axes=len(shape),
        grey=options.name in GREY,
    )
    network, folder = make(options.role, arguments), options.out / options.role
    epochs, row = options.epochs or EPOCHS[options.name], row_of(options.name)

    def merit(judged: nn.Module) -> float:
        return float(roc_auc_score(choice.labels, outputs_of(judged, choice.images)[:, row].numpy()))

    train(network, fit, vary=vary_of(options.name), epochs=epochs, seed=seed, folder=folder, merit=merit)
    network.load_state_dict(load_file(folder / "best.safetensors"))
    outputs = outputs_of(network.eval(), val.images)[:, row]
    auc = float(roc_auc_score(val.labels, outputs.numpy()))
    (folder / "about.json").write_text(
        json.dumps({"arguments": arguments, "auc_val": auc, "side": options.side})
    )
    print(
        f"{options.name} {options.role}: AUC {auc:.4f} on {len(val)} val images, {len(fit)} to fit on",
        flush=True,
    )


if __name__ == "__main__":
    main()
