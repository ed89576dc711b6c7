"""A run of a volume in which the cause is known by construction, for pictures of its pages.

    python -m experiments.evaluate.planted_volume --image hippocampus_001.nii.gz --out RUN

The model reads the mean brightness of one ball in the volume and nothing else; its map is computed by
integrated gradients, and its counterfactual brightens the ball, with the model's output measured at each frame.
It says nothing of a patient's hippocampus.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import contrafact as cf
from contrafact.core import Counterfactual, Image, Record
from contrafact.io import Run, read_image
from contrafact.models import TorchPredictor

RADIUS, STEPS = 5.0, 5
CLASSES = ("dark ball", "bright ball")


class BallModel(nn.Module):
    """Logits of two classes from the mean brightness within a soft ball."""

    def __init__(self, weights: Tensor, middle: float) -> None:
        super().__init__()
        self.middle = middle
        self.register_buffer("weights", weights)

    def forward(self, images: Tensor) -> Tensor:
        mean = (images.mean(dim=1) * self.weights).sum(dim=(1, 2, 3))
        odds = 0.12 * (mean - self.middle)
        return torch.stack([-odds / 2, odds / 2], dim=1)


def ball(image: Image) -> np.ndarray:
    """Return a soft ball (*S), 1 in its middle, above and before the middle of the volume."""
    shape, spacing = np.array(image.grid.shape), np.array(image.grid.spacing_mm)
    middle = shape * np.array([0.5, 0.4, 0.6])
    far = sum(((at - m) * mm) ** 2 for at, m, mm in zip(np.indices(shape), middle, spacing, strict=True))
    return np.asarray(np.exp(-far / (2 * (RADIUS / 2) ** 2)), dtype=np.float32)


def changed(image: Image, soft: np.ndarray, predictor: TorchPredictor, model: str) -> Counterfactual:
    """Return frames in which the ball gets brighter until the prediction is 90 %, with measured scores."""
    start = _odds(predictor, image.values)
    goal = float(np.log(9))
    one = _odds(predictor, image.values + soft) - start  # the model is linear
    frames = np.stack([image.values + soft * (goal - start) / one * k / STEPS for k in range(STEPS + 1)])
    scores = np.array([_odds(predictor, frame) for frame in frames])
    record = Record(method="planted", parameters={}, target="class:1", model=model, image=image.digest)
    return Counterfactual(
        frames=frames.astype(np.float32), requested=scores - scores[0], scores=scores,
        latent_distance=np.zeros(STEPS + 1), origin=0, reconstruction_error=0.0, above_tolerance=False,
        outcome="reached", goal=goal, reconstruction=image.values, grid=image.grid, record=record,
    )  # fmt: skip


def _odds(predictor: TorchPredictor, values: np.ndarray) -> float:
    with torch.no_grad():
        low, high = predictor(torch.as_tensor(values[None], dtype=torch.float32))[0].tolist()
    return float(high - low)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    image = read_image(options.image)
    soft = ball(image)
    weights = torch.as_tensor(soft / soft.sum())
    middle = float((image.values[0] * weights.numpy()).sum()) + 15
    predictor = TorchPredictor(BallModel(weights, middle).eval(), classes=CLASSES)
    heat = cf.explain("integrated-gradients", predictor, image, target="class:1")
    assert heat.record is not None
    walk = changed(image, soft, predictor, heat.record.model)
    share = 100 / (1 + np.exp(-walk.scores[0]))
    run = Run.create(options.out, about={"title": "A planted cause in a volume"})
    answers = [f"{CLASSES[0]} {100 - share:.0f} %", f"{CLASSES[1]} {share:.0f} %"]
    about = {"case": options.image.name, "answers": answers, "target_name": CLASSES[1]}
    about["exclusive_classes"] = list(CLASSES)
    run.add("map", image, heat, **about)
    run.add("change", image, walk, **about)


if __name__ == "__main__":
    main()
