"""Several maps of one image for one target, and what was measured once for all of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from contrafact.core import ContrafactError, Explainer, InputError, Question
from contrafact.core.execution import Counted
from contrafact.metrics.cache import ModelCache
from contrafact.perturbation import feature_labels, fill_values

Values = NDArray[np.float64]


class HeatmapContext(ModelCache):
    """M maps of one image. Whatever a metric asks of the model is asked once and kept for the others.

    question    of **one** image, its target frozen; the predictor frozen as well (`evaluate` does both)
    maps        (M, *S), units of the target
    explainers  what made each map, for the metrics that explain again; or none
    mask        bool (*S): where the cause lies, for the metrics of localisation; no explainer sees it
    shuffled    a predictor of the same network that was trained on permuted labels, for data randomisation
    batch       images per forward pass at most
    passes      images that went through the model so far
    flaws       why a map cannot be judged, for each; empty where it can
    failed      why the last metric has no value for a map, by number
    note        what a reader of the last metric's values must know; empty where there is nothing
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
            raise InputError(f"a panel is of one image; got {len(question.images)}")
        if maps.ndim != len(size) + 1 or maps.shape[1:] != size:
            raise InputError(f"maps must be (M, {', '.join(map(str, size))}); got {maps.shape}")
        if explainers and len(explainers) != len(maps):
            raise InputError(f"expected an explainer for each of {len(maps)} maps; got {len(explainers)}")
        if mask is not None and mask.shape != size:
            raise InputError(f"mask must be {size}, as the image; got {mask.shape}")
        self.flaws = [flaw_of(values) for values in maps]
        self.question, self.maps = question, np.nan_to_num(np.asarray(maps, dtype=np.float64))
        self.explainers, self.mask, self.seed, self.batch = tuple(explainers), mask, seed, batch
        self.shuffled = shuffled
        self.device = getattr(question.predictor, "device", "cpu")
        self.image = torch.as_tensor(question.images[0]).to(self.device)
        self.passes = 0
        self.failed: dict[int, str] = {}
        self.note = ""
        self._known: dict[Any, Any] = {}

    @property
    def size(self) -> tuple[int, ...]:
        return self.maps.shape[1:]

    def score(self, images: Tensor, *, predictor: Any = None) -> Values:
        """Target values (N,) of images (N, C, *S), in portions, counted."""
        return self._asked(len(images), lambda part: images[part], predictor)

    def score_each(self, count: int, make: Callable[[int], Tensor]) -> Values:
        """Target values (count,) of the images (C, *S) that `make(i)` gives, made as they are asked for."""
        return self._asked(count, lambda part: torch.stack([make(i) for i in range(part.start, part.stop)]))

    def _asked(self, count: int, images: Callable[[slice], Tensor], predictor: Any = None) -> Values:
        ask = self.question.predictor if predictor is None else predictor
        return self._ask(count, images, self.image.numel(), ask, self.question.target)

    @property
    def whole(self) -> float:
        """f of the image as it is."""
        return self.once("whole", lambda: float(self.score(self.image[None])[0]))

    def empty(self, fill: str | float) -> Tensor:
        """(C, *S): the image with nothing in it. `fill` as everywhere, or "noise", or "noise 1" and so on for
        other draws: uniform in the range of each channel."""

        def make() -> Tensor:
            if not str(fill).startswith("noise"):
                return fill_values(self.image[None], fill)[0]
            axes = tuple(range(1, self.image.ndim))
            low, high = self.image.amin(dim=axes, keepdim=True), self.image.amax(dim=axes, keepdim=True)
            drawn = self.rng(fill).random(self.image.shape, dtype=np.float32)
            return low + torch.from_numpy(drawn).to(self.device) * (high - low)

        return self.once(("empty", fill), make)

    def truth(self, metric: str) -> NDArray[np.bool_]:
        """The mask, which a metric of localisation must have."""
        if self.mask is None:
            raise InputError(f"{metric} needs a mask of where the cause lies; got none; give masks")
        if not self.mask.any():
            raise InputError(f"{metric} needs a mask of at least one voxel; got an empty one")
        return self.mask

    def mass(self) -> Values:
        """(M, voxels): the share of each voxel in the sum of |map|, the greatest first."""

        def make() -> Values:
            size = np.sort(np.abs(self.maps.reshape(len(self.maps), -1)), axis=1)[:, ::-1]
            return size / np.maximum(size.sum(axis=1, keepdims=True), 1e-300)

        return self.once("mass", make)

    def score_empty(self, fill: str | float) -> float:
        return self.once(("score_empty", fill), lambda: float(self.score(self.empty(fill)[None])[0]))

    def note_inverted(self, fill: str | float) -> None:
        """Note where hiding everything does not lower f: a curve of removal then has no fall to show."""
        whole, empty = self.whole, self.score_empty(fill)
        if whole <= empty:
            self.note = f"inverted: the empty image ({empty:.3g}) scores no lower than the image ({whole:.3g})"

    def ranks(self) -> NDArray[np.int64]:
        """(M, voxels): 0 for the voxel that says most; equal ones in random order."""

        def make() -> NDArray[np.int64]:
            flat = self.maps.reshape(len(self.maps), -1)
            chance = self.rng("ties").permutation(flat.shape[1])
            order = np.stack([np.lexsort((chance, -values)) for values in flat])
            ranks = np.empty_like(order)
            np.put_along_axis(ranks, order, np.arange(flat.shape[1])[None], axis=1)
            return ranks

        return self.once("ranks", make)

    def curves(self, *, steps: int, fill: str | float, insert: bool = False) -> Values:
        """(M, steps + 1): f while voxels are hidden in falling order of each map, from none to all; or,
        with `insert`, while they are shown. Every map's images go through the model together.

        cost  M x (steps - 1) + 2 forward passes, once for all metrics that ask for the same
        """

        def make() -> Values:
            return self._along(self.ranks(), steps, fill, insert)

        return self.once(("curves", steps, fill, insert), make)

    def region_curves(
        self, *, steps: int, fill: str | float, features: int, kind: str = "grid", by: str = "sum"
    ) -> Values:
        """(M, steps + 1): f while features are hidden in falling order of the map's sum (or mean) over each,
        from none to all; fewer steps where there are fewer features.

        cost  M x (steps - 1) + 2 forward passes, once for all metrics that ask for the same
        """

        def make() -> Values:
            labels, places = self._places(features, kind, by)
            return self._along(places, min(steps, places.shape[1]), fill, labels=labels)

        return self.once(("region_curves", steps, fill, features, kind, by), make)

    def region_shares(self, *, steps: int, features: int, kind: str = "grid", by: str = "sum") -> Values:
        """(M, steps + 1): the share of voxels that is hidden at each point of `region_curves`, 0 to 1."""
        labels, places = self._places(features, kind, by)
        sizes, count = np.bincount(labels), places.shape[1]
        steps = min(steps, count)
        cuts = np.round(np.arange(steps + 1) * count / steps).astype(int)
        hidden = np.cumsum([sizes[np.argsort(row)] for row in places], axis=1) / labels.size
        return np.concatenate([np.zeros((len(places), 1)), hidden], axis=1)[:, cuts]

    def _places(self, features: int, kind: str, by: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Labels of features (voxels,), and the place (M, features) of each in the order of each map."""
        labels = self.features(kind, min(features, *self.size)).ravel()
        kinds = int(labels.max()) + 1
        said = self.sums(labels, kinds)
        if by == "mean":
            said = said / np.maximum(np.bincount(labels, minlength=kinds), 1)
        chance = self.rng("ties", kinds).permutation(kinds)
        return labels, np.stack([np.lexsort((chance, -row)).argsort() for row in said])

    def _along(
        self,
        ranks: NDArray[np.int64],
        steps: int,
        fill: str | float,
        insert: bool = False,
        labels: NDArray[np.int64] | None = None,
    ) -> Values:
        """Curves of `ranks` (M, items), items being voxels, or labels of them."""
        cuts = np.round(np.arange(1, steps) * ranks.shape[1] / steps).astype(int)
        found = np.empty((len(ranks), steps + 1))
        found[:, 0], found[:, -1] = self.whole, self.score_empty(fill)
        if insert:
            found = found[:, ::-1].copy()

        def where(i: int) -> NDArray[np.bool_]:
            which, step = divmod(i, len(cuts))
            gone = (ranks[which] >= cuts[step]) == insert
            return gone if labels is None else gone[labels]

        found[:, 1:-1] = self.hidden(len(ranks) * len(cuts), where, fill).reshape(len(ranks), -1)
        return found

    def hidden(self, count: int, where: Callable[[int], NDArray[np.bool_]], fill: str | float) -> Values:
        """Target values (count,) of the image with `where(i)` (voxels) hidden. Images are made as they are
        asked for, so that their number is no matter of memory."""
        empty = self.empty(fill)

        def images(part: slice) -> Tensor:
            gone = np.stack([where(i).reshape(self.size) for i in range(part.start, part.stop)])
            return torch.where(torch.from_numpy(gone).to(self.device)[:, None], empty, self.image)

        return self._asked(count, images)

    def features(self, kind: str, count: int) -> NDArray[np.int64]:
        """(*S) labels of groups of voxels."""
        return self.once(
            ("features", kind, count), lambda: feature_labels(self.question.images[0], kind, count)
        )

    def subsets(self, *, count: int, share: float, fill: str | float, features: int) -> tuple[Values, Values]:
        """Random groups of features hidden at once: what each map says of them (M, count), and how far f
        falls (count,). Features are boxes, `features` along every axis; `share` of them are hidden.

        cost  `count` forward passes, once for all maps and all metrics that ask for the same
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
        """Each feature hidden alone: what each map says of it (M, features), and how far f falls.

        cost  one forward pass per feature, once for all maps
        """

        def make() -> tuple[Values, Values]:
            labels = self.features(kind, min(features, *self.size)).ravel()
            kinds = int(labels.max()) + 1
            falls = self.whole - self.hidden(kinds, lambda i: labels == i, fill)
            return self.sums(labels, kinds), falls

        return self.once(("by_feature", fill, features, kind), make)

    def sums(self, labels: NDArray[np.int64], kinds: int) -> Values:
        """(M, kinds): what each map says of every label together."""
        found = [np.bincount(labels.ravel(), values.ravel(), kinds) for values in self.maps]
        return np.asarray(np.stack(found), dtype=np.float64)

    def cell_sums(self, cells: int) -> Values:
        """(M, boxes): what each map says of boxes, `cells` along every axis."""
        labels = self.features("grid", min(cells, *self.size))
        return self.sums(labels, int(labels.max()) + 1)

    def noisy(self, count: int, radius: float) -> NDArray[np.float32]:
        """(count, C, *S): the image with uniform noise of at most `radius`, a share of the image's range; the
        same for all maps."""
        image = self.question.images
        noise = self.rng("noisy", count).uniform(-1, 1, (count, *image.shape[1:]))
        return (image + radius * float(np.ptp(image)) * noise).astype(np.float32)

    def each(self, value: Callable[[int], float]) -> Values:
        """(M,): `value` of every map that can be judged, NaN for the others.

        raises  the first error where every map has one; one that fails among others is noted in `failed`
        """
        found, errors = np.full(len(self.maps), np.nan), []
        for which in (m for m, flaw in enumerate(self.flaws) if not flaw):
            try:
                found[which] = value(which)
            except ContrafactError as error:
                errors.append(error)
                self.failed[which] = " ".join(str(error).split())
        if errors and len(errors) == self.flaws.count(""):
            raise errors[0]
        return found

    def again(
        self,
        which: int,
        *,
        images: NDArray[np.float32] | None = None,
        seed: int | None = None,
        predictor: Any = None,
        target: Any = None,
    ) -> Values:
        """(N, *S): what explainer `which` says of other images (N, C, *S), by another model (which is frozen
        meanwhile), for another target or with another seed; what is not given stays.

        raises  InputError where the panel holds maps only
        """  # fmt: skip
        if not self.explainers:
            raise InputError("this metric explains again; give the explainers and not only their maps")
        asked = self.question
        counted = Counted(asked.predictor if predictor is None else predictor)
        frozen = getattr(predictor, "frozen", contextlib.nullcontext)
        question = Question(
            predictor=counted,
            images=asked.images if images is None else images,
            target=asked.target if target is None else target,
            grid=asked.grid,
            bundle=asked.bundle,
            background=asked.background,
            region=asked.region,
        )
        rng = np.random.default_rng(self.seed if seed is None else seed)
        with frozen():
            found = np.asarray(self.explainers[which](question, rng), dtype=np.float64)
        self.passes += counted.passes
        return found if asked.region is None else np.where(asked.region, found, 0)


def flaw_of(values: NDArray[Any]) -> str:
    """Why a map cannot be judged; empty where it can."""
    if not np.isfinite(values).all():
        return "the map holds NaN or infinite values"
    if np.ptp(values) == 0:
        return "the map is the same everywhere: it points nowhere"
    return ""


def check_subsets(samples: int, share: float) -> None:
    """What a metric over random subsets may ask for.

    raises  InputError for fewer than 2 samples, or a share outside (0, 1)
    """
    if samples < 2 or not 0 < share < 1:
        raise InputError(f"expected at least 2 samples and a share in (0, 1); got {samples}, {share}")
