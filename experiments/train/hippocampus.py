"""Train a small 3D U-Net on the hippocampus task of the Medical Segmentation Decathlon.

    python -m experiments.train.hippocampus ../shared/data/msd_task04_hippocampus --out runs/hippocampus

Every fifth patient is held out. Writes weights, a model description that `load_predictor` reads, and the
Dice of both parts on the patients held out.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from contrafact.io import read_image

CLASSES = ("background", "anterior", "posterior")


class HippocampusNet(nn.Module):
    """Each volume to zero mean and unit deviation, then MONAI's U-Net; any size."""

    def __init__(self) -> None:
        super().__init__()
        from monai.networks.nets import UNet

        self.scale = nn.InstanceNorm3d(1)
        self.net = UNet(3, 1, 3, channels=(12, 24, 48), strides=(2, 2), num_res_units=1, norm="batch")

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[2:]
        pads = [(-n) % 4 for n in size]
        x = F.pad(self.scale(x), (0, pads[2], 0, pads[1], 0, pads[0]))
        return torch.as_tensor(self.net(x)[..., : size[0], : size[1], : size[2]])


def volumes(folder: Path) -> list[tuple[Tensor, Tensor]]:
    """(1, D, H, W) images with their labels (D, H, W), by name."""
    found = []
    for path in sorted((folder / "imagesTr").glob("*.nii.gz")):
        labels = read_image(folder / "labelsTr" / path.name).values[0]
        found.append((torch.from_numpy(read_image(path).values), torch.from_numpy(labels).long()))
    return found


def dice(found: Tensor, wanted: Tensor, label: int) -> float:
    a, b = found == label, wanted == label
    return float(2 * (a & b).sum() / max(1, int(a.sum() + b.sum())))


def cut(image: Tensor, labels: Tensor, rng: np.random.Generator, side: int = 32) -> tuple[Tensor, Tensor]:
    """A random cube, mirrored left to right half the time."""
    pads = [max(0, side - n) for n in labels.shape]
    image = F.pad(image, (0, pads[2], 0, pads[1], 0, pads[0]), mode="replicate")
    labels = F.pad(labels, (0, pads[2], 0, pads[1], 0, pads[0]))
    at = [int(rng.integers(0, n - side + 1)) for n in labels.shape]
    where = tuple(slice(a, a + side) for a in at)
    image, labels = image[(slice(None), *where)], labels[where]
    if rng.random() < 0.5:
        image, labels = image.flip(-1), labels.flip(-1)
    return image * float(rng.uniform(0.8, 1.2)), labels


def train(cases: list[tuple[Tensor, Tensor]], seconds: float, seed: int) -> nn.Module:
    from monai.losses import DiceCELoss

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network, loss_of = HippocampusNet(), DiceCELoss(to_onehot_y=True, softmax=True, include_background=False)
    adam = torch.optim.AdamW(network.parameters(), lr=3e-3)
    began, step = time.monotonic(), 0
    while (share := (time.monotonic() - began) / seconds) < 1:
        for group in adam.param_groups:
            group["lr"] = 3e-3 * 0.5 * (1 + math.cos(math.pi * share))
        some = [cut(*cases[i], rng) for i in rng.integers(0, len(cases), 4)]
        images, labels = (torch.stack(part) for part in zip(*some, strict=True))
        loss = loss_of(network(images), labels[:, None])
        adam.zero_grad()
        loss.backward()
        adam.step()
        step += 1
        if step % 100 == 0:
            print(f"step {step}: loss {loss.item():.3f}, {seconds * (1 - share):.0f} s left", flush=True)
    return network.eval()


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("data", type=Path)
    words.add_argument("--out", type=Path, default=Path("runs/hippocampus"))
    words.add_argument("--seconds", type=float, default=600)
    words.add_argument("--seed", type=int, default=0)
    asked = words.parse_args()
    cases = volumes(asked.data)
    held, seen = cases[::5], [case for i, case in enumerate(cases) if i % 5]
    network = train(seen, asked.seconds, asked.seed)
    scores: dict[str, list[float]] = {name: [] for name in CLASSES[1:]}
    with torch.no_grad():
        for image, labels in held:
            found = network(image[None]).argmax(dim=1)[0]
            for label, name in enumerate(CLASSES[1:], start=1):
                scores[name].append(dice(found, labels, label))
    figures = {name: round(float(np.mean(values)), 3) for name, values in scores.items()}
    asked.out.mkdir(parents=True, exist_ok=True)
    save_file(network.state_dict(), asked.out / "hippocampus.safetensors")
    about = {
        "factory": "experiments.train.hippocampus:HippocampusNet",
        "weights": "hippocampus.safetensors",
        "classes": CLASSES,
        "output": "logits",
    }
    (asked.out / "hippocampus.json").write_text(json.dumps(about, indent=2) + "\n")
    (asked.out / "figures.json").write_text(json.dumps({"dice": figures, "held out": len(held)}) + "\n")
    print(f"Dice on {len(held)} patients held out: {figures}")


if __name__ == "__main__":
    main()
