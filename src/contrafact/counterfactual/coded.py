"""Generators with a code for each finding, as medXGAN's."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Coded(Protocol):
    """A generator whose latents contain a code per finding, separate from the anatomy."""

    def code(self, finding: int) -> slice:
        """Return the coordinates of a finding's code in a latent."""

    def draw_code(self, n: int, rng: Any) -> Any:
        """Return n sampled codes (n, length) of a finding at strength 1."""

    def strength(self, latents: Any) -> Any:
        """Return the strengths (N, findings) of the findings in latents; 0 where a finding is absent."""
