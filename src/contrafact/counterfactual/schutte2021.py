"""The method as it was published, to compare with: G(E(x) + step), along one straight line.

Source: Schutte et al. 2021 (arXiv 2101.07563), sec. 2. Differs: the step that reaches a goal is searched,
within the budget, as for every walk; the paper shows a fixed row.
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
    """The bundle with the paper's direction alone: logistic regression on hard decisions, Euclidean step.

    cost    `samples` passes of the generator and of the predictor
    raises  InputError when the predictor decides the same for every drawn image
    """
    found = fit_direction(
        bundle.latent.generator,
        bundle.scorer(predictor, target),
        target=target,
        model=getattr(predictor, "digest", ""),
        config=DirectionConfig(samples=samples, published=True),
    )
    return dataclasses.replace(bundle, directions=(found,))


def published_walk(**settings: Any) -> LatentWalk:
    """Encode, add the step, draw: no refinement, nothing carried over, no gradient of the model."""
    return LatentWalk(follow=0.0, blend=False, refinement=Refinement(steps=0), **settings)
