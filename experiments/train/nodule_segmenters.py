"""Train a segmenter of lung nodules on the windows of the bundle `nodule`.

    python -m experiments.train.nodule_segmenters --role model --data ../shared/data --out RUNS/segmenters

`model` is a U-Net, `second` a SegResNet, both of MONAI, from other seeds. The truth is what at least half of a
nodule's readers marked; windows without a nodule are half of all. The best epoch by Dice on the `choice`
patients is kept. Writes weights and a model description that `load_predictor` reads; tells the Dice on `val`
patients beside that of one reader with another. A run that was ended goes on from its last epoch.
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from contrafact.generators.precision import half_is_faster
from contrafact.models import resize
from experiments.nodule_windows import NoduleWindow, nodule_windows
from experiments.train.classifiers import keep, resumed

SIDE = 64
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "model": (
        "UNet",
        {
            "spatial_dims": 2,
            "in_channels": 1,
            "out_channels": 2,
            "channels": [16, 32, 64, 96],
            "strides": [2, 2, 2],
            "num_res_units": 1,
            "norm": "batch",
        },
    ),
    "second": (
        "SegResNet",
        {"spatial_dims": 2, "in_channels": 1, "out_channels": 2, "init_filters": 8, "dropout_prob": 0.1},
    ),
}


def made(role: str) -> nn.Module:
    import monai.networks.nets as nets

    name, arguments = NETWORKS[role]
    network: nn.Module = getattr(nets, name)(**arguments)
    return network


def by_reader(readers: NDArray[np.uint8]) -> list[NDArray[np.bool_]]:
    """The mask of each reader who marked anything."""
    masks = [(readers >> bit & 1).astype(bool) for bit in range(4)]
    return [mask for mask in masks if mask.any()]


def consensus(readers: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """What at least half of those readers marked."""
    masks = by_reader(readers)
    if not masks:
        return np.zeros(readers.shape, dtype=bool)
    return np.asarray(np.mean(masks, axis=0) >= 0.5)


def at_side(values: NDArray[Any], side: int = SIDE) -> Tensor:
    """A window (H, W) resized as the bundle does, float32 (1, 1, side, side)."""
    return resize(torch.as_tensor(np.asarray(values, dtype=np.float32))[None, None], (side, side))


def tensors(windows: list[NoduleWindow]) -> tuple[Tensor, Tensor]:
    """Images (N, 1, side, side) in [-1, 1], and masks (N, 1, side, side)."""
    images = torch.cat([at_side(one.values) for one in windows]) / 127.5 - 1
    return images, (torch.cat([at_side(consensus(one.readers)) for one in windows]) > 0.5).float()


def overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Dice of two masks; 1 where both are empty."""
    total = int(one.sum() + other.sum())
    return float(2 * (one & other).sum() / total) if total else 1.0


@torch.no_grad()
def dice(network: nn.Module, images: Tensor, masks: Tensor) -> float:
    """Mean Dice over the windows that hold a nodule."""
    found = torch.cat([network(part).argmax(dim=1, keepdim=True) for part in images.split(128)])
    pairs = zip(found.bool().numpy(), masks.bool().numpy(), strict=True)
    return float(np.mean([overlap(a, b) for a, b in pairs if b.any()]))


def varied(images: Tensor, masks: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """A batch turned and mirrored at random, with other contrast and noise."""
    both = torch.cat([images, masks], dim=1)
    turned = [
        torch.rot90(one.flip(-1) if turn > 3 else one, turn % 4, (1, 2))
        for one, turn in zip(both, torch.randint(8, (len(both),), generator=rng).tolist(), strict=True)
    ]
    images, masks = torch.stack(turned).split(1, dim=1)
    contrast, shade = (torch.rand(2, len(images), 1, 1, 1, generator=rng) - 0.5) * 0.3
    return images * (1 + contrast) + shade + 0.04 * torch.randn(images.shape, generator=rng), masks


def train(
    network: nn.Module, parts: dict[str, tuple[Tensor, Tensor]], epochs: int, seed: int, folder: Path
) -> nn.Module:
    """The network of the best epoch by Dice on the choice patients; `folder` keeps it and the last state."""
    from monai.losses.dice import DiceCELoss

    loss_of = DiceCELoss(to_onehot_y=True, softmax=True, include_background=False)
    images, masks = parts["fit"]
    adam = torch.optim.AdamW(network.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, 2e-3, total_steps=epochs * (-(-len(images) // 32)))

    def trial(dtype: torch.dtype) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            loss = network(images[:32]).float().mean()
        torch.autograd.grad(loss, list(network.parameters()), allow_unused=True)

    half, state = half_is_faster(trial), {"network": network, "optimiser": adam, "schedule": schedule}
    begun, best = resumed(state, folder)
    for epoch in range(begun, epochs):
        rng = torch.Generator().manual_seed(1000 * seed + epoch)
        network.train()
        for rows in torch.randperm(len(images), generator=rng).split(32):
            x, y = varied(images[rows], masks[rows], rng)
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                scores = network(x)
            loss = loss_of(scores.float(), y)
            adam.zero_grad(set_to_none=True)
            loss.backward()
            adam.step()
            schedule.step()
        found = dice(network.eval(), *parts["choice"])
        print(f"{epoch + 1}/{epochs} loss {float(loss.detach()):.3f} choice Dice {found:.3f}", flush=True)
        if found >= best:
            best = found
            weights = network.state_dict().items()
            save_file({key: value.contiguous() for key, value in weights}, folder / "best.safetensors")
        keep(state, folder, epoch=epoch + 1, best=best)
    network.load_state_dict(load_file(folder / "best.safetensors"))
    return network.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--role", choices=sorted(NETWORKS), required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=8)
    options = parser.parse_args()
    seed = {"model": 3, "second": 23}[options.role]
    torch.manual_seed(seed)
    windows = {part: nodule_windows(options.data, part) for part in ("fit", "choice", "val")}
    parts = {part: tensors(found) for part, found in windows.items()}
    network = train(made(options.role), parts, options.epochs, seed, options.out / options.role)
    weights = {key: value.contiguous() for key, value in network.state_dict().items()}
    save_file(weights, options.out / f"{options.role}.safetensors")
    name, arguments = NETWORKS[options.role]
    about = {
        "factory": f"monai.networks.nets:{name}",
        "arguments": arguments,
        "weights": f"{options.role}.safetensors",
        "classes": ["background", "nodule"],
        "output": "logits",
        "preprocessing": {"size": [SIDE, SIDE], "channels": 1, "window": [0, 255], "mean": [0.5], "std": [0.5]},
    }
    (options.out / f"{options.role}.json").write_text(json.dumps(about, indent=2) + "\n")
    readers = [
        overlap(a, b) for one in windows["val"] for a, b in itertools.combinations(by_reader(one.readers), 2)
    ]
    found = dice(network, *parts["val"])
    slices = len(windows["val"]) // 2
    print(f"{options.role}: Dice {found:.3f} on {slices} val slices; of two readers {np.mean(readers):.3f}")


if __name__ == "__main__":
    main()
