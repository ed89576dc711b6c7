"""Several maps of one image for one target, and the values that their metrics share."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from contrafact.core import ContrafactError, Explainer, InputError, Question, adapted
from contrafact.core.execution import Counted
from contrafact.metrics.cache import ModelCache
from contrafact.perturbation import feature_labels, fill_values

Values = NDArray[np.float64]


class HeatmapContext(ModelCache):
    """M maps of one image, with a cache of the model outputs that their metrics need.

    question    question about **one** image; its target and predictor are frozen (`evaluate` does both)
    maps        (M, *S), units of the target
    explainers  method of each map, for metrics that explain again; or empty
    mask        bool (*S): the region of the cause, for localisation metrics; explainers do not get it
    shuffled    predictor of the same architecture, trained on permuted labels, for data randomisation
    batch       greatest number of images per forward pass
    passes      images passed through the model so far
    flaws       for each map the reason why it cannot be evaluated; an empty text if it can
    failed      reason why the last metric has no value for a map, by number of the map
    note        a caution about the values of the last metric; empty if there is none
    """

    def __init__(
        self,
        question: Question,
        maps: NDArray[np.floating[Any]],
        *,
        explainers: Sequence[Explainer] = (),
        mask: NDArray[np.bool_] | None = None,
        shuffled: Any = None,
        seed: int = 0,
        batch: int = 64,
    ) -> None:
        size = question.images.shape[2:]
        if len(question.images) != 1:
            raise InputError(f"expected a question about one image; got {len(question.images)} images")
        if maps.ndim != len(size) + 1 or maps.shape[1:] != size:
            raise InputError(f"maps must be (M, {', '.join(map(str, size))}); got {maps.shape}")
        if explainers and len(explainers) != len(maps):
            raise InputError(f"expected an explainer for each of {len(maps)} maps; got {len(explainers)}")
        if mask is not None and mask.shape != size:
            raise InputError(f"mask must be {size}, like the image; got {mask.shape}")
        self.flaws = [flaw_of(values) for values in maps]
        self.question, self.maps = question, np.nan_to_num(np.asarray(maps, dtype=np.float64))
        self.explainers, self.mask, self.seed, self.batch = tuple(explainers), mask, seed, batch
        self.shuffled = shuffled
        self.device = question.predictor.device
        self.image = torch.as_tensor(question.images[0]).to(self.device)
        self.passes = 0
        self.failed: dict[int, str] = {}
        self.note = ""
        self._cache: dict[Any, Any] = {}

    @property
    def size(self) -> tuple[int, ...]:
        """Return the spatial shape of the image."""
        return self.maps.shape[1:]

    def score(self, images: Tensor, *, predictor: Any = None) -> Values:
        """Return target values (N,) of images (N, C, *S), by the question's predictor or another one."""
        return self._scores(len(images), lambda part: images[part], predictor)

    def score_each(self, count: int, make: Callable[[int], Tensor]) -> Values:
        """Return target values (count,) of the images (C, *S) that `make(i)` computes batch by batch."""
        return self._scores(count, lambda part: torch.stack([make(i) for i in range(part.start, part.stop)]))

    def _scores(self, count: int, images: Callable[[slice], Tensor], predictor: Any = None) -> Values:
        model = self.question.predictor if predictor is None else predictor
        return self._score_batches(count, images, self.image.numel(), model, self.question.target)

    @property
    def whole(self) -> float:
        """Return f of the unchanged image."""
        return self.once("whole", lambda: float(self.score(self.image[None])[0]))

    def empty(self, fill: str | float) -> Tensor:
        """Return the empty image (C, *S), in which every voxel is hidden.

        fill  "mean", "min", "blur", a number in image units, or "noise" ("noise 1", … for other seeds): uniform
              in the range of each channel
        """

        def make() -> Tensor:
            if not str(fill).startswith("noise"):
                return fill_values(self.image[None], fill)[0]
            axes = tuple(range(1, self.image.ndim))
            low, high = self.image.amin(dim=axes, keepdim=True), self.image.amax(dim=axes, keepdim=True)
            noise = self.rng(fill).random(self.image.shape, dtype=np.float32)
            return low + torch.from_numpy(noise).to(self.device) * (high - low)

        return self.once(("empty", fill), make)

    def truth(self, metric: str) -> NDArray[np.bool_]:
        """Return the mask (*S) of the cause, for a localisation metric.

        raises  InputError without a mask, or for an empty one
        """
        if self.mask is None:
            raise InputError(f"{metric} needs a mask of the cause; got none; pass masks")
        if not self.mask.any():
            raise InputError(f"{metric} needs a mask of at least one voxel; got an empty one")
        return self.mask

    def mass(self) -> Values:
        """Return the share (M, voxels) of each voxel in the sum of |map|, the greatest first."""

        def make() -> Values:
            size = np.sort(np.abs(self.maps.reshape(len(self.maps), -1)), axis=1)[:, ::-1]
            return size / np.maximum(size.sum(axis=1, keepdims=True), 1e-300)

        return self.once("mass", make)

    def score_empty(self, fill: str | float) -> float:
        """Return f of the empty image."""
        return self.once(("score_empty", fill), lambda: float(self.score(self.empty(fill)[None])[0]))

    def note_inverted(self, fill: str | float) -> None:
        """Set the note "inverted" if hiding the whole image does not lower f, so that a removal curve cannot
        fall."""
        whole, empty = self.whole, self.score_empty(fill)
        if whole <= empty:
            self.note = f"inverted: the empty image ({empty:.3g}) scores no lower than the image ({whole:.3g})"

    def ranks(self) -> NDArray[np.int64]:
        """Return ranks (M, voxels): 0 for the highest value of a map; equal values in random order."""

        def make() -> NDArray[np.int64]:
            flat = self.maps.reshape(len(self.maps), -1)
            chance = self.rng("ties").permutation(flat.shape[1])
            order = np.stack([np.lexsort((chance, -values)) for values in flat])
            ranks = np.empty_like(order)
            np.put_along_axis(ranks, order, np.arange(flat.shape[1])[None], axis=1)
            return ranks

        return self.once("ranks", make)

    def curves(self, *, steps: int, fill: str | float, insert: bool = False) -> Values:
        """Return f (M, steps + 1) while voxels are hidden in descending order of each map, from none to all;
        with `insert` while they are shown.

        cost  M x (steps - 1) + 2 forward passes, shared by all metrics with the same arguments
        """

        def make() -> Values:
            return self._curves_of(self.ranks(), steps, fill, insert)

        return self.once(("curves", steps, fill, insert), make)

    def region_curves(
        self, *, steps: int, fill: str | float, features: int, kind: str = "grid", by: str = "sum"
    ) -> Values:
        """Return f (M, steps + 1) while features are hidden in descending order of the map's sum (or mean) over
        each, from none to all; fewer steps if there are fewer features.

        cost  M x (steps - 1) + 2 forward passes, shared by all metrics with the same arguments
        """

        def make() -> Values:
            labels, ranks = self._feature_ranks(features, kind, by)
            return self._curves_of(ranks, min(steps, ranks.shape[1]), fill, labels=labels)

        return self.once(("region_curves", steps, fill, features, kind, by), make)

    def region_shares(self, *, steps: int, features: int, kind: str = "grid", by: str = "sum") -> Values:
        """Return the share (M, steps + 1) of hidden voxels at each point of `region_curves`, 0 to 1."""
        labels, ranks = self._feature_ranks(features, kind, by)
        sizes, count = np.bincount(labels), ranks.shape[1]
        steps = min(steps, count)
        cuts = np.round(np.arange(steps + 1) * count / steps).astype(int)
        hidden = np.cumsum([sizes[np.argsort(row)] for row in ranks], axis=1) / labels.size
        return np.concatenate([np.zeros((len(ranks), 1)), hidden], axis=1)[:, cuts]

    def _feature_ranks(self, features: int, kind: str, by: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the feature labels (voxels,), and the rank (M, features) of each feature in each map."""
        labels = self.features(kind, min(features, *self.size)).ravel()
        kinds = int(labels.max()) + 1
        values = self.sums(labels, kinds)
        if by == "mean":
            values = values / np.maximum(np.bincount(labels, minlength=kinds), 1)
        chance = self.rng("ties", kinds).permutation(kinds)
        return labels, np.stack([np.lexsort((chance, -row)).argsort() for row in values])

    def _curves_of(
        self,
        ranks: NDArray[np.int64],
        steps: int,
        fill: str | float,
        insert: bool = False,
        labels: NDArray[np.int64] | None = None,
    ) -> Values:
        """Return f (M, steps + 1) while items are hidden (or shown) in the order of `ranks` (M, items); items
        are voxels, or features if `labels` (voxels,) are passed."""
        cuts = np.round(np.arange(1, steps) * ranks.shape[1] / steps).astype(int)
        curves = np.empty((len(ranks), steps + 1))
        curves[:, 0], curves[:, -1] = self.whole, self.score_empty(fill)
        if insert:
            curves = curves[:, ::-1].copy()

        def where(i: int) -> NDArray[np.bool_]:
            which, step = divmod(i, len(cuts))
            gone = (ranks[which] >= cuts[step]) == insert
            return gone if labels is None else gone[labels]

        curves[:, 1:-1] = self.hidden(len(ranks) * len(cuts), where, fill).reshape(len(ranks), -1)
        return curves

    def hidden(self, count: int, where: Callable[[int], NDArray[np.bool_]], fill: str | float) -> Values:
        """Return target values (count,) of the image with the voxels `where(i)` (voxels,) hidden. Images are
        made batch by batch, so that memory does not limit their number."""
        empty = self.empty(fill)

        def images(part: slice) -> Tensor:
            gone = np.stack([where(i).reshape(self.size) for i in range(part.start, part.stop)])
            return torch.where(torch.from_numpy(gone).to(self.device)[:, None], empty, self.image)

        return self._scores(count, images)

    def features(self, kind: str, count: int) -> NDArray[np.int64]:
        """Return labels (*S) of features: boxes ("grid") or supervoxels ("slic"), `count` along each axis."""
        return self.once(
            ("features", kind, count), lambda: feature_labels(self.question.images[0], kind, count)
        )

    def subsets(self, *, count: int, share: float, fill: str | float, features: int) -> tuple[Values, Values]:
        """Hide random subsets of boxes; return the sum of each map over them (M, count), and the fall of f
        (count,). `features` boxes along each axis; a subset hides `share` of them.

        cost  `count` forward passes, shared by all maps and all metrics with the same arguments
        """

        def make() -> tuple[Values, Values]:
            cells = min(features, *self.size)
            labels = self.features("grid", cells).ravel()
            kinds = int(labels.max()) + 1
            order = self.rng("subsets", count, share, features).random((count, kinds)).argsort(axis=1)
            chosen = order < max(1, round(share * kinds))
            falls = self.whole - self.hidden(count, lambda i: chosen[i][labels], fill)
            return self.sums(labels, kinds) @ chosen.T, falls

        return self.once(("subsets", count, share, fill, features), make)

    def by_feature(self, *, fill: str | float, features: int, kind: str = "grid") -> tuple[Values, Values]:
        """Hide each feature alone; return the sum of each map over it (M, features), and the fall of f.

        cost  one forward pass per feature, shared by all maps
        """

        def make() -> tuple[Values, Values]:
            labels = self.features(kind, min(features, *self.size)).ravel()
            kinds = int(labels.max()) + 1
            falls = self.whole - self.hidden(kinds, lambda i: labels == i, fill)
            return self.sums(labels, kinds), falls

        return self.once(("by_feature", fill, features, kind), make)

    def sums(self, labels: NDArray[np.int64], kinds: int) -> Values:
        """Return the sum (M, kinds) of each map over the voxels of each label."""
        rows = [np.bincount(labels.ravel(), values.ravel(), kinds) for values in self.maps]
        return np.asarray(np.stack(rows), dtype=np.float64)

    def cell_sums(self, cells: int) -> Values:
        """Return the sum (M, boxes) of each map over boxes, `cells` along each axis."""
        labels = self.features("grid", min(cells, *self.size))
        return self.sums(labels, int(labels.max()) + 1)

    def noisy(self, count: int, radius: float) -> NDArray[np.float32]:
        """Return copies (count, C, *S) of the image with uniform noise of at most `radius`, a share of the
        image's range; the same for all maps."""
        image = self.question.images
        noise = self.rng("noisy", count).uniform(-1, 1, (count, *image.shape[1:]))
        return (image + radius * float(np.ptp(image)) * noise).astype(np.float32)

    def each(self, value: Callable[[int], float]) -> Values:
        """Return `value` (M,) of every map that can be evaluated, and NaN for the others.

        raises  the first error if every map fails; otherwise failures are recorded in `failed`
        """
        values, errors = np.full(len(self.maps), np.nan), []
        for which in (m for m, flaw in enumerate(self.flaws) if not flaw):
            try:
                values[which] = value(which)
            except ContrafactError as error:
                errors.append(error)
                self.failed[which] = " ".join(str(error).split())
        if errors and len(errors) == self.flaws.count(""):
            raise errors[0]
        return values

    def again(
        self,
        which: int,
        *,
        images: NDArray[np.float32] | None = None,
        seed: int | None = None,
        predictor: Any = None,
        target: Any = None,
    ) -> Values:
        """Return the maps (N, *S) of explainer `which` with other images (N, C, *S), seed, predictor or target;
        None keeps the original value. Another predictor is frozen meanwhile.

        raises  InputError without explainers
        """
        if not self.explainers:
            raise InputError("this metric explains again; got maps without explainers; pass the explainers")
        original = self.question
        other = None if predictor is None else adapted(predictor)
        counted = Counted(other or original.predictor)
        question = Question(
            predictor=counted,
            images=original.images if images is None else images,
            target=original.target if target is None else target,
            grid=original.grid,
            bundle=original.bundle,
            background=original.background,
            region=original.region,
        )
        rng = np.random.default_rng(self.seed if seed is None else seed)
        with contextlib.nullcontext() if other is None else other.frozen():
            maps = np.asarray(self.explainers[which](question, rng), dtype=np.float64)
        self.passes += counted.passes
        return maps if original.region is None else np.where(original.region, maps, 0)


def flaw_of(values: NDArray[Any]) -> str:
    """Return the reason why a map cannot be evaluated, or an empty text if it can."""
    if not np.isfinite(values).all():
        return "the map contains NaN or infinite values"
    if np.ptp(values) == 0:
        return "the map has the same value everywhere and highlights no region"
    return ""


def check_subsets(samples: int, share: float) -> None:
    """Check the settings of a metric over random subsets.

    raises  InputError for fewer than 2 samples, or a share outside (0, 1)
    """
    if samples < 2 or not 0 < share < 1:
        raise InputError(f"expected at least 2 samples and a share in (0, 1); got {samples}, {share}")
