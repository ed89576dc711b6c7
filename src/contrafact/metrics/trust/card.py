"""The reliability checks of a heatmap: fast tests of one explanation, with a plain sentence for each result."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from contrafact.core import ContrafactError, Record, traits_of
from contrafact.core.display import html_of
from contrafact.metrics.heatmap_context import HeatmapContext
from contrafact.metrics.randomisation.layers import random_map
from contrafact.metrics.robustness.max_sensitivity import MaxSensitivity
from contrafact.metrics.robustness.stability import Stability
from contrafact.metrics.similarity import spearman
from contrafact.metrics.trust.removal_test import removal_test

NETWORKS = 4  # greatest number of random networks; the first whose map differs ends the check
QUICK = 16  # methods with up to this many forward passes are repeated more often


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Thresholds of the reliability checks, and the reasons for their values.

    completeness  accepted error of the map's sum, as a share of the change of the output: 0.05, above the
                  error of adaptive integrated gradients (0.01), below errors that change a ranking of regions
    seeds         least rank correlation with maps of other seeds: 0.7, half of the variance of the ranks
    noise         greatest change of the map under noise of `radius`, as a share of the map: 0.7; two unrelated
                  maps differ by 1.4, Grad-CAM on trained networks by 0.01 to 0.15, plain gradients by 0.2 to
                  0.5, correct maps of the phantoms used to choose it by up to 0.71
                  (docs/results/reliability_checks.md)
    radius        size of that noise, as a share of the image's range: 0.01, too weak to see
    removal       least share of about 30 other regions of equal size whose removal lowers the output less, by
                  the best of three fills: 0.94. Chosen on phantoms (correct maps have more), measured on others
                  (docs/results/reliability_checks.md)
    likeness      rank correlation that the map must fall below for at least one of up to 4 random networks:
                  0.3. Unrelated smooth maps exceed it by chance once in three, and four times in a row once in
                  a hundred; guided backpropagation, which hardly depends on the weights, has 0.4 to 0.8 always
    drift         greatest change of the output by the reconstruction alone, in units of the target, if the
                  counterfactual's record has no tolerance: 1.0, from 50 % to 73 %
    image         least structural similarity of the reconstruction and the image: 0.5, half of that of
                  identical images
    length        greatest latent distance (SD) of the change: 4.0, of at most 5.0 that a search may reach
    second_model  least share of the model's change that a second model must follow: 0.1
    engines       greatest share of other images whose changes may agree as well with another engine's change of
                  this image: 0.05, one in twenty
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
    engines: float = 0.05


@dataclass(frozen=True, slots=True)
class Check:
    """Result of one reliability check.

    value      measured value; None without one
    threshold  limit for the value; None without one
    passed     whether the check passed; None if it is not checked, or no evidence
    sentence   meaning of the result, for the reader
    """

    name: str
    value: float | None
    threshold: float | None
    passed: bool | None
    sentence: str


class TrustCard(tuple[Check, ...]):
    """Reliability checks of one explanation, in order; a notebook shows them as sentences."""

    __slots__ = ()

    def _repr_html_(self) -> str | None:
        return html_of("card", card_as_json(self))


def number_text(value: float, limit: float, form: str = ".0%") -> str:
    """Return a number as text, with enough digits to distinguish it from the limit."""
    kind, digits = form[-1], int(form[1:-1])
    for decimals in range(digits, digits + 6):
        text = format(value, f".{decimals}{kind}")
        if text != format(limit, f".{decimals}{kind}"):
            return text.replace("%", " %")
    return format(value, form).replace("%", " %")


def checked(name: str, check: Callable[[], Check]) -> Check:
    """Return the result of a check, or an open check with the reason if it raises a ContrafactError."""
    try:
        return check()
    except ContrafactError as error:
        return Check(name, None, None, None, f"Not checked: {' '.join(str(error).split())}.")


def card_as_json(checks: Sequence[Check]) -> list[dict[str, Any]]:
    """Return checks as JSON rows; values that are not finite become None."""
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
    """Return the reliability checks of map `which` of a panel with explainers.

    record   record of the map, with the method's own notes and its cost
    seconds  time limit; a check that would exceed it is left out, with a sentence that states the reason
    cost     2 to 9 explanations, and about 100 forward passes
    """
    if panel.flaws[which]:
        flaw = panel.flaws[which]
        return TrustCard([Check("map", None, None, False, f"{flaw[0].upper()}{flaw[1:]}.")])
    limits = thresholds or Thresholds()
    cost, passes = (record.seconds, record.forward_passes) if record else (0.0, 0.0)
    draws = 3 if passes <= QUICK else 1
    seeds = 2 if panel.explainers and traits_of(panel.explainers[which]).sampled else 0
    jobs: list[tuple[str, float, Callable[[], Check]]] = [
        ("random weights", 1, lambda: _random_weights(panel, which, limits)),
        ("small noise", draws, lambda: _small_noise(panel, which, limits, draws)),
        ("other seeds", seeds, lambda: _other_seeds(panel, which, limits)),
        ("removal test", 0, lambda: _removal(panel, which, limits)),
    ]
    began, checks = time.perf_counter(), _complete(panel, which, record.notes if record else {}, limits)
    for name, repeats, check in jobs:
        if repeats and time.perf_counter() - began + repeats * cost > seconds:
            why = f"Not checked: one map takes {cost:.0f} s, and this check needs {repeats:.0f} more maps."
            checks.append(Check(name, None, None, None, why))
            continue
        checks.append(checked(name, check))
    return TrustCard(checks)


def _complete(panel: HeatmapContext, which: int, notes: Mapping[str, float], limits: Thresholds) -> list[Check]:
    """Return the completeness check, if the method notes the error of its own sum."""
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
        "The map's values add up to the change of the model's output (completeness)."
        if good
        else f"The map's values do not add up to the change of the model's output (error {gap:.0%}): "
        "they rank regions, but are not amounts."
    )
    return [Check("adds up", gap, limits.completeness, good, sentence)]


def _other_seeds(panel: HeatmapContext, which: int, limits: Thresholds) -> Check:
    """Check seed stability: the map is similar with other random seeds."""
    value = _measured(Stability(seeds=2), panel, which)
    good = value >= limits.seeds
    sentence = (
        "The map is nearly the same with other random seeds."
        if good
        else f"The map changes with other random seeds (rank correlation "
        f"{number_text(value, limits.seeds, '.2f')}): use more samples before interpreting details."
    )
    return Check("other seeds", value, limits.seeds, good, sentence)


def _small_noise(panel: HeatmapContext, which: int, limits: Thresholds, draws: int) -> Check:
    """Check robustness to noise: weak noise in the image hardly changes the map."""
    value = _measured(MaxSensitivity(samples=draws, radius=limits.radius), panel, which)
    good = value <= limits.noise
    sentence = (
        "Noise too weak to see hardly changes the map."
        if good
        else f"Noise too weak to see changes the map by {number_text(value, limits.noise)}: do not interpret "
        "its details."
    )
    return Check("small noise", value, limits.noise, good, sentence)


def _random_weights(panel: HeatmapContext, which: int, limits: Thresholds) -> Check:
    """Check model randomisation: the map differs from that of at least one random network.

    The value is the least signed similarity over up to `NETWORKS` random networks: a map that depends on the
    weights resembles that of a random network only by chance, and not repeatedly.
    """
    value = 1.0
    for draw in range(NETWORKS):
        similarity = spearman(panel.maps[which], random_map(panel, which, draw), panel.question.region)
        value = min(value, similarity)
        if value < limits.likeness:
            break
    good = value < limits.likeness
    if good:
        sentence = "The map changes clearly when the model's weights are replaced by random ones."
    elif value >= 0.7:
        sentence = (
            "The map hardly changes when the model's weights are replaced by random ones: it does not show "
            "what this model learned."
        )
    else:
        sentence = (
            "The map stays similar when the model's weights are replaced by random ones (rank correlation "
            f"{math.floor(100 * value) / 100:.2f} or more, every time): much of it does not show what this "
            "model learned."
        )
    return Check("random weights", value, limits.likeness, good, sentence)


def _removal(panel: HeatmapContext, which: int, limits: Thresholds) -> Check:
    """Check the region: hiding it lowers the output more than hiding other regions of the same image.

    The value is that of the fill with the best result, because a method has a single baseline, and the model
    may not notice a region hidden by another fill.
    """
    value = max(removal_test(panel, which).values())
    good = value >= limits.removal
    ending = "" if good else ": this map may highlight the wrong region"
    sentence = (
        "Hiding the region this map highlights lowers the prediction more than hiding "
        f"{number_text(value, limits.removal)} of other equally large regions of this image (ties count half); "
        f"correct maps reach {100 * limits.removal:g} %{ending}."
    )
    return Check("removal test", value, limits.removal, good, sentence)


def _measured(metric: Any, panel: HeatmapContext, which: int) -> float:
    """Return the value of a metric for one map of a panel."""
    single = HeatmapContext(
        panel.question,
        panel.maps[which][None],
        explainers=panel.explainers[which : which + 1],
        seed=panel.seed,
        batch=panel.batch,
    )
    value = float(metric(single)[0])
    panel.passes += single.passes
    return value
