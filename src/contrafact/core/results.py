"""Results: heatmaps and counterfactuals, with the record of how they were made."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contrafact.core.display import html_of, plotted
from contrafact.core.errors import ContrafactError, InputError
from contrafact.core.grid import Grid
from contrafact.core.stored import RENAMED, present_names, save_result

# Places in a segmenter's prediction whose score, a mean of log-odds, says whether they are segmented.
PLACES_WITH_ODDS = ("region", "lesion", "mask", "false-positive", "missed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """How a result was made; JSON through `dataclasses.asdict`.

    seconds, forward_passes   cost per image: that of the batch divided by its images
    notes    measurements of the method itself (conservation, completeness)
    details  choices of the method: `layer`, and `cells`, the size of that layer's feature map; within
             a region, `region`: its share of the image
    bundle, generator   hashes, for methods that need a bundle; else empty
    """

    method: str
    parameters: Mapping[str, Any]
    target: str
    model: str
    image: str
    source: str = ""
    seed: int = 0
    versions: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    forward_passes: float = 0.0
    peak_memory_mb: float = 0.0
    notes: Mapping[str, float] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    bundle: str = ""
    generator: str = ""

    @property
    def engine(self) -> str:
        """The method that did the work: `method`, or the one that it chose for the bundle."""
        return str(self.details.get("engine") or self.method)

    def _repr_html_(self) -> str | None:
        return html_of("record", self)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Heatmap:
    """Signed values (*S), float32, in units of the target, on the image's grid.

    Positive: the voxel is evidence for the target. Never rescaled, never clipped: scaling for display
    belongs to `render`.
    """

    values: NDArray[np.float32]
    grid: Grid
    record: Record

    def __post_init__(self) -> None:
        values = np.asarray(self.values, dtype=np.float32)
        if values.shape != self.grid.shape:
            raise ContrafactError(f"heatmap must be {self.grid.shape}; got {values.shape}")
        if not np.isfinite(values).all():
            raise ContrafactError(f"{self.record.method} returned NaN or infinite values")
        object.__setattr__(self, "values", values)

    def _repr_html_(self) -> str | None:
        return html_of("heatmap", self)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.values, dtype=dtype) if copy or dtype is not None else self.values

    def save(self, path: str | Path) -> Path:
        """Write the map with its grid and record to an .npz; read it with `contrafact.read_result`."""
        return save_result(self, path, "heatmap")

    def plot(self, *, image: Any = None, ax: Any = None, at: int | None = None) -> Any:
        """Return matplotlib axes with the map in signed colours, over `image` if given; `at`: slice of a
        volume, by default the one with most of the map."""
        return plotted("heatmap", self, image=image, ax=ax, at=at)


def answering(scores: Any, origin: int, target: str) -> int:
    """Return the index of the counterfactual frame: the last, or the first if `origin` is the last. For frames
    on both sides of `origin`: the end across the decision threshold, or the last if neither or both are."""
    last = len(scores) - 1
    if origin == last:
        return 0
    crossing = [k for k in (last, 0) if decides(target) and scores[origin] * scores[k] < 0]
    return crossing[0] if crossing else last


def decides(target: str) -> bool:
    """Whether scores of a target have a decision threshold, at 0: those of a class, a margin, or a place in a
    segmenter's prediction (the mean log-odds of its class there). Other thresholds (`@`) are not at 0."""
    kind, _, rest = target.partition(":")
    if kind in PLACES_WITH_ODDS:
        return "@" not in rest and not rest.endswith(",sum")
    return kind in ("class", "margin")


def tolerance_of(target: str, tolerance: float, score: float) -> float:
    """Return the tolerance of the error of a reconstruction's score: `tolerance` in units of the target, but of
    a number of voxels (a volume, a sum) a tenth of it."""
    counted = target.startswith("volume:") or target.endswith(",sum")
    return 0.1 * tolerance * max(abs(score), 1.0) if counted else tolerance


def confirms(before: float, after: float, score: float) -> bool:
    """Whether a second model's scores also cross 0, to the sign of the first model's `score`."""
    return before * after < 0 < after * score


