"""A bundle of the family medxgan in a folder: an untrained generator of a finding, and real models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch

from contrafact.bundles import list_bundles, load_bundle, save_bundle
from contrafact.counterfactual import Bundle, LatentStatistics
from contrafact.generators import EncoderSize, MedXGAN, MedXGANConfig, ResNetEncoder

SIZE = MedXGANConfig(resolution=32, anatomy=6, pathology=3, channel_base=64, channel_max=8)
ENCODER = EncoderSize(kind="compact", width=4)


def finding_bundle(folder: Path) -> Path:
    """Write it, with the phantoms' honest model, its second model and its card; return the folder."""
    source, phantom = list_bundles()["phantom"], load_bundle("phantom")
    folder.mkdir(parents=True)
    for name in ("honest", "second"):
        for kind in ("json", "safetensors"):
            shutil.copy(source / f"{name}.{kind}", folder)
    shutil.copy(source / "MODEL_CARD.md", folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        generator = MedXGAN(SIZE).eval().requires_grad_(False)
        encoder = ResNetEncoder.of(generator, kind=ENCODER.kind, width=ENCODER.width)
    honest, second = phantom.predictors["honest"], phantom.seconds["honest"]
    made = Bundle(
        name="finding",
        generator=generator,
        encoder=encoder.eval().requires_grad_(False),
        statistics=LatentStatistics.of(generator, torch.Generator().manual_seed(2), samples=300),
        window=(0.0, 255.0),
        findings=((honest.digest, "class:1"),),
        predictor=honest,
        predictors={"honest": honest},
        seconds={"honest": second},
        card=json.loads((source / "bundle.json").read_text())["card"],
    )
    size = {"kind": ENCODER.kind, "width": ENCODER.width}
    words = {"descriptions": {"honest": "honest.json"}, "seconds": {"honest": "second.json"}}
    return save_bundle(folder, made, main="honest", encoder_size=size, **words)
