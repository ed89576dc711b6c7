"""What a type checker knows of the Python functions: read by mypy in test_typed, never run."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import assert_type

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

import contrafact as cf
from contrafact.api.types import ImageLike, MaskLike, ModelLike, TargetLike
from contrafact.core import Counterfactual, Heatmap, Image, Predictor
from contrafact.metrics import Score
from contrafact.study.runner import TaskProgress


def heatmaps(model: nn.Module, image: Image, several: list[Image], array: NDArray[np.float32]) -> None:
    assert_type(cf.explain(cf.GradCAM(), model, image), Heatmap)
    assert_type(cf.explain(cf.Occlusion(box=8), model, "knee.png", target="class:1", seed=3), Heatmap)
    assert_type(cf.explain(cf.RISE(), model, several, target=[0, 1]), list[Heatmap])
    assert_type(cf.explain(cf.Occlusion(), model, image, region=array > 0, keep=array > 1), Heatmap)
    assert_type(cf.explain(cf.LIME(), model, [Path("a.png"), Path("b.png")]), list[Heatmap])
    assert_type(cf.explain(cf.GradCAM(), model, array, region=array > 0), Heatmap | list[Heatmap])


def counterfactuals(bundle: cf.Bundle, image: Image, tensor: Tensor) -> None:
    walk = cf.LatentWalk(goal=0.9)
    assert_type(cf.explain(walk, bundle.predictor, image, bundle=bundle), Counterfactual)
    assert_type(cf.explain(cf.Translate(), bundle.predictor, image, bundle="knee"), Counterfactual)
    assert_type(cf.explain(walk, bundle.predictor, [image], bundle=bundle), list[Counterfactual])
    assert_type(
        cf.explain(walk, bundle.predictor, tensor, bundle=bundle), Counterfactual | list[Counterfactual]
    )


def names(model: Predictor, image: Image) -> None:
    assert_type(cf.explain("gradcam", model, image, layer="body.3"), Heatmap | Counterfactual)
    assert_type(cf.explain("rise", model, [image]), list[Heatmap] | list[Counterfactual])


def others(function: Callable[[NDArray[np.float32]], NDArray[np.float32]], image: Image) -> None:
    predictor = cf.load_predictor(function, classes=["no", "yes"])
    bundle = cf.load_bundle("knee")
    heat = cf.explain(cf.Occlusion(), predictor, image)
    assert_type(bundle, cf.Bundle)
    assert_type(cf.evaluate(heat, predictor, image, ["deletion", cf.Insertion()], mask=image), list[Score])
    assert_type(
        cf.evaluate({"walk": cf.explain(cf.LatentWalk(), predictor, image)}, predictor, image, [cf.Validity()]),
        list[Score],
    )
    assert_type(cf.fit("fit.toml", stage="encoder"), cf.Bundle | None)
    assert_type(cf.study("study.toml"), Iterator[TaskProgress])


def words(image: ImageLike, mask: MaskLike, target: TargetLike, model: ModelLike) -> None:
    cf.explain(cf.GradCAM(), 3, "a.png")  # type: ignore[call-overload]
    cf.explain(cf.GradCAM(), model, "a.png", layer="x")  # type: ignore[call-overload]
    cf.explain(3, model, "a.png")  # type: ignore[call-overload]
    cf.explain(cf.GradCAM(), model, "a.png", target=1.5)  # type: ignore[call-overload]
    cf.evaluate([], model, image, [3])  # type: ignore[list-item]
    cf.explain("gradcam", model, "a.png", target=target, region=mask)
