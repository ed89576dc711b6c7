"""Latent shift: a counterfactual along the model's own gradient in latent space."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from contrafact.core import EXPLAINERS, Counterfactual, Question, UnsupportedError
from contrafact.counterfactual.inversion import Refinement
from contrafact.counterfactual.latent_search import (
    LatentSearch,
    SearchSettings,
    bundle_of,
    differentiable,
    inverted,
)


@EXPLAINERS.register("latent-shift", aliases=("latent_shift", "gifsplanation"))
@dataclass(frozen=True, slots=True, kw_only=True)
class LatentShift:
    """Change the image along the model's own gradient in latent space.

    images  float32 (N, C, H, W) in the bundle's units, at least the bundle's size
    gives   one `Counterfactual` per image, as `latent-walk` does: same grid, steps, reconstruction error and
            outcomes
    cost    as `latent-walk`; no direction needs to be fitted, so any differentiable model is suitable
    raises  UnsupportedError for a model without gradients; InputError as `latent-walk`
    Source: Cohen et al. 2021 (arXiv 2102.09475): latent + step x gradient of the score by the
    latent. Differs: the gradient g is multiplied by the covariance S of latents, S g / (g' S g), so that a
    step of one unit has the least latent distance; its unit is a unit of the target; the gradient is
    computed again along the path (`bend`); image details that the generator cannot represent are kept; a
    generator with an encoder instead of an autoencoder.

    goal, steps, levels, frames, budget, blend, tolerance, refinement   as in `latent-walk`
    bend      compute the gradient again at every step; False: once, at the image, for a straight path
    """

    needs_bundle: ClassVar[bool] = True
    strip: ClassVar[bool] = True
    needs_gradients: ClassVar[bool] = True
    goal: float | None = None
    steps: tuple[float, ...] | None = None
    levels: tuple[float, ...] | None = None
    frames: int = 9
    budget: float = 5.0
    bend: bool = True
    blend: bool = True
    tolerance: float = 1.0
    refinement: Refinement = field(default_factory=Refinement)

    def __post_init__(self) -> None:
        self._settings()

    def _settings(self) -> SearchSettings:
        """Return the settings of the latent search; its checks apply to the shared parameters."""
        return SearchSettings(
            goal=self.goal,
            steps=self.steps,
            levels=self.levels,
            frames=self.frames,
            budget=self.budget,
            follow=1.0 if self.bend else 0.0,
            blend=self.blend,
            tolerance=self.tolerance,
        )

    def __call__(self, question: Question, rng: np.random.Generator) -> list[Counterfactual]:
        bundle = bundle_of(question, "latent-shift")
        if not differentiable(question):
            raise UnsupportedError(
                "latent-shift expects a model with gradients; got one without; use latent-walk instead"
            )
        canvas, latents = inverted(question, bundle, self.refinement)
        return LatentSearch(self._settings(), question, bundle, None, canvas, latents).requested_strips()
