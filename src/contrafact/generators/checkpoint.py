"""The state of networks and their optimisers as a flat dictionary of tensors, and back."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from contrafact.core.errors import InputError
from contrafact.core.fingerprint import fingerprint

MAY_CHANGE = ("kimg", "gamma")  # of a run that is continued


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


def trained_with(config: Any, images: Tensor, origin: Mapping[str, Any] | None) -> Tensor:
    """What a saved state must agree with to be continued, as bytes of JSON in a tensor.

    origin  what is known of the images besides: their window, the model that guides
    """
    settings = {k: v for k, v in dataclasses.asdict(config).items() if k not in MAY_CHANGE}
    about = {**settings, "images": fingerprint(images.cpu().numpy()), **(origin or {})}
    return torch.frombuffer(bytearray(json.dumps(about).encode()), dtype=torch.uint8)


def check_trained_with(state: Mapping[str, Tensor], now: Tensor, *, only: tuple[str, ...] = ()) -> None:
    """Raise InputError where a state was trained with something else; `only`: compare these names alone. A
    precision that is not set is that of the state."""
    if "about" not in state:  # saved before states said so
        return
    before, after = (json.loads(bytes(one.cpu().numpy())) for one in (state["about"], now))
    differs = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    differs = [name for name in differs if not only or name in only]
    differs = [name for name in differs if name != "precision" or after.get(name) != "auto"]
    if not differs:
        return
    told = [
        "other images"
        if name == "images"
        else f"{name.replace('_', ' ')} {json.dumps(before.get(name))}, now {json.dumps(after.get(name))}"
        for name in sorted(differs, key=lambda name: name == "images")
    ]
    raise InputError(
        f"the saved run was trained with {'; '.join(told)}: continue it with what it was begun with, or choose "
        "another out"
    )


def part(state: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The entries of one network, without its name."""
    return {k[len(name) + 1 :]: v for k, v in state.items() if k.startswith(name + ".")}
