"""The trust card: in seconds, what speaks against believing one explanation, in plain sentences."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from contrafact.core import ContrafactError, Record
from contrafact.core.display import html_of
from contrafact.metrics.heatmap_context import HeatmapContext
from contrafact.metrics.randomisation.layers import random_map
from contrafact.metrics.robustness.max_sensitivity import MaxSensitivity
from contrafact.metrics.robustness.stability import Stability
from contrafact.metrics.similarity import spearman
from contrafact.metrics.trust.removal_test import removal_test

NETWORKS = 4  # random ones, at most: the first that gives another map ends the search
QUICK = 16  # forward passes up to which a method is repeated more often


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Where a check fails, and why there.

    completeness  share of the answer that the map's values leave out: 0.05, above what the adaptive
                  integrated gradients allow themselves (0.01), below what changes an order of places
    seeds         rank correlation with maps of other seeds: 0.7, half of the ranks' spread explained
    noise         change of the map under noise of `radius`, as a share of the map: 0.7; two unrelated maps
                  differ by 1.4, Grad-CAM on trained networks by 0.01 to 0.15, plain gradients by 0.2 to 0.5,
                  right maps of the phantoms it was chosen on by up to 0.71 (docs/results/reliability_checks.md)
    radius        of that noise, as a share of the image's range: 0.01, less than the eye sees
    removal       share of about 30 other places of the image, equally large, whose removal lowers the answer
                  less, by the best of three ways of hiding: 0.94. Chosen on phantoms (right maps have more),
                  measured on others (docs/results/reliability_checks.md)
    likeness      rank correlation with the maps of all of up to 4 random networks: 0.3. Unrelated smooth maps
                  pass it by luck once in three, four times in a row once in a hundred; guided backpropagation,
                  which hardly depends on the weights, has 0.4 to 0.8 every time
    drift         what drawing alone moves a model, in units of the target, where the strip's own record has
                  no tolerance: 1.0, from 50 % to 73 %
    image         structural similarity of what is drawn and the image: 0.5, half of what identical images have
    length        of the change, in standard deviations of the generator's latents: 4.0 of the 5.0 that are
                  allowed
    second_model  share of the model's change that a second model must follow: 0.1, more than none
    """

    completeness: float = 0.05
    seeds: float = 0.7
    noise: float = 0.7
    radius: float = 0.01
    removal: float = 0.94
    likeness: float = 0.3
    drift: float = 1.0
    image: float = 0.5
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
        return html_of("card", card_as_json(self))


def told(value: float, limit: float, form: str = ".0%") -> str:
    """A number in words, with as many digits as it takes to tell it from the limit beside it."""
    kind, digits = form[-1], int(form[1:-1])
    for places in range(digits, digits + 6):
        said = format(value, f".{places}{kind}")
        if said != format(limit, f".{places}{kind}"):
            return said.replace("%", " %")
    return format(value, form).replace("%", " %")


def card_as_json(checks: Sequence[Check]) -> list[dict[str, Any]]:
    """As rows of a run; numbers that are none become None."""
    rows = [dataclasses.asdict(check) for check in checks]
    for row in rows:
        value = row["value"]
        row["value"] = round(value, 4) if value is not None and math.isfinite(value) else None
    return rows


def trust_card(
    panel: HeatmapContext,
    which: int,
    *,
    record: Record | None = None,
    thresholds: Thresholds | None = None,
    seconds: float = 20.0,
) -> TrustCard:
    """What speaks against map `which` of a panel, which needs its explainers.

    record   of the map: what the method measured of its own work, and what it costs
    seconds  a check that would go beyond them is left out, with a sentence that says so
    cost     2 to 9 explanations, and about 100 forward passes
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
        ("removal test", 0, lambda: _removal(panel, which, limits)),
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


def _complete(panel: HeatmapContext, which: int, notes: Mapping[str, float], limits: Thresholds) -> list[Check]:
    """One check where the method says what its values should add up to."""
    if "completeness" in notes:
        gap = abs(notes["completeness"])
    elif "completeness_gap" in notes:  # in units of the target
        left = notes["completeness_gap"]
        gap = abs(left) / max(float(np.abs(panel.maps[which]).sum()), 1e-12)  # the change itself may be small
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


def _other_seeds(panel: HeatmapContext, which: int, limits: Thresholds) -> Check:
    value = _measured(Stability(seeds=2), panel, which)
    good = value >= limits.seeds
    sentence = (
        "The method gives much the same map again with other random numbers."
        if good
        else f"With other random numbers the method gives another map (rank correlation "
        f"{told(value, limits.seeds, '.2f')}): use more samples before reading details."
    )
    return Check("other seeds", value, limits.seeds, good, sentence)


def _small_noise(panel: HeatmapContext, which: int, limits: Thresholds, draws: int) -> Check:
    value = _measured(MaxSensitivity(samples=draws, radius=limits.radius), panel, which)
    good = value <= limits.noise
    sentence = (
        "Noise too weak to see hardly changes the map."
        if good
        else f"Noise too weak to see changes the map by {told(value, limits.noise)}: do not read its details."
    )
    return Check("small noise", value, limits.noise, good, sentence)


def _random_weights(panel: HeatmapContext, which: int, limits: Thresholds) -> Check:
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
            f"{math.floor(100 * value) / 100:.2f} or more, every time): much of it does not show what this "
            "network learned."
        )
    return Check("random weights", value, limits.likeness, good, sentence)


def _removal(panel: HeatmapContext, which: int, limits: Thresholds) -> Check:
    """By the way of hiding that speaks most for the map: a method has one baseline, and another way of hiding
    may show a model nothing that is missing."""
    value = max(removal_test(panel, which).values())
    good = value >= limits.removal
    sentence = (
        "Hiding the place this map points to lowers the prediction more than hiding "
        f"{told(value, limits.removal)} of other equally large places of this image (ties count half); right "
        f"maps reach {100 * limits.removal:g} %{'.' if good else ': this map may point to the wrong place.'}"
    )
    return Check("removal test", value, limits.removal, good, sentence)


def _measured(metric: Any, panel: HeatmapContext, which: int) -> float:
    """A metric of one of a panel's maps."""
    alone = HeatmapContext(
        panel.question,
        panel.maps[which][None],
        explainers=panel.explainers[which : which + 1],
        seed=panel.seed,
        batch=panel.batch,
    )
    value = float(metric(alone)[0])
    panel.passes += alone.passes
    return value
