"""What goes to a worker and what comes back: plain data, no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from contrafact.core import UNTRUSTED, Counterfactual, Heatmap, Image, Trust

Latents = Mapping[str, NDArray[Any]]
Say = Callable[[str, int, int | None], None]  # what is being done, how much of it, of how much


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a worker loads. shipped: only bundles that come with the package, since a run named them.
    trust: given when the viewer is started, never by a page or a run."""

    bundles: tuple[str, ...]
    shipped: bool = False
    trust: Trust = UNTRUSTED


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One thing to do for one image.

    kind    about (what can be asked), find (the image's latent), move (one frame, straight on),
            reach (one frame, following the model), explain
    model   digest of the model that the case was asked of
    by      asked: `amount` is a change in units of the target; reached: the probability or value itself
    hold    scores to leave as they are, PREDICTOR/TARGET
    latents what was found before, for a worker that was begun anew
    """

    kind: str
    case: str
    image: Image
    model: str
    target: str = ""
    method: str = ""
    by: str = "asked"
    amount: float = 0.0
    hold: tuple[str, ...] = ()
    latents: Latents = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveResult:
    """An explanation, what its line in a run says beside it, what became of the scores held, and the cards of
    its method."""

    result: Heatmap | Counterfactual
    extra: dict[str, Any]
    held: list[dict[str, Any]]
    cards: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
