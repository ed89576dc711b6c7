"""Whether a model is a function of one image: asked twice, and alone against in company."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from contrafact.core import Predictor


@dataclass(frozen=True, slots=True)
class Steadiness:
    """Greatest differences between outputs that should be the same.

    again     the same image asked twice
    company   the image alone, and among others
    allowed   what rounding may do, for outputs of this size
    """

    again: float
    company: float
    allowed: float

    @property
    def steady(self) -> bool:
        return max(self.again, self.company) <= self.allowed

    def lines(self) -> list[str]:
        """What is wrong, in sentences; none for a function of one image."""
        said = []
        if self.again > self.allowed:
            said.append(
                f"the same image asked twice gives outputs that differ by up to {self.again:.3g}: something "
                "is drawn at random in a pass (dropout left on, a random crop), and no map of one pass holds"
            )
        elif self.company > self.allowed:
            said.append(
                f"an image gives other outputs (by up to {self.company:.3g}) alone than among others: "
                "statistics are taken over the batch, and an explanation depends on what else is asked"
            )
        return said


def steadiness(predictor: Predictor, images: Any) -> Steadiness:
    """Ask a model twice about one image (1, C, *S), and once with its mirror image, half as bright, beside it.

    cost  4 images
    """
    image = torch.as_tensor(images)
    others = torch.cat([image, 0.5 * image.flip(-1)])  # of another mean and contrast
    with getattr(predictor, "frozen", contextlib.nullcontext)(), torch.no_grad():
        first, second, among = (_outputs(predictor(one)) for one in (image, image, others))
    # Convolutions of a batch round otherwise than those of one image.
    allowed = 1e-3 * max(1e-3, float(first.abs().max()))
    again, company = (float((other[:1] - first).abs().max()) for other in (second, among))
    return Steadiness(again=again, company=company, allowed=allowed)


def _outputs(outputs: Any) -> Tensor:
    return torch.as_tensor(outputs).double().cpu()
