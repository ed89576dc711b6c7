"""The default layer: the last feature map that everything after depends on.

It is chosen by what a layer does, not by its type or its place in a list, and tested on the network itself:
with the layer's output taken from another image, the prediction must be that of the other image. So it lies
behind normalisation, activation and residual sum. A layer whose gradient cancels (before a normalisation) or
is zero at its cells (patch tokens that nothing reads any more) is passed over.
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
from contrafact.models.layers import Seen, Survey

UNREAD = 1e-6  # share of a layer's gradient that must fall on cells, and not on tokens without a place
TRIED = 6  # feature maps whose values are kept at once while the default layer is sought


class Chooser:
    """Chooses the default layer of a network for one image (1, C, *S), as the network takes it.

    run    calls the network and gives the outputs that count
    cost   two forward passes and one for every feature map that is tried, from the last on, and one backward
           pass for each that everything after depends on; once for a network and a size of image
    """

    def __init__(
        self, module: nn.Module, run: Callable[[Tensor], Tensor], image: Tensor, found: Survey
    ) -> None:
        self.module, self.modules = module, dict(module.named_modules())
        self.run, self.image, self.found = run, image, found
        self.other = other_image(image)
        with torch.no_grad():
            self.outputs, self.wanted = run(image.clone()), run(self.other.clone())
            again = run(self.other.clone())
        if _distance(again, self.wanted) > 1e-3 * _distance(self.outputs, self.wanted):
            raise UnsupportedError(
                "expected a network that gives one answer to one image; this one gives another each time "
                "(dropout or a draw at random left on?): name a layer, or use a method without layers"
            )

    def choose(self, *, modules_only: bool = False) -> Seen:
        """The last feature map that everything after depends on and whose gradient has a mean.

        raises  UnsupportedError where no module gives one
        """
        maps = self.found.maps.items()
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
                    return self.found.maps[name]
                fallback = fallback or name
        if fallback is None:
            raise UnsupportedError(
                "expected a network with a feature map that everything after depends on; found none: name a "
                "layer, or use a method without layers, such as occlusion"
            )
        return self.found.maps[fallback]

    def _tapped(self, uses: Mapping[str, Use]) -> contextlib.AbstractContextManager[None]:
        return tapped(self.module, uses, {name: seen.calls for name, seen in self.found.maps.items()})

    def _values(self, names: Sequence[str], image: Tensor) -> dict[str, Tensor]:
        """What layers give for an image, copied."""
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
        """Neighbouring layers that give the same values (a block and its last part), the inner ones first."""
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
        """Of layers that give the same values: a module that is called once, before a shared one, before a
        function; the inner before the outer."""
        return (0 if self.found.maps[name].calls == 1 else 1) if name in self.modules else 2

    def _readable(self, name: str, value: Tensor) -> bool:
        return self.found.maps[name].layout.fits(value)

    def _is_output(self, name: str, value: Tensor) -> bool:
        """Whether the layer's values are a segmenter's outputs, before or after they become probabilities and
        are resized: scores, and no features."""
        maps, outputs = self.found.maps[name].layout.read(value).float(), self.wanted.float()
        if outputs.ndim != maps.ndim or outputs.shape[1] != maps.shape[1]:
            return False
        kinds = (maps, maps.softmax(dim=1), maps.sigmoid())
        return any(_correlation(_resized(kind, outputs.shape[2:]), outputs) > 0.999 for kind in kinds)

    def _decides(self, name: str, value: Tensor) -> bool:
        """Whether the network says of this image what it says of the other, given the other's values here."""

        with self._tapped({name: lambda _: value.clone()}), torch.no_grad():
            given = self.run(self.image.clone())
        return _distance(given, self.wanted) <= 1e-3 * _distance(self.outputs, self.wanted)

    def _has_mean_gradient(self, name: str) -> bool:
        """Whether the gradient at the layer's cells is more than what cancels in a mean over them: before a
        normalisation it does, and at tokens that nothing reads it is zero."""
        layout = self.found.maps[name].layout
        seen: list[Tensor] = []

        def keep(value: Tensor) -> Tensor:
            seen.append(value)
            return value.clone()

        try:
            with self._tapped({name: keep}), torch.enable_grad():
                value = _mixed(self.run(self.image.clone().requires_grad_()))
        except RuntimeError:  # a network whose own backward pass fails; methods that need it say so
            return True
        if not seen or not seen[-1].requires_grad or not value.requires_grad:
            return True  # no gradient to judge by: methods that need one say so themselves
        (slopes,) = torch.autograd.grad(value, seen[-1], allow_unused=True)
        if slopes is None:
            return False
        whole = float(slopes.abs().sum())
        read = layout.read(slopes)
        return whole == 0 or (mean_share(read) > LEAST_MEAN and float(read.abs().sum()) > UNREAD * whole)


def _mixed(outputs: Tensor) -> Tensor:
    """One number that every output takes part in, each with another weight."""
    shares = torch.linspace(1.0, -0.5, outputs.shape[1], device=outputs.device, dtype=outputs.dtype)
    return (outputs * shares.reshape(1, -1, *(1,) * (outputs.ndim - 2))).sum()


def other_image(image: Tensor) -> Tensor:
    """Another image of the same kind: the image turned round, with noise of its own spread."""
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
    spread_of = image.float().std().nan_to_num(0.0).clamp_min(1e-3)
    axes = tuple(range(2, image.ndim))
    return (image.flip(axes) + spread_of * noise.to(image.device)).to(image.dtype)


def _resized(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Maps (N, K, *cells) linearly interpolated to another size, all channels alike."""
    if tuple(maps.shape[2:]) == tuple(size):
        return maps
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(size)]
    return nn.functional.interpolate(maps, tuple(size), mode=mode)


def _correlation(a: Tensor, b: Tensor) -> float:
    a, b = a.flatten() - a.mean(), b.flatten() - b.mean()
    return float((a @ b) / (a.norm() * b.norm()).clamp_min(1e-30))


def _distance(a: Tensor, b: Tensor) -> float:
    return float((a.float() - b.float()).abs().max())
