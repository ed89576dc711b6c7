"""A change that is limited to one of several places, for findings that are local."""

from __future__ import annotations

import torch
from torch import Tensor

from contrafact.core import ImageTranslator
from contrafact.counterfactual.latent_search import Measure

TOGETHER = 32  # places that are tried in one batch


def places_in(region: Tensor | None, places: Tensor | None) -> Tensor | None:
    """Return the places (P, 1, *S) within a region (N, 1, *S), the same for all images; None where the region
    is no larger than the largest place, and so is the place itself."""
    if region is None or places is None:
        return places
    sizes = places.flatten(1).sum(dim=1)
    if float(region[0].sum()) <= float(sizes.max()):
        return None
    inside = places.to(region) * region[:1]
    return inside[inside.flatten(1).sum(dim=1) >= 0.5 * sizes.to(region)]


def scores_in_places(
    translator: ImageTranslator,
    images: Tensor,
    now: Tensor,
    to: Tensor,
    *,
    places: Tensor,
    which: Tensor,
    score: Measure,
) -> Tensor:
    """Return the scores (P, N) of images (N, C, *S) in [-1, 1] that are translated from `now` (N,) to `to` (N,)
    in each of the places (P, 1, *S) alone; one image at a time, up to `TOGETHER` places in a batch."""
    scores = []
    for image in range(len(images)):
        parts = []
        for part in places.split(TOGETHER):
            rows = torch.full((len(part),), image, device=images.device)
            tried = translator.encode(images[rows], now[rows], which=which[rows], region=part)
            parts.append(score(translator.translate(tried, to[rows])))
        scores.append(torch.cat(parts))
    return torch.stack(scores, dim=1)
