"""Targets of a segmenter: one number for a region of the output.

The region (a class, a lesion, a boundary band, an error) is determined once, from the prediction for the
unchanged image, and then **frozen**: a region determined again in every perturbed prediction would follow the
perturbation. The number is the mean log-odds of the class in the region, so one unit means the same as for a
classifier, and it has a gradient everywhere.

Source: TorchEsegeta (Chatterjee et al. 2021, arXiv 2110.08429) names the task. Differs: it counts the
voxels above a threshold, which has no gradient, and determines them again each time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from contrafact.core import InputError, Predictor, mask_of
from contrafact.core.results import PLACES_WITH_ODDS
from contrafact.models.targets import log_odds_of, logit, probabilities

PLACES = ("region", "lesion", "boundary", "mask", "false-positive", "missed", "volume", "dice")
NEEDS_REFERENCE = ("mask", "false-positive", "missed")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RegionTarget:
    """A target of a segmenter; `freeze` determines its region from the prediction for one image.

    index      class
    place      region (where the class is predicted), lesion (one connected part of it), boundary (a
               band around its edge), mask (the reference), false-positive (predicted, not in the
               reference), missed (in the reference, not predicted), volume (soft, in voxels), dice
               (soft, against the reference, or the prediction itself)
    lesion     number of the connected part, 1 = the largest; for `lesion` and `missed`
    thresholds probabilities above which a voxel is predicted; the score is the mean over them. Empty: the
               most probable class, or above one half for classes that are not exclusive
    width      half the width of the boundary band, in voxels
    total      sum over the region instead of the mean
    reference  mask (*S) on the image's grid, or a label map, of which the voxels of class `index` count
    """

    index: int
    place: str = "region"
    kind: str = "logits"
    lesion: int | None = None
    thresholds: tuple[float, ...] = ()
    width: int = 2
    total: bool = False
    reference: NDArray[np.bool_] | None = None

    def __str__(self) -> str:
        text = f"{self.place}:{self.index}"
        text += f"#{self.lesion}" if self.lesion is not None else ""
        text += f"@{'+'.join(f'{t:g}' for t in self.thresholds)}" if self.thresholds else ""
        return text + (",sum" if self.total else "")

    def __call__(self, outputs: Tensor) -> Tensor:
        raise InputError(f"target {self} must be frozen on an image first; use explain()")

    def freeze(self, predictor: Predictor, images: Any) -> FrozenRegion:
        """Return the target with its region in the prediction for `images` (1, C, *S).

        raises  InputError for a classifier, a missing or misfitting reference, or an empty region
        """
        with torch.no_grad():
            outputs = predictor(images)
        if outputs.ndim < 3:
            raise InputError(
                f"target {self} needs a segmenter, (N, K, *S); this model returns {tuple(outputs.shape)}"
            )
        reference = self._reference(outputs, tuple(images.shape[2:]))
        cuts = self.thresholds or (None,)
        places = [self._place(outputs, cut, reference) for cut in cuts]
        odds = self.place in PLACES_WITH_ODDS and not self.total and not self.thresholds
        return (FrozenOdds if odds else FrozenRegion)(target=self, places=torch.stack(places))

    def _reference(self, outputs: Tensor, size: tuple[int, ...]) -> Tensor | None:
        if self.reference is None:
            if self.place in NEEDS_REFERENCE:
                raise InputError(f"target {self} needs a reference mask; give reference=, or --reference FILE")
            return None
        if self.reference.shape != size:
            raise InputError(f"the reference mask must be {size}; got {self.reference.shape}")
        voxels = mask_of(np.asarray(self.reference), label=self.index, classes=outputs.shape[1])
        mask = torch.as_tensor(voxels, device=outputs.device)
        if mask.shape != outputs.shape[2:]:
            small = torch.nn.functional.interpolate(mask[None, None].float(), outputs.shape[2:], mode="nearest")
            mask = small[0, 0] > 0.5
        return mask.bool()

    def _place(self, outputs: Tensor, cut: float | None, reference: Tensor | None) -> Tensor:
        """Return the region of one threshold, bool (*S'); raise InputError if it is empty."""
        if self.place == "volume":
            return torch.ones(outputs.shape[2:], dtype=torch.bool, device=outputs.device)
        prediction = predicted(outputs, self.kind, self.index, cut)[0]
        if self.place == "dice":
            place = prediction if reference is None else reference
        elif self.place == "mask":
            place = _known(reference)
        elif self.place == "false-positive":
            place = prediction & ~_known(reference)
        elif self.place == "missed":
            place = self._missed(prediction, _known(reference), outputs)
        elif self.place == "lesion":
            place = self._part(components(prediction), outputs)
        elif self.place == "boundary":
            place = band(prediction, self.width)
        else:
            place = prediction
        if not bool(place.any()):
            raise InputError(self._nothing(outputs))
        return place

    def _missed(self, prediction: Tensor, reference: Tensor, outputs: Tensor) -> Tensor:
        """Return the reference's voxels that are not predicted; with `lesion`, one part missed entirely."""
        if self.lesion is None:
            return reference & ~prediction
        missed = [part for part in components(reference) if not bool((part & prediction).any())]
        return self._part(missed, outputs)

    def _part(self, parts: list[Tensor], outputs: Tensor) -> Tensor:
        if not parts:
            raise InputError(self._nothing(outputs))
        number = 1 if self.lesion is None else self.lesion
        if not 1 <= number <= len(parts):
            raise InputError(f"target {self}: expected a part from 1 to {len(parts)}; got {number}")
        return parts[number - 1]

    def _nothing(self, outputs: Tensor) -> str:
        present = [k for k, size in enumerate(class_sizes(outputs, self.kind)) if size]
        return (
            f"target {self} is empty: no such voxel in this prediction; it contains class(es) "
            f"{', '.join(map(str, present)) or 'none'}"
        )


@dataclass(frozen=True, slots=True, eq=False)
class FrozenRegion:
    """A `RegionTarget` with its regions `places`, bool (thresholds, *S')."""

    target: RegionTarget
    places: Tensor

    def __str__(self) -> str:
        return str(self.target)

    def of(self, second: Predictor, first: Predictor) -> FrozenRegion:
        """Return the same region, determined by `first`, as a target of another segmenter: the class of the
        same name where both have names, else of the same index. Raise InputError where there is none."""
        index, names = self.target.index, list(second.classes)
        if names and index < len(first.classes):
            if first.classes[index] not in names:
                raise InputError(
                    f"the second model has no class '{first.classes[index]}'; it has {', '.join(names)}"
                )
            index = names.index(first.classes[index])
        return replace(self, target=replace(self.target, kind=second.output, index=index))

    def __call__(self, outputs: Tensor) -> Tensor:
        target = self.target
        if outputs.ndim != self.places.ndim + 1 or target.index >= outputs.shape[1]:
            raise InputError(
                f"target {self} needs outputs (N, K, *S) with class {target.index} and {self.places.ndim - 1} "
                f"axes; got {tuple(outputs.shape)}"
            )
        places = self.places.to(outputs.device)
        if outputs.shape[2:] != places.shape[1:]:  # of an image at another size: a generator's
            places = torch.nn.functional.interpolate(places[:, None].float(), outputs.shape[2:])[:, 0]
            if not bool(places.flatten(1).any(dim=1).all()):
                raise InputError(
                    f"target {self} has no voxel left at {tuple(outputs.shape[2:])}, the size of the "
                    f"generator's images; it was determined at {tuple(self.places.shape[1:])}"
                )
        places = places.flatten(1).to(outputs.dtype)
        if target.place in ("volume", "dice"):
            probability = probabilities(outputs, target.kind)[:, target.index].flatten(1)
            if target.place == "volume":
                return probability.sum(dim=1)
            overlap = 2 * probability @ places[0]
            return overlap / (probability.sum(dim=1) + places[0].sum()).clamp_min(1e-6)
        values = log_odds_of(outputs, target.kind, target.index).flatten(1)
        sizes = torch.ones_like(places[:, 0]) if target.total else places.sum(dim=1)
        return (values @ (places / sizes[:, None]).t()).mean(dim=1)


@dataclass(frozen=True, slots=True, eq=False)
class FrozenOdds(FrozenRegion):
    """A frozen region whose number is a mean of log-odds: its sign says whether the class has more than half of
    the probability there, and a counterfactual's goal is a probability, as for a class of a classifier."""

    @property
    def default_goal(self) -> float | None:
        """Return the probability that a counterfactual reaches unless told: the place is not segmented any
        more, or is if it was missed. None: the other side of its score."""
        return {"missed": 0.9, "region": 0.1, "lesion": 0.1, "false-positive": 0.1}.get(self.target.place)

    def score_of(self, goal: float) -> float:
        """Return the log-odds of a probability."""
        return logit(goal)


def predicted(outputs: Tensor, kind: str, index: int, cut: float | None) -> Tensor:
    """Return where a class is predicted: bool (N, *S) from raw outputs (N, K, *S)."""
    if cut is not None:
        return probabilities(outputs, kind)[:, index] > cut
    if kind == "sigmoid":
        return outputs[:, index] > 0
    largest = outputs.amax(dim=1)
    if bool(largest.isnan().any()):  # `argmax` takes them for the largest
        return outputs.argmax(dim=1) == index
    place = outputs[:, index] == largest
    return place & (outputs[:, :index].amax(dim=1) < largest) if index else place


def class_sizes(outputs: Tensor, kind: str) -> list[int]:
    """Return the number of voxels in which each class is predicted, from raw outputs (N, K, *S)."""
    count = outputs.shape[1]
    if kind == "sigmoid":
        return [int(predicted(outputs, kind, k, None).sum()) for k in range(count)]
    largest = outputs.amax(dim=1)
    if bool(largest.isnan().any()):
        return torch.bincount(outputs.argmax(dim=1).flatten(), minlength=count).tolist()
    left, sizes = torch.ones_like(largest, dtype=torch.bool), []
    for k in range(count):
        place = left & (outputs[:, k] == largest)  # the first of several that are equal
        left = left & ~place
        sizes.append(int(place.sum()))
    return sizes


def components(mask: Tensor) -> list[Tensor]:
    """Return the connected parts (by faces) of a mask (*S), the largest first."""
    from scipy.ndimage import label

    labels, count = label(mask.cpu().numpy())
    order = np.argsort(-np.bincount(labels.ravel(), minlength=count + 1)[1:], kind="stable") + 1
    return [torch.as_tensor(labels == number, device=mask.device) for number in order]


def band(mask: Tensor, width: int) -> Tensor:
    """Return the voxels at most `width` faces from the edge of a mask (*S), on both sides."""
    from scipy.ndimage import binary_dilation, binary_erosion

    array = mask.cpu().numpy()
    if not array.any():
        return mask
    outer, inner = binary_dilation(array, iterations=width), binary_erosion(array, iterations=width)
    return torch.as_tensor(outer & ~inner, device=mask.device)


def _known(reference: Tensor | None) -> Tensor:
    if reference is None:  # `_reference` has already raised
        raise InputError("expected a reference mask; got none")
    return reference
