from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from contrafact.core import EXPLAINERS, InputError, Question, nearest, traits_of
from contrafact.core.protocols import ConfirmingBundle
from contrafact.perturbation.memory import portions

KINDS = ("mean", "square", "variance")
BATCH = 16  # noisy copies at once


@EXPLAINERS.register("smooth", aliases=("smoothgrad", "noise-tunnel"))
@dataclass(frozen=True, slots=True, kw_only=True)
class Smooth:
    """Show the map of another method, averaged over noisy copies of the image.

    images  float32 (N, C, *S), any units
    gives   float32 (N, *S) in the units of the inner method (squared for "square" and "variance")
    cost    `samples` times the inner method, several copies at once
    raises  InputError for an unknown kind, fewer than 1 sample or noise below 0; the inner method's errors
    Source: Smilkov et al. 2017 (arXiv 1706.03825) mean; Hooker et al. 2018 (arXiv 1806.10758) square;
    Adebayo et al. 2018 (arXiv 1810.03307) variance. Differs: any inner method, in any dimension; the
    noise is a share of the image's own range, clipped to the bundle's window if the method uses a bundle.

    inner    the method: its name, a table of its `name` and hyper-parameters, or an object
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
            settings = {k: tuple(v) if isinstance(v, list) else v for k, v in self.inner.items()}
            return EXPLAINERS.make(str(settings.pop("name", "gradient")), **settings)
        return EXPLAINERS.make(self.inner) if isinstance(self.inner, str) else self.inner

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        inner = self._made()
        images = question.images
        # A generator neither produces nor accepts values outside its window.
        uses_bundle = traits_of(inner).needs_bundle
        drawn = isinstance(question.bundle, ConfirmingBundle) and uses_bundle
        low, high = question.bundle.window if drawn else (None, None)
        axes = tuple(range(1, images.ndim))
        reach = self.noise * np.ptp(images, axis=axes, keepdims=True)
        first = second = np.zeros((), dtype=np.float64)
        noises: list[NDArray[np.float32]] = []

        def work(part: slice) -> None:
            nonlocal first, second
            while len(noises) < part.stop:
                noises.append(rng.standard_normal(images.shape[1:], dtype=np.float32))
            # The whole batch gets the same noise, so that a map does not depend on the other images.
            noisy = images + reach * np.stack(noises[part])[:, None]  # (samples, N, C, *S)
            noisy = noisy.astype(np.float32) if low is None else noisy.clip(low, high).astype(np.float32)
            copies = dataclasses.replace(question, images=noisy.reshape(-1, *images.shape[1:]), notes={})
            values = np.asarray(inner(copies, rng)).reshape(*noisy.shape[:2], *images.shape[2:])
            values = values.astype(np.float64)
            first, second = first + values.sum(axis=0), second + (values**2).sum(axis=0)
            question.doubts[:] = copies.doubts

        at_once = 1 if uses_bundle or traits_of(inner).sampled else max(1, BATCH // len(images))
        portions(self.samples, at_once, images.size, work)
        mean, square = first / self.samples, second / self.samples
        result = {"mean": mean, "square": square, "variance": square - mean**2}[self.kind]
        return np.asarray(result, dtype=np.float32)
