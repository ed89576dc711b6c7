"""The state of networks and their optimisers as a flat dictionary of tensors, and back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from contrafact.core.errors import InputError


def pack(
    modules: Mapping[str, nn.Module], adams: Mapping[str, torch.optim.Adam], **others: Tensor
) -> dict[str, Tensor]:
    """Copied CPU tensors with flat names: weights and buffers, Adam's moments, and `others`."""
    out = {
        f"{name}.{key}": value for name, module in modules.items() for key, value in module.state_dict().items()
    }
    for name, adam in adams.items():
        for index, slots in adam.state_dict()["state"].items():
            out |= {f"{name}.{index}.{slot}": value for slot, value in slots.items()}
    out |= others
    return {key: value.detach().to("cpu", copy=True).contiguous() for key, value in out.items()}


def unpack(
    state: Mapping[str, Tensor],
    modules: Mapping[str, nn.Module],
    adams: Mapping[str, torch.optim.Adam],
) -> None:
    """Put a `pack` back; KeyError or RuntimeError where it belongs to other networks."""
    for name, module in modules.items():
        module.load_state_dict(part(state, name))
    for name, adam in adams.items():
        slots: dict[int, dict[str, Tensor]] = {}
        for key, value in part(state, name).items():
            index, slot = key.split(".")
            slots.setdefault(int(index), {})[slot] = value.clone()
        adam.load_state_dict({**adam.state_dict(), "state": slots})


@contextlib.contextmanager
def same_run(run: str) -> Iterator[None]:
    """Inside, a state that does not fit says so: InputError with what was expected (`run`)."""
    try:
        yield
    except (KeyError, RuntimeError) as error:
        raise InputError(
            f"expected the saved state of a {run} run with this configuration; got another one "
            f"({str(error).splitlines()[0]})"
        ) from error


def part(state: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The entries of one network, without its name."""
    return {k[len(name) + 1 :]: v for k, v in state.items() if k.startswith(name + ".")}
