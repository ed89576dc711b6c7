"""Mean and covariance of a generator's latents, and the latent distance (SD) that they define."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from contrafact.core import Generator


@dataclass(frozen=True, eq=False)
class LatentStatistics:
    """Mean (d,) and covariance (d, d) of sampled latents.

    curvature  mean curvature (d, d) of the reconstruction loss (`inversion.mean_curvature`); None: unknown, as
               in bundles written before it was stored
    """

    mean: Tensor
    covariance: Tensor
    curvature: Tensor | None = None

    @staticmethod
    def of(generator: Generator, rng: torch.Generator, *, samples: int = 10_000) -> LatentStatistics:
        """Estimate mean and covariance from `samples` latents of the generator."""
        with torch.no_grad():
            w = generator.sample(samples, rng)
        return LatentStatistics(w.mean(dim=0), torch.cov(w.t()))

    @cached_property
    def precision(self) -> Tensor:
        """Return the inverse covariance (d, d). Eigenvalues below a ten-thousandth of the greatest are raised
        to it, so that rounding errors along directions of almost no variance do not appear implausible."""
        values, vectors = torch.linalg.eigh(self.covariance.double())
        values = values.clamp_min(float(values.max()) * 1e-4)
        return ((vectors / values) @ vectors.t()).float()

    @cached_property
    def factor(self) -> Tensor:
        """Return F (d, d) with F F' = covariance; it maps standard normal samples to the spread of latents."""
        values, vectors = torch.linalg.eigh(self.covariance.double())
        return (vectors * values.clamp_min(0).sqrt()).float()

    def length(self, steps: Tensor) -> Tensor:
        """Return the Mahalanobis length (...) of latent offsets (..., d): their latent distance (SD)."""
        return ((steps @ self.precision.to(steps.device)) * steps).sum(dim=-1).clamp_min(0).sqrt()

    def within(self, steps: Tensor, longest: float | Tensor) -> Tensor:
        """Return latent offsets (N, d), those of more than `longest` (a number, or (N,)) shortened to it."""
        return steps * (longest / self.length(steps).clamp_min(longest))[:, None]
