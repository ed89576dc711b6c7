"""The trust card: in seconds, what speaks against believing one explanation, in plain sentences."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from contrafact.core import EXPLAINERS, ContrafactError, Record, UnsupportedError
from contrafact.core.showing import drawn
from contrafact.metrics.agreement import Agreement
from contrafact.metrics.max_sensitivity import MaxSensitivity
from contrafact.metrics.panel import Panel, Values
from contrafact.metrics.randomisation import random_map
from contrafact.metrics.similarity import spearman
from contrafact.metrics.stability import Stability

NETWORKS = 4  # random ones, at most: the first that gives another map ends the search
CELLS = 4  # along every axis: 16 places of an image, 64 of a volume
QUICK = 16  # forward passes up to which a method is repeated more often


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Where a check fails, and why there.

    completeness  share of the answer that the map's values leave out: 0.05, above what the adaptive
                  integrated gradients allow themselves (0.01), below what changes an order of places
    seeds         rank correlation with maps of other seeds: 0.7, half of the ranks' spread explained
    noise         change of the map under noise of `radius`, as a share of the map: 0.5; two unrelated maps
                  differ by 1.4, Grad-CAM on trained networks by 0.01 to 0.15, plain gradients by 0.2 to 0.5
    radius        of that noise, as a share of the image's range: 0.01, less than the eye sees
    agreement     rank correlation over 4 places along every axis with the best of two other ways to ask:
                  0.1; methods with different baselines agree little, so only no agreement at all fails
    likeness      rank correlation with the maps of all of up to 4 random networks: 0.3. Unrelated smooth maps
                  pass it by luck once in three, four times in a row once in a hundred; guided backpropagation,
                  which hardly depends on the weights, has 0.4 to 0.8 every time
    drift         what drawing alone moves the model, in units of the target, where the strip's own record has
                  no tolerance: 1.0, from 50 % to 73 %
    slope         measured change per change asked: 0.5, so from one half to double
    length        of the change, in standard deviations of synthetic images: 4.0 of the 5.0 that are allowed
    second_model  share of the model's change that a second model must follow: 0.1, more than none
    """

    completeness: float = 0.05
    seeds: float = 0.7
    noise: float = 0.5
    radius: float = 0.01
    agreement: float = 0.1
    likeness: float = 0.3
    drift: float = 1.0
    slope: float = 0.5
    length: float = 4.0
    second_model: float = 0.1


@dataclass(frozen=True, slots=True)
class Check:
    """One question put to an explanation. `passed` is None, and `value` may be, where it cannot be had;
    `sentence` says what that means for the reader."""

    name: str
    value: float | None
    threshold: float | None
    passed: bool | None
    sentence: str


class TrustCard(tuple[Check, ...]):
    """The checks of one explanation, in order; in a notebook, as sentences."""

    __slots__ = ()

    def _repr_html_(self) -> str | None:
        return drawn("card", card_as_json(self))


def card_as_json(checks: Sequence[Check]) -> list[dict[str, Any]]:
    """As rows of a run; numbers that are none become None."""
    rows = [dataclasses.asdict(check) for check in checks]
    for row in rows:
        value = row["value"]
        row["value"] = round(value, 4) if value is not None and math.isfinite(value) else None
    return rows


def trust_card(
    panel: Panel,
    which: int,
    *,
    record: Record | None = None,
    thresholds: Thresholds | None = None,
    seconds: float = 20.0,
) -> TrustCard:
    """What speaks against map `which` of a panel, which needs its explainers.

    record   of the map: what the method measured of its own work, and what it costs
    seconds  a check that would go beyond them is left out, with a sentence that says so
    cost     2 to 9 explanations, and 32 forward passes of an image or 128 of a volume
    """
    if panel.flaws[which]:
        flaw = panel.flaws[which]
        return TrustCard([Check("map", None, None, False, f"{flaw[0].upper()}{flaw[1:]}.")])
    limits = thresholds or Thresholds()
    cost, passes = (record.seconds, record.forward_passes) if record else (0.0, 0.0)
    draws = 3 if passes <= QUICK else 1
    seeds = 2 if panel.explainers and getattr(panel.explainers[which], "sampled", False) else 0
    jobs: list[tuple[str, float, Callable[[], Check]]] = [
        ("random weights", 1, lambda: _random_weights(panel, which, limits)),
        ("small noise", draws, lambda: _small_noise(panel, which, limits, draws)),
        ("other seeds", seeds, lambda: _other_seeds(panel, which, limits)),
        ("other methods", 0, lambda: _other_methods(panel, which, limits)),
    ]
    began, checks = time.perf_counter(), _complete(panel, which, record.notes if record else {}, limits)
    for name, repeats, check in jobs:
        if repeats and time.perf_counter() - began + repeats * cost > seconds:
            why = f"Not checked: one map takes {cost:.0f} s, and this needs {repeats:.0f} more."
            checks.append(Check(name, None, None, None, why))
            continue
        try:
            checks.append(check())
        except ContrafactError as error:
            checks.append(Check(name, None, None, None, f"Not checked: {' '.join(str(error).split())}."))
    return TrustCard(checks)


