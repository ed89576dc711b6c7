"""What a counterfactual does to a lung nodule, beside its readers: place, agreement, and area that is left."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from scipy.ndimage import gaussian_filter

from experiments.nodule_windows import NoduleWindow, nodule_windows
from experiments.tables import mean, ratio
from experiments.train.nodule_segmenters import at_side, by_reader, consensus, made

Values = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]


def windows_of(names: list[str], data: Path, part: str) -> list[NoduleWindow]:
    """The windows of a cohort's images, in their order."""
    known = {f"{w.name}-{'nodule' if w.nodule else 'none'}": w for w in nodule_windows(data, part)}
    return [known[name] for name in names]


def large(mask: Mask, side: int) -> Mask:
    """A mask at the side of the frames."""
    return np.asarray(at_side(mask, side)[0, 0] > 0.5)


def iou(one: Mask, other: Mask) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))


def strongest(change: Values, area: int) -> Mask:
    """The pixels with the greatest smoothed change, as many as `area`."""
    smooth = gaussian_filter(change.astype(float), 1.0)
    return np.asarray(smooth >= np.sort(smooth.ravel())[-max(area, 1)])


def readers_iou(window: NoduleWindow) -> float | None:
    """The mean IoU of two of its readers; None with fewer than two."""
    pairs = list(itertools.combinations(by_reader(window.readers), 2))
    return float(np.mean([iou(a, b) for a, b in pairs])) if pairs else None


class Segmenter:
    """An independent segmenter of `experiments.train.nodule_segmenters`, on frames of 0 to 255."""

    def __init__(self, folder: Path, role: str) -> None:
        self.network = made(role)
        self.network.load_state_dict(load_file(folder / f"{role}.safetensors"))
        self.network.eval()

    @torch.no_grad()
    def masks(self, frames: Values) -> NDArray[np.bool_]:
        """Masks (N, H, W) of frames (N, 1, H, W)."""
        x = torch.as_tensor(np.asarray(frames), dtype=torch.float32) / 127.5 - 1
        return torch.cat([self.network(part).argmax(dim=1) for part in x.split(64)]).bool().numpy()


def removal_rows(
    first: Values, last: Values, windows: list[NoduleWindow], segmenter: Segmenter | None
) -> dict[str, str]:
    """Figures of frames (N, 1, H, W) from which a nodule was removed, for the windows that hold one."""
    side, own, readers = first.shape[-1], list[float](), list[float]()
    for before, after, window in zip(first, last, windows, strict=True):
        truth, among = large(consensus(window.readers), side), readers_iou(window)
        if among is None or not truth.any():
            continue
        own.append(iou(strongest(np.abs(after - before).mean(axis=0), int(truth.sum())), truth))
        readers.append(among)
    rows = {
        "removed: IoU of the change with the readers' consensus": mean(own),
        "the same as a share of two readers' IoU": ratio(np.array(own), np.array(readers)),
    }
    if segmenter is not None:
        before, after = (segmenter.masks(frames).sum(axis=(1, 2)).astype(float) for frames in (first, last))
        seen = before > 0
        fallen = 1 - after[seen].sum() / max(before[seen].sum(), 1.0)
        gone = [float(a < 0.2 * b) for a, b in zip(after[seen], before[seen], strict=True)]
        rows["removed: nodule area by a segmenter falls by"] = f"{fallen:.2f}; by 80 % in {mean(gone)}"
    return rows


def addition_rows(first: Values, last: Values, segmenter: Segmenter | None) -> dict[str, str]:
    """Figures of frames (N, 1, H, W) to which a nodule was added."""
    if segmenter is None:
        return {}
    before, after = (segmenter.masks(frames).any(axis=(1, 2)) for frames in (first, last))
    return {"added: a segmenter finds a nodule": f"{mean(after.astype(float))}, before {before.mean():.2f}"}
