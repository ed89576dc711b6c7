"""What is common among the latents of a generator: mean, covariance, length of a step."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from contrafact.core import Generator


@dataclass(frozen=True, eq=False)
class LatentStatistics:
    """Mean (d,) and covariance (d, d) of sampled latents."""

    mean: Tensor
    covariance: Tensor

    @staticmethod
    def of(generator: Generator, rng: torch.Generator, *, samples: int = 10_000) -> LatentStatistics:
        with torch.no_grad():
            w = generator.sample(samples, rng)
        return LatentStatistics(w.mean(dim=0), torch.cov(w.t()))

    @cached_property
    def precision(self) -> Tensor:
        """Inverse covariance; directions with almost no spread count as having a ten-thousandth of
        the greatest, so that rounding does not look implausible."""
        values, vectors = torch.linalg.eigh(self.covariance.double())
        values = values.clamp_min(float(values.max()) * 1e-4)
        return ((vectors / values) @ vectors.t()).float()

    @cached_property
    def factor(self) -> Tensor:
        """F (d, d) with F F' = covariance: normal draws of unit variance become latents' own spread."""
        values, vectors = torch.linalg.eigh(self.covariance.double())
        return (vectors * values.clamp_min(0).sqrt()).float()

    def length(self, steps: Tensor) -> Tensor:
        """Mahalanobis length of steps (..., d)."""
        return ((steps @ self.precision.to(steps.device)) * steps).sum(dim=-1).clamp_min(0).sqrt()
