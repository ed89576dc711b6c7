"""The options of a model file, shared by the commands that open one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from cyclopts import Group, Parameter

MODELS = Group("Models", sort_key=1)


@Parameter(name="*", group=MODELS)
@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What a user says of a model file; it takes precedence over what its format states.

    Args:
        output: Kind of the model's output: logits, sigmoid, probabilities, multilabel, regression, ordinal,
            survival or detection; default: as its format states, else logits.
        classes: Names of the outputs, with commas.
        preprocessing: From the image's units to those of the network, as JSON with the keys of a description
            (docs/how-to/your-model.md), such as '{"window": [0, 255], "size": [224, 224]}'.
        head: Which of several outputs to use, by name or number.
        inputs: Values of the network's inputs beside the image, kept constant, as JSON: '{"age": 60.0}'. A
            number is (N, 1) for N images, a list of two (N, 2).
        factory: Network of a file of weights: package.module:name, or file.py:name with --trust-code.
        arguments: Arguments of the factory as JSON, such as '{"spatial_dims": 2}'.
    """

    output: str | None = None
    classes: str | None = None
    preprocessing: str | None = None
    head: str | None = None
    inputs: str | None = None
    factory: str | None = None
    arguments: str | None = None

    def told(self) -> dict[str, Any]:
        """Return the options as arguments of `load_predictor`; what they leave out is left out."""
        from contrafact.core import InputError
        from contrafact.models import preprocessing_from

        if self.arguments is not None and self.factory is None:
            raise InputError("expected --factory with --arguments, which are its own; got none")
        about: dict[str, Any] = {"output": self.output, "factory": self.factory}
        if self.head is not None:
            about["head"] = int(self.head) if self.head.isdecimal() else self.head
        if self.classes is not None:
            about["classes"] = [name.strip() for name in self.classes.split(",")]
        if self.arguments is not None:
            about["arguments"] = _json("--arguments", self.arguments)
        if self.inputs is not None:
            about["inputs"] = _json("--inputs", self.inputs)
        if self.preprocessing is not None:
            about["preprocessing"] = preprocessing_from(_json("--preprocessing", self.preprocessing))
        return {key: value for key, value in about.items() if value is not None}


def _json(option: str, text: str) -> dict[str, Any]:
    """Return the table of an option; raise InputError for what is not one."""
    from contrafact.core import InputError

    try:
        table = json.loads(text)
    except ValueError as error:
        raise InputError(f"expected {option} as JSON, such as '{{\"name\": 1}}'; got '{text:.60}'") from error
    if not isinstance(table, dict):
        raise InputError(f"expected {option} as a JSON table, such as '{{\"name\": 1}}'; got '{text:.60}'")
    return table
