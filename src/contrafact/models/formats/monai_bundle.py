"""Bundles of MONAI: a folder with configs/metadata.json, configs/inference.json and models/model.pt."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from contrafact.core import FORMATS, InputError
from contrafact.models.axis_order import in_order
from contrafact.models.factories import build
from contrafact.models.formats.monai_transforms import steps_of
from contrafact.models.json_tables import numbers_of, read_table
from contrafact.models.opened import Opened
from contrafact.models.source import ModelSource
from contrafact.models.weights import filled, read_weights

CONFIGS = ("configs/inference.json", "configs/evaluate.json", "configs/train.json")
WEIGHTS = ("models/model.safetensors", "models/model.pt", "models/model.pth")
NETWORKS = ("network_def", "net_def", "network", "net", "model")
DEEPEST = 32


@FORMATS.register("monai-bundle")
@dataclass(frozen=True, slots=True)
class MonaiBundle:
    """A bundle of MONAI: the network of its configuration, from the allow-list of factories, with its weights,
    classes, preprocessing and window. No expression ($...) and no code of the bundle runs."""

    schemes: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[str] = "a folder with configs/metadata.json"
    takes_inputs: ClassVar[bool] = False
    takes_factory: ClassVar[bool] = False

    def recognises(self, source: ModelSource) -> bool:
        return source.has("configs/metadata.json")

    def open(self, source: ModelSource) -> Opened:
        metadata = read_table(source.part("configs/metadata.json"), "the metadata of a bundle")
        name = next((name for name in CONFIGS if source.has(name)), None)
        if name is None:
            raise InputError(
                f"expected {' or '.join(CONFIGS[:1])} in '{source.text}'; got none: write a .yaml "
                "configuration as JSON, or give the weights with --factory monai.networks.nets:NAME"
            )
        config = read_table(source.part(name), "the configuration of a bundle")
        weights = next((name for name in WEIGHTS if source.has(name)), None)
        if weights is None:
            raise InputError(f"expected {' or '.join(WEIGHTS)} in '{source.text}'; got none")
        factory, arguments = _network(config, source)
        module = build(factory, arguments, trust_code=source.trust.factories)
        path = source.part(weights)
        network = filled(module, read_weights(path), path, what=factory)
        return _opened(network, arguments, config, metadata)


def _opened(
    network: nn.Module, arguments: Mapping[str, Any], config: Mapping[str, Any], metadata: Mapping[str, Any]
) -> Opened:
    """Return the network with what configuration and metadata state. MONAI's axes are those of the file, i j k,
    in reverse to those of an `Image`."""
    parts = config if "preprocessing" in config else config.get("validate")
    axes, channels = _axes(network, arguments), arguments.get("in_channels", 1)
    steps = steps_of(followed(parts if isinstance(parts, Mapping) else {}, config), axes, channels)
    about: dict[str, Any] = {"output": steps.output, "preprocessing": steps.preprocessing}
    names = _classes(metadata)
    if names:
        about["classes"] = names
    inferer = followed(_sliding(config) or {}, config)
    window, overlap = inferer.get("roi_size"), inferer.get("overlap")
    size = numbers_of([window] * axes if isinstance(window, int) else window, axes)
    patch = tuple(int(n) for n in reversed(size)) if size and min(size) > 0 else ()
    wide = () if patch or not inferer else (f"its window {window} is not plain: it gets whole images",)
    return Opened(
        network=in_order(network, range(axes)[::-1]),
        declared=about,
        patch=patch,
        overlap=overlap if isinstance(overlap, (int, float)) and 0 <= overlap < 1 else 0.25,
        notes=(*steps.notes, *wide),
    )


def _axes(network: nn.Module, arguments: Mapping[str, Any]) -> int:
    """Return the spatial axes that a network takes: as its arguments say, else those of its convolutions."""
    kinds = {nn.Conv2d: 2, nn.Conv3d: 3}
    found = (axes for part in network.modules() for kind, axes in kinds.items() if isinstance(part, kind))
    stated = arguments.get("spatial_dims")
    return stated if isinstance(stated, int) else next(found, 3)


def _network(config: Mapping[str, Any], source: ModelSource) -> tuple[str, dict[str, Any]]:
    """Return factory and arguments of the network that a configuration defines."""
    for key in NETWORKS:
        about = config.get(key)
        if isinstance(about, Mapping) and isinstance(about.get("_target_"), str):
            inner = {k: v for k, v in about.items() if not (k.startswith("_") and k.endswith("_"))}
            arguments = plain(inner, config, where=key)
            return _factory(about["_target_"], source), arguments
    raise InputError(
        f"expected 'network_def' with a '_target_' in the configuration of '{source.text}'; got "
        f"{', '.join(k for k in NETWORKS if k in config) or 'none'}: give the weights with --factory"
    )


def _factory(target: str, source: ModelSource) -> str:
    """Return the factory of a `_target_`: a class of MONAI by its name, or a path, which `build` checks."""
    module, _, name = target.rpartition(".")
    if module in ("", "monai.networks.nets") or re.fullmatch(r"monai\.networks\.nets\.\w+", module):
        return f"monai.networks.nets:{name}"
    if source.trust.factories and source.folder is not None:
        sys.path.insert(0, str(source.folder.resolve()))  # its scripts/ are importable, as MONAI has them
    return f"{module}:{name}"


def plain(value: Any, config: Mapping[str, Any], *, where: str, depth: int = 0) -> Any:
    """Return a value of a configuration with its references (@id) followed to plain values.

    raises  InputError for an expression ($), a macro (%), a component within, and circles
    """
    if depth > DEEPEST:
        raise InputError(f"'{where}' of the configuration refers to itself")
    if isinstance(value, Mapping):
        if "_target_" in value:
            raise InputError(f"'{where}' of the configuration is a component; expected plain values")
        return {k: plain(v, config, where=f"{where}#{k}", depth=depth + 1) for k, v in value.items()}
    if isinstance(value, list):
        return [plain(v, config, where=where, depth=depth + 1) for v in value]
    if isinstance(value, str) and value.startswith(("$", "%")):
        raise InputError(
            f"'{where}' of the configuration is the expression '{value:.60}', which is not run: write its "
            "value there, and open the bundle again"
        )
    if isinstance(value, str) and value.startswith("@"):
        return plain(_referred(value[1:], config, where), config, where=value[1:], depth=depth + 1)
    return value


def followed(value: Any, config: Mapping[str, Any], depth: int = 0) -> Any:
    """Return a value of a configuration with its references (@id) followed where they lead to something;
    expressions and what leads nowhere stay as they are written."""
    if depth > DEEPEST:
        return value
    if isinstance(value, Mapping):
        return {key: followed(v, config, depth + 1) for key, v in value.items()}
    if isinstance(value, list):
        return [followed(v, config, depth + 1) for v in value]
    if isinstance(value, str) and value.startswith("@"):
        with contextlib.suppress(InputError):
            return followed(_referred(value[1:], config, value), config, depth + 1)
    return value


def _referred(name: str, config: Mapping[str, Any], where: str) -> Any:
    """Return the value of an id, such as `network_def#channels#0`."""
    value: Any = config
    for part in re.split(r"#|::", name):
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            raise InputError(f"'{where}' of the configuration refers to '@{name}', which is not there")
    return value


def _classes(metadata: Mapping[str, Any]) -> list[str]:
    """Return the names of the channels of the output, in their order; empty where they are not stated."""
    outputs = metadata.get("network_data_format", {})
    outputs = outputs.get("outputs", {}) if isinstance(outputs, Mapping) else {}
    first: Any = next(iter(outputs.values()), {}) if isinstance(outputs, Mapping) else {}
    names = first.get("channel_def") if isinstance(first, Mapping) else None
    if not isinstance(names, Mapping) or sorted(names) != sorted(str(k) for k in range(len(names))):
        return []
    return [str(names[str(k)]) for k in range(len(names))]


def _sliding(config: Any) -> dict[str, Any] | None:
    """Return the inferer of a configuration that slides a window over an image; None without one."""
    if isinstance(config, Mapping) and "SlidingWindow" in str(config.get("_target_")):
        return dict(config)
    parts = config.values() if isinstance(config, Mapping) else config if isinstance(config, list) else ()
    return next((found for part in parts if (found := _sliding(part)) is not None), None)
