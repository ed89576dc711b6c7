from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from contrafact.core import EXPLAINERS, InputError, Question, nearest

KINDS = ("mean", "square", "variance")


@EXPLAINERS.register("smooth", aliases=("smoothgrad", "noise-tunnel"))
@dataclass(frozen=True, slots=True, kw_only=True)
class Smooth:
    """Another method, averaged over noisy copies of the image.

    images  float32 (N, C, *S), any units
    gives   float32 (N, *S) in the units of the inner method (squared for "square" and "variance")
    cost    `samples` times the inner method
    raises  InputError for an unknown kind, no sample or noise below 0; whatever the inner method raises
    Source: Smilkov et al. 2017 (arXiv 1706.03825) mean; Hooker et al. 2018 (arXiv 1806.10758) square;
    Adebayo et al. 2018 (arXiv 1810.03307) variance. Differs: any inner method, in any dimension; the
    noise is a share of the image's own range, cut where an inner method draws by a bundle's window.

    inner    the method, by name, as a table of its hyper-parameters with its `name`, or as an object
    noise    standard deviation as a share of the image's range
    kind     mean (SmoothGrad), square (SmoothGrad squared) or variance (VarGrad)
    samples  noisy copies
    """

    needs_gradients: ClassVar[bool] = True
    sampled: ClassVar[bool] = True
    inner: Any = "gradient"
    samples: int = 16
    noise: float = 0.1
    kind: str = "mean"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(
                f"kind must be one of {', '.join(KINDS)}; got '{self.kind}'{nearest(self.kind, KINDS)}"
            )
        if self.samples < 1 or self.noise < 0:
            raise InputError(
                f"expected at least 1 sample and noise of 0 or more; got {self.samples}, {self.noise}"
            )

    def _made(self) -> Any:
        if isinstance(self.inner, Mapping):
            given = {k: tuple(v) if isinstance(v, list) else v for k, v in self.inner.items()}
            return EXPLAINERS.make(str(given.pop("name", "gradient")), **given)
        return EXPLAINERS.make(self.inner) if isinstance(self.inner, str) else self.inner

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        inner = self._made()
        images = question.images
        # A bundle draws and takes no values outside its window.
        walks = getattr(inner, "needs_bundle", False)
        low, high = getattr(question.bundle, "window", (None, None)) if walks else (None, None)
        axes = tuple(range(1, images.ndim))
        reach = self.noise * np.ptp(images, axis=axes, keepdims=True)
        first = second = np.zeros((), dtype=np.float64)
        for _ in range(self.samples):
            # One noise for the whole batch: an image's map does not depend on its neighbours.
            noisy = images + reach * rng.standard_normal(images.shape[1:], dtype=np.float32)
            noisy = noisy.astype(np.float32) if low is None else noisy.clip(low, high).astype(np.float32)
            values = np.asarray(inner(dataclasses.replace(question, images=noisy, notes={}), rng))
            first, second = first + values, second + values.astype(np.float64) ** 2
        mean, square = first / self.samples, second / self.samples
        found = {"mean": mean, "square": square, "variance": square - mean**2}[self.kind]
        return np.asarray(found, dtype=np.float32)
