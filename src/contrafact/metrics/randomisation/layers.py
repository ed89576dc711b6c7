"""Model randomisation: maps of copies of the network whose layers get random weights one after another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from contrafact.core import InputError, UnsupportedError, nearest
from contrafact.core.library_output import deep_copy
from contrafact.core.predictor_adapter import DelegatingPredictor
from contrafact.metrics.heatmap_context import HeatmapContext, Values
from contrafact.metrics.similarity import alike
from contrafact.perturbation.memory import out_of_memory

ORDERS = ("from-output", "from-input", "alone")
Layers = dict[str, list[nn.Module]]


def randomisation_curve(
    panel: HeatmapContext,
    which: int,
    order: str = "from-output",
    *,
    similarity: str = "spearman",
    draw: int = 0,
    last: int | None = None,
) -> list[tuple[str, float]]:
    """Return each layer's name, and the similarity (0 to 1) of the map to the original after randomising it.

    order  "from-output" or "from-input": layers are randomised cumulatively; "alone": one layer at a time.
           Layers are in forward order
    draw   number of the random network
    last   return only this many last steps, which saves the explanations before; None: all
    cost   one explanation per layer
    raises UnsupportedError for a model whose weights cannot be replaced; InputError for an unknown order
    """
    if order not in ORDERS:
        raise InputError(f"order must be one of {', '.join(ORDERS)}; got '{order}'{nearest(order, ORDERS)}")

    def make() -> list[tuple[str, float]]:
        original, curve = panel.maps[which], []
        for name, values in _maps(panel, which, order, draw=draw, last=last):
            curve.append((name, alike(original, values, similarity, panel.question.region)))
        return curve

    return panel.once(("randomisation", which, order, similarity, draw, last), make)


def random_map(panel: HeatmapContext, which: int, draw: int = 0) -> Values:
    """Return the map (*S) of a network with random weights in all layers.

    cost  one explanation, shared by all metrics
    """

    def make() -> Values:
        return next(_maps(panel, which, "from-output", draw=draw, last=1))[1]

    return panel.once(("random map alone", which, draw), make)


def _maps(
    panel: HeatmapContext, which: int, order: str, *, draw: int, last: int | None
) -> Iterator[tuple[str, Values]]:
    """Yield each layer's name, and the map (*S) after randomising it."""
    predictor = copied(panel.question.predictor)
    steps = list(layers_of(predictor, panel.image[None]).items())
    panel.passes += 1
    if order != "from-input":
        steps.reverse()
    for step, (name, modules) in enumerate(steps):
        before = [(t, t.detach().clone()) for m in modules for t in _own(m)] if order == "alone" else []
        redraw(modules, int(panel.rng("redraw", draw, name).integers(2**31)))
        final = order != "alone" and step == len(steps) - 1
        if last is None or step >= len(steps) - last:

            def explain() -> Values:
                values: Values = panel.again(which, predictor=predictor)[0]
                return values

            yield name, panel.once(("random map", which, draw), explain) if final else explain()
        with torch.no_grad():
            for tensor, value in before:
                tensor.copy_(value)


def copied(predictor: Any) -> Any:
    """Return a deep copy of a predictor, whose weights may be changed.

    raises  UnsupportedError for a black box, for TorchScript, and for a network that cannot be copied
    """
    while isinstance(predictor, DelegatingPredictor):
        predictor = predictor.inner
    module = predictor.module
    if not isinstance(module, nn.Module):
        raise UnsupportedError("randomisation replaces weights and a black box has none; pass the torch module")
    if isinstance(module, torch.jit.ScriptModule):
        raise UnsupportedError(
            "randomisation needs single layers and a TorchScript model hides them; pass the torch module"
        )
    try:
        twin = deep_copy(predictor)
    except (RuntimeError, TypeError, NotImplementedError) as error:
        if out_of_memory(error):
            raise
        raise UnsupportedError(
            f"randomisation works on a copy of the network and this one cannot be copied: {error}"
        ) from error
    twin.digest = predictor.digest  # a bundle identifies its directions by the digest
    return twin


def layers_of(predictor: Any, images: Tensor) -> Layers:
    """Return the modules with own weights by name, in forward order.

    A module used twice is at the position of its last use; a module whose weights are read without calling it
    is grouped with the module that contains it.

    raises  UnsupportedError for a network without weights
    """
    names = {module: name for name, module in predictor.module.named_modules()}
    ran: dict[str, int] = {}

    def note(module: nn.Module, *_: Any) -> None:
        ran[names[module]] = len(order)
        order.append(module)

    order: list[nn.Module] = []
    handles = [module.register_forward_hook(note) for module in names]
    try:
        with predictor.frozen(), torch.no_grad():
            predictor(images)
    finally:
        for handle in handles:
            handle.remove()
    groups: Layers = {}
    for module, name in names.items():
        owner = name
        while owner and owner not in ran:
            owner = owner.rpartition(".")[0]
        if any(p.is_floating_point() for p in module.parameters(recurse=False)) or _can_reset(module):
            groups.setdefault(owner, []).append(module)
    if not groups:
        raise UnsupportedError("randomisation replaces weights and this network has none")
    whole = type(predictor.module).__name__
    return {name or whole: groups[name] for name in sorted(groups, key=lambda name: ran.get(name, -1))}


def redraw(modules: Sequence[nn.Module], seed: int) -> None:
    """Replace the weights of modules by random ones, the same on every device.

    A module with `reset_parameters` is initialised anew (running statistics too); other parameters get normally
    distributed values of the same root mean square.
    """
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        for module in modules:
            before = {name: p.clone() for name, p in module.named_parameters(recurse=False)}
            resets = _can_reset(module)
            if resets:
                device = _own(module)[0].device
                module.cpu()
                module.reset_parameters()  # type: ignore[operator]
                module.to(device)
            for name, p in module.named_parameters(recurse=False):
                old = before[name]
                # A constant parameter (ones of a norm) is already initialised; one that a reparametrisation
                # kept from the reset is not.
                fresh = resets and bool((old == old.flatten()[0]).all())
                if p.is_floating_point() and torch.equal(p, old) and not fresh:
                    p.copy_(torch.randn(p.shape) * old.float().square().mean().sqrt().cpu())


def _can_reset(module: nn.Module) -> bool:
    """Whether a module can initialise its own weights, and contains no other weights."""
    others = any(_own(part) for part in list(module.modules())[1:])
    return hasattr(module, "reset_parameters") and bool(_own(module)) and not others


def _own(module: nn.Module) -> list[Tensor]:
    """Return the parameters and buffers of a module itself."""
    return [*module.parameters(recurse=False), *module.buffers(recurse=False)]
