"""Test whether a model's outputs for an image are repeatable and independent of the rest of the batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from contrafact.core import Predictor


@dataclass(frozen=True, slots=True)
class Steadiness:
    """Greatest absolute differences between outputs that should be equal.

    again     between two passes of the same image
    company   between the image alone and in a batch with another
    allowed   tolerance for rounding, for outputs of this size
    """

    again: float
    company: float
    allowed: float

    @property
    def steady(self) -> bool:
        """Whether both differences are within the tolerance."""
        return max(self.again, self.company) <= self.allowed

    def lines(self) -> list[str]:
        """Return the problems as sentences; empty if there are none."""
        problems = []
        if self.again > self.allowed:
            problems.append(
                f"two passes of the same image differ by up to {self.again:.3g}: the model uses random "
                "numbers (dropout left on, a random crop), so a heatmap of one pass is not reliable"
            )
        elif self.company > self.allowed:
            problems.append(
                f"the outputs of an image change by up to {self.company:.3g} with the other images of a "
                "batch (batch statistics), so its explanation depends on them"
            )
        return problems


def steadiness(predictor: Predictor, images: Any) -> Steadiness:
    """Compare two passes of one image (1, C, *S), and one in a batch with its mirror image at half brightness.

    cost  4 images
    """
    image = torch.as_tensor(images)
    others = torch.cat([image, 0.5 * image.flip(-1)])  # of another mean and contrast
    with predictor.frozen(), torch.no_grad():
        first, second, in_batch = (_outputs(predictor(batch)) for batch in (image, image, others))
    # Rounding differs between a batch and a single image.
    allowed = 1e-3 * max(1e-3, float(first.abs().max()))
    again, company = (float((other[:1] - first).abs().max()) for other in (second, in_batch))
    return Steadiness(again=again, company=company, allowed=allowed)


def _outputs(outputs: Any) -> Tensor:
    return torch.as_tensor(outputs).double().cpu()
