"""Estimators of scikit-learn in skops files."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from contrafact.core import FORMATS, InputError, UnsupportedError, fingerprint
from contrafact.core.reading import reading
from contrafact.models.flat_images import size_of_row
from contrafact.models.opened import Opened
from contrafact.models.source import ModelSource

# Tables of settings without code; skops lists them as unknown.
OPTIMIZERS = "sklearn.neural_network._stochastic_optimizers"
HARMLESS = {"sklearn.utils._bunch.Bunch", f"{OPTIMIZERS}.AdamOptimizer", f"{OPTIMIZERS}.SGDOptimizer"}
# Trees run no code of the file, but scikit-learn follows their numbers unchecked: damaged ones end the process.
TREES = {"sklearn.tree._tree.Tree", "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"}


@FORMATS.register("skops")
@dataclass(frozen=True, slots=True)
class SkopsFile:
    """An estimator of scikit-learn in a skops file, of flattened images: opened if it holds classes that skops
    knows alone, and others without code; trees where the user trusts the file."""

    schemes: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[str] = "a .skops file"
    takes_inputs: ClassVar[bool] = False
    takes_factory: ClassVar[bool] = False

    def recognises(self, source: ModelSource) -> bool:
        return source.suffix == ".skops"

    def open(self, source: ModelSource) -> Opened:
        path = source.file
        try:
            import skops.io
        except ImportError as error:
            raise UnsupportedError("reading .skops needs: pip install 'contrafact[skops]'") from error
        content = path.read_bytes()
        with reading(path, "a readable skops file"):
            unknown = set(skops.io.get_untrusted_types(data=content))
            _check_types(path.name, unknown - HARMLESS, source.trust.scripts)
            estimator = skops.io.loads(content, trusted=sorted(unknown))
            opened = opened_estimator(estimator, fingerprint(content))
        return _of_its_size(opened, int(getattr(estimator, "n_features_in_", 0)))


def _check_types(name: str, unknown: set[str], trusted: bool) -> None:
    """Raise InputError for classes that are not opened."""
    others = sorted(unknown - TREES)
    if others:
        raise InputError(
            f"'{name}' holds {', '.join(others[:3])}, which skops does not know as harmless, and was not "
            "opened: load it where you trust it, and give the estimator in Python"
        )
    if unknown and not trusted:
        raise InputError(
            f"'{name}' holds trees of scikit-learn, which follows their numbers unchecked, so that a "
            "malicious file can end the process: give --trust (trust=True) if you trust its origin, or export "
            "it as ONNX: pip install skl2onnx, then skl2onnx.to_onnx(forest, images[:1].reshape(1, -1), "
            "options={'zipmap': False}), and --head probabilities --output probabilities"
        )


def opened_estimator(estimator: Any, content: str = "") -> Opened:
    """Return an estimator of flattened images: probabilities if it gives them, else values."""
    is_classifier = hasattr(estimator, "predict_proba")
    classes = [str(c) for c in estimator.classes_] if is_classifier else ["value"]
    predict = estimator.predict_proba if is_classifier else estimator.predict
    declared: dict[str, Any] = {
        "classes": classes,
        "output": "probabilities" if is_classifier else "regression",
    }

    def run(images: np.ndarray[Any, Any]) -> Any:
        return predict(images.reshape(len(images), -1))

    return Opened(network=run, declared=declared, content=content)


def _of_its_size(opened: Opened, values: int) -> Opened:
    """Return an estimator with the size of the images that it takes, where their number of values tells one."""
    size, notes = size_of_row(values)
    if size is None:
        return opened
    return dataclasses.replace(opened, declared={**opened.declared, "preprocessing": size}, notes=notes)
