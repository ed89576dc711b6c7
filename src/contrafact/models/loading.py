"""Load predictors from files, folders, names with weights, modules and functions.

No file runs code unless the user trusts it (docs/security.md): nothing is unpickled as code, programs are
checked before torch opens them, and a description can only call factories of an allow-list.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from torch import nn

from contrafact.core import ContrafactWarning, InputError, Predictor, Trust, adapted, is_predictor
from contrafact.models.formats.skops_file import opened_estimator
from contrafact.models.opened import Opened, merged, open_model
from contrafact.models.other_inputs import with_inputs
from contrafact.models.predictor_info import Described
from contrafact.models.predictors import AnyPredictor, BlackBox, TorchPredictor
from contrafact.models.preprocessing import Preprocessing
from contrafact.models.source import source_of
from contrafact.models.tiling import TiledPredictor


class Estimator(Protocol):
    """An estimator of scikit-learn, or one that is used like it."""

    def predict(self, images: Any, /) -> Any: ...


ModelLike: TypeAlias = Predictor | nn.Module | Estimator | Callable[[np.ndarray[Any, Any]], object] | str | Path


def load_predictor(
    model: ModelLike,
    *,
    classes: Sequence[str] = (),
    output: str | None = None,
    preprocessing: Preprocessing | None = None,
    device: str | None = None,
    head: int | str | None = None,
    tokens: Sequence[int] = (),
    factory: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    inputs: Mapping[str, Any] | None = None,
    trust: bool = False,
    trust_code: bool = False,
    within: Path | None = None,
) -> AnyPredictor | TiledPredictor:
    """Return a predictor from a module, a function, an estimator, or a file of any format
    (docs/how-to/your-model.md).

    model   a torch module; a function on arrays (N, C, *S); a scikit-learn estimator; or, as text or path, a
            file, a folder, a name with weights (`timm:resnet50@weights.safetensors`) or an address, of the
            formats that `contrafact list formats` names
    classes names of the outputs
    output  logits (also None), sigmoid, probabilities, multilabel, regression, ordinal, survival or detection
            (docs/how-to/your-model.md). Arguments (classes, output, preprocessing, head) take precedence over
            what the format states
    head    which of several outputs to use, by index, or by name for a dict and for ONNX; None: the only
            one, or the first of deep supervision
    tokens  for a transformer: number of tokens without a position, which come first, then the grid of the
            others, such as (1, 14, 14); empty: detected
    factory the network of a file of weights alone: `package.module:name`, or with `trust_code` `file.py:name`;
            `arguments`: of the factory, by name
    inputs  values of the network's or function's inputs beside the image, by name, kept constant: numbers, or
            lists; each arrives as an array with a row for each image
    trust   open TorchScript, which is code, and trees in skops files. Operators that access files, and
            pickles of any kind, are refused in any case
    trust_code  call a factory outside the allow-list (classes of contrafact.models.example_networks, torch.nn,
            monai.networks.nets, entry points of the group contrafact.networks): its package is imported
    within  folder that must contain the file and the files it names (of a bundle)
    raises  InputError for a missing file or unknown format, a pickle, code that is not trusted, or weights that
            do not fit
    """
    about: dict[str, Any] = {"classes": classes, "output": output, "preprocessing": preprocessing, "head": head}
    given = {k: v for k, v in about.items() if v is not None and (k != "classes" or len(v))}
    given |= {"tokens": tuple(tokens)} if tokens else {}
    about["output"] = output or "logits"
    if arguments and factory is None:
        raise InputError("expected factory with arguments, which are its own; got none")
    if factory is not None and not isinstance(model, (str, Path)):
        raise InputError("expected factory with a file of weights alone; got an object: remove it")
    if isinstance(model, nn.Module):
        return predictor_of(Opened(network=with_inputs(model, inputs or {})), given, device)
    if hasattr(model, "predict_proba") or hasattr(model, "predict"):
        if inputs:
            raise InputError(
                f"an estimator takes the image alone; got inputs={', '.join(inputs)}: give a function that "
                "calls it"
            )
        return predictor_of(opened_estimator(model), given)
    if callable(model):
        return BlackBox(with_inputs(model, inputs or {}), **about)
    source = source_of(
        model if isinstance(model, Path) else str(model),
        factory=factory,
        arguments=arguments or {},
        inputs=inputs or {},
        trust=Trust(trust, trust_code),
        within=within,
    )
    return predictor_of(open_model(source), given, device)


def predictor_of(
    opened: Opened, given: Mapping[str, Any], device: str | None = None
) -> AnyPredictor | TiledPredictor:
    """Return the predictor of an opened model; declarations in `given` take precedence over its format's."""
    predictor = _wrapped(opened, {"classes": (), "output": "logits", **merged(opened.declared, given)}, device)
    predictor.notes = opened.notes
    return predictor


def _wrapped(opened: Opened, declared: dict[str, Any], device: str | None) -> AnyPredictor | TiledPredictor:
    """Return the predictor of an opened model: of a function, of a network, or of one that slides."""
    if not isinstance(opened.network, nn.Module):
        declared.pop("tokens", None)
        return BlackBox(opened.network, content=opened.content, **declared)
    if not opened.patch:
        return TorchPredictor(opened.network, device=device, **declared)
    before = declared.pop("preprocessing", None)
    inside = Preprocessing(window=(0, 1)) if before else None  # changes nothing, and says so
    inner = TorchPredictor(opened.network, device=device, preprocessing=inside, **declared)
    return TiledPredictor(inner, opened.patch, overlap=opened.overlap, before=before, pad=True)


def as_predictor(model: ModelLike) -> Predictor:
    """Return the predictor of a file, a torch module, a function or an estimator. A predictor is returned
    unchanged; an object that declares its kind of output and parses targets keeps its declarations. Nothing of
    the caller's is changed.

    raises  InputError, as `load_predictor`
    """
    if is_predictor(model):
        return model
    declares = isinstance(getattr(model, "output", None), str) and callable(getattr(model, "target", None))
    return adapted(model) if declares and not isinstance(model, nn.Module) else load_predictor(model)


def notes_of(predictor: Predictor) -> tuple[str, ...]:
    """Return what the format of a predictor's model says that a user should read (`Opened.notes`)."""
    return predictor.notes if isinstance(predictor, (Described, TiledPredictor)) else ()


def warn_of_notes(predictor: Predictor) -> None:
    """Warn (`ContrafactWarning`) of each note of the format of a predictor's model."""
    for note in notes_of(predictor):
        warnings.warn(note, ContrafactWarning, stacklevel=3)
