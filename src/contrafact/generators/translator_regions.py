"""The regions within which a translator may change an image: random ones, and places for an addition."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from contrafact.core.places import REMOVE, smallest_place
from contrafact.generators.augmentation import signed
from contrafact.generators.translator_losses import blurred

# Of the places: share of their middle diameter, and number of centres per axis.
SIZES = ((0.7, 4), (1.25, 3), (2.0, 2))


def random_boxes(n: int, shape: tuple[int, ...], share: float, rng: torch.Generator) -> Tensor:
    """Return sampled regions (n, 1, *shape): everywhere, or for a `share` inside a box or outside it."""
    region = torch.ones(n, 1, *shape)
    random = torch.rand(n, 2, generator=rng)
    for number in range(n):
        if random[number, 0] >= share:
            continue
        inside = float(random[number, 1] < 0.5)
        sides = torch.rand(len(shape), 2, generator=rng)
        region[number] = 1 - inside
        box = region[number, 0]
        for axis, (start, length) in enumerate(sides.tolist()):
            begin, wide = span(shape[axis], start, length)
            box = box.narrow(axis, begin, wide)
        box.fill_(inside)
    return region


def span(side: int, start: float, length: float) -> tuple[int, int]:
    """Return start and length of a span between a quarter and three quarters of a side."""
    wide = round(side * (0.25 + 0.5 * length))
    return round(start * (side - wide)), wide


def discs(centres: Tensor, diameters: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return discs, or balls, (N, 1, *shape) around centres (N, axes), both in shares of a side."""
    square = torch.zeros(len(centres), *shape, device=centres.device)
    for axis, side in enumerate(shape):
        at = (torch.arange(side, device=centres.device) + 0.5) / side
        gap = (at[None] - centres[:, axis, None]).square()
        square = square + gap.view(len(centres), *(side if k == axis else 1 for k in range(len(shape))))
    inside = square <= (diameters / 2).square().view(-1, *(1,) * len(shape))
    return inside[:, None].float()


def random_discs(n: int, shape: tuple[int, ...], diameter: float, rng: torch.Generator) -> Tensor:
    """Return n random discs of 0.6 to 1.4 times that diameter, with centres a fifth from the edges."""
    random = torch.rand(n, len(shape) + 1, generator=rng)
    return discs(0.2 + 0.6 * random[:, 1:], diameter * (0.6 + 0.8 * random[:, 0]), shape)


def near(region: Tensor, rng: torch.Generator) -> Tensor:
    """Return regions (N, 1, *S) moved by up to a fortieth of a side."""
    moved = torch.empty_like(region)
    for number, one in enumerate(region):
        shifts = [round((float(torch.rand((), generator=rng)) - 0.5) * 0.05 * side) for side in one.shape[1:]]
        moved[number] = one.roll(shifts, tuple(range(1, one.ndim)))
    return moved


def discs_around(differs: Tensor, rng: torch.Generator) -> Tensor:
    """Return a disc (N, 1, *S) around each mask (N, 1, *S): it holds the whole mask and up to half as much more
    on one side, so that it does not tell the exact place."""
    n, axes, shape = len(differs), differs.ndim - 2, tuple(differs.shape[2:])
    lengths = torch.tensor(shape, device=differs.device)
    centres, diameters = torch.full((n, axes), 0.5), torch.ones(n)
    random = torch.rand(n, axes + 1, generator=rng)
    for number in range(n):
        at = differs[number, 0].nonzero() + 0.5
        if not len(at):
            continue
        middle = (at.amin(dim=0) + at.amax(dim=0)) / 2
        way = random[number, 1:] - 0.5
        way = way / way.norm().clamp_min(1e-6)
        reach = float(((at - middle) / lengths).norm(dim=1).max()) + 1 / max(shape)
        more = 0.5 * reach * float(random[number, 0])
        centres[number], diameters[number] = (middle / lengths).cpu() + more * way, 2 * (reach + more)
    return discs(centres.to(differs.device), diameters.to(differs.device), shape)


