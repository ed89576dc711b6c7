"""What a method needs and gives, as its class says it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from contrafact.core.registry import EXPLAINERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """Class attributes of an explainer; what a class does not say is False or empty.

    strip             gives a `Counterfactual`, not a map
    picture           gives an image made for the network, not evidence in this image
    sampled           draws at random, or searches: another seed gives another result
    needs_bundle      takes generator, encoder or translator from the question's bundle
    needs_part        the part of a bundle that it needs: directions, findings or translations
    needs_gradients, needs_layers, needs_background, needs_attention   what it asks of the model or the question
    chooses           another method, by the bundle and the target
    live              quick enough to be asked from a page while somebody waits
    slides            one frame can be made at once, so that a slider moves the image
    expected_passes   of the model for one image with everything at its default; 0: not known
    """

    strip: bool = False
    picture: bool = False
    sampled: bool = False
    needs_bundle: bool = False
    needs_part: str = ""
    needs_gradients: bool = False
    needs_layers: bool = False
    needs_background: bool = False
    needs_attention: bool = False
    chooses: bool = False
    live: bool = False
    slides: bool = False
    expected_passes: int = 0


def traits_of(method: Any) -> Traits:
    """Return the traits of an explainer, given as an object, a class or a registered name."""
    kind = EXPLAINERS.get(method) if isinstance(method, str) else method
    names = [f.name for f in dataclasses.fields(Traits) if hasattr(kind, f.name)]
    return Traits(**{name: getattr(kind, name) for name in names})


@runtime_checkable
class WithGoal(Protocol):
    """A method that changes an image until its score reaches a goal."""

    @property
    def goal(self) -> float | None:
        """A probability, or a value of the target; None where levels or steps say how far."""


def goal_of(method: Any) -> float | None:
    """Return the goal of a method; None for one that has none."""
    return method.goal if isinstance(method, WithGoal) else None


def engines() -> dict[str, str]:
    """Return the registered methods that can be the engine of a bundle, each with the part that it needs: those
    that make counterfactuals with a bundle, and leave the choice to no other method."""
    known = {name: traits_of(name) for name in EXPLAINERS.names()}
    return {n: t.needs_part for n, t in known.items() if t.strip and t.needs_bundle and not t.chooses}
