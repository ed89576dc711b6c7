"""Our methods inside the metrics of Quantus."""

from __future__ import annotations

import numpy as np
import pytest

import contrafact as cf
from conftest import PlantedBlock, small_network
from contrafact.core import InputError
from contrafact.interop import explain_func


def batch(channels: int = 1) -> np.ndarray:
    return np.random.default_rng(0).uniform(0.5, 1, (3, channels, 16, 16)).astype(np.float32)


def test_maps_are_those_of_explain() -> None:
    x = batch(3)
    maps = explain_func(small_network(channels=3), x, np.array([0, 1, 1]), method="gradcam", device="cpu")
    assert maps.shape == (3, 1, 16, 16) and maps.dtype == np.float32
    heats = cf.explain("gradcam", small_network(channels=3), x, target=["value:0", "value:1", "value:1"])
    for got, heat in zip(maps, heats, strict=True):
        np.testing.assert_allclose(got[0], heat.values, rtol=1e-4, atol=1e-7)


@pytest.mark.filterwarnings("default")  # of the library's own imports
def test_a_metric_of_quantus_runs_with_it() -> None:
    quantus = pytest.importorskip("quantus", reason="needs Quantus: pip install quantus")
    x, masks = batch(), np.zeros((3, 1, 16, 16), dtype=bool)
    masks[..., 4:8, 4:8] = True
    metric = quantus.RelevanceMassAccuracy(disable_warnings=True)
    model = PlantedBlock(2, 1).eval()
    options = {"method": "occlusion", "box": (4, 4), "stride": (4, 4)}
    scores = metric(
        model=model, x_batch=x, y_batch=np.ones(3, int), s_batch=masks, explain_func=explain_func,
        explain_func_kwargs=options, device="cpu",
    )  # fmt: skip
    assert min(scores) > 0.9


def test_without_a_method_the_error_says_where_it_goes() -> None:
    with pytest.raises(InputError, match="explain_func_kwargs="):
        explain_func(small_network(), batch(), np.array([0, 1, 1]))
