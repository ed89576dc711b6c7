"""Saved training states: networks and optimisers as a flat dictionary of tensors."""

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

MAY_CHANGE = ("kimg", "gamma")  # settings that may differ when a run is continued
# Settings that states of earlier versions lack, with the values that train as those versions did.
EARLIER = {"pairs": 40.0, "pair_kimg": 0.0, "exposure": 0.0, "projected": 0.0, "joint": 0.0}


def pack(
    modules: Mapping[str, nn.Module], adams: Mapping[str, torch.optim.Adam], **others: Tensor
) -> dict[str, Tensor]:
    """Return weights and buffers, Adam's moments, and `others` as copied CPU tensors with flat names."""
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
    """Load a state from `pack` into networks and optimisers. Raise KeyError or RuntimeError where it belongs to
    other networks."""
    for name, module in modules.items():
        module.load_state_dict(part(state, name))
    for name, adam in adams.items():
        slots: dict[int, dict[str, Tensor]] = {}
        for key, value in part(state, name).items():
            index, slot = key.split(".")
            slots.setdefault(int(index), {})[slot] = value.clone()
        adam.load_state_dict({**adam.state_dict(), "state": slots})


def load_known(network: nn.Module, weights: Mapping[str, Tensor], *, new: tuple[str, ...]) -> None:
    """Load weights into a network, of which only parameters whose names begin with one of `new` may be missing
    there. Raise RuntimeError for others."""
    missing, unknown = network.load_state_dict(dict(weights), strict=False)
    odd = [name for name in missing if not name.startswith(new)] + list(unknown)
    if odd:
        raise RuntimeError(f"other weights: {', '.join(odd[:3])}")


@contextlib.contextmanager
def same_run(run: str) -> Iterator[None]:
    """Convert the errors of a state that does not fit into an InputError that names the expected `run`."""
    try:
        yield
    except (KeyError, RuntimeError) as error:
        raise InputError(
            f"expected the saved state of a {run} run with this configuration; got another one "
            f"({str(error).splitlines()[0]})"
        ) from error


def trained_with(config: Any, images: Tensor, origin: Mapping[str, Any] | None) -> Tensor:
    """Return the settings that a saved state must share to be continued, as bytes of JSON in a tensor.

    origin  further facts: the window of the images, the digest of the guiding model
    """
    settings = {k: v for k, v in dataclasses.asdict(config).items() if k not in MAY_CHANGE}
    about = {**settings, "images": fingerprint(images.cpu().numpy()), **(origin or {})}
    return torch.frombuffer(bytearray(json.dumps(about).encode()), dtype=torch.uint8)


def check_trained_with(state: Mapping[str, Tensor], now: Tensor, *, only: tuple[str, ...] = ()) -> None:
    """Raise InputError where a state was trained with other settings; `only` limits the comparison to these
    names. The precision "auto" matches any."""
    if "about" not in state:  # saved by a version that did not record the settings
        return
    before, after = (json.loads(bytes(tensor.cpu().numpy())) for tensor in (state["about"], now))
    before = {name: value for name, value in EARLIER.items() if name in after} | before
    differs = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    differs = [name for name in differs if not only or name in only]
    differs = [name for name in differs if name != "precision" or after.get(name) != "auto"]
    if not differs:
        return
    descriptions = [
        "other images"
        if name == "images"
        else f"{name.replace('_', ' ')} {json.dumps(before.get(name))}, now {json.dumps(after.get(name))}"
        for name in sorted(differs, key=lambda name: name == "images")
    ]
    raise InputError(
        f"the saved run was trained with {'; '.join(descriptions)}: continue it with the same settings, or "
        "choose another out"
    )


def part(state: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Return the entries of one network, without its name in the keys."""
    return {k[len(name) + 1 :]: v for k, v in state.items() if k.startswith(name + ".")}
