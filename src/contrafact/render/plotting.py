"""`result.plot()`: a heatmap or a counterfactual as a matplotlib figure."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from contrafact.core import Counterfactual, Heatmap, Image, InputError
from contrafact.render.pixels import AGAINST, FOR

SHOWN = 9  # frames at most


def heatmap(result: Heatmap, *, image: Any = None, ax: Any = None, at: int | None = None) -> Any:
    """Plot a map in the colours of the pages (orange for, blue against, 0 white), over `image` (an `Image` or
    array (C, *S)) if given.

    at  slice of a volume; None: the slice with the largest sum of the map's magnitude
    """
    from matplotlib.colors import LinearSegmentedColormap

    values = result.values
    number = _slice_of(np.abs(values), at) if values.ndim == 3 else None
    ax = _axes(ax)
    if image is not None:
        below = np.asarray(image.values if isinstance(image, Image) else image).mean(axis=0)
        if below.shape != values.shape:
            raise InputError(f"expected an image of shape {values.shape}, as the map; got {below.shape}")
        ax.imshow(below if number is None else below[number], cmap="gray")
    scale = float(np.abs(values).max()) or 1.0
    shown = ax.imshow(
        values if number is None else values[number],
        cmap=LinearSegmentedColormap.from_list("signed", np.stack([AGAINST, np.full(3, 255.0), FOR]) / 255),
        vmin=-scale,
        vmax=scale,
        alpha=None if image is None else 0.5,
    )
    ax.figure.colorbar(shown, ax=ax, label="evidence, in units of the target")
    about = "" if number is None else f", slice {number}"
    ax.set_title(f"{result.record.method}, {result.record.target}{about}")
    ax.axis("off")
    return ax


def strip(result: Counterfactual, *, at: int | None = None) -> Any:
    """Return a figure with the frames of a counterfactual and the model's score for each.

    at  slice of a volume; None: the slice that changes most
    """
    import matplotlib.pyplot as plt

    picked = np.unique(
        np.linspace(0, len(result.frames) - 1, min(SHOWN, len(result.frames))).round().astype(int)
    )
    frames = result.frames.mean(axis=1)
    if frames.ndim == 4:
        frames = frames[:, _slice_of(np.abs(frames[-1] - frames[0]), at)]
    figure, axes = plt.subplots(1, len(picked), figsize=(2 * len(picked), 2.4), squeeze=False)
    for ax, number in zip(axes[0], picked, strict=True):
        ax.imshow(frames[number], cmap="gray", vmin=float(frames.min()), vmax=float(frames.max()))
        ax.set_title(f"{'image, ' if number == result.origin else ''}{result.scores[number]:.2f}")
        ax.axis("off")
    return figure


def _slice_of(change: NDArray[Any], at: int | None) -> int:
    if at is None:
        return int(change.sum(axis=(1, 2)).argmax())
    if not 0 <= at < len(change):
        raise InputError(f"slice must be from 0 to {len(change) - 1}; got {at}")
    return at


def _axes(ax: Any) -> Any:
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots()[1]
