"""Models that a server runs: the Open Inference Protocol, version 2, over HTTP."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from contrafact.core import FORMATS, InputError, fingerprint
from contrafact.core.reading import one_line
from contrafact.models.onnx_inputs import OnnxInput, is_channels_last
from contrafact.models.opened import Opened
from contrafact.models.other_inputs import constants_of
from contrafact.models.source import ADDRESSES, ModelSource

TYPES = {"FP16": np.float16, "FP32": np.float32, "FP64": np.float64, "UINT8": np.uint8}
LARGEST = 2**28  # bytes of an answer
SECONDS = 120
Others: TypeAlias = Mapping[str, tuple[NDArray[Any], str]]  # inputs beside the image: values of a row, type


@FORMATS.register("served")
@dataclass(frozen=True, slots=True)
class Served:
    """A model that a server runs (Triton, KServe, OpenVINO, TorchServe, MLServer), by the Open Inference
    Protocol v2 over HTTP: a black box. Images are sent to that address."""

    schemes: ClassVar[tuple[str, ...]] = ADDRESSES
    reads: ClassVar[str] = "http://HOST/v2/models/NAME, or /versions/N below it"
    takes_inputs: ClassVar[bool] = True
    takes_factory: ClassVar[bool] = False

    def recognises(self, source: ModelSource) -> bool:
        return source.scheme in ADDRESSES

    def open(self, source: ModelSource) -> Opened:
        if source.described and not source.trust.scripts:
            raise InputError(
                f"a description names the server '{source.name}', to which images would be sent: give the "
                "address itself, or --trust (trust=True in Python)"
            )
        address = source.name.rstrip("/")
        about = _answer(address)
        others = _others_of(address, about, source.inputs)
        declared = _input_of(address, about, tuple(others))
        stated_outputs = about.get("outputs")
        listed = stated_outputs if isinstance(stated_outputs, list) else []
        outputs = [str(one.get("name")) for one in listed if isinstance(one, dict)]

        def run(images: NDArray[Any]) -> Any:
            return _ask(address, declared, images, others)

        rows = {name: value.tolist() for name, (value, _) in others.items()}
        content = fingerprint(address, json.dumps(about, sort_keys=True), *([rows] if rows else []))
        note = f"images are sent to {address}; its outputs: {', '.join(outputs) or 'not stated'}"
        stated = {"preprocessing": declared.declared(None)}
        return Opened(network=run, declared=stated, content=content, notes=(note,))


def _listed(about: Any) -> list[dict[str, Any]]:
    """Return the inputs that a server declares."""
    inputs = about.get("inputs") if isinstance(about, dict) else None
    return [one for one in inputs if isinstance(one, dict)] if isinstance(inputs, list) else []


def _others_of(address: str, about: Any, given: Mapping[str, Any]) -> Others:
    """Return the values and the type of the inputs beside the image; raise InputError for one that the server
    does not declare."""
    kinds = {str(one.get("name")): str(one.get("datatype")) for one in _listed(about)}
    unknown = next((name for name in given if name not in kinds), None)
    if unknown is not None:
        raise InputError(f"the inputs at {address} are {', '.join(kinds) or 'not stated'}; got '{unknown}'")
    return {name: (value, kinds[name]) for name, value in constants_of(given).items()}


def _input_of(address: str, about: Any, others: Sequence[str]) -> OnnxInput:
    """Return the input that a server declares for the images: the only one beside `others`."""
    inputs = [one for one in _listed(about) if one.get("name") not in others]
    if len(inputs) != 1:
        names = ", ".join(str(one.get("name")) for one in inputs) or "none"
        raise InputError(
            f"expected a model with one input, the images, at {address}; it declares {names}: give values for "
            "the others, which are kept constant: --inputs '{\"age\": [60]}' (inputs= in Python)"
        )
    shape: Any
    name, kind, shape = (inputs[0].get(key) for key in ("name", "datatype", "shape"))
    fits = isinstance(shape, list) and len(shape) in (4, 5) and all(isinstance(n, int) for n in shape)
    if kind not in TYPES or not fits:
        raise InputError(
            f"the input '{name}' at {address} must be a batch of images, 4 or 5 axes, of {', '.join(TYPES)}; "
            f"it declares {kind} {shape}"
        )
    sizes = tuple(n if n > 0 else None for n in shape)
    return OnnxInput(str(name), TYPES[str(kind)], sizes, is_channels_last(sizes))


def _ask(
    address: str, declared: OnnxInput, images: NDArray[Any], others: Others
) -> dict[str, NDArray[np.float32]]:
    """Return the outputs by name for images (N, C, *S), asked in batches that the server takes."""
    values = declared.of(images)
    size = declared.batch or max(1, len(values))
    padded = np.concatenate([values, np.repeat(values[-1:], -len(values) % size, axis=0)])
    kind = next(name for name, dtype in TYPES.items() if dtype is declared.dtype)
    beside = [
        _tensor(name, other, np.broadcast_to(row, (size, *row.shape))) for name, (row, other) in others.items()
    ]
    parts = [
        _batch(address, [_tensor(declared.name, kind, padded[i : i + size].astype(float)), *beside])
        for i in range(0, len(padded), size)
    ]
    return {name: np.concatenate([part[name] for part in parts])[: len(images)] for name in parts[0]}


def _tensor(name: str, kind: str, values: NDArray[Any]) -> dict[str, Any]:
    """Return an input of a question, as the protocol writes it."""
    return {"name": name, "shape": list(values.shape), "datatype": kind, "data": values.ravel().tolist()}


def _batch(address: str, inputs: list[dict[str, Any]]) -> dict[str, NDArray[np.float32]]:
    answer = _answer(f"{address}/infer", json.dumps({"inputs": inputs}).encode())
    try:
        return {
            str(one["name"]): np.asarray(one["data"], np.float32).reshape(one["shape"])
            for one in answer["outputs"]
        }
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{address} did not answer by the Open Inference Protocol v2: {one_line(error)}"
        ) from error


class _NoOtherAddress(urllib.request.HTTPRedirectHandler):
    """Follow no redirect: the user named this server, and none that it names."""

    def redirect_request(self, *_arguments: Any, **_named: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoOtherAddress)


def _answer(address: str, body: bytes | None = None) -> Any:
    """Return the JSON that a server answers with."""
    kind = {"Content-Type": "application/json"} if body else {}
    try:
        request = urllib.request.Request(address, body, kind)
        with _OPENER.open(request, timeout=SECONDS) as response:
            text = response.read(LARGEST + 1)
        if len(text) > LARGEST:
            raise ValueError(f"an answer of more than {LARGEST} bytes")
        return json.loads(text)
    except urllib.error.HTTPError as error:
        said = " ".join(error.read(500).decode(errors="replace").split())[:200]
        raise InputError(
            f"{address} answered {error.code}: {said}; expected http://HOST/v2/models/NAME of a server with "
            "the Open Inference Protocol v2"
        ) from error
    except (OSError, ValueError, RecursionError, http.client.HTTPException) as error:
        raise InputError(
            f"{address} could not be asked: {one_line(error)}; expected http://HOST/v2/models/NAME of a server "
            "with the Open Inference Protocol v2"
        ) from error
