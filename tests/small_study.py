"""A small network as files, for studies that need some model."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from contrafact.models.example_networks import ResidualNetwork


def write_model(folder: Path) -> None:
    """Write `net.json`, a residual network of one channel and two outputs, and its random weights."""
    torch.manual_seed(0)
    network = ResidualNetwork(channels=1, outputs=2, width=4, stages=2)
    save_file(network.state_dict(), folder / "net.safetensors")
    (folder / "net.json").write_text(
        '{"factory": "contrafact.models.example_networks:ResidualNetwork", "weights": "net.safetensors", '
        '"arguments": {"channels": 1, "outputs": 2, "width": 4, "stages": 2}, '
        '"preprocessing": {"window": [0, 255]}}'
    )
