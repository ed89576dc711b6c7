"""The methods of captum that work on features, one batch of hidden features at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from contrafact.core import Question
from contrafact.perturbation import feature_labels, fill_values


def asked_about(labels: NDArray[np.int64], region: NDArray[np.bool_] | None) -> NDArray[np.int64]:
    """Labels numbered anew where features touch the region of interest; all others are one more."""
    if region is None:
        return labels
    inside = np.unique(labels[region])
    table = np.full(int(labels.max()) + 1, len(inside), dtype=np.int64)
    table[inside] = np.arange(len(inside))
    return np.asarray(table[labels])


class Grouped(Protocol):
    """A method over features: how they are made, what hides them, how many images at a time."""

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
    asked: Grouped,
    rng: np.random.Generator,
    method: Callable[[Callable[[Tensor], Tensor]], Any],
    **arguments: Any,
) -> NDArray[np.float32]:
    """One method of captum over features, image by image: maps (N, *S).

    method  of the score of a batch; its `attribute` gets the features and `arguments`
    gives   each feature's value spread evenly over its voxels, so that the map sums to the features' sum
    """
    seed = int(rng.integers(2**31))
    device = getattr(question.predictor, "device", "cpu")
    images = torch.as_tensor(question.images).to(device)

    def forward(batch: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.as_tensor(question.target(question.predictor(batch)))

    maps = []
    for image, empty in zip(images, fill_values(images, asked.fill), strict=True):
        found = feature_labels(image.cpu().numpy(), asked.features, asked.count)
        labels = torch.from_numpy(asked_about(found, question.region)).to(device)
        with seeded(seed):
            values = method(forward).attribute(
                image[None],
                baselines=empty[None],
                feature_mask=labels[None, None],
                perturbations_per_eval=asked.batch,
                **arguments,
            )
        sizes = torch.bincount(labels.flatten())[labels]
        maps.append((values[0].detach().mean(dim=0) / sizes).cpu().numpy())
    return np.asarray(np.stack(maps), dtype=np.float32)


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """captum draws from torch's and NumPy's global generators: seed them here, and put them back."""
    state = np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            np.random.set_state(state)  # noqa: NPY002
