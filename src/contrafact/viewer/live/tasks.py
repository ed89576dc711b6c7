"""Messages between the server and its workers: plain data, no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from contrafact.core import UNTRUSTED, Counterfactual, Heatmap, Image, Trust
from contrafact.render.boxes import Box

Latents = Mapping[str, NDArray[Any]]
Say = Callable[[str, int, int | None], None]  # (activity, steps done, steps in total)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveSetting:
    """What a worker loads.

    shipped  load only bundles that ship with the package, because the run names them
    trust    set when the viewer starts, never by a page or a run
    """

    bundles: tuple[str, ...]
    shipped: bool = False
    trust: Trust = UNTRUSTED


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One task for one image.

    kind    about (available methods), find (inversion), move (one frame along the global direction),
            reach (one frame along the latent path), explain
    model   digest of the model of the case
    by      meaning of `amount`: asked, a change in units of the target; reached, a probability or value
    hold    scores to keep constant, PREDICTOR/TARGET
    box     what alone may change, or must not; None: everything may
    latents cached latents, for a worker that was restarted
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
    box: Box | None = None
    latents: Latents = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveResult:
    """An explanation, further fields of its row, scores kept constant, and descriptions of its method."""

    result: Heatmap | Counterfactual
    extra: dict[str, Any]
    held: list[dict[str, Any]]
    cards: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
