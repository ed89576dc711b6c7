"""What a second engine of a bundle makes of an image, for the check whether two engines agree."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from contrafact.api import explanation
from contrafact.core import EXPLAINERS, ContrafactError, Counterfactual, Image, engines
from contrafact.core.target_kinds import PlaceTarget, goal_of_score
from contrafact.metrics.trust.engine_agreement import OtherEngine, change_of
from contrafact.models import resize

OTHERS = 19  # images of the null: a greatest agreement of twenty is chance once in twenty
SAMPLED = 4 * OTHERS
TRUNCATION = 0.7  # of sampled patients, as for attributes
FRAMES = 2  # of a counterfactual that is compared by its last


def other_engine_of(
    strip: Counterfactual, image: Image, predictor: Any, target: Any, bundle: Any, *, seed: int = 0
) -> OtherEngine | None:
    """Return what an independent engine of the bundle makes of the same image and goal, with the changes that
    one of the two makes of synthetic patients.

    gives   None where the bundle has no second engine, or the counterfactual no goal
    cost    one counterfactual by the other engine; once for all images with that goal, 19 synthetic patients
            changed by the quicker of both
    """
    if bundle is None or strip.record is None or strip.goal is None or strip.outcome == "already":
        return None
    if isinstance(target, PlaceTarget):  # a place of this image, which synthetic patients do not have
        return None
    found = bundle.second_engine(strip.record.engine, predictor, target)
    if found is None or bundle.generator is None:
        return None
    method, model = found
    asked = str(target)
    goal = goal_of_score(target, strip.goal)
    own = _explained(method, model, [image], asked, bundle, goal=goal, seed=seed)
    if own is None:
        return None
    by, explained = (method, model) if engines()[method] == "translations" else (strip.record.engine, predictor)
    rises = strip.goal > strip.scores[strip.origin]
    others = _changes(bundle, bundle.digest, by, explained, asked, round(goal, 6), rises, seed)
    return None if others is None else OtherEngine(strip=own[0], others=others, by=by)


@functools.lru_cache(maxsize=8)
def _changes(
    bundle: Any, _digest: str, by: str, model: Any, target: str, goal: float, rises: bool, seed: int
) -> NDArray[np.floating] | None:
    """Return the changes (N, *S) that an engine makes of synthetic patients on the other side of a goal; the
    digest of the bundle is a key, since its models may change."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        near = {} if bundle.findings else {"psi": TRUNCATION}  # codes of findings have no truncation
        latents = bundle.latent.generator.sample(SAMPLED, rng, **near)
        values = bundle.latent.generator.decode(latents).clamp(-1, 1)
        values = bundle.to_units(resize(values, bundle.network_of(by).image_shape[1:]))
        with model.frozen():
            scores = model.target(target)(model(values)).cpu()
    order = scores.argsort() if rises else scores.argsort(descending=True)
    chosen = order[: SAMPLED // 2][torch.linspace(0, SAMPLED // 2 - 1, OTHERS).long()]
    images = [Image(values[i].cpu().numpy(), window=bundle.window) for i in chosen.tolist()]
    strips = _explained(by, model, images, target, bundle, goal=goal, seed=seed)
    changes = [change_of(strip) for strip in strips or () if strip.outcome != "already"]
    changes = [change for change in changes if np.ptp(change) > 0]
    return np.stack(changes) if changes else None


def _explained(
    method: str, model: Any, images: list[Image], target: str, bundle: Any, *, goal: float, seed: int
) -> list[Counterfactual] | None:
    """Return counterfactuals; None where the engine refuses the images."""
    asked = {"goal": goal, "frames": FRAMES}
    known = EXPLAINERS.fields_of(method)
    explainer = EXPLAINERS.make(method, **{name: value for name, value in asked.items() if name in known})
    try:
        strips: list[Counterfactual] = explanation.explain_images(
            explainer, model, images, target=target, bundle=bundle, seed=seed
        )
    except ContrafactError:
        return None
    return strips
