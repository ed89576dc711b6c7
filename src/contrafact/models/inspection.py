"""Inspect a network for operations that hooks on its modules miss."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from contrafact.models.predictors import TorchPredictor

RELUS = (F.relu, torch.relu, Tensor.relu, torch.relu_, Tensor.relu_, F.relu6)
OTHERS: dict[Callable[..., Any], str] = {
    F.leaky_relu: "LeakyReLU", F.prelu: "PReLU", F.gelu: "GELU", F.silu: "SiLU", F.elu: "ELU", F.selu: "SELU",
    F.hardtanh: "Hardtanh", torch.sigmoid: "Sigmoid", torch.tanh: "Tanh", F.softplus: "Softplus",
    F.mish: "Mish", F.hardswish: "Hardswish",
}  # fmt: skip
ACTIVATIONS = (nn.ReLU, nn.Hardtanh, nn.LeakyReLU, nn.PReLU, nn.GELU, nn.SiLU, nn.ELU, nn.Sigmoid, nn.Tanh)


@dataclass(frozen=True, slots=True)
class Findings:
    """Properties of a network that affect methods with hooks.

    functional       number of ReLUs called as functions, which hooks on modules miss
    reused           modules called more than once in a pass
    in_place         modules that overwrite their input
    unchanged        activations other than ReLU, with their number: guided backprop does not change them
    relus            total number of ReLUs
    """

    functional: int
    reused: tuple[str, ...]
    in_place: tuple[str, ...]
    unchanged: dict[str, int]
    relus: int

    def lines(self) -> list[str]:
        """Return the findings as text."""
        lines = []
        if self.functional:
            lines.append(f"{self.functional} functional ReLU(s), which hooks on modules miss")
        if self.reused:
            lines.append(f"module(s) used more than once: {', '.join(self.reused[:4])}")
        if self.in_place:
            lines.append(f"module(s) that work in place: {', '.join(self.in_place[:4])}")
        if self.unchanged:
            names = ", ".join(f"{count} {name}" for name, count in self.unchanged.items())
            lines.append(f"activations other than ReLU: {names}")
        return lines or ["nothing that hooks would miss"]


class _Watch(TorchFunctionMode):
    """Count activation calls, and whether they come from an activation module."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.functional, self.relus = 0, 0, 0
        self.others: Counter[str] = Counter()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in RELUS or (func is F.hardtanh and _low_end(args, kwargs or {}) == 0):
            self.relus += 1
            self.functional += not self.inside
        elif func in OTHERS:
            self.others[OTHERS[func]] += 1
        return func(*args, **(kwargs or {}))


def _low_end(args: Any, kwargs: Any) -> Any:
    """Return the lower limit of `hardtanh`; it is 0 for a ReLU6."""
    return args[1] if len(args) > 1 else kwargs.get("min_val", -1.0)


def inspect_network(predictor: TorchPredictor, images: Any) -> Findings:
    """Inspect one forward pass. The modules of a TorchScript model are hidden, so it has no findings."""
    calls: Counter[str] = Counter()
    watch, handles = _Watch(), []
    modules = (
        {} if isinstance(predictor.module, torch.jit.ScriptModule) else dict(predictor.module.named_modules())
    )

    def enter(name: str) -> Callable[..., None]:
        def note(module: nn.Module, _inputs: Any) -> None:
            calls[name] += not list(module.children())
            watch.inside += isinstance(module, ACTIVATIONS)

        return note

    def leave(module: nn.Module, _inputs: Any, _output: Any) -> None:
        watch.inside -= isinstance(module, ACTIVATIONS)

    for name, module in modules.items():
        handles += [module.register_forward_pre_hook(enter(name)), module.register_forward_hook(leave)]
    try:
        with torch.no_grad(), watch:
            predictor(images)
    finally:
        for handle in handles:
            handle.remove()
    return Findings(
        functional=watch.functional,
        reused=tuple(name for name, count in calls.items() if count > 1),
        in_place=tuple(name for name, module in modules.items() if getattr(module, "inplace", False) is True),
        unchanged=dict(watch.others),
        relus=watch.relus,
    )
