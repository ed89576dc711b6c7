"""Load predictors from files, modules and functions.

No file runs code unless the user trusts it (docs/security.md): nothing is unpickled as code, programs are
checked before torch opens them, and a description can only call factories of an allow-list.
"""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from contrafact.core import (
    ContrafactWarning,
    InputError,
    Predictor,
    UnsupportedError,
    adapted,
    check_file,
    fingerprint,
    inside,
    is_predictor,
    nearest,
)
from contrafact.core.reading import naming, one_line, reading
from contrafact.models.archives import check_unpacked, checked_script
from contrafact.models.description_schema import read_description
from contrafact.models.exported import checked_program
from contrafact.models.factories import build
from contrafact.models.onnx_files import check_onnx
from contrafact.models.onnx_inputs import batched, input_of
from contrafact.models.predictors import AnyPredictor, BlackBox, TorchPredictor
from contrafact.models.preprocessing import Preprocessing


class Estimator(Protocol):
    """An estimator of scikit-learn, or one that is used like it."""

    def predict(self, images: Any, /) -> Any: ...


ModelLike: TypeAlias = Predictor | nn.Module | Estimator | Callable[[np.ndarray[Any, Any]], object] | str | Path
STATES = ("state_dict", "model_state_dict", "model")  # where checkpoints keep the tensors
PREFIXES = ("module.", "model.", "_orig_mod.")  # of DataParallel, trainers and torch.compile
SUFFIXES = (".json", ".onnx", ".ts", ".pt", ".pt2")