def _complete(panel: Panel, which: int, notes: Mapping[str, float], limits: Thresholds) -> list[Check]:
    """One check where the method says what its values should add up to."""
    if "completeness" in notes:
        gap = abs(notes["completeness"])
    elif "completeness_gap" in notes:  # in units of the target
        left = notes["completeness_gap"]
        gap = abs(left) / max(abs(left + float(panel.maps[which].sum())), 1e-12)
    elif "conservation" in notes:
        gap = abs(1 - notes["conservation"])
    else:
        return []
    good = gap <= limits.completeness
    sentence = (
        "The map's values add up to the change of the model's answer."
        if good
        else f"The map's values do not add up to the change of the model's answer (they are {gap:.0%} off): "
        "read them as an order of places, not as amounts."
    )
    return [Check("adds up", gap, limits.completeness, good, sentence)]


def _other_seeds(panel: Panel, which: int, limits: Thresholds) -> Check:
    value = _measured(Stability(seeds=2), panel, which)
    good = value >= limits.seeds
    sentence = (
        "The method gives the same map again with other random numbers."
        if good
        else f"With other random numbers the method gives another map (rank correlation {value:.2f}): use more "
        "samples before reading details."
    )
    return Check("other seeds", value, limits.seeds, good, sentence)


def _small_noise(panel: Panel, which: int, limits: Thresholds, draws: int) -> Check:
    value = _measured(MaxSensitivity(samples=draws, radius=limits.radius), panel, which)
    good = value <= limits.noise
    sentence = (
        "Noise too weak to see hardly changes the map."
        if good
        else f"Noise too weak to see changes the map by {value:.0%}: do not read its details."
    )
    return Check("small noise", value, limits.noise, good, sentence)


def _random_weights(panel: Panel, which: int, limits: Thresholds) -> Check:
    """The least likeness over up to `NETWORKS` random networks, with its sign: a map that depends on the
    weights is like that of a random network by luck only, and not again and again."""
    value = 1.0
    for draw in range(NETWORKS):
        found = spearman(panel.maps[which], random_map(panel, which, draw), panel.question.region)
        value = min(value, found)
        if value < limits.likeness:
            break
    good = value < limits.likeness
    if good:
        sentence = "The map is another one when the network's weights are replaced by random ones."
    elif value >= 0.7:
        sentence = (
            "The map hardly changes when the network's weights are replaced by random ones: it does not show "
            "what this network learned."
        )
    else:
        sentence = (
            "The map stays similar when the network's weights are replaced by random ones (rank correlation "
            f"{value:.2f} or more, every time): much of it does not show what this network learned."
        )
    return Check("random weights", value, limits.likeness, good, sentence)


def _other_methods(panel: Panel, which: int, limits: Thresholds) -> Check:
    """With the panel's other maps; where there are none, with the best of two that are made for it: a map from
    gradients is asked to say how far the answer falls when places are hidden, any other what gradients say."""
    if sum(not flaw for flaw in panel.flaws) > 1:
        value = float(Agreement(cells=CELLS)(panel)[which])
        bad = "The other methods point to other places than this map."
    elif not panel.explainers or getattr(panel.explainers[which], "needs_gradients", False):
        own = panel.cell_sums(CELLS)[which]
        falls = [panel.by_feature(fill=fill, features=CELLS)[1] for fill in ("blur", "min")]
        value = max(spearman(own, fall) for fall in falls)
        bad = "When the places this map points to are hidden, the model's answer does not fall as the map says."
    else:
        own = panel.cell_sums(CELLS)[which]
        value = max(spearman(own, other) for other in _partners(panel))
        bad = "Methods that look at the network's gradients point to other places than this map."
    good = value >= limits.agreement
    sentence = "Another way of asking points to the same places." if good else bad
    return Check("other methods", value, limits.agreement, good, sentence)


def _partners(panel: Panel) -> list[Values]:
    """What quick gradient methods say of the same places."""
    found = []
    for name in ("gradcam", "input-x-gradient"):
        with contextlib.suppress(UnsupportedError):
            explainer = EXPLAINERS.make(name)
            blank = np.zeros((1, *panel.size))
            one = Panel(panel.question, blank, explainers=[explainer], seed=panel.seed, batch=panel.batch)
            found.append(Panel(panel.question, one.again(0)).cell_sums(CELLS)[0])
            panel.passes += one.passes
    if not found:
        raise UnsupportedError("this model gives no gradients for another method to compare with")
    return found


def _measured(metric: Any, panel: Panel, which: int) -> float:
    """A metric of one of a panel's maps."""
    alone = Panel(
        panel.question,
        panel.maps[which][None],
        explainers=panel.explainers[which : which + 1],
        seed=panel.seed,
        batch=panel.batch,
    )
    value = float(metric(alone)[0])
    panel.passes += alone.passes
    return value
