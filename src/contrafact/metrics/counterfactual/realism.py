"""Realism of the counterfactuals of a cohort: their distance from real images of the goal class."""

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
    """Distance of counterfactuals from real images of the goal class.

    value  mean over random halves of the real images
    low, high  2.5 and 97.5 percentiles over the halves
    floor  mean distance between the two halves of the real images, with as many images: the chance level
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
    """Return each distance between the features of counterfactuals and of random halves of the real images.

    frames    (N, C, *S) counterfactuals; real (M, C, *S): real images of the goal class
    features  function of images that returns (N, F), from any network; nothing is downloaded
    distances functions of two sets of features, by name (KID, FID)
    patients  patients of the frames and of the real images; patients of the frames are left out of the real
              images, so that no counterfactual is compared with its own patient
    rounds    number of random halves
    raises    InputError if too few images are left, or for another number of patients than images
    Source: split FID, Jeanneret et al. 2023 (arXiv 2303.09962). Differs: adds the floor, from the other half;
    equal numbers of images on both sides, because both distances depend on the number.
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
    generated, originals = _features(frames, features), _features(real, features)
    rng = np.random.default_rng(seed)
    results: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in distances}
    for _ in range(rounds):
        order, chosen = rng.permutation(len(originals)), rng.permutation(len(generated))[:count]
        half, other_half = originals[order[:count]], originals[order[count : 2 * count]]
        for name, measure in distances.items():
            results[name][0].append(measure(half, generated[chosen]))
            results[name][1].append(measure(half, other_half))
    return {
        name: Realism(
            value=float(np.mean(values)),
            low=float(np.percentile(values, 2.5)),
            high=float(np.percentile(values, 97.5)),
            floor=float(np.mean(floors)),
            count=count,
        )
        for name, (values, floors) in results.items()
    }


def _features(images: Images, features: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the features (N, F) of images, computed in batches."""
    tensor = torch.as_tensor(np.asarray(images, dtype=np.float32))
    with torch.no_grad():
        return torch.cat([features(part).double().cpu() for part in tensor.split(64)])
