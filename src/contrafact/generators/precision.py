"""How precisely to compute: as it is set, or, on a CPU, by timing one step.

Processors with instructions for bfloat16 take half the time for it, and others many times as long.
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
    """The type of a run's convolutions: as it is set; of `auto` on a CPU the faster of float32 and bfloat16,
    found when it is asked for first and then kept; on other devices, and where several processes would have to
    agree (`alone`), `elsewhere`."""

    def __init__(
        self, setting: str, device: torch.device, *, elsewhere: str = "bf16", alone: bool = True
    ) -> None:
        self.name = setting if setting != AUTO or (device.type == "cpu" and alone) else elsewhere

    def of(self, step: Step) -> torch.dtype:
        """`step` computes once in the type that it is given, and changes nothing."""
        if self.name == AUTO:
            self.name = "bf16" if half_is_faster(step) else "fp32"
        return PRECISIONS[self.name]

    def noted(self, about: Tensor) -> Tensor:
        """What a saved state says of its run (`trained_with`), with the type that was found."""
        words = json.loads(bytes(about.numpy())) | {"precision": self.name}
        return torch.frombuffer(bytearray(json.dumps(words).encode()), dtype=torch.uint8)

    def go_on(self, state: Mapping[str, Tensor]) -> None:
        """Keep the type that a saved run was begun with, where none is set."""
        if self.name == AUTO and "about" in state:
            self.name = json.loads(bytes(state["about"].cpu().numpy())).get("precision", AUTO)


def once(images: Tensor, discriminator: Callable[[Tensor], Tensor], *parts: nn.Module) -> None:
    """The gradients of a discriminator's answer by the weights of `parts`: a step that moves nothing."""
    weights = [weight for part in parts for weight in part.parameters()]
    torch.autograd.grad(discriminator(images).float().sum(), weights, allow_unused=True)
