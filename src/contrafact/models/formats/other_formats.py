"""Formats that hold code, or need their own library: refused with the command that exports them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NoReturn

from contrafact.core import FORMATS, InputError
from contrafact.models.source import ModelSource

TF2ONNX = "pip install tf2onnx, then: python -m tf2onnx.convert"
STEPS = {
    ".keras": "python -c \"import keras; keras.models.load_model('{file}').export('m.onnx', format='onnx')\"",
    ".h5": f"{TF2ONNX} --keras {{file}} --output model.onnx",
    ".hdf5": f"{TF2ONNX} --keras {{file}} --output model.onnx",
    ".tflite": f"{TF2ONNX} --tflite {{file}} --output model.onnx",
    ".pb": f"{TF2ONNX} --graphdef {{file}} --output model.onnx --inputs NAME:0 --outputs NAME:0",
    ".joblib": "python -c \"import joblib, skops.io; skops.io.dump(joblib.load('{file}'), 'model.skops')\"",
    ".pkl": "where you trust it, python -c \"import joblib, skops.io; skops.io.dump(joblib.load('{file}'), "
    "'model.skops')\" (scikit-learn), or save a network's state_dict as safetensors",
    ".mlmodel": "coremltools has no export: export the network that it was made of as ONNX",
    ".engine": "a TensorRT engine is compiled for one GPU: give the ONNX file that it was made of",
    ".plan": "a TensorRT engine is compiled for one GPU: give the ONNX file that it was made of",
}
STEPS[".pickle"] = STEPS[".pkl"]
FOLDER = (
    "python -m pip install tf2onnx, then python -m tf2onnx.convert --saved-model {file} --output model.onnx"
)


@FORMATS.register("by-export")
@dataclass(frozen=True, slots=True)
class OtherFormats:
    """Keras, TensorFlow, pickles, compiled engines: not opened; the error gives the command to export them."""

    schemes: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[str] = "a Keras, TensorFlow or joblib file, for which the command of its export is given"
    takes_inputs: ClassVar[bool] = False
    takes_factory: ClassVar[bool] = False

    def recognises(self, source: ModelSource) -> bool:
        return source.suffix in STEPS or source.has("saved_model.pb")

    def open(self, source: ModelSource) -> NoReturn:
        path = source.path
        name = "" if path is None else path.name
        step = FOLDER if source.folder is not None else STEPS[source.suffix]
        if source.folder is None:
            source.allowed(source.file, "a model file")
        raise InputError(
            f"'{name}' is of a format that is not opened: export it in the environment where it runs, and give "
            f"what it writes. {step.format(file=name)}"
        )
