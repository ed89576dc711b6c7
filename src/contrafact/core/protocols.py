"""The roles: what a thing must do to take part. No base classes.

Arrays are NumPy arrays or torch tensors; this room imports only NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from contrafact.core.grid import Grid
from contrafact.core.results import Counterfactual


@runtime_checkable
class Predictor(Protocol):
    """Raw outputs for a batch in the image's own units: (N, C, *S) -> (N, K) or (N, K, *S')."""

    def __call__(self, images: Any) -> Any: ...


@runtime_checkable
class Differentiable(Protocol):
    """A predictor through which torch can differentiate."""

    device: Any

    def __call__(self, images: Any) -> Any: ...
    def frozen(self) -> AbstractContextManager[None]:
        """Evaluation mode and no parameter gradients inside; everything restored on leaving."""

    def watch(self, layer: str | None) -> AbstractContextManager[list[Any]]:
        """Collect what a layer gives (None: the default layer) while inside."""

    def feature_layer(self, images: Any, layer: str | None = None) -> FeatureLayer:
        """A layer as explanations read it, for images (N, C, *S) of this size; None: the last feature map that
        everything after depends on."""


class FeatureLayer(Protocol):
    """One layer of a network as explanations read it, for images of one size."""

    @property
    def name(self) -> str:
        """As the network names it."""

    @property
    def cells(self) -> tuple[int, ...]:
        """Cells of its map along each spatial axis."""

    @property
    def channel(self) -> int:
        """The dimension of the channels in the layer's own output."""

    def read(self, output: Any) -> Any:
        """The layer's own output as a feature map (N, K, *cells)."""

    def on_image(self, maps: Any) -> Any:
        """Maps (N, *cells) on the image's grid (N, *S), every cell at the centre of its receptive field."""


@dataclass(frozen=True, slots=True, eq=False)
class BoxAnswers:
    """A predictor's outputs for copies of one image with a box replaced in each, cheaper than by whole passes.

    answers  corners (N, axes) of boxes -> outputs (N, K, ...)
    share    of the work of N whole passes; 1: no gain, or not to be trusted. memory: of their memory
    """

    answers: Callable[[NDArray[np.int64]], Any]
    share: float
    memory: float


@runtime_checkable
class Incremental(Protocol):
    """A predictor that can compute again only what a box changes. Optional: ask with `getattr`."""

    def replacing(
        self, image: Any, other: Any, box: tuple[int, ...], corner: NDArray[np.int64]
    ) -> BoxAnswers | None:
        """For boxes of an image (C, *S) replaced by the same boxes of `other`, tried at one corner against a
        whole pass; None where this model cannot."""


@runtime_checkable
class Target(Protocol):
    """Raw outputs (N, K, ...) to one number per case (N,): differentiable where outputs are.

    A target that looks at a place in the prediction has `freeze(predictor, images)` as well, which
    gives the target for one image with that place found; `explain` calls it.
    """

    def __call__(self, outputs: Any) -> Any: ...


class Generator(Protocol):
    """Draws images from latents; knows no predictor."""

    @property
    def image_shape(self) -> tuple[int, ...]: ...
    @property
    def latent_size(self) -> int: ...
    def decode(self, w: Any) -> Any:
        """(N, latent_size) -> (N, *image_shape), nominally in [-1, 1]; differentiable."""

    def sample(self, n: int, rng: Any) -> Any:
        """(n, latent_size)."""


class Encoder(Protocol):
    """Images (N, *image_shape) in [-1, 1] to latents (N, latent_size)."""

    def __call__(self, images: Any) -> Any: ...


class EncodedImages(Protocol):
    """Images as a translator has read them, with what their frames share."""

    @property
    def which(self) -> Any:
        """(N,) numbers of the scores that they are conditioned by."""

    def rows(self, chosen: Any) -> EncodedImages:
        """Some of the images, in that order; one may come several times."""


class ImageTranslator(Protocol):
    """Makes of an image what it would look like at another score of a model, in one pass; has no latent space.

    `low`, `high` (targets,): the scores between which it was trained.
    """

    low: Any
    high: Any

    @property
    def image_shape(self) -> tuple[int, ...]: ...
    def encode(self, images: Any, now: Any, *, which: Any = None, region: Any = None) -> EncodedImages:
        """Images (N, C, *S) in [-1, 1] with their own scores (N,); `region` (N, 1, *S): where they may
        change."""

    def translate(self, encoded: Any, to: Any) -> Any:
        """(N, C, *S) in [-1, 1]: each encoded image at the score `to` (N,)."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Question:
    """What is asked of an explainer.

    images  (N, C, *S) float32, all on one grid
    target  one for the whole batch (`explain` groups images by target)
    bundle  generator, encoder and directions, for the methods that need them
    background  other images (M, C, *S) of the same kind, for the methods that compare with them
    region  bool (*S): only these voxels are asked about, the map is 0 elsewhere; None: all
    notes   what a method measured of its own work, N numbers by name; they end in the `Record`
    details what a method chose for the whole batch (the layer it looked into); they end in the `Record`
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


@runtime_checkable
class Explainer(Protocol):
    """Hyper-parameters only: a frozen dataclass. Batched.

    Gives heatmap values (N, *S), or one `Counterfactual` per image.
    """

    def __call__(
        self, question: Question, rng: np.random.Generator
    ) -> NDArray[np.float32] | Sequence[Counterfactual]: ...
