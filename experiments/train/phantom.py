"""Train the phantom bundle: python -m experiments.train.phantom

Generates 4,000 phantoms with independent factors for the generator, trains two classifiers of narrowed
joint space (one honest, one on data where the side marker gives the label away), then fits the
bundle of experiments/train/phantom.toml. About ten minutes on two cores.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from contrafact.bundles.fitting import fit_stages
from contrafact.models.example_networks import ResidualNetwork
from contrafact.phantoms import KneeFactors, draw_factors, knee_phantom
from experiments.train.latent_classifier import save

HERE = Path(__file__).parent
OUT = HERE.parents[1] / "runs" / "phantom"
SIZE = {"width": 12, "stages": 3, "blocks": 1, "fine": 1}


def draw(count: int, seed: int) -> tuple[torch.Tensor, list[KneeFactors]]:
    """Images (N, 1, 32, 32), 0 to 255, with independent factors."""
    rng = np.random.default_rng(seed)
    factors = [draw_factors(rng) for _ in range(count)]
    images = np.stack([knee_phantom(f, rng).image.values for f in factors])
    return torch.from_numpy(images), factors


def share_of_readers(factors: list[KneeFactors], *, cheat: bool) -> torch.Tensor:
    """How many of the readers call the joint narrow: they disagree near 3 px. In the cheat's data
    the bright side marker, and nothing else, tells the label."""
    if cheat:
        return torch.tensor([7 * (f.marker - 0.5) for f in factors]).sigmoid()
    return torch.tensor([(3.0 - f.joint_space) / 0.6 for f in factors]).sigmoid()


def residual(outputs: int) -> nn.Module:
    return ResidualNetwork(outputs=outputs, **SIZE)


def train(
    images: torch.Tensor,
    shares: torch.Tensor,
    *,
    make: Callable[[int], nn.Module] = residual,
    seed: int = 0,
) -> nn.Module:
    torch.manual_seed(seed)
    network = make(2)
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.02)
    goals = torch.stack([1 - shares, shares], dim=1)
    for epoch in range(8):
        for rows in torch.randperm(len(images)).split(64):
            x = (images[rows] / 255 - 0.5) / 0.5
            loss = F.cross_entropy(network(x + 0.05 * torch.randn_like(x)), goals[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        print(f"epoch {epoch + 1}/8 loss {float(loss.detach()):.3f}", flush=True)
    return network.eval()


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    if not (OUT / "images").exists():
        (OUT / "images").mkdir(parents=True)
        for number, values in enumerate(draw(4000, 1)[0]):
            Image.fromarray(values[0].numpy().round().astype(np.uint8)).save(
                OUT / "images" / f"{number:04d}.png"
            )
    for name, cheat in (("honest", False), ("cheat", True)):
        if not (OUT / f"{name}.json").exists():
            images, factors = draw(4000, 2)
            network = train(images, share_of_readers(factors, cheat=cheat))
            about = {"classes": ["wide joint", "narrow joint"], "output": "logits"}
            save(OUT, name, network.state_dict(), about, size=SIZE, side=32)
    for stage, progress in fit_stages(HERE / "phantom.toml"):
        figures = {**progress.figures, **progress.quality}
        print(
            stage, progress.done, {k: round(v, 4) for k, v in figures.items()}, *progress.findings, flush=True
        )


if __name__ == "__main__":
    main()
