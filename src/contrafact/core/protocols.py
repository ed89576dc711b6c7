"""Protocols of predictors, layers, targets, generators, encoders and translators. There are no base classes.

Arrays are NumPy arrays or torch tensors; this package imports only NumPy.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@runtime_checkable
class Predictor(Protocol):
    """The model that is explained: raw outputs for a batch of images in their own units."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names as declared; empty if none were declared."""

    @property
    def class_count(self) -> int:
        """Number of classes; 0 while none were declared and the model was never called."""

    @property
    def output(self) -> str:
        """Kind of the outputs: logits, sigmoid, probabilities, regression or ordinal."""

    @property
    def device(self) -> Any:
        """Where images are computed."""

    @property
    def digest(self) -> str:
        """Identity of the model with all of its declarations."""

    @property
    def differentiable(self) -> bool:
        """Whether torch can differentiate through a call."""

    @property
    def watchable(self) -> bool:
        """Whether layers can be read."""

    @property
    def preprocessing(self) -> Any:
        """What is done to images before the network; None if nothing was declared."""

    @property
    def module(self) -> Any:
        """The torch module inside; None for a black box."""

    def __call__(self, images: Any) -> Any:
        """Return raw outputs (N, K) for images (N, C, *S), or (N, K, *S') for a segmenter."""

    def frozen(self) -> AbstractContextManager[None]:
        """Set evaluation mode and disable parameter gradients inside; restore everything on exit."""

    def watch(self, layer: str | None = None) -> AbstractContextManager[list[Any]]:
        """Collect the outputs of a layer (None: the default layer) inside.

        raises  UnsupportedError if layers cannot be read
        """

    def feature_layer(self, images: Any, layer: str | None = None) -> FeatureLayer:
        """Return a layer for images (N, C, *S) of this size; None: the last feature map that all later layers
        depend on.

        raises  UnsupportedError if layers cannot be read
        """

    def replacing(
        self, image: Any, other: Any, box: tuple[int, ...], corner: NDArray[np.int64]
    ) -> BoxAnswers | None:
        """Return outputs for boxes of an image (C, *S) replaced by the same boxes of `other`, verified at one
        corner against a full pass; None if this model cannot recompute only what a box changes."""

    def target(self, text: str) -> Target:
        """Return the target of a text; raise InputError if it does not fit this model's classes."""

    def probabilities(self, outputs: Any) -> Any:
        """Convert raw outputs (N, K) to class probabilities (N, classes)."""


@runtime_checkable
class DeclaredSize(Protocol):
    """A preprocessing that says which size of images the network takes."""

    @property
    def size(self) -> tuple[int, ...] | None:
        """Sides (*S); None: any."""


def input_size(predictor: Predictor) -> tuple[int, ...] | None:
    """Return the size (*S) of the images that a model's network takes, if its preprocessing says one."""
    declared = predictor.preprocessing
    return declared.size if isinstance(declared, DeclaredSize) else None


class FeatureLayer(Protocol):
    """One layer of a network, read as a feature map, for images of one size."""

    @property
    def name(self) -> str:
        """Name of the layer in the network."""

    @property
    def cells(self) -> tuple[int, ...]:
        """Number of cells of the feature map along each spatial axis."""

    @property
    def channel(self) -> int:
        """Dimension of the channels in the layer's own output."""

    def read(self, output: Any) -> Any:
        """Return the layer's own output as a feature map (N, K, *cells)."""

    def on_image(self, maps: Any) -> Any:
        """Resample maps (N, *cells) to the image grid (N, *S), cells at their receptive fields' centres."""


@dataclass(frozen=True, slots=True, eq=False)
class BoxAnswers:
    """Outputs of a predictor for copies of one image, each with one box replaced, cheaper than by full passes.

    answers  corners (N, axes) of boxes -> outputs (N, K, ...)
    share    share of the work of N full passes; 1: no gain, or not reliable
    memory   share of their memory
    """

    answers: Callable[[NDArray[np.int64]], Any]
    share: float
    memory: float


@runtime_checkable
class Target(Protocol):
    """Map raw outputs (N, K, ...) to one number per image (N,), differentiable if the outputs are.

    What else a target can be (log-odds, a place in a segmenter's prediction) is in `core/target_kinds.py`.
    """

    def __call__(self, outputs: Any) -> Any: ...


class Generator(Protocol):
    """Generate images from latents; independent of any predictor."""

    @property
    def image_shape(self) -> tuple[int, ...]: ...
    @property
    def latent_size(self) -> int: ...
    def decode(self, w: Any) -> Any:
        """Map latents (N, latent_size) to images (N, *image_shape), nominally in [-1, 1]; differentiable."""

    def sample(self, n: int, rng: Any) -> Any:
        """Return random latents (n, latent_size)."""


@runtime_checkable
class ConfirmingBundle(Protocol):
    """What `explain` takes of a bundle beside what its methods take."""

    @property
    def window(self) -> tuple[float, float]:
        """The range of the generator's images, in the units of the files."""

    def second_scores(self, predictor: Predictor, target: Target, frames: Any) -> Any:
        """Return a second model's scores (K,) of frames (K, C, *S); None where there is none."""

    def hashes_of(self, method: str) -> dict[str, str]:
        """Return the digests of the bundle and of the network that makes the frames of a method."""


class Encoder(Protocol):
    """Map images (N, *image_shape) in [-1, 1] to latents (N, latent_size)."""

    def __call__(self, images: Any) -> Any: ...


class EncodedImages(Protocol):
    """Images encoded by a translator; all frames of an image share its encoding."""

    @property
    def which(self) -> Any:
        """(N,) indices of the targets whose scores condition the images."""

    def rows(self, chosen: Any) -> EncodedImages:
        """Return the chosen images in that order; one may occur several times."""


class ImageTranslator(Protocol):
    """Translate an image to another score of a model in one pass, without a latent space.

    `low`, `high` (targets,): the range of scores it was trained on. `places` (P, 1, *S): the regions that are
    tried one by one, the smallest first, where the finding is local; None: the whole image may change.
    """

    low: Any
    high: Any

    @property
    def image_shape(self) -> tuple[int, ...]: ...
    @property
    def places(self) -> Any: ...
    def encode(self, images: Any, now: Any, *, which: Any = None, region: Any = None) -> EncodedImages:
        """Encode images (N, C, *S) in [-1, 1] with their own scores `now` (N,); `region` (N, 1, *S): where they
        may change."""

    def translate(self, encoded: Any, to: Any) -> Any:
        """Return images (N, C, *S) in [-1, 1]: each encoded image at the score `to` (N,)."""
