"""ONNX graphs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from contrafact.core import FORMATS, InputError, UnsupportedError, fingerprint
from contrafact.core.reading import one_line
from contrafact.models.onnx_files import check_onnx
from contrafact.models.onnx_inputs import batched, input_of
from contrafact.models.opened import Opened
from contrafact.models.other_inputs import constants_of
from contrafact.models.source import ModelSource


@FORMATS.register("onnx")
@dataclass(frozen=True, slots=True)
class OnnxGraph:
    """An ONNX graph, asked as it declares its input: axes, size, batch and type of numbers; no gradients."""

    schemes: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[str] = "a .onnx file"
    takes_inputs: ClassVar[bool] = True
    takes_factory: ClassVar[bool] = False

    def recognises(self, source: ModelSource) -> bool:
        return source.suffix == ".onnx"

    def open(self, source: ModelSource) -> Opened:
        path = source.file
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
        constants = constants_of(source.inputs)
        declared = input_of(path, session, constants)
        names = [output.name for output in session.get_outputs()]
        ask = batched(session, declared, names, constants)

        def run(images: np.ndarray[Any, Any]) -> Any:
            outputs = ask(images)
            return outputs[0] if len(outputs) == 1 else dict(zip(names, outputs, strict=True))

        stated = {"preprocessing": declared.declared(None)}
        return Opened(network=run, declared=stated, content=_content(path, constants), notes=declared.notes)


def _content(path: Path, constants: Mapping[str, Any]) -> str:
    """Return the digest of a graph with the inputs beside the image."""
    content = fingerprint(path.read_bytes())
    rows = {name: value.tolist() for name, value in constants.items()}
    return fingerprint(content, rows) if rows else content


def _quiet(onnxruntime: Any) -> Any:
    """Return options of a session that prints nothing: what it refuses is raised as well."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # fatal alone
    return options
