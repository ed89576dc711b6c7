"""Latent walk: a counterfactual along a direction in the latent space of a generator."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from contrafact.core import EXPLAINERS, Counterfactual, Question
from contrafact.counterfactual.inversion import Refinement
from contrafact.counterfactual.latent_search import LatentSearch, SearchSettings, bundle_of, inverted


@EXPLAINERS.register("latent-walk", aliases=("latent_walk", "walk"))
@dataclass(frozen=True, slots=True, kw_only=True)
class LatentWalk:
    """Change the image along a direction in latent space until the prediction flips.

    images  float32 (N, C, H, W) in the bundle's units, at least the bundle's size
    gives   one `Counterfactual` per image, on the bundle's grid over the same field of view: the image plus
            the generated change, G(w + d) - G(w); the model scores every frame
    cost    one encoder pass, `refinement.steps` + 4 passes with gradients, 9 to 21 more for the path (each of
            five images where it is steady) and about 4 without gradients per frame; on a straight line about 20
            without gradients; and `frames` for the result; images of a batch together
    raises  InputError without a bundle, for images outside the bundle's range, or a goal that is
            no probability
    Source: Schutte et al. 2021 (arXiv 2101.07563), sec. 2. Differs: the latent is refined; image details that
    the generator cannot represent are kept; the step is the shortest one in latent space, its unit is a
    unit of the target, and it follows the model's own gradient (see `LatentPath`); the smallest step is
    searched per image, within a budget.

    goal      probability of the class to reach (0.9: at least, 0.1: at most), or the value itself
              for a regression or grade; None: the opposite side (0.9 when below one half, else 0.1)
    steps     fixed requested changes in target units, instead of a search
    levels    several goals, one frame each (KL grade 0, 1, 2, 3, 4), instead of a search
    hold      scores to keep constant, to first order: other directions of the bundle, by
              PREDICTOR/TARGET (`cheat/class:1`)
    frames    number of frames of a searched counterfactual
    budget    greatest latent distance (SD)
    follow    weight of the image's own gradient in the direction, from 0 to 1; 0, or a model without
              gradients: one straight line for all images
    steady    follow the gradient of the score averaged over small shifts, blur and noise, weighted by its
              agreement with the plain gradient; this suppresses adversarial changes
    blend     add the generated change to the image; False: the frames are generated images, the first one too
    tolerance reconstruction error of the score above which the result is flagged, in target units
    """

    strip: ClassVar[bool] = True
    needs_bundle: ClassVar[bool] = True
    needs_part: ClassVar[str] = "directions"
    live: ClassVar[bool] = True
    slides: ClassVar[bool] = True
    expected_passes: ClassVar[int] = 90  # 3 for the image, 5 for each of 9 corners, 5 for each of 8 frames
    goal: float | None = None
    steps: tuple[float, ...] | None = None
    levels: tuple[float, ...] | None = None
    hold: tuple[str, ...] = ()
    frames: int = 9
    budget: float = 5.0
    follow: float = 0.5
    steady: bool = True
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
            follow=self.follow,
            steady=self.steady,
            blend=self.blend,
            tolerance=self.tolerance,
        )

    def __call__(self, question: Question, rng: np.random.Generator) -> list[Counterfactual]:
        bundle = bundle_of(question, "latent-walk")
        direction = bundle.direction(question.predictor, question.target)
        if self.hold:
            direction = bundle.holding(direction, self.hold)
        canvas, latents = inverted(question, bundle, self.refinement)
        return LatentSearch(self._settings(), question, bundle, direction, canvas, latents).requested_strips()
