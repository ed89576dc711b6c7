"""Differentiable sliding-window inference for volumes larger than the model's patch.

The outputs of overlapping patches are blended to one map; the backward pass runs each patch again
and sums the gradients. So the memory is that of one batch of patches, and the gradient of *any*
target of the blended map is exact, not the mean of the patches' own maps.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor

from contrafact.core import InputError, UnsupportedError, fingerprint
from contrafact.models.identity import digest_of_use
from contrafact.models.predictors import TorchPredictor
from contrafact.models.preprocessing import Preprocessing
from contrafact.models.target_syntax import ParsedTarget
from contrafact.models.targets import probabilities

Window = tuple[slice, ...]


class TiledPredictor:
    """Apply a segmenter of patches to images of any size.

    predictor  images (N, C, *patch) -> maps (N, K, *patch)
    patch      voxels along each axis; at most the size of the image is used
    overlap    share of a patch that overlaps its neighbour, 0 to below 1
    blend      "gaussian" (the centre of a patch has the greatest weight) or "constant"
    batch      patches at a time; halved after an out-of-memory error
    before     preprocessing of the whole image, before it is cut into patches; `predictor` has its own
    pad        enlarge an image that is smaller than the patch by zeros (after `before`), as the network takes
               whole patches alone; else a smaller patch is used
    call       images (N, C, *S) -> (N, K, *S), differentiable
    cost       a forward pass per patch, and with gradients another forward and a backward pass
    raises     InputError for an invalid patch, overlap or blend, or a model whose maps differ in size from
               its patches
    """

    differentiable = True
    watchable = False

    def __init__(
        self,
        predictor: TorchPredictor,
        patch: Sequence[int],
        *,
        overlap: float = 0.5,
        blend: str = "gaussian",
        batch: int = 4,
        before: Preprocessing | None = None,
        pad: bool = False,
    ) -> None:
        if not patch or min(patch) < 1:
            raise InputError(f"patch must be at least 1 voxel along each axis; got {tuple(patch)}")
        if not 0 <= overlap < 1:
            raise InputError(f"overlap must be from 0 to below 1; got {overlap}")
        if blend not in ("gaussian", "constant"):
            raise InputError(f"blend must be gaussian or constant; got '{blend}'")
        self.predictor, self.patch, self.overlap = predictor, tuple(patch), overlap
        self.blend, self.batch = blend, batch
        self.classes, self.output = predictor.classes, predictor.output
        self.before, self.pad = before, pad
        self.preprocessing, self.device = before or predictor.preprocessing, predictor.device
        self.module = predictor.module
        self.notes = predictor.notes
        self._pinned = ""

    @property
    def class_count(self) -> int:
        """Return the number of classes, as of the wrapped predictor."""
        return len(self.classes) or self.predictor.class_count

    @property
    def digest(self) -> str:
        """16 hex digits of the wrapped predictor and of how its patches are blended."""
        if self._pinned:
            return self._pinned
        content = fingerprint("tiled", self.predictor.digest, self.patch, self.overlap, self.blend)
        content = fingerprint(content, "padded") if self.pad else content
        return digest_of_use(
            content, preprocessing=self.before, head=None, output=self.output, classes=self.classes
        )

    @digest.setter
    def digest(self, digest: str) -> None:
        self._pinned = digest

    def target(self, text: str) -> ParsedTarget:
        """Return the target of a text; raise InputError if it does not fit this model's classes."""
        return self.predictor.target(text)

    def probabilities(self, outputs: Tensor) -> Tensor:
        """Convert raw outputs (N, K, *S) to class probabilities."""
        return probabilities(outputs, self.output)

    def __call__(self, images: Any) -> Tensor:
        x = torch.as_tensor(images).to(self.device, torch.float32)
        if x.ndim - 2 != len(self.patch):
            raise InputError(f"expected images with {len(self.patch)} spatial axes; got {tuple(x.shape)}")
        x = x if self.before is None else self.before(x)
        missing = [max(0, p - n) if self.pad else 0 for p, n in zip(self.patch, x.shape[2:], strict=True)]
        if not any(missing):
            return torch.as_tensor(_Window.apply(x, self))
        ends = [(n // 2, n - n // 2) for n in missing]
        inner = [slice(low, low + n) for (low, _), n in zip(ends, x.shape[2:], strict=True)]
        padded = torch.nn.functional.pad(x, [n for pair in reversed(ends) for n in pair])
        return torch.as_tensor(_Window.apply(padded, self))[_index(tuple(inner))]

    def with_patch(self, patch: Sequence[int], *, overlap: float) -> TiledPredictor:
        """Return the same model with another patch."""
        more: Any = {"blend": self.blend, "batch": self.batch, "before": self.before, "pad": self.pad}
        return TiledPredictor(self.predictor, patch, overlap=overlap, **more)

    def frozen(self) -> contextlib.AbstractContextManager[None]:
        """Freeze the wrapped predictor."""
        return self.predictor.frozen()

    @contextlib.contextmanager
    def watch(self, layer: str | None = None) -> Iterator[list[Tensor]]:
        """Raise UnsupportedError: a layer has one map per patch, and none of the whole volume."""
        self.feature_layer(None, layer)
        yield []

    def feature_layer(self, images: Any, layer: str | None = None, *, module: bool = False) -> NoReturn:
        """Raise UnsupportedError, as `watch` does."""
        raise UnsupportedError(
            "a model that takes patches has no layer map of the whole volume; use integrated-gradients, "
            "occlusion, or crop the image to one patch"
        )

    def replacing(self, image: Any, other: Any, box: tuple[int, ...], corner: Any) -> None:
        """Return None: a box may lie in several patches."""

    def windows(self, size: Sequence[int]) -> list[Window]:
        """Return the windows that cover an image of `size`."""
        from monai.data.utils import dense_patch_slices

        patch = [min(p, n) for p, n in zip(self.patch, size, strict=True)]
        ends = zip(patch, size, strict=True)
        step = [p if p == n else max(1, math.ceil(p * (1 - self.overlap))) for p, n in ends]
        return [tuple(window) for window in dense_patch_slices(size, patch, step)]

    def weights(self, size: Sequence[int]) -> Tensor:
        """Return the blending weight of each voxel of a patch."""
        from monai.data.utils import compute_importance_map

        patch = tuple(min(p, n) for p, n in zip(self.patch, size, strict=True))
        weights = compute_importance_map(patch, mode=self.blend, sigma_scale=0.125, device=self.device)
        return torch.as_tensor(weights).clamp_min(1e-3)


def _index(window: Window) -> Window:
    """Return the index of a window in every image and channel."""
    return (slice(None), slice(None), *window)


class _Window(torch.autograd.Function):
    """Blend the maps of overlapping patches; the backward pass runs every patch again."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, tiled: TiledPredictor) -> Tensor:
        size, weights = images.shape[2:], tiled.weights(images.shape[2:])
        maps: list[Tensor] = []
        total = torch.zeros(size, device=images.device)

        def add(windows: list[Window], patches: Tensor) -> None:
            with torch.no_grad():
                outputs = _outputs(tiled, patches)
            if not maps:
                maps.append(images.new_zeros(len(images), outputs.shape[1], *size))
            for window, output in zip(windows, outputs.split(len(images)), strict=True):
                maps[0][_index(window)] += weights * output
                total[window] += weights

        _slide(images, tiled, add)
        ctx.save_for_backward(images, total)
        ctx.tiled = tiled
        return maps[0] / total

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> Any:
        images, total = ctx.saved_tensors
        tiled: TiledPredictor = ctx.tiled
        weights, gradients = tiled.weights(images.shape[2:]), torch.zeros_like(images)
        output_gradient = slopes[0] / total

        def add(windows: list[Window], patches: Tensor) -> None:
            with torch.enable_grad():
                patches = patches.detach().requires_grad_()
                outputs = _outputs(tiled, patches)
            wanted = torch.cat([weights * output_gradient[_index(window)] for window in windows])
            (gradient,) = torch.autograd.grad(outputs, patches, wanted)
            for window, patch_gradient in zip(windows, gradient.split(len(images)), strict=True):
                gradients[_index(window)] += patch_gradient

        _slide(images, tiled, add)
        return gradients, None


def _slide(images: Tensor, tiled: TiledPredictor, add: Callable[[list[Window], Tensor], None]) -> None:
    """Call `add` for every batch of patches; halve the batch after an out-of-memory error."""
    windows, start = tiled.windows(images.shape[2:]), 0
    while start < len(windows):
        batch = windows[start : start + tiled.batch]
        try:
            add(batch, torch.cat([images[_index(window)] for window in batch]))
        except torch.OutOfMemoryError as error:
            if tiled.batch == 1:
                raise InputError(
                    f"one patch of {tiled.patch} does not fit in the memory of {tiled.device}; use a "
                    "smaller patch"
                ) from error
            tiled.batch //= 2
            continue
        start += len(batch)


def _outputs(tiled: TiledPredictor, patches: Tensor) -> Tensor:
    outputs = tiled.predictor(patches)
    if outputs.shape[2:] != patches.shape[2:]:
        raise InputError(
            f"a tiled model must return maps of its patch's size {tuple(patches.shape[2:])}; got "
            f"{tuple(outputs.shape[2:])}"
        )
    return outputs
