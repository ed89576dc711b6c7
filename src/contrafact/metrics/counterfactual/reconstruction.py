from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from contrafact.core import METRICS, InputError
from contrafact.metrics.counterfactual_context import CounterfactualContext, distance


@METRICS.register("reconstruction-error")
@dataclass(frozen=True, slots=True, kw_only=True)
class ReconstructionError:
    """Measure the difference between the image and the generator's reconstruction of it.

    gives   mean absolute difference, as a share of the range
    Source: Schutte et al. 2021 (arXiv 2101.07563), sec. 2 (L1 of the encoder). Differs: as a share.
    """

    of: ClassVar[str] = "strip"
    better: ClassVar[str] = "lower"
    family: ClassVar[str] = "drawing"

    def __call__(self, walked: CounterfactualContext) -> float:
        return distance(walked, walked.strip.reconstruction)


@METRICS.register("reconstruction-psnr")
@dataclass(frozen=True, slots=True, kw_only=True)
class ReconstructionPSNR:
    """Measure the quality of the generator's reconstruction by the peak signal-to-noise ratio.

    gives   dB, with the range as the peak
    raises  InputError for a reconstruction without error, whose ratio is infinite
    Source: the usual definition, 10 log10(range^2 / mean squared error). Differs: the range is the window, not
    the greatest value.
    """

    of: ClassVar[str] = "strip"
    better: ClassVar[str] = "higher"
    family: ClassVar[str] = "drawing"

    def __call__(self, walked: CounterfactualContext) -> float:
        gap = walked.strip.reconstruction.astype(np.float64) - walked.start
        error = float(np.square(gap / walked.span).mean())
        if error == 0:
            raise InputError("reconstruction-psnr needs a reconstruction with an error; this one is exact")
        return -10 * math.log10(error)


@METRICS.register("reconstruction-ssim")
@dataclass(frozen=True, slots=True, kw_only=True)
class ReconstructionSSIM:
    """Measure the quality of the generator's reconstruction by structural similarity.

    gives   mean over the image; 1: identical
    Source: Wang et al. 2004 (doi 10.1109/TIP.2003.819861), by scikit-image. Differs: none.
    """

    of: ClassVar[str] = "strip"
    better: ClassVar[str] = "higher"
    family: ClassVar[str] = "drawing"

    def __call__(self, walked: CounterfactualContext) -> float:
        return float(walked.similarity(walked.strip.reconstruction).mean())


@METRICS.register("drift")
@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Measure how much the reconstruction alone, without any edit, changes the model's output.

    gives   |score of the reconstruction - score of the image|, in units of the target
    cost    2 forward passes
    Source: design of this package, for the encoder of Schutte et al. 2021 (arXiv 2101.07563). Differs: the
    paper does not report it.
    """

    of: ClassVar[str] = "strip"
    better: ClassVar[str] = "lower"
    family: ClassVar[str] = "drawing"

    def __call__(self, walked: CounterfactualContext) -> float:
        return abs(float(walked.score(walked.strip.reconstruction[None])[0]) - walked.whole)