def load_predictor(
    model: ModelLike,
    *,
    classes: Sequence[str] = (),
    output: str | None = None,
    preprocessing: Preprocessing | None = None,
    device: str | None = None,
    head: int | str | None = None,
    tokens: Sequence[int] = (),
    trust: bool = False,
    trust_code: bool = False,
    within: Path | None = None,
) -> AnyPredictor:
    """Return a predictor from a module, a function, an estimator or a file.

    model   a torch module; a function on arrays (N, C, *S); a scikit-learn estimator; or a path:
            `.json` (a description: `model`, a file beside it, or `factory`, `arguments` and
            `weights` of a torch module; with `classes`, `output`, `preprocessing`),
            `.onnx`, `.ts`/`.pt` (TorchScript), `.pt2` (torch.export program)
    classes names of the outputs
    output  logits (also None), sigmoid, probabilities, regression or ordinal. Arguments (classes, output,
            preprocessing, head) take precedence over a description
    head    which of several outputs to use, by index, or by name for a dict and for ONNX; None: the first
    tokens  for a transformer: number of tokens without a position, which come first, then the grid of the
            others, such as (1, 14, 14); empty: detected
    trust   open TorchScript, which is code. Operators that access files, and pickles of any kind, are refused
            in any case
    trust_code  call a factory outside the allow-list (classes of contrafact.models.example_networks, torch.nn,
            monai.networks.nets, entry points of the group contrafact.networks): its package is imported
    within  folder that must contain the file and the files its description names (of a bundle)
    raises  InputError for a missing or unknown file, a pickle, code that is not trusted, or weights that do
            not fit
    """
    about: dict[str, Any] = {"classes": classes, "output": output, "preprocessing": preprocessing, "head": head}
    given = {k: v for k, v in about.items() if v is not None and (k != "classes" or len(v))}
    given |= {"tokens": tuple(tokens)} if tokens else {}
    about["output"] = output or "logits"
    if isinstance(model, nn.Module):
        return TorchPredictor(model, device=device, tokens=tokens, **about)
    if hasattr(model, "predict_proba") or hasattr(model, "predict"):
        return _from_estimator(model, about)
    if callable(model):
        return BlackBox(model, **about)
    path = Path(model)
    check_file(path, "a model file")
    if path.suffix == ".json":
        with naming(path.name):
            return _from_description(path, device, given, trust=trust, trust_code=trust_code, within=within)
    if path.suffix == ".onnx":
        return _from_onnx(path, about)
    if path.suffix == ".pt2":
        return TorchPredictor(_guarded(path, lambda: _exported(path)), device=device, **about)
    if path.suffix in (".ts", ".pt"):
        return TorchPredictor(_guarded(path, lambda: _torchscript(path, trust)), device=device, **about)
    raise InputError(f"a model file ends in {', '.join(SUFFIXES)}; got '{path.name}'")


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


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return a state_dict from safetensors or a torch file of tensors; raise InputError for any other file."""
    check_file(path, "a weights file")
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        with reading(path, "a readable safetensors file"):
            return load_file(path)
    check_unpacked(path)
    state = _guarded(path, lambda: torch.load(path, map_location="cpu", weights_only=True))
    for key in STATES:
        if isinstance(state, Mapping) and isinstance(state.get(key), Mapping):
            state = state[key]
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError(f"expected a state_dict in '{path.name}'; got {type(state).__name__}")
    return dict(state)


def _guarded(path: Path, read: Any) -> Any:
    """Return `read()`; raise InputError for the errors of torch's loaders."""
    with reading(path, "a model that torch can read"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of files that are refused below
        try:
            return read()
        except pickle.UnpicklingError as error:
            raise InputError(
                f"'{path.name}' holds pickled code and was not opened; save its state_dict as safetensors "
                "instead"
            ) from error


def _torchscript(path: Path, trust: bool) -> nn.Module:
    """Load a trusted TorchScript file after a scan, which refuses operators that access files."""
    if not zipfile.is_zipfile(path) or not any(
        n.endswith("constants.pkl") for n in zipfile.ZipFile(path).namelist()
    ):
        tensors = len(read_weights(path))  # refuses anything else
        raise InputError(
            f"'{path.name}' holds {tensors} tensors (a state_dict) and no network: write a description (.json) "
            "with its 'factory', and this file as 'weights'"
        )
    if not trust:
        raise InputError(
            f"'{path.name}' is TorchScript, which is code that runs as soon as it is opened: give --trust "
            "(trust=True in Python) if you trust its origin, or save its state_dict as safetensors "
            "with a description"
        )
    return torch.jit.load(checked_script(path), map_location="cpu")


def _exported(path: Path) -> Any:
    """Load a torch.export program from a clean archive of its checked parts."""
    clean = checked_program(path)
    try:
        return _of_its_batch(path, torch.export.load(clean).module())
    except Exception as error:  # the loader raises AssertionError, SpecViolationError and many more
        line = " ".join(str(error).split())[:200]
        raise InputError(f"'{path.name}' is not a program that torch can read: {line}") from error


def _of_its_batch(path: Path, module: Any) -> Any:
    """Return a program that refuses another number of images than its fixed batch in one line."""
    inputs = [node for node in module.graph.nodes if node.op == "placeholder"]
    batch = next(iter(getattr(inputs[0].meta.get("val"), "shape", ())), None) if len(inputs) == 1 else None
    if not isinstance(batch, int):  # a symbol: any number
        return module

    def check(_: nn.Module, images: tuple[Any, ...]) -> None:
        if images and len(images[0]) != batch:
            raise InputError(
                f"'{path.name}' was exported for batches of {batch}; got {len(images[0])} images: export it "
                "again with dynamic_shapes, whose first axis is torch.export.Dim.DYNAMIC"
            )

    module.register_forward_pre_hook(check, prepend=True)  # before torch's own check
    return module


def _from_onnx(path: Path, about: dict[str, Any]) -> BlackBox:
    try:
        import onnxruntime
    except ImportError as error:
        raise UnsupportedError("reading ONNX needs: pip install 'contrafact[onnx]'") from error
    try:
        check_onnx(path, path.read_bytes())
        session = onnxruntime.InferenceSession(
            path, _quiet(onnxruntime), providers=["CPUExecutionProvider"], enable_fallback=0
        )
    except InputError:
        raise
    except Exception as error:  # onnxruntime raises its own types, all derived from Exception
        raise InputError(f"'{path.name}' is not a readable ONNX model: {one_line(error)}") from error
    declared = input_of(path, session)
    names = [output.name for output in session.get_outputs()]
    ask = batched(session, declared, names)

    def run(images: np.ndarray[Any, Any]) -> Any:
        outputs = ask(images)
        if isinstance(about["head"], str):
            return dict(zip(names, outputs, strict=True))
        return outputs[0] if len(outputs) == 1 else outputs

    content = fingerprint(path.read_bytes())
    preprocessing = declared.declared(about["preprocessing"])
    return BlackBox(run, content=content, **{**about, "preprocessing": preprocessing})


def _quiet(onnxruntime: Any) -> Any:
    """Return options of a session that prints nothing: what it refuses is raised as well."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # fatal alone
    return options


def _from_estimator(model: Any, about: dict[str, Any]) -> BlackBox:
    """Wrap a scikit-learn estimator of flattened images; it predicts probabilities if it can, else values."""
    is_classifier = hasattr(model, "predict_proba")
    about["output"] = "probabilities" if is_classifier else "regression"
    about["classes"] = about["classes"] or ([str(c) for c in model.classes_] if is_classifier else ["value"])
    predict = model.predict_proba if is_classifier else model.predict
    return BlackBox(lambda x: predict(x.reshape(len(x), -1)), **about)


def _from_description(
    path: Path,
    device: str | None,
    given: Mapping[str, Any],
    *,
    trust: bool,
    trust_code: bool,
    within: Path | None,
) -> AnyPredictor:
    description = read_description(path)
    options: dict[str, Any] = {
        "classes": description.get("classes", ()),
        "output": description.get("output", "logits"),
        "preprocessing": preprocessing_from(description.get("preprocessing", {})),
        "device": device,
        "head": description.get("head"),
        "tokens": tuple(description.get("tokens", ())),
        **given,
    }
    if "model" in description:
        if str(description["model"]).endswith(".json"):
            raise InputError(f"'model' in '{path.name}' must be a model file; got another description")
        beside = _beside(path, description, "model", within)
        return load_predictor(beside, trust=trust, trust_code=trust_code, **options)
    for key in ("factory", "weights"):
        if key not in description:
            raise InputError(f"expected 'model', or '{key}', in '{path.name}'; got {', '.join(description)}")
    weights = _beside(path, description, "weights", within)
    module = build(description["factory"], description.get("arguments", {}), trust_code=trust_code)
    state = without_prefix(read_weights(weights), module.state_dict(), weights)
    try:
        module.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    except RuntimeError as error:
        line = " ".join(str(error).split())[:200]
        raise InputError(f"the weights do not fit {description['factory']}: {line}") from error
    return TorchPredictor(module.eval(), **options)


def without_prefix(state: dict[str, Tensor], wanted: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """Return a state_dict without the prefixes that wrappers add to every name, which a warning names.

    wanted  the state_dict of the network: names that it has as they are stay
    """
    removed, names = "", list(state)
    while names and not set(names) & set(wanted):
        prefix = next((p for p in PREFIXES if all(name.startswith(p) for name in names)), None)
        if prefix is None:
            return state
        removed += prefix
        names = [name[len(prefix) :] for name in names]
    if removed:
        warnings.warn(
            f"the names in '{path.name}' begin with '{removed}', which the network's do not; it was removed",
            ContrafactWarning,
            stacklevel=2,
        )
    return dict(zip(names, state.values(), strict=True))


def _beside(path: Path, about: Mapping[str, Any], key: str, within: Path | None) -> Path:
    """Return the path of the file that a description names; it must lie in `within` if that is given."""
    if not isinstance(about[key], str):
        raise InputError(f"'{key}' in '{path.name}' must be the name of a file; got {about[key]!r:.60}")
    beside = path.parent / about[key]
    return (
        beside if within is None else inside(within, str(beside.absolute()), what=f"'{key}' in '{path.name}'")
    )


def preprocessing_from(values: Mapping[str, Any]) -> Preprocessing:
    """Return a `Preprocessing` from a JSON or TOML table; raise InputError for an unknown key."""
    known = list(Preprocessing.__dataclass_fields__)
    if not isinstance(values, Mapping):
        raise InputError(f"preprocessing must be a table of {', '.join(known)}; got {values!r:.60}")
    for key in values:
        if key not in known:
            raise InputError(f"unknown preprocessing '{key}'{nearest(key, known)}")
    fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    return Preprocessing(**fields)
