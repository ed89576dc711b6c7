"""The numerical precision of training: as configured, or on a CPU chosen by timing one step.

Processors with bfloat16 instructions need half the time in bfloat16; others need many times as long.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from contrafact.core.errors import InputError, nearest

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
AUTO = "auto"
Step = Callable[[torch.dtype], object]


def check_precision(name: str, *, known: Iterable[str] = (AUTO, *PRECISIONS)) -> None:
    """Raise InputError for a precision that is not `known`."""
    known = tuple(known)
    if name not in known:
        raise InputError(f"precision must be one of {', '.join(known)}; got '{name}'{nearest(name, known)}")


def half_is_faster(step: Step) -> bool:
    """Whether a step in bfloat16 takes less time than one in float32.

    cost  two steps of each: the first warms up
    """
    seconds = []
    for dtype in (torch.float32, torch.bfloat16):
        step(dtype)
        began = time.perf_counter()
        step(dtype)
        seconds.append(time.perf_counter() - began)
    return seconds[1] < seconds[0]


class Precision:
    """The precision of a run's convolutions.

    setting    a name of `PRECISIONS`, or "auto": on a CPU the faster of float32 and bfloat16, timed once at
               the first use and then kept
    elsewhere  meaning of "auto" on other devices, and where several processes must agree
    alone      whether this is the only process
    """

    def __init__(
        self, setting: str, device: torch.device, *, elsewhere: str = "bf16", alone: bool = True
    ) -> None:
        self.name = setting if setting != AUTO or (device.type == "cpu" and alone) else elsewhere

    def of(self, step: Step) -> torch.dtype:
        """Return the precision; `step` computes once in a given type, without side effects, and is timed."""
        if self.name == AUTO:
            self.name = "bf16" if half_is_faster(step) else "fp32"
        return PRECISIONS[self.name]

    def recorded(self, about: Tensor) -> Tensor:
        """Return the settings of a saved state (`trained_with`) with the precision in use."""
        settings = json.loads(bytes(about.numpy())) | {"precision": self.name}
        return torch.frombuffer(bytearray(json.dumps(settings).encode()), dtype=torch.uint8)

    def resume(self, state: Mapping[str, Tensor]) -> None:
        """Adopt the precision of a saved run where the setting is "auto"."""
        if self.name == AUTO and "about" in state:
            self.name = json.loads(bytes(state["about"].cpu().numpy())).get("precision", AUTO)


def trial_step(images: Tensor, discriminator: Callable[[Tensor], Tensor], *parts: nn.Module) -> None:
    """Compute the gradients of the discriminator's output by the weights of `parts`, without an update."""
    weights = [weight for part in parts for weight in part.parameters()]
    torch.autograd.grad(discriminator(images).float().sum(), weights, allow_unused=True)


def channels_last(network: nn.Module) -> None:
    """Lay the weights of a network's 2D convolutions out with the channels last."""
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
