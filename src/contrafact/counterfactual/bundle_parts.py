"""What a bundle consists of, apart from its models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from contrafact.core import Encoder, Generator, InputError, Predictor, Target
from contrafact.core.target_kinds import PlaceTarget, as_named, class_of, target_of_second
from contrafact.counterfactual.direction import Direction
from contrafact.counterfactual.latent_statistics import LatentStatistics
from contrafact.models.identity import ContentDigest

Entry = TypeVar("Entry")
OTHER = {"class:0": "class:1", "class:1": "class:0"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """A target for which the bundle's translator was trained.

    model, target  digest of the predictor, and the target as text; of a segmenter `place:1` stands for every
                   place of class 1 (a region, a lesion, a missed part, the volume)
    number         index of the score among those that condition the translator
    by             (digest, target) of the conditioning score where it is another, monotonically related score;
                   None: the target's own score
    """

    model: str
    target: str
    number: int = 0
    by: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class LatentSpace:
    """A generator, its encoder, and the statistics of its latents."""

    generator: Generator
    encoder: Encoder
    statistics: LatentStatistics


def entry_for(entries: Mapping[str, Entry], predictor: Predictor, target: Target) -> tuple[Entry, int] | None:
    """Return the entry of a target, and 1; of exactly two classes also that of the opposite one, and -1; None
    where there is neither."""
    for text in (str(target), _place_of(target)):
        if text in entries:
            return entries[text], 1
    other = OTHER.get(str(target), "")
    exclusive = predictor.output in ("logits", "probabilities")
    return (entries[other], -1) if other in entries and exclusive and predictor.class_count == 2 else None


def _place_of(target: Target) -> str:
    """Return `place:INDEX` for a place in a segmenter's prediction; empty for another target."""
    own = as_named(target)
    return f"place:{class_of(own)}" if isinstance(own, PlaceTarget) else ""


@torch.no_grad()
def scores_by(second: Any, target: Any, frames: Any, first: Predictor) -> Any:
    """Return a second model's scores (K,) of frames (K, C, *S) for a target; of a segmenter in the place that
    the first model's prediction determined. None where the second model has no such target."""
    try:
        measure = target_of_second(target, second, first)
        with second.frozen():
            return measure(second(frames)).double().cpu().numpy()
    except InputError:
        return None


def resized(images: Tensor, size: tuple[int, ...]) -> Tensor:
    """Return images (N, C, *S) at another size as a predictor's preprocessing resizes them, which this package
    may not import: with antialiasing; of volumes the axes that shrink do so first."""
    if len(size) == 2:
        return F.interpolate(images, size, mode="bilinear", antialias=True)
    least = tuple(map(min, images.shape[2:], size))
    return F.interpolate(F.interpolate(images, least, mode="area"), size, mode="trilinear")


def check_values(images: Tensor, window: tuple[float, float], name: str) -> None:
    """Raise InputError for images (N, C, *S) outside a bundle's window, or all in its lowest hundredth: values
    from 0 to 1 where the window ends at 255 would be a black image. Constant images pass."""
    low, high = window
    slack, dark = 0.02 * (high - low), low + 0.01 * (high - low)
    lowest, highest = images.flatten(1).amin(dim=1), images.flatten(1).amax(dim=1)
    outside = (lowest < low - slack) | (highest > high + slack)
    wrong = outside | ((lowest < highest) & (highest < dark))
    if not bool(wrong.any()):
        return
    which = int(wrong.int().argmax())
    raise InputError(
        f"bundle '{name}' takes values from {low:g} to {high:g}; got {float(lowest[which]):g} to "
        f"{float(highest[which]):g}; use image.rescaled({low:g}, {high:g}), or --rescale"
    )


def opposite(directions: list[Direction], target: str) -> Direction | None:
    """Return the negated direction of the opposite of two classes, whose log-odds have the opposite sign."""
    other = OTHER.get(target)
    for direction in directions:
        if direction.target == other and direction.fit.get("classes") == 2:
            return Direction(
                alpha=-direction.alpha,
                intercept=-direction.intercept,
                step=-direction.step,
                deviation=direction.deviation,
                target=target,
                model=direction.model,
                fit=direction.fit,
                held=direction.held,
            )
    return None


class KnownDigests:
    """Digests of the contents of networks, each computed again only after the network has changed."""

    def __init__(self) -> None:
        self._known: dict[int, ContentDigest] = {}

    def __call__(self, network: Any) -> str:
        known = self._known.get(id(network))
        if known is None or known.model is not network:
            known = self._known[id(network)] = ContentDigest(network)
        return known.digest
