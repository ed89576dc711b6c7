from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from contrafact.attribution.differentiable import needs_gradients, score, upsample
from contrafact.core import EXPLAINERS, Question, UnsupportedError


@EXPLAINERS.register("gradcam", aliases=("grad-cam",))
@dataclass(frozen=True, slots=True, kw_only=True)
class GradCAM:
    """Weigh the feature maps of a layer by their mean gradient.

    images  float32 (N, C, *S), any units
    gives   float32 (N, *S), linearly interpolated from the layer; signed: negative places speak
            against the target. Units: target units per layer position (gradient times activation)
    cost    one forward and one backward pass per image
    raises  UnsupportedError without gradients or without a layer that has a spatial map;
            InputError for an unknown layer, with the nearest name
    Source: Selvaraju et al. 2017 (arXiv 1610.02391), eq. 1 and 2. Differs: no ReLU, no rescaling,
    any number of spatial axes, the whole batch in one pass.

    layer   name of the layer (`body.3.conv2`); None: the last convolution
    """

    needs_gradients: ClassVar[bool] = True
    needs_layers: ClassVar[bool] = True
    layer: str | None = None

    def __call__(self, question: Question, rng: np.random.Generator) -> NDArray[np.float32]:
        predictor = needs_gradients(question, "gradcam")
        size = question.images.shape[2:]
        # Parameters are frozen, so the graph must start at the image.
        images = torch.as_tensor(question.images).to(predictor.device).requires_grad_()
        with torch.enable_grad(), predictor.watch(self.layer) as seen:
            values = score(question, predictor(images))
            if not seen or seen[0].ndim < 3:
                raise UnsupportedError(
                    f"gradcam needs a layer with a spatial map; '{self.layer}' gave "
                    f"{tuple(seen[0].shape) if seen else 'nothing'}"
                )
            (slopes,) = torch.autograd.grad(values.sum(), seen[0])
        weights = slopes.mean(dim=tuple(range(2, slopes.ndim)), keepdim=True)
        maps = (weights * seen[0].detach()).sum(dim=1)
        return np.asarray(upsample(maps.float(), size).cpu().numpy(), dtype=np.float32)
