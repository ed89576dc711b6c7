"""The input of an explainer, and the protocol of explainers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from contrafact.core.grid import Grid
from contrafact.core.predictor_adapter import adapted
from contrafact.core.protocols import Predictor, Target
from contrafact.core.results import Counterfactual


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Question:
    """The input of an explainer.

    images  (N, C, *S) float32, all on one grid
    target  one for the whole batch (`explain` groups images by target)
    bundle  generator, encoder and directions, for the methods that need them
    background  other images (M, C, *S) of the same kind, for the methods that compare with them
    region  bool (*S): only these voxels are explained, the map is 0 elsewhere; None: all
    notes   output: measurements of the method, N numbers by name; copied to the `Record`
    details output: choices of the method for the whole batch (its layer); copied to the `Record`
    outputs output: the model's raw outputs of the unchanged images, in order, where the method computed them
    doubts  output: calls that raise with the reason, where the model allows no map; made where the map is empty
            or not finite, so that a good one costs no pass more
    """

    predictor: Predictor
    images: NDArray[np.float32]
    target: Target
    grid: Grid
    bundle: Any = None
    background: NDArray[np.float32] | None = None
    region: NDArray[np.bool_] | None = None
    notes: dict[str, list[float]] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    outputs: list[Any] = field(default_factory=list, init=False)
    doubts: list[Callable[[], None]] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "predictor", adapted(self.predictor))


@runtime_checkable
class Explainer(Protocol):
    """A method: a frozen dataclass that holds hyper-parameters only, and is called on a batch.

    Return heatmap values (N, *S), or one `Counterfactual` per image.
    """

    def __call__(
        self, question: Question, rng: np.random.Generator
    ) -> NDArray[np.float32] | Sequence[Counterfactual]: ...
