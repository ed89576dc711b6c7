from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from contrafact.core import METRICS, InputError
from contrafact.metrics.counterfactual_context import CounterfactualContext, needed


@METRICS.register("change-share")
@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeShare:
    """Measure the share of the image change that lies in the region of the planted cause.

    gives   share of the absolute change of all voxels that lies in the mask, 0 to 1
    raises  InputError without a mask, or for a counterfactual that changes nothing
    Source: relevance mass, Arras et al. 2022 (arXiv 2003.07258). Differs: of the change between frames.
    """

    of: ClassVar[str] = "strip"
    better: ClassVar[str] = "higher"
    family: ClassVar[str] = "planted cause"

    def __call__(self, walked: CounterfactualContext) -> float:
        return share_within(walked, needed(walked.mask, "change-share", "a mask of the cause"), "change-share")


@METRICS.register("shortcut-share")
@dataclass(frozen=True, slots=True, kw_only=True)
class ShortcutShare:
    """Measure the share of the image change that lies on a shortcut, such as a marker, device or label.

    gives   share of the absolute change of all voxels that lies in the mask of the shortcut, 0 to 1; for a
            faithful counterfactual a high value is a warning about the *model*
    raises  InputError without a mask of the shortcut, or for a counterfactual that changes nothing
    Source: relevance mass, Arras et al. 2022 (arXiv 2003.07258). Differs: on a planted shortcut.
    """

    of: ClassVar[str] = "strip"
    better: ClassVar[str] = "lower"
    family: ClassVar[str] = "planted cause"

    def __call__(self, walked: CounterfactualContext) -> float:
        mask = needed(walked.shortcut, "shortcut-share", "a mask of the shortcut (`shortcut`)")
        return share_within(walked, mask, "shortcut-share")


def share_within(walked: CounterfactualContext, mask: NDArray[np.bool_], metric: str) -> float:
    """Return the share of the absolute change that lies in a mask (*S).

    raises  InputError for a counterfactual that changes nothing
    """
    gap = walked.changed()
    if not gap.any():
        raise InputError(
            f"{metric} needs a counterfactual that changes the image; the last frame is the image itself"
        )
    return float(gap[mask].sum() / gap.sum())
