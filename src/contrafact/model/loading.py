"""From a file, a module or a function to a predictor.

Nothing is unpickled as code, and a description can only call what declares that it makes a network.
"""

from __future__ import annotations

import importlib
import io
import json
import pickle
import typing
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from contrafact.core import InputError, UnsupportedError, fingerprint, nearest
from contrafact.model.identity import digest_of_use
from contrafact.model.predictors import AnyPredictor, BlackBox, TorchPredictor
from contrafact.model.preprocessing import Preprocessing

SUFFIXES = (".json", ".onnx", ".ts", ".pt", ".pt2")


def load_predictor(
    model: Any,
    *,
    classes: Sequence[str] = (),
    output: str | None = None,
    preprocessing: Preprocessing | None = None,
    device: str | None = None,
    head: int | str | None = None,
) -> AnyPredictor:
    """A predictor from whatever the user has.

    model   a torch module; a function on arrays (N, C, *S); a scikit-learn estimator; or a path:
            `.json` (a description: `model`, a file beside it, or `factory`, `arguments` and
            `weights` of a torch module; with `classes`, `output`, `preprocessing`),
            `.onnx`, `.ts`/`.pt` (TorchScript), `.pt2` (torch.export program)
    classes names of the outputs; output: logits (also None), sigmoid, probabilities, regression or ordinal
            What is given here, classes, output, preprocessing or head, goes before what a description says
    head    which of several outputs counts, by number, or by name for a dict and for ONNX; None: the first
    raises  InputError for a missing or foreign file, a pickle, or weights that do not fit
    """
    about: dict[str, Any] = {"classes": classes, "output": output, "preprocessing": preprocessing, "head": head}
    given = {k: v for k, v in about.items() if v is not None and (k != "classes" or len(v))}
    about["output"] = output or "logits"
    if isinstance(model, nn.Module):
        return TorchPredictor(model, device=device, **about)
    if hasattr(model, "predict_proba") or hasattr(model, "predict"):
        return _from_estimator(model, about)
    if callable(model):
        return BlackBox(model, **about)
    path = Path(model)
    if not path.exists():
        raise InputError(f"expected a model file; got '{path}', which does not exist")
    if path.suffix == ".json":
        return _from_description(path, device, given)
    if path.suffix == ".onnx":
        return _from_onnx(path, about)
    if path.suffix == ".pt2":
        program = _guarded(path, lambda: _exported(path))
        return TorchPredictor(program.module(), device=device, **about)
    if path.suffix in (".ts", ".pt"):
        return TorchPredictor(_guarded(path, lambda: _torchscript(path)), device=device, **about)
    raise InputError(f"a model file ends in {', '.join(SUFFIXES)}; got '{path.name}'")


def read_weights(path: Path) -> dict[str, Tensor]:
    """A state_dict from safetensors, or from a torch file that holds tensors only."""
    if not path.exists():
        raise InputError(f"expected a weights file; got '{path}', which does not exist")
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise InputError(f"'{path.name}' is not a readable safetensors file: {error}") from error
    state = _guarded(path, lambda: torch.load(path, map_location="cpu", weights_only=True))
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError(f"expected a state_dict in '{path.name}'; got {type(state).__name__}")
    return dict(state)


def _guarded(path: Path, read: Any) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of what is refused below anyway
            return read()
    except pickle.UnpicklingError as error:
        raise InputError(
            f"'{path.name}' holds pickled code and was not opened; save its state_dict as safetensors instead"
        ) from error
    except (RuntimeError, EOFError, OSError, zipfile.BadZipFile, KeyError) as error:
        line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(f"'{path.name}' is not a model that torch can read: {line}") from error


def _torchscript(path: Path) -> nn.Module:
    if not zipfile.is_zipfile(path) or not any(
        n.endswith("constants.pkl") for n in zipfile.ZipFile(path).namelist()
    ):
        raise pickle.UnpicklingError("not TorchScript")
    return torch.jit.load(str(path), map_location="cpu")


