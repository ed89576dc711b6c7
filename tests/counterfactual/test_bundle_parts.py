"""What a bundle does to an image before its networks see it."""

from __future__ import annotations

import pytest
import torch

from contrafact.counterfactual.bundle_parts import resized
from contrafact.models.preprocessing import resize


@pytest.mark.parametrize(
    "size", [(5, 9), (16, 16), (12, 31), (7, 12, 10), (3, 9, 20), (11, 12, 13)], ids=lambda size: f"to {size}"
)
def test_a_bundle_resizes_an_image_as_the_preprocessing_of_a_model_does(size: tuple[int, ...]) -> None:
    shape = (2, 3, 12, 31) if len(size) == 2 else (2, 3, 7, 12, 10)
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(resized(images, size), resize(images, size))