OUTCOMES = ("steps", "reached", "already", "budget", "search", "no_change")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Counterfactual:
    """A counterfactual: frames from the image to the changed image, with the model's score of each.

    frames      (K, C, *S) float32, units of the image; detail that the generator cannot reproduce is kept
    requested   (K,) requested change of the score, in units of the target (logits for a class)
    scores      (K,) achieved score of each frame, same units; frame `origin` is the image
    latent_distance  (K,) Mahalanobis length of the latent offset, in SD of the latents
    reconstruction_error  in units of the target: |score(image) - score(reconstruction)|, or that of resizing
                the image to the generator's size, if greater
    above_tolerance  the reconstruction error is above the tolerance: do not trust this counterfactual
    outcome     why the search ended: steps (fixed steps were requested), reached (the goal), already (the
                image met the goal), budget (no counterfactual within the plausibility budget), search
                (none found within the budget), no_change (the direction does not change the prediction)
    goal        the requested score, or None
    reconstruction (C, *S) the image as the generator reproduces it
    second      (K,) scores of the frames by a second, independently trained model for the same target; None
                without such a model

    Earlier names of these fields (`core.stored.RENAMED`) work with a warning.
    """

    frames: NDArray[np.float32]
    requested: NDArray[np.float64]
    scores: NDArray[np.float64]
    latent_distance: NDArray[np.float64]
    origin: int
    reconstruction_error: float
    above_tolerance: bool
    outcome: str
    goal: float | None
    reconstruction: NDArray[np.float32]
    grid: Grid
    record: Record | None = None
    second: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        count = len(self.frames)
        if self.second is not None and len(self.second) != count:
            raise ContrafactError("a counterfactual needs as many scores of the second model as frames")
        if not len(self.requested) == len(self.scores) == len(self.latent_distance) == count:
            raise ContrafactError(
                "a counterfactual needs as many requested changes, scores and latent distances as frames"
            )
        if self.frames.shape[2:] != self.grid.shape:
            raise ContrafactError(f"frames must be on {self.grid.shape}; got {self.frames.shape}")
        if not (np.isfinite(self.frames).all() and np.isfinite(self.scores).all()):
            raise ContrafactError("the counterfactual holds NaN or infinite values")
        if self.outcome not in OUTCOMES:
            raise InputError(f"outcome must be one of {OUTCOMES}; got '{self.outcome}'")

    @property
    def image(self) -> NDArray[np.float32]:
        """(C, *S) the unchanged image: frame `origin`."""
        return self.frames[self.origin]

    @property
    def end(self) -> int:
        """Index of the counterfactual frame: the last, or the first if `origin` is the last. For frames on both
        sides of `origin`: the end across the decision threshold."""
        return answering(self.scores, self.origin, self.record.target if self.record else "")

    @property
    def flips(self) -> bool:
        """Whether the prediction flips: the score of a class or a margin crosses 0."""
        decided = self.record is not None and decides(self.record.target)
        return decided and bool(self.scores[self.origin] * self.scores[self.end] < 0)

    @property
    def confirmed(self) -> bool | None:
        """Whether the second model flips to the same side as the first; False if it was on that side before the
        change. None without a second model, or if the prediction does not flip."""
        if self.second is None or not self.flips:
            return None
        before, after = (float(score) for score in self.second[[self.origin, self.end]])
        return confirms(before, after, float(self.scores[self.end]))

    @property
    def change(self) -> NDArray[np.float32]:
        """(C, *S) last frame minus the image; with frames on both sides of `origin`, last minus first."""
        before = self.frames[0] if self.origin not in (0, len(self.frames) - 1) else self.image
        after = self.frames[-1] if self.origin != len(self.frames) - 1 else self.frames[0]
        return np.asarray(after - before)

    def _repr_html_(self) -> str | None:
        return html_of("strip", self)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.frames, dtype=dtype) if copy or dtype is not None else self.frames

    def save(self, path: str | Path) -> Path:
        """Write the frames with their scores, grid and record to an .npz; read it with
        `contrafact.read_result`."""
        return save_result(self, path, "strip")

    def plot(self, *, at: int | None = None) -> Any:
        """Return a matplotlib figure with the frames, each under the model's score; `at`: slice of a volume."""
        return plotted("strip", self, at=at)

    def stamped(self, record: Record) -> Counterfactual:
        """Return a copy with this record."""
        return dataclasses.replace(self, record=record)


def _accept_old_names(kind: Any) -> None:
    """Accept the old names of a counterfactual's fields, as arguments and as attributes, with a warning."""
    build = kind.__init__

    def warn(name: str) -> None:
        line = f"Counterfactual.{name} is called Counterfactual.{RENAMED[name]} now"
        warnings.warn(line, DeprecationWarning, stacklevel=3)

    @functools.wraps(build)
    def init(self: Any, **fields: Any) -> None:
        old_fields = {name: fields.pop(name) for name in RENAMED if name in fields}
        for name in old_fields:
            warn(name)
        build(self, **{**fields, **present_names(old_fields)})  # `dataclasses.replace` gives both names

    def old(self: Any, name: str) -> Any:
        if name not in RENAMED:
            raise AttributeError(f"'Counterfactual' object has no attribute '{name}'", name=name, obj=self)
        warn(name)
        return getattr(self, RENAMED[name])

    kind.__init__, kind.__getattr__ = init, old


_accept_old_names(Counterfactual)
