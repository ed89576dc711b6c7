"""Weights alone, with the factory of their network: state dicts and Lightning checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from contrafact.core import FORMATS, InputError
from contrafact.models.factories import build
from contrafact.models.opened import Opened
from contrafact.models.source import ModelSource
from contrafact.models.weights import filled, read_weights

SUFFIXES = (".safetensors", ".pth", ".ckpt", ".bin", ".tar")


@FORMATS.register("state-dict")
@dataclass(frozen=True, slots=True)
class StateDict:
    """Weights of a network that `--factory` makes: a state_dict, also inside a checkpoint (of Lightning, of a
    trainer), where the names may have a prefix."""

    schemes: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[str] = f"{', '.join(SUFFIXES)} or .pt with --factory"
    takes_inputs: ClassVar[bool] = False
    takes_factory: ClassVar[bool] = True

    def recognises(self, source: ModelSource) -> bool:
        return source.suffix in SUFFIXES or (source.suffix == ".pt" and source.factory is not None)

    def open(self, source: ModelSource) -> Opened:
        state = read_weights(source.file)
        if source.factory is None:
            some = ", ".join(list(state)[:3])
            raise InputError(
                f"'{source.file.name}' holds {len(state)} tensors ({some}, ...) and no network: give --factory "
                "monai.networks.nets:NAME with --arguments, --factory file.py:make with --trust-code (factory= "
                "and trust_code=True in Python), or write a description (.json) with 'factory' and 'weights'"
            )
        module = build(source.factory, source.arguments, trust_code=source.trust.factories)
        return Opened(network=filled(module, state, source.file, what=source.factory))
