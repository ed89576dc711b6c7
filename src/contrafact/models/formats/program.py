"""Programs of torch.export."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from contrafact.core import FORMATS, InputError
from contrafact.models.exported import checked_program
from contrafact.models.opened import Opened
from contrafact.models.program_functions import with_functions
from contrafact.models.source import ModelSource
from contrafact.models.weights import guarded


@FORMATS.register("torch-export")
@dataclass(frozen=True, slots=True)
class Program:
    """A program of `torch.export`: opened from a clean copy of its checked parts (docs/security.md)."""

    schemes: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[str] = "a .pt2 file"
    takes_inputs: ClassVar[bool] = False
    takes_factory: ClassVar[bool] = False

    def recognises(self, source: ModelSource) -> bool:
        return source.suffix == ".pt2"

    def open(self, source: ModelSource) -> Opened:
        path = source.file
        return Opened(network=guarded(path, lambda: _exported(path)))


def _exported(path: Path) -> Any:
    """Load a torch.export program from a clean archive of its checked parts."""
    clean = checked_program(path)
    try:
        return _of_its_batch(path, with_functions(torch.export.load(clean).module()))
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
