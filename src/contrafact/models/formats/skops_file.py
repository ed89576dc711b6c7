"""Estimators of scikit-learn in skops files."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from contrafact.core import FORMATS, InputError, UnsupportedError, fingerprint
from contrafact.core.reading import reading
from contrafact.models.opened import Opened
from contrafact.models.preprocessing import Preprocessing
from contrafact.models.source import ModelSource


@FORMATS.register("skops")
@dataclass(frozen=True, slots=True)
class SkopsFile:
    """An estimator of scikit-learn in a skops file, of flattened images: opened if it holds classes that skops
    knows alone."""

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
            unknown = skops.io.get_untrusted_types(data=content)
            if unknown:
                raise InputError(
                    f"'{path.name}' holds {', '.join(unknown[:3])}, which skops does not know as harmless, and "
                    "was not opened: load it where you trust it, and give the estimator in Python"
                )
            estimator = skops.io.loads(content, trusted=[])
            opened = opened_estimator(estimator, fingerprint(content))
        return _of_its_size(opened, int(getattr(estimator, "n_features_in_", 0)))


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
    side = math.isqrt(values)
    if not side or side * side != values:
        return opened
    note = f"it takes {side * side} values: images of one channel and {side} x {side} pixels were assumed"
    size = Preprocessing(size=(side, side), channels=1)
    return dataclasses.replace(opened, declared={**opened.declared, "preprocessing": size}, notes=(note,))
