"""Fills have the values that a plain implementation gives, and their work does not grow with the box."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter1d
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from contrafact.perturbation import fill_values


class Written(TorchDispatchMode):
    """Counts the values that operations read or write, whichever is more; a pooling reads its whole window."""

    def __init__(self) -> None:
        super().__init__()
        self.values = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if isinstance(found, Tensor):
            window = int(np.prod(args[1])) if "pool" in str(func) else 1
            self.values += found.numel() * window
        return found


@pytest.mark.parametrize("size", [(40, 7), (33, 24), (1, 17, 26), (20, 9, 16)])
def test_a_blur_is_that_of_scipy(size: tuple[int, ...]) -> None:
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0)) * 300 + 1000
    wanted = images.numpy().astype(np.float64)
    for axis, side in enumerate(size):
        for _ in range(2):
            wanted = uniform_filter1d(wanted, 2 * max(1, side // 8) + 1, axis=axis + 2, mode="nearest")
    blurred = fill_values(images, "blur")
    assert blurred.dtype == torch.float32
    np.testing.assert_allclose(blurred.numpy(), wanted, rtol=2e-7)


def test_the_blur_of_an_image_without_content_is_the_image() -> None:
    image = torch.full((1, 1, 50, 60), 0.1)
    assert torch.equal(fill_values(image, "blur"), image)


def test_the_work_of_a_blur_does_not_grow_with_its_box() -> None:
    work = []
    for side in (16, 48):
        with Written() as counted:
            fill_values(torch.zeros(1, 1, side, side, side), "blur")
        work.append(counted.values / side**3)
    assert work[1] < 1.2 * work[0], work