def places(shape: tuple[int, ...], diameter: float) -> Tensor:
    """Return the regions (P, 1, *shape) that are tried for a local change, the smallest first: discs around a
    diameter, in shares of a side, on grids of centres."""
    found = []
    for share, count in SIZES:
        edge = min(0.5, 0.15 + 0.25 * diameter * share)
        centres = torch.tensor(
            list(itertools.product(torch.linspace(edge, 1 - edge, count).tolist(), repeat=len(shape)))
        )
        found.append(discs(centres, torch.full((len(centres),), diameter * share), shape))
    return torch.cat(found)


def occluded(images: Tensor, region: Tensor) -> Tensor:
    """Return images (N, C, *S) with a strongly blurred copy inside a region (N or 1, 1, *S)."""
    shape, axes = images.shape[2:], images.ndim - 2
    beside = 1 - region
    small = [max(1, side // 8) for side in shape]
    weight = F.interpolate(beside.expand(len(images), *beside.shape[1:]), small, mode="area")
    mean = F.interpolate(images * beside, small, mode="area") / weight.clamp_min(1e-3)
    whole = (images * beside).sum(dim=tuple(range(2, images.ndim)), keepdim=True)
    whole = whole / beside.sum(dim=tuple(range(2, images.ndim)), keepdim=True).clamp_min(1)
    mean = torch.where(weight > 0.05, mean, whole)
    fill = F.interpolate(mean, shape, mode="bilinear" if axes == 2 else "trilinear", align_corners=False)
    return images * beside + fill * region


def values_around(images: Tensor, region: Tensor) -> tuple[Tensor, Tensor]:
    """Return the 40th and 60th percentile (N, C, 1, ...) of smoothed images (N, C, *S) in a ring around regions
    (N, 1, *S), a twelfth of a side wide; -1 and 1 where there is none."""
    axes, width = images.ndim - 2, max(1, images.shape[-1] // 12)
    pool = F.max_pool2d if axes == 2 else F.max_pool3d
    ring = (pool(region, 2 * width + 1, 1, width) > 0) & (region <= 0)
    smooth = blurred(images).float().masked_fill(~ring, torch.nan).flatten(2)
    limits = smooth.nanquantile(torch.tensor([0.4, 0.6], device=images.device), dim=2)
    low, high = limits.view(2, *images.shape[:2], *(1,) * axes)
    return low.nan_to_num(-1.0), high.nan_to_num(1.0)


class LocalRegions:
    """Where training images may change when the finding is local: anywhere, in a disc, to add it; at its place,
    to remove it.

    The place of the finding is that in which occlusion lowers the model's first score of `scores` (N, targets)
    the most; images with a score up to the median have none.
    cost  one pass of the model for every second image and each place
    """

    def __init__(
        self,
        images: Tensor,
        scores: Tensor,
        guide: Callable[[Tensor], Tensor],
        diameter: float,
        device: torch.device,
    ) -> None:
        self.diameter, self.shape = diameter, tuple(images.shape[2:])
        self.places = places(self.shape, diameter)
        with torch.no_grad():
            self.found, first = torch.full((len(images),), -1), scores[:, 0]
            for rows in (first > first.median()).nonzero()[:, 0].split(64):
                seen, before = signed(images[rows].to(device)), first[rows].to(device)
                lowered = [
                    before - guide(occluded(seen, place[None]))[:, 0].float()
                    for place in self.places.to(device)
                ]
                self.found[rows] = torch.from_numpy(smallest_place(torch.stack(lowered).cpu().numpy(), REMOVE))

    def sample(self, rows: Tensor, rises: Tensor, rng: torch.Generator) -> Tensor:
        """Return regions (N, 1, *S) for images `rows`: a random disc where the score rises or there is no
        finding, else its place."""
        anywhere, found = random_discs(len(rows), self.shape, self.diameter, rng), self.found[rows]
        there = near(self.places[found.clamp_min(0)], rng)
        return torch.where((rises | (found < 0)).view(-1, *(1,) * (len(self.shape) + 1)), anywhere, there)
