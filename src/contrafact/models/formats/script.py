"""TorchScript, which is code."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import nn

from contrafact.core import FORMATS, InputError
from contrafact.models.archives import checked_script
from contrafact.models.opened import Opened
from contrafact.models.source import ModelSource
from contrafact.models.weights import guarded, read_weights


@FORMATS.register("torchscript")
@dataclass(frozen=True, slots=True)
class Script:
    """TorchScript: opened after a scan, where the user trusts it (docs/security.md)."""

    schemes: ClassVar[tuple[str, ...]] = ()
    reads: ClassVar[str] = "a .ts or .pt file"
    takes_inputs: ClassVar[bool] = False
    takes_factory: ClassVar[bool] = False

    def recognises(self, source: ModelSource) -> bool:
        return source.suffix in (".ts", ".pt") and source.factory is None

    def open(self, source: ModelSource) -> Opened:
        path = source.file
        return Opened(network=guarded(path, lambda: _torchscript(path, source.trust.scripts)))


def _torchscript(path: Path, trust: bool) -> nn.Module:
    """Load a trusted TorchScript file after a scan, which refuses operators that access files."""
    if not zipfile.is_zipfile(path) or not any(
        n.endswith("constants.pkl") for n in zipfile.ZipFile(path).namelist()
    ):
        tensors = len(read_weights(path))  # refuses anything else
        raise InputError(
            f"'{path.name}' holds {tensors} tensors (a state_dict) and no network: write a description (.json) "
            "with its 'factory', and this file as 'weights'; or give --factory file.py:make with --trust-code "
            "(factory=, trust_code=True in Python)"
        )
    if not trust:
        raise InputError(
            f"'{path.name}' is TorchScript, which is code that runs as soon as it is opened: give --trust "
            "(trust=True in Python) if you trust its origin, or save its state_dict as safetensors "
            "with a description"
        )
    return torch.jit.load(checked_script(path), map_location="cpu")
