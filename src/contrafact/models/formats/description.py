"""Descriptions of models in JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from contrafact.core import FORMATS, InputError, inside, is_there
from contrafact.core.reading import naming
from contrafact.models.description_schema import read_description
from contrafact.models.factories import build
from contrafact.models.opened import Opened, merged, open_model
from contrafact.models.other_inputs import with_inputs
from contrafact.models.preprocessing import preprocessing_from
from contrafact.models.source import ModelSource, located, source_of
from contrafact.models.weights import filled, read_weights

DECLARED = ("classes", "output", "head", "tokens")


@FORMATS.register("description")
@dataclass(frozen=True, slots=True)
class Description:
    """A description in JSON: a model beside it, or a factory with its weights, and what it declares of them."""

    schemes: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[str] = "a .json file, a description"
    takes_inputs: ClassVar[bool] = True
    takes_factory: ClassVar[bool] = False

    def recognises(self, source: ModelSource) -> bool:
        return source.suffix == ".json"

    def open(self, source: ModelSource) -> Opened:
        path = source.file
        with naming(path.name):
            description = read_description(path)
            declared = {key: description[key] for key in DECLARED if key in description}
            if "preprocessing" in description:
                declared["preprocessing"] = preprocessing_from(description["preprocessing"])
            inputs = {**description.get("inputs", {}), **source.inputs}
            inner = _inner(path, description, dataclasses.replace(source, inputs=inputs))
            return dataclasses.replace(inner, declared=merged(inner.declared, declared))


def _inner(path: Path, description: Mapping[str, Any], source: ModelSource) -> Opened:
    """Return the model that a description names."""
    if "model" in description:
        return _beside(path, description, source)
    for key in ("factory", "weights"):
        if key not in description:
            raise InputError(f"expected 'model', or '{key}', in '{path.name}'; got {', '.join(description)}")
    weights = _file(path, description["weights"], source.within)
    factory, arguments = description["factory"], description.get("arguments", {})
    module = build(factory, arguments, trust_code=source.trust.factories, folder=path.parent)
    network = filled(module, read_weights(weights), weights, what=factory)
    return Opened(network=with_inputs(network, source.inputs))


def _beside(path: Path, description: Mapping[str, Any], source: ModelSource) -> Opened:
    """Return the model of another format that a description names."""
    model = description["model"]
    if not isinstance(model, str):
        raise InputError(f"'model' in '{path.name}' must be the name of a file; got {model!r:.60}")
    if Path(model).suffix.lower() == ".json":
        raise InputError(f"'model' in '{path.name}' must be a model file; got another description")
    more: dict[str, Any] = {"trust": source.trust, "within": source.within, "described": True}
    more["inputs"] = source.inputs
    text = located(model, path.parent)
    inner = source_of(Path(text) if is_there(path.parent / model) else text, **more)
    if source.within is not None and inner.path is not None:
        inside(source.within, str(inner.path.absolute()), what=f"'model' in '{path.name}'")
    return open_model(inner)


def _file(path: Path, name: Any, within: Path | None) -> Path:
    """Return the path of the weights that a description names; it must lie in `within` if that is given."""
    if not isinstance(name, str):
        raise InputError(f"'weights' in '{path.name}' must be the name of a file; got {name!r:.60}")
    beside = path.parent / name
    return (
        beside if within is None else inside(within, str(beside.absolute()), what=f"'weights' in '{path.name}'")
    )
