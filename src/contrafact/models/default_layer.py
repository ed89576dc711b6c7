"""Choose the default layer: the last feature map that all later layers depend on.

The choice depends on what a layer does, not on its type or position, and is tested on the network itself: with
the layer's output taken from another image, the prediction must be that of the other image. So the layer comes
after normalisation, activation and residual sum. Layers whose gradient cancels (before a normalisation) or is
zero at their cells (patch tokens that no later layer uses) are skipped.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from contrafact.core import UnsupportedError
from contrafact.core.intervals import LEAST_MEAN, mean_share
from contrafact.models.calls import Use, tapped
from contrafact.models.layers import LayerSurvey, Seen

UNREAD = 1e-6  # least share of a layer's gradient on cells, not on tokens without a position
TRIED = 6  # feature maps that are kept in memory at once


class Chooser:
    """Choose the default layer of a network for one preprocessed image (1, C, *S).

    run    calls the network and returns the outputs of the declared head
    survey feature maps of one pass
    cost   three forward passes, up to two for every tested feature map, from the last on, and a backward pass
           for each that all later layers depend on; once per network and image size
    """

    def __init__(
        self, module: nn.Module, run: Callable[[Tensor], Tensor], image: Tensor, survey: LayerSurvey
    ) -> None:
        self.module, self.modules = module, dict(module.named_modules())
        self.run, self.image, self.survey = run, image, survey
        self.other = other_image(image)
        with torch.no_grad():
            self.outputs, self.wanted = run(image.clone()), run(self.other.clone())
            again = run(self.other.clone())
        if _distance(again, self.wanted) > 1e-3 * _distance(self.outputs, self.wanted):
            raise UnsupportedError(
                "expected the same outputs for the same image; got others in a second pass (dropout or other "
                "random numbers left on?): name a layer, or use a method without layers"
            )

    def choose(self, *, modules_only: bool = False) -> Seen:
        """Return the last feature map that all later layers depend on and whose gradient does not cancel.

        raises  UnsupportedError if there is none
        """
        maps = self.survey.maps.items()
        names = [name for name, seen in maps if math.prod(seen.layout.cells) > 1][::-1]
        names = [name for name in names if name in self.modules or not modules_only]
        tellable = _distance(self.outputs, self.wanted) > 0
        fallback = None
        for start in range(0, len(names), TRIED):
            kept = self._values(names[start : start + TRIED], self.other)
            equal = self._equal_runs(names[start : start + TRIED], kept)
            for run in equal:
                readable = [n for n in run if self._readable(n, kept[n])]
                name = min(readable, key=self._rank, default=None)
                if name is None or (tellable and self._is_output(name, kept[name])):
                    continue
                if tellable and not self._decides(name, kept[name]):
                    continue
                if self._has_mean_gradient(name):
                    return self.survey.maps[name]
                fallback = fallback or name
        if fallback is None:
            raise UnsupportedError(
                "expected a network with a feature map that all later layers depend on; got none: name a "
                "layer, or use a method without layers, such as occlusion"
            )
        return self.survey.maps[fallback]

    def _tapped(self, uses: Mapping[str, Use]) -> contextlib.AbstractContextManager[None]:
        return tapped(self.module, uses, {name: seen.calls for name, seen in self.survey.maps.items()})

    def _values(self, names: Sequence[str], image: Tensor) -> dict[str, Tensor]:
        """Return copies of the outputs of layers for an image, by layer name."""
        kept: dict[str, Tensor] = {}

        def keeping(name: str) -> Use:
            def keep(value: Tensor) -> Tensor:
                kept[name] = value.detach().clone()
                return value

            return keep

        with self._tapped({name: keeping(name) for name in names}), torch.no_grad():
            self.run(image.clone())
        return kept

    def _equal_runs(self, names: Sequence[str], kept: dict[str, Tensor]) -> Iterator[list[str]]:
        """Yield groups of consecutive layers with equal outputs (a block and its last part), inner first."""
        run: list[str] = []
        for name in names:
            if name not in kept:
                continue
            if run and not (kept[name].shape == kept[run[-1]].shape and torch.equal(kept[name], kept[run[-1]])):
                yield run[::-1]
                run = []
            run.append(name)
        if run:
            yield run[::-1]

    def _rank(self, name: str) -> int:
        """Return the priority among layers with equal outputs: a module called once (0), a module called
        several times (1), a function (2)."""
        return (0 if self.survey.maps[name].calls == 1 else 1) if name in self.modules else 2

    def _readable(self, name: str, value: Tensor) -> bool:
        return self.survey.maps[name].layout.fits(value)

    def _is_output(self, name: str, value: Tensor) -> bool:
        """Whether the layer's values are the outputs of a segmenter, up to softmax, sigmoid and resizing:
        scores, not features."""
        maps, outputs = self.survey.maps[name].layout.read(value).float(), self.wanted.float()
        if outputs.ndim != maps.ndim or outputs.shape[1] != maps.shape[1]:
            return False
        kinds = (maps, maps.softmax(dim=1), maps.sigmoid())
        return any(_correlation(_resized(kind, outputs.shape[2:]), outputs) > 0.999 for kind in kinds)

    def _decides(self, name: str, value: Tensor) -> bool:
        """Whether a pass of this image with the layer's values of the other gives the other's outputs."""

        with self._tapped({name: lambda _: value.clone()}), torch.no_grad():
            outputs = self.run(self.image.clone())
        return _distance(outputs, self.wanted) <= 1e-3 * _distance(self.outputs, self.wanted)

    def _has_mean_gradient(self, name: str) -> bool:
        """Whether the mean of the gradient over the layer's cells is meaningful: before a normalisation it
        cancels, and at tokens that no later layer uses it is zero."""
        layout = self.survey.maps[name].layout
        seen: list[Tensor] = []

        def keep(value: Tensor) -> Tensor:
            seen.append(value)
            return value.clone()

        try:
            with self._tapped({name: keep}), torch.enable_grad():
                value = _mixed(self.run(self.image.clone().requires_grad_()))
        except RuntimeError:  # the backward pass of the network fails; methods that need it raise
            return True
        if not seen or not seen[-1].requires_grad or not value.requires_grad:
            return True  # no gradient to test; methods that need one raise
        (slopes,) = torch.autograd.grad(value, seen[-1], allow_unused=True)
        if slopes is None:
            return False
        whole = float(slopes.abs().sum())
        read = layout.read(slopes)
        return whole == 0 or (mean_share(read) > LEAST_MEAN and float(read.abs().sum()) > UNREAD * whole)


def _mixed(outputs: Tensor) -> Tensor:
    """Return a weighted sum of all outputs, each class with another weight."""
    shares = torch.linspace(1.0, -0.5, outputs.shape[1], device=outputs.device, dtype=outputs.dtype)
    return (outputs * shares.reshape(1, -1, *(1,) * (outputs.ndim - 2))).sum()


def other_image(image: Tensor) -> Tensor:
    """Return another image of the same kind: the flipped image plus noise with its standard deviation."""
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
    spread_of = image.float().std().nan_to_num(0.0).clamp_min(1e-3)
    axes = tuple(range(2, image.ndim))
    return (image.flip(axes) + spread_of * noise.to(image.device)).to(image.dtype)


def _resized(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Interpolate maps (N, K, *cells) linearly to another size."""
    if tuple(maps.shape[2:]) == tuple(size):
        return maps
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(size)]
    return nn.functional.interpolate(maps, tuple(size), mode=mode)


def _correlation(a: Tensor, b: Tensor) -> float:
    a, b = a.flatten() - a.mean(), b.flatten() - b.mean()
    return float((a @ b) / (a.norm() * b.norm()).clamp_min(1e-30))


def _distance(a: Tensor, b: Tensor) -> float:
    return float((a.float() - b.float()).abs().max())
