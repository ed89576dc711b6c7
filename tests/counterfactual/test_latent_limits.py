"""Settings and parts of latent methods at their limits."""

from __future__ import annotations

import pytest
import torch

from contrafact.counterfactual import LatentIntegratedGradients
from contrafact.counterfactual.change_mask import largest_changes


def test_the_smallest_mask_grows_around_one_pixel() -> None:
    magnitude = torch.zeros(1, 1, 9, 9)
    magnitude[0, 0, 4, 4], magnitude[0, 0, 0, 0] = 2.0, 1.0
    mask = largest_changes(magnitude, 0.001)[0, 0]
    assert mask[4, 4] == 1
    assert mask[0, 0] == 0
    assert mask[3, 4] == pytest.approx(6 / 9)  # of its nine neighbours six are within one pixel of the spot
    assert mask[1, 4] == 0


def test_another_seed_gives_another_map_where_a_part_draws_at_random() -> None:
    made = {name: LatentIntegratedGradients(combine=name).sampled for name in (None, "gradient", "smooth")}
    assert made == {None: False, "gradient": False, "smooth": True}
    assert LatentIntegratedGradients(negatives=2).sampled
