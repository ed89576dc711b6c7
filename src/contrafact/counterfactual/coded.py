"""What a generator may have beside latents: a code for each finding, as medXGAN's, or a style space."""

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


@runtime_checkable
class WithNegative(Protocol):
    """A generator that can leave the findings out."""

    def negative(self, latents: Any) -> Any:
        """Return latents (N, d) of the same anatomy without a finding."""


@runtime_checkable
class WithLevels(Protocol):
    """A generator that knows the scores of its findings."""

    @property
    def levels(self) -> Any:
        """(findings, 2) scores of the model without and with each finding."""


@runtime_checkable
class WithStyles(Protocol):
    """A generator with a style space: a linear layer of the latent scales the channels of each convolution."""

    @property
    def style_layers(self) -> Any:
        """The linear layers, in order."""
