"""What is left of a map when the network's weights are replaced by random ones, layer by layer."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from contrafact.core import InputError, UnsupportedError, nearest
from contrafact.core.execution import Counted
from contrafact.metrics.heatmap_context import HeatmapContext, Values
from contrafact.metrics.similarity import alike

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
    """Every layer's name, and how alike (0 to 1) the map is to the original once the layer is random.

    order  "from-output" or "from-input": layers become random one after another and stay so; "alone": one at
           a time. Layers are in the order in which the network runs them
    draw   number of the random network
    last   of so many last steps only, which saves the explanations before
    cost   one explanation per layer
    raises UnsupportedError for a model whose weights cannot be reached
    """
    if order not in ORDERS:
        raise InputError(f"order must be one of {', '.join(ORDERS)}; got '{order}'{nearest(order, ORDERS)}")

    def make() -> list[tuple[str, float]]:
        original, curve = panel.maps[which], []
        for name, found in _maps(panel, which, order, draw=draw, last=last):
            curve.append((name, alike(original, found, similarity, panel.question.region)))
        return curve

    return panel.once(("randomisation", which, order, similarity, draw, last), make)


def random_map(panel: HeatmapContext, which: int, draw: int = 0) -> Values:
    """(*S): what the explainer says once all layers are random: the end of every cascade.

    cost  one explanation, once for all metrics
    """

    def make() -> Values:
        return next(_maps(panel, which, "from-output", draw=draw, last=1))[1]

    return panel.once(("random map alone", which, draw), make)


def _maps(
    panel: HeatmapContext, which: int, order: str, *, draw: int, last: int | None
) -> Iterator[tuple[str, Values]]:
    predictor = copied(panel.question.predictor)
    steps = list(layers_of(predictor, panel.image[None]).items())
    panel.passes += 1
    if order != "from-input":
        steps.reverse()
    for place, (name, modules) in enumerate(steps):
        before = [(t, t.detach().clone()) for m in modules for t in _own(m)] if order == "alone" else []
        redraw(modules, int(panel.rng("redraw", draw, name).integers(2**31)))
        final = order != "alone" and place == len(steps) - 1
        if last is None or place >= len(steps) - last:

            def explain() -> Values:
                found: Values = panel.again(which, predictor=predictor)[0]
                return found

            yield name, panel.once(("random map", which, draw), explain) if final else explain()
        with torch.no_grad():
            for tensor, value in before:
                tensor.copy_(value)


def copied(predictor: Any) -> Any:
    """A deep copy whose weights may be changed.

    raises  UnsupportedError for a black box and for TorchScript
    """
    while isinstance(predictor, Counted):
        predictor = predictor.inner
    module = getattr(predictor, "module", None)
    if not isinstance(module, nn.Module):
        raise UnsupportedError(
            "randomisation redraws weights and a black box shows none; give the torch module"
        )
    if isinstance(module, torch.jit.ScriptModule):
        raise UnsupportedError(
            "randomisation goes layer by layer and a TorchScript model hides its layers; give the torch module"
        )
    try:
        twin = copy.deepcopy(predictor)
    except (RuntimeError, TypeError, NotImplementedError) as error:
        raise UnsupportedError(
            f"randomisation works on a copy of the network and this one cannot be copied: {error}"
        ) from error
    twin.digest = predictor.digest  # a bundle knows its directions by it
    return twin


def layers_of(predictor: Any, images: Tensor) -> Layers:
    """Modules with weights of their own, by name, in the order in which a pass runs them; one that is used
    twice stands at its last use, one that is read without being run at what it is a part of."""
    names = {module: name for name, module in predictor.module.named_modules()}
    ran: dict[str, int] = {}

    def note(module: nn.Module, *_: Any) -> None:
        ran[names[module]] = len(order)
        order.append(module)

    order: list[nn.Module] = []
    handles = [module.register_forward_hook(note) for module in names]
    try:
        with getattr(predictor, "frozen", contextlib.nullcontext)(), torch.no_grad():
            predictor(images)
    finally:
        for handle in handles:
            handle.remove()
    groups: Layers = {}
    for module, name in names.items():
        owner = name
        while owner and owner not in ran:
            owner = owner.rpartition(".")[0]
        if any(p.is_floating_point() for p in module.parameters(recurse=False)) or _knows(module):
            groups.setdefault(owner, []).append(module)
    if not groups:
        raise UnsupportedError("randomisation redraws weights and this network has none")
    whole = type(predictor.module).__name__
    return {name or whole: groups[name] for name in sorted(groups, key=lambda name: ran.get(name, -1))}


def redraw(modules: Sequence[nn.Module], seed: int) -> None:
    """New weights for modules: as they were first made where they know how (running statistics too),
    otherwise normal values of the parameter's own size. Drawn on the CPU: the same on every device."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        for module in modules:
            before = {name: p.clone() for name, p in module.named_parameters(recurse=False)}
            knows = _knows(module)
            if knows:
                device = _own(module)[0].device
                module.cpu()
                module.reset_parameters()  # type: ignore[operator]
                module.to(device)
            for name, p in module.named_parameters(recurse=False):
                old = before[name]
                # A norm's ones are as good as new; what a reparametrisation kept from being reset is not.
                fresh = knows and bool((old == old.flatten()[0]).all())
                if p.is_floating_point() and torch.equal(p, old) and not fresh:
                    p.copy_(torch.randn(p.shape) * old.float().square().mean().sqrt().cpu())


def _knows(module: nn.Module) -> bool:
    """Whether it can make its weights anew, and nothing but its own."""
    others = any(_own(part) for part in list(module.modules())[1:])
    return hasattr(module, "reset_parameters") and bool(_own(module)) and not others


def _own(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(recurse=False), *module.buffers(recurse=False)]
