"""Any explainer as a function that Quantus takes as `explain_func`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from contrafact.core import InputError
from contrafact.interop.captum_method import CaptumMethod


def explain_func(model: Any, inputs: Any, targets: Any, **options: Any) -> NDArray[np.float32]:
    """Explain a batch as Quantus asks: `metric(..., explain_func=explain_func,
    explain_func_kwargs={"method": "gradcam"})`.

    model    a torch module, or whatever `explain` takes
    inputs   (N, C, *S), as the model takes them
    targets  (N,) indices of outputs, or as in `CaptumMethod`
    options  `method`, a name or an object, with its hyper-parameters; `bundle`, `background` and `seed` as in
             `CaptumMethod`. `device`, which Quantus adds, is that of the model here
    gives    (N, 1, *S) the maps; of a counterfactual the change, summed over the channels
    raises   InputError as `explain`, or without `method`
    """
    method = options.pop("method", None)
    options.pop("device", None)
    if method is None:
        raise InputError("expected a method; got none; write explain_func_kwargs={'method': 'gradcam'}")
    batch = torch.as_tensor(np.asarray(inputs), dtype=torch.float32)
    attributions = CaptumMethod(method, model, **options).attribute(batch, target=np.asarray(targets))
    return np.asarray(attributions.sum(dim=1, keepdim=True).numpy())
