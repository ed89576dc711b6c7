"""DeepLIFT's rescale rule by captum, with a check that the map sums to the change of the score."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from contrafact.attribution.gradients import watchable
from contrafact.core import FeatureLayer, Question, UnsupportedError
from contrafact.perturbation.memory import out_of_memory

GAP = 0.02  # accepted error, as a share of the change of the score; 0.001 units are accepted in addition


class _Scored(nn.Module):
    """The network with its preprocessing and target, because captum needs a module that returns the score."""

    def __init__(self, predictor: Any, question: Question) -> None:
        super().__init__()
        self.network = predictor.module
        self._parts = (predictor, question.target)  # in a tuple, so that it is not a submodule

    def forward(self, images: Tensor) -> Tensor:
        predictor, target = self._parts
        return torch.as_tensor(target(predictor(images)))


def deeplift(question: Question, images: Tensor, baseline: Tensor, method: str) -> Tensor:
    """Return contributions (N, C, *S) to the change of the score from `baseline` to `images`.

    raises  UnsupportedError if they do not sum to the change of the score
    """
    from captum.attr import DeepLift  # slow to import

    scored = _Scored(watchable(question, method), question)
    maps, gaps = _attribute(DeepLift(scored), scored, images, baseline, method)
    _check_sum(maps, gaps, method)
    return maps


def layer_deeplift(
    question: Question, images: Tensor, baseline: Tensor, layer: FeatureLayer, method: str
) -> Tensor:
    """Return contributions (N, K, *cells) of a layer's output to the change of the score.

    They do not include paths around the layer (skip connections), so that exactness is checked at the image.

    raises  UnsupportedError if the contributions of the image do not sum to the change of the score
    """
    from captum.attr import LayerDeepLift  # slow to import

    deeplift(question, images, baseline, method)
    predictor = watchable(question, method)
    scored = _Scored(predictor, question)
    maps, _ = _attribute(LayerDeepLift(scored, predictor.layer(layer.name)), scored, images, baseline, method)
    return torch.as_tensor(layer.read(maps))


def _attribute(
    oracle: Any, scored: nn.Module, images: Tensor, baseline: Tensor, method: str
) -> tuple[Tensor, Tensor]:
    """Return captum's contributions, and their error (N,) against the change of the score."""
    changed, names = _not_in_place(scored), [(part, set(vars(part))) for part in scored.modules()]
    try:
        with torch.enable_grad(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Setting forward, backward hooks")
            maps, gaps = oracle.attribute(
                images.detach().requires_grad_(), baselines=baseline, return_convergence_delta=True
            )
    except (RuntimeError, AssertionError) as error:
        if out_of_memory(error):
            raise
        raise _cannot_follow(method, error) from error
    finally:
        for module in changed:
            module.inplace = True
        for part, own in names:  # captum keeps tensors in layers that its backward pass does not reach
            for name in set(vars(part)) - own:
                delattr(part, name)
    maps = maps[0] if isinstance(maps, tuple) else maps
    return torch.as_tensor(maps).detach(), torch.as_tensor(gaps).detach()


def _cannot_follow(method: str, error: Exception) -> UnsupportedError:
    line = " ".join(str(error).split())[:160]
    return UnsupportedError(
        f"{method} cannot follow this network (a layer used twice, or in place?): {line}; use "
        "integrated-gradients"
    )


def _check_sum(maps: Tensor, gaps: Tensor, method: str) -> None:
    total = maps.flatten(1).sum(dim=1) - gaps
    worst = float((gaps.abs() - GAP * total.abs()).max())
    if not worst <= 1e-3:
        raise UnsupportedError(
            f"{method} is not exact for this network: its map misses the change of the score by "
            f"{float(gaps.abs().max()):.3g} (a functional ReLU, a layer used twice, or a target "
            "that is not linear in the outputs: try margin:A,B); use integrated-gradients"
        )


def _not_in_place(module: nn.Module) -> list[Any]:
    """Make in-place layers work out of place, because the rule needs their inputs; return these layers."""
    changed: list[Any] = [m for m in module.modules() if getattr(m, "inplace", False)]
    for layer in changed:
        layer.inplace = False
    return changed
