"""The published method of Schutte et al., for comparisons: G(E(x) + step) along one straight line.

Source: Schutte et al. 2021 (arXiv 2101.07563), sec. 2. Differs: the step that reaches a goal is searched
within the budget, as for every latent walk; the paper shows a fixed series of steps.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from contrafact.core import Predictor, Target
from contrafact.counterfactual.bundle import Bundle
from contrafact.counterfactual.direction import DirectionConfig, fit_direction
from contrafact.counterfactual.inversion import Refinement
from contrafact.counterfactual.latent_walk import LatentWalk


def as_published(bundle: Bundle, predictor: Predictor, target: Target, *, samples: int = 10_000) -> Bundle:
    """Return a copy of the bundle whose only direction is fitted as in the paper: logistic regression of the
    predictor's hard decisions on the latents, with a Euclidean step.

    cost    `samples` passes of the generator and of the predictor
    raises  InputError when the predictor gives the same class to every generated image
    """
    direction = fit_direction(
        bundle.latent.generator,
        bundle.scorer(predictor, target),
        target=target,
        model=predictor.digest,
        config=DirectionConfig(samples=samples, published=True),
    )
    return dataclasses.replace(bundle, directions=(direction,))


def published_walk(**settings: Any) -> LatentWalk:
    """Return a `LatentWalk` that encodes the image, adds the step and decodes, as in the paper: no refinement
    of the latent, no residual of the image added to the frames, no gradient of the model."""
    return LatentWalk(follow=0.0, blend=False, refinement=Refinement(steps=0), **settings)
