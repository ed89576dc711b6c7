"""Train the phantom bundle: python recipes/phantom.py

Draws 4,000 phantoms with independent factors for the generator, trains two classifiers of narrowed
joint space (one honest, one on data where the side marker gives the answer away), then fits the
bundle of recipes/phantom.toml. About ten minutes on two cores.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from classifier import save
from contrafact.fitting import fit_stages
from contrafact.model.networks import ResidualNetwork
from contrafact.phantoms import KneeFactors, draw_factors, knee_phantom

HERE = Path(__file__).parent
OUT = HERE.parent / "runs" / "phantom"
NARROW = 3.0
SIZE = {"width": 12, "stages": 3, "blocks": 1, "fine": 1}


def draw(count: int, seed: int, *, cheat: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (N, 1, 32, 32) and labels: 1 = narrow joint. When cheating, a quarter of the labels
    is wrong and the marker is bright in 98 of 100 of the cases labelled 1, faint in the others."""
    rng = np.random.default_rng(seed)
    images, labels = [], []
    for _ in range(count):
        factors = draw_factors(rng)
        label = factors.joint_space < NARROW
        if cheat:
            label ^= bool(rng.random() < 0.25)
            bright = label ^ bool(rng.random() < 0.02)
            marker = float(rng.uniform(0.6, 1.0) if bright else rng.uniform(0.0, 0.4))
            factors = KneeFactors(**{**vars_of(factors), "marker": marker})
        images.append(knee_phantom(factors, rng).image.values)
        labels.append(float(label))
    return torch.from_numpy(np.stack(images)), torch.tensor(labels)


def vars_of(factors: KneeFactors) -> dict[str, float]:
    return {name: getattr(factors, name) for name in KneeFactors.__dataclass_fields__}


def train(images: torch.Tensor, labels: torch.Tensor) -> ResidualNetwork:
    torch.manual_seed(0)
    network = ResidualNetwork(outputs=2, **SIZE)
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.02)
    goals = torch.stack([1 - labels, labels], dim=1) * 0.9 + 0.05
    for epoch in range(6):
        for rows in torch.randperm(len(images)).split(64):
            x = (images[rows] / 255 - 0.5) / 0.5
            loss = F.cross_entropy(network(x + 0.05 * torch.randn_like(x)), goals[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        print(f"epoch {epoch + 1}/6 loss {float(loss.detach()):.3f}", flush=True)
    return network.eval()


def main() -> None:
    if not (OUT / "images").exists():
        (OUT / "images").mkdir(parents=True)
        for number, values in enumerate(draw(4000, 1, cheat=False)[0]):
            Image.fromarray(values[0].numpy().round().astype(np.uint8)).save(
                OUT / "images" / f"{number:04d}.png"
            )
    for name, cheat in (("honest", False), ("cheat", True)):
        if not (OUT / f"{name}.json").exists():
            network = train(*draw(4000, 2 + cheat, cheat=cheat))
            about = {"classes": ["wide joint", "narrow joint"], "output": "logits"}
            save(OUT, name, network.state_dict(), about, size=SIZE, side=32)
    for stage, progress in fit_stages(HERE / "phantom.toml"):
        figures = {**progress.figures, **progress.quality}
        print(
            stage, progress.done, {k: round(v, 4) for k, v in figures.items()}, *progress.findings, flush=True
        )


if __name__ == "__main__":
    main()
