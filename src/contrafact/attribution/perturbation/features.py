"""Run captum's perturbation methods over the features (boxes or supervoxels) of an image."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from contrafact.core import InputError, Question
from contrafact.perturbation import feature_labels, fill_values, memory, portions


def labels_in_region(labels: NDArray[np.int64], region: NDArray[np.bool_] | None) -> NDArray[np.int64]:
    """Return labels (*S) in which the features that touch `region` are numbered from 0, and all other features
    share the next number; the labels unchanged if `region` is None."""
    if region is None:
        return labels
    inside = np.unique(labels[region])
    table = np.full(int(labels.max()) + 1, len(inside), dtype=np.int64)
    table[inside] = np.arange(len(inside))
    return np.asarray(table[labels])


class FeatureSettings(Protocol):
    """Settings of a method over features; the methods (kernel-shap, lime, …) document them."""

    @property
    def features(self) -> str: ...
    @property
    def count(self) -> int: ...
    @property
    def fill(self) -> str | float: ...
    @property
    def batch(self) -> int: ...


def by_features(
    question: Question,
    settings: FeatureSettings,
    rng: np.random.Generator,
    method: Callable[[Callable[[Tensor], Tensor]], Any],
    *,
    least: int = 1,
    **arguments: Any,
) -> NDArray[np.float32]:
    """Return the maps (N, *S) of a captum method over features, one image at a time. Captum holds the changed
    images of a portion at once, so that a portion of large images is a few of them.

    method     makes the captum method from a function that scores a batch of images
    least      number of features that the method needs; InputError where an image has fewer
    arguments  passed to its `attribute`, beside the features
    gives      each feature's value spread evenly over its voxels, so that the map sums to the features' sum
    """
    seed = int(rng.integers(2**31))
    device = question.predictor.device
    images = torch.as_tensor(question.images).to(device)

    def forward(batch: Tensor) -> Tensor:
        scores = list[Tensor]()

        def work(part: slice) -> None:
            scores.append(torch.as_tensor(question.target(question.predictor(batch[part]))))

        with torch.no_grad():
            portions(len(batch), len(batch), batch[0].numel(), work)
        return torch.cat(scores)

    together = max(1, min(settings.batch, memory.images_at_once(images[0].numel())))
    maps = []
    for image, empty in zip(images, fill_values(images, settings.fill), strict=True):
        numbers = feature_labels(image.cpu().numpy(), settings.features, settings.count)
        labels = torch.from_numpy(labels_in_region(numbers, question.region)).to(device)
        found = int(labels.max()) + 1
        if found < least:
            raise InputError(
                f"expected at least {least} features of the image; got {found}; set a greater count"
            )
        with seeded(seed):
            values = method(forward).attribute(
                image[None],
                baselines=empty[None],
                feature_mask=labels[None, None],
                perturbations_per_eval=together,
                **arguments,
            )
        sizes = torch.bincount(labels.flatten())[labels]
        maps.append((values[0].detach().mean(dim=0) / sizes).cpu().numpy())
    return np.asarray(np.stack(maps), dtype=np.float32)


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's and NumPy's global random generators, which captum uses, and restore them on leaving."""
    state = np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(state)  # noqa: NPY002
