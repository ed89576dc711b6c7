"""A prediction as text: rounded, but never to another decision."""

from __future__ import annotations

import numpy as np
import pytest

from contrafact.api.predictions import answers
from contrafact.core import Image
from contrafact.models import BlackBox


@pytest.mark.parametrize(
    ("probabilities", "texts"),
    [
        ((0.17, 0.83), ["a 17 %", "b 83 %"]),
        ((0.503, 0.497), ["a 50.3 %", "b 49.7 %"]),  # 50 % of b would be b
        ((0.34, 0.3404, 0.3196), ["a 34.00 %", "b 34.04 %", "c 31.96 %"]),  # b is the most probable one
        ((0.5, 0.5), ["a 50 %", "b 50 %"]),
    ],
)
def test_a_rounded_prediction_is_the_same_prediction(
    probabilities: tuple[float, ...], texts: list[str]
) -> None:
    outputs = np.log(np.asarray([probabilities], np.float32))
    predictor = BlackBox(lambda _: outputs, classes="abc"[: len(probabilities)], digest="x")
    assert answers(predictor, Image(np.zeros((1, 3, 3), np.float32))) == texts
