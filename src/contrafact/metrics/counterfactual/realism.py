"""Do counterfactuals look like real images of the class they became? Of a cohort, not of one strip."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from contrafact.core import InputError

Images = NDArray[np.floating[Any]]
Distance = Callable[[Tensor, Tensor], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Realism:
    """A distance of counterfactuals from real images of the goal class.

    value  mean over random halves of the real images
    low, high  2.5 and 97.5 % over the halves
    floor  the same of one half from the other, with as many images: what chance alone gives
    count  images on each side
    """

    value: float
    low: float
    high: float
    floor: float
    count: int


def realism(
    frames: Images,
    real: Images,
    *,
    features: Callable[[Tensor], Tensor],
    distances: Mapping[str, Distance],
    patients: tuple[Sequence[str], Sequence[str]] | None = None,
    rounds: int = 20,
    seed: int = 0,
) -> dict[str, Realism]:
    """Every distance between features of counterfactuals and of one half of the real images, round by round.

    frames    (N, C, *S) counterfactuals; real (M, C, *S), of the goal class
    features  images to (N, F): any network; nothing is downloaded
    distances of two sets of features, by name (KID, FID): the caller brings them
    patients  of the frames and of the real images: who gave a frame's source is left out of the real ones,
              so that no counterfactual is compared with its own patient
    raises    InputError where too few images are left
    Source: split FID, Jeanneret et al. 2023 (arXiv 2303.09962). Differs: the floor beside it, from the
    other half; as many images on both sides, since both distances depend on their number.
    """
    if patients is not None:
        if (len(patients[0]), len(patients[1])) != (len(frames), len(real)):
            raise InputError(
                f"expected a patient for each of {len(frames)} frames and {len(real)} real images; "
                f"got {len(patients[0])} and {len(patients[1])}"
            )
        real = real[~np.isin(patients[1], sorted(set(patients[0])))]
    count = min(len(frames), len(real) // 2)
    if count < 2:
        raise InputError(
            f"realism needs at least 2 frames and 4 real images of other patients; got {len(frames)} and "
            f"{len(real)}"
        )
    made, drawn = _features(frames, features), _features(real, features)
    rng, found = np.random.default_rng(seed), {name: ([], []) for name in distances}  # type: ignore[var-annotated]
    for _ in range(rounds):
        order, some = rng.permutation(len(drawn)), rng.permutation(len(made))[:count]
        here, there = drawn[order[:count]], drawn[order[count : 2 * count]]
        for name, measure in distances.items():
            found[name][0].append(measure(here, made[some]))
            found[name][1].append(measure(here, there))
    return {
        name: Realism(
            value=float(np.mean(values)),
            low=float(np.percentile(values, 2.5)),
            high=float(np.percentile(values, 97.5)),
            floor=float(np.mean(floors)),
            count=count,
        )
        for name, (values, floors) in found.items()
    }


def _features(images: Images, features: Callable[[Tensor], Tensor]) -> Tensor:
    ready = torch.as_tensor(np.asarray(images, dtype=np.float32))
    with torch.no_grad():
        return torch.cat([features(part).double().cpu() for part in ready.split(64)])