def _exported(path: Path) -> Any:
    """A torch.export archive, after every pickled member was shown to hold tensors only:
    `torch.export.load` itself falls back to unpickling."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            head = archive.read(name)[:2] if not name.endswith("/") else b""
            if name.endswith((".pt", ".pkl")) or head in (b"PK", b"\x80\x02", b"\x80\x04"):
                torch.load(io.BytesIO(archive.read(name)), map_location="cpu", weights_only=True)
    return torch.export.load(path)


def _from_onnx(path: Path, about: dict[str, Any]) -> BlackBox:
    try:
        import onnxruntime
    except ImportError as error:
        raise UnsupportedError("reading ONNX needs: pip install 'contrafact[onnx]'") from error
    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises its own kinds, all derived from Exception
        line = str(error).strip().splitlines()[0]
        raise InputError(f"'{path.name}' is not a readable ONNX model: {line}") from error
    name = session.get_inputs()[0].name
    fixed = session.get_inputs()[0].shape[0]
    names = [output.name for output in session.get_outputs()]

    def run(images: np.ndarray[Any, Any]) -> Any:
        size = fixed if isinstance(fixed, int) else max(1, len(images))
        parts = [session.run(None, {name: images[i : i + size]}) for i in range(0, len(images), size)]
        outputs = [np.concatenate(part) for part in zip(*parts, strict=True)]
        if isinstance(about["head"], str):
            return dict(zip(names, outputs, strict=True))
        return outputs[0] if len(outputs) == 1 else outputs

    content = fingerprint(path.read_bytes())
    return BlackBox(run, digest=digest_of_use(content, **about), **about)


def _from_estimator(model: Any, about: dict[str, Any]) -> BlackBox:
    """scikit-learn: images are flattened; probabilities where it has them, else its values."""
    from joblib import hash as hash_of  # comes with scikit-learn

    judges = hasattr(model, "predict_proba")
    about["output"] = "probabilities" if judges else "regression"
    about["classes"] = about["classes"] or ([str(c) for c in model.classes_] if judges else ["value"])
    ask = model.predict_proba if judges else model.predict
    digest = digest_of_use(hash_of(model), **about)
    return BlackBox(lambda x: ask(x.reshape(len(x), -1)), digest=digest, **about)


KEYS = ("model", "factory", "arguments", "weights", "classes", "output", "preprocessing", "head")


def _from_description(path: Path, device: str | None, given: Mapping[str, Any]) -> AnyPredictor:
    try:
        about = json.loads(path.read_text())
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"'{path.name}' is not JSON: {error}") from error
    if not isinstance(about, dict):
        raise InputError(f"expected a model description in '{path.name}'; got {type(about).__name__}")
    for key in about:
        if key not in KEYS:
            raise InputError(f"'{path.name}' has an unknown key '{key}'{nearest(key, KEYS)}")
    says: dict[str, Any] = {
        "classes": about.get("classes", ()),
        "output": about.get("output", "logits"),
        "preprocessing": preprocessing_from(about.get("preprocessing", {})),
        "device": device,
        "head": about.get("head"),
        **given,
    }
    if "model" in about:
        if str(about["model"]).endswith(".json"):
            raise InputError(f"'model' in '{path.name}' must be a model file; got another description")
        return load_predictor(path.parent / about["model"], **says)
    for key in ("factory", "weights"):
        if key not in about:
            raise InputError(f"expected 'model', or '{key}', in '{path.name}'; got {', '.join(about)}")
    module = _build(about["factory"], about.get("arguments", {}))
    state = read_weights(path.parent / about["weights"])
    try:
        module.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    except RuntimeError as error:
        line = " ".join(str(error).split())[:200]
        raise InputError(f"the weights do not fit {about['factory']}: {line}") from error
    return TorchPredictor(module.eval(), **says)


def preprocessing_from(values: Mapping[str, Any]) -> Preprocessing:
    """From JSON or TOML; an unknown key is answered with the nearest one."""
    known = list(Preprocessing.__dataclass_fields__)
    for key in values:
        if key not in known:
            raise InputError(f"unknown preprocessing '{key}'{nearest(key, known)}")
    given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return Preprocessing(**given)


def _build(factory: str, arguments: Mapping[str, Any]) -> nn.Module:
    module_name, _, name = factory.partition(":")
    try:
        maker = getattr(importlib.import_module(module_name), name)
        if not _makes_networks(maker):
            raise TypeError("it is neither a torch module nor a function annotated to return one")
        made = maker(**arguments)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise InputError(
            f"factory must be 'package.module:name' of a torch module, or of a function annotated "
            f"'-> nn.Module', that takes these arguments; got '{factory}': {error}"
        ) from error
    if not isinstance(made, nn.Module):
        raise InputError(f"{factory} must give a torch module; got {type(made).__name__}")
    return made


def _makes_networks(maker: Any) -> bool:
    """A class of torch modules, or a function whose annotation says that it returns one: so a
    description cannot call anything else that happens to be importable."""
    if isinstance(maker, type):
        return issubclass(maker, nn.Module)
    try:
        made = typing.get_type_hints(maker).get("return")
    except (TypeError, NameError):
        return False
    return isinstance(made, type) and issubclass(made, nn.Module)
