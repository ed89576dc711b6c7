"""Backward passes that propagate relevance instead of gradients, for LRP and excitation backpropagation.

`RelevanceMode` (a `TorchFunctionMode`) intercepts every torch function the network calls, in modules, in
functions, and in layers used twice. Linear steps get a rule; activations and normalisations pass relevance on;
sums distribute it among their summands; reshaping, concatenation and max pooling route it like gradients. A
function without a rule is refused.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from contrafact.attribution.attention.weights import SOFTMAX, AttentionMode, multi_head
from contrafact.attribution.relevance.linear_rules import EPSILON, RULES, linear_share, ratio
from contrafact.attribution.relevance.moving_functions import moves
from contrafact.core import InputError, UnsupportedError


class _Relevance(torch.autograd.Function):
    """Return `output`; the backward pass distributes relevance to the inputs by the function `back`."""

    @staticmethod
    def forward(ctx: Any, output: Tensor, back: Callable[..., Any], *inputs: Tensor) -> Tensor:
        ctx.back, ctx.count = back, len(inputs)
        ctx.save_for_backward(*inputs)
        return output.clone()

    @staticmethod
    def backward(ctx: Any, *relevance: Tensor) -> Any:
        shares = ctx.back(relevance[0], *ctx.saved_tensors)
        return (None, None, *shares)


CONVOLUTIONS = {
    getattr(torch, name): name
    for name in ("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
}
POOLS = {
    F.avg_pool1d, F.avg_pool2d, F.avg_pool3d, F.adaptive_avg_pool1d, F.adaptive_avg_pool2d,
    F.adaptive_avg_pool3d, F.interpolate, torch.mean, Tensor.mean, torch.sum, Tensor.sum,
    torch.adaptive_avg_pool1d,
    torch._C._nn.avg_pool2d, torch._C._nn.avg_pool3d, torch._C._nn.adaptive_avg_pool2d,
    torch._C._nn.adaptive_avg_pool3d, torch.avg_pool1d,
}  # fmt: skip
PASS = {
    F.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_, F.leaky_relu, F.elu, F.gelu, F.silu,
    F.prelu, torch.prelu, F.hardtanh, F.relu6, F.selu, F.softplus, F.dropout, F.dropout2d, F.dropout3d,
    F.batch_norm, F.instance_norm, F.group_norm, F.layer_norm, torch.sigmoid, Tensor.sigmoid, torch.tanh,
    Tensor.tanh, torch.neg, Tensor.neg, Tensor.__neg__, F.hardswish, F.mish, F.celu, F.hardsigmoid,
    F.leaky_relu_, F.elu_, F.hardtanh_, F.selu_, F.celu_, F.rrelu, torch.sigmoid_, Tensor.sigmoid_, torch.tanh_,
    Tensor.tanh_,
}  # fmt: skip
NORMS = {F.batch_norm, F.instance_norm, F.group_norm}
SUMS = {torch.add, Tensor.add, Tensor.add_, Tensor.__add__, Tensor.__radd__, Tensor.__iadd__}
PRODUCTS = {
    torch.multiply,
    torch.mul,
    Tensor.mul,
    Tensor.mul_,
    Tensor.__mul__,
    Tensor.__rmul__,
    Tensor.__imul__,
}
DIFFERENCES = {torch.sub, Tensor.sub, Tensor.__sub__, Tensor.__rsub__, Tensor.sub_, Tensor.__isub__, torch.rsub}
SCALES = {torch.divide, torch.true_divide, torch.div, Tensor.div, Tensor.__truediv__, Tensor.div_}
MATRICES = {
    torch.matmul, Tensor.matmul, Tensor.__matmul__, Tensor.__rmatmul__, torch.bmm, Tensor.bmm, torch.mm,
    Tensor.mm, torch.einsum,
}  # fmt: skip
REFUSED = {
    torch.addmm, torch.baddbmm, torch.addbmm, Tensor.addmm, Tensor.baddbmm, torch.sqrt, Tensor.sqrt,
    torch.rsqrt, torch.abs, Tensor.abs, torch.square, Tensor.square, Tensor.__rtruediv__, torch.reciprocal,
    torch.sin, torch.cos, torch.subtract, torch.cumsum, torch.prod, torch.sign, torch.norm,
    F.softmax, torch.softmax, Tensor.softmax, F.log_softmax, torch.exp, Tensor.exp, torch.log, Tensor.log,
    torch.pow, Tensor.pow, Tensor.__pow__, F.normalize,
}  # fmt: skip

# Method of `RelevanceMode` for each function; a later entry counts where a function has several.
HANDLERS: dict[Any, str] = {
    **dict.fromkeys(REFUSED, "_refuse"),
    **dict.fromkeys(MATRICES, "_product"),
    **dict.fromkeys(SOFTMAX, "_softmax"),
    F.multi_head_attention_forward: "_multi_head",
    F.scaled_dot_product_attention: "_attend",
    **dict.fromkeys(SCALES, "_scaled"),
    **dict.fromkeys(DIFFERENCES, "_difference"),
    **dict.fromkeys(SUMS | PRODUCTS, "_shared"),
    **dict.fromkeys(PASS, "_pass"),
    **dict.fromkeys(NORMS, "_normalised"),
    **dict.fromkeys(POOLS, "_plain_linear"),
    **dict.fromkeys({*CONVOLUTIONS, F.linear}, "_weighted"),
}


class RelevanceMode(TorchFunctionMode):
    """Mode in which the network's backward pass propagates relevance by `rule`.

    flip       number, from 0, of the linear or convolution step whose weights are negated in the backward
               pass (contrastive excitation backpropagation); None: no step
    calls      number of linear and convolution steps so far
    """

    def __init__(self, rule: str, method: str, *, flip: int | None = None) -> None:
        super().__init__()
        if rule not in RULES:
            raise InputError(f"rule must be one of {', '.join(RULES)}; got '{rule}'")
        self.rule, self.method, self.flip, self.calls = rule, method, flip, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tracked = self._tracked((*args, *kwargs.values()))
        if tracked and func in HANDLERS:
            return getattr(self, HANDLERS[func])(func, args, kwargs)
        output = func(*args, **kwargs)
        known = not tracked or moves(func) or not self._tracked((output,))
        return output if known else self._refuse(func, args, kwargs)

    @staticmethod
    def _tracked(args: Any) -> bool:
        flat = [a for arg in args for a in (arg if isinstance(arg, (tuple, list)) else (arg,))]
        return torch.is_grad_enabled() and any(isinstance(a, Tensor) and a.requires_grad for a in flat)

    def _weighted(self, func: Any, args: Any, kwargs: Any) -> Tensor:
        x, weight = args[0], args[1] if len(args) > 1 else kwargs["weight"]
        bias, rest = args[2] if len(args) > 2 else kwargs.get("bias"), args[3:]
        more = {k: v for k, v in kwargs.items() if k not in ("weight", "bias", "input")}
        number, self.calls = self.calls, self.calls + 1
        sign = -1.0 if number == self.flip else 1.0

        def run(v: Tensor, w: Tensor | None, b: Tensor | None) -> Tensor:
            return torch.as_tensor(func(v, w, b, *rest, **more))

        zero = _of_zeros(func, weight, bias)

        def back(relevance: Tensor, v: Tensor) -> tuple[Tensor]:
            return (linear_share(run, sign * weight.detach(), bias, relevance, v, self.rule, zero=zero),)

        with torch.no_grad():
            output = func(*args, **kwargs)
        result = torch.as_tensor(_Relevance.apply(output, back, x))
        if sign > 0 and not CONVOLUTIONS.get(func, "").startswith("conv_transpose"):
            result.linear_step = (run, weight.detach(), bias, x, zero)  # type: ignore[attr-defined]
        return result

    def _plain_linear(self, func: Any, args: Any, kwargs: Any) -> Tensor:
        def run(v: Tensor, *_: Tensor | None) -> Tensor:
            return torch.as_tensor(func(v, *args[1:], **kwargs))

        def back(relevance: Tensor, v: Tensor) -> tuple[Tensor]:
            return (linear_share(run, None, None, relevance, v, self.rule),)

        with torch.no_grad():
            output = func(*args, **kwargs)
        return torch.as_tensor(_Relevance.apply(output, back, args[0]))

    def _normalised(self, func: Any, args: Any, kwargs: Any) -> Tensor:
        """Propagate through a normalisation with constant statistics, which is a scale and a shift.

        The shift keeps its share of the relevance; alpha1-beta0 passes the relevance on unchanged. A
        convolution before it is merged with it into one step, so that shifts that cancel each other do not
        make a divisor small.
        """
        if self.rule == "alpha1-beta0":
            return self._pass(func, args, kwargs)
        x = args[0]
        with torch.no_grad():
            output = func(*args, **kwargs)
            scale = norm_scale(func, args, kwargs)
            shift = output - scale * x
        step = getattr(x, "linear_step", None)
        if step is None:

            def alone(relevance: Tensor, v: Tensor) -> tuple[Tensor]:
                total = scale * v + shift
                return (relevance * scale * v / (total + EPSILON * torch.where(total >= 0, 1.0, -1.0)),)

            return torch.as_tensor(_Relevance.apply(output, alone, x))
        run, weight, bias, before, zero = step
        signs = scale.mean(dim=(0, *range(2, scale.ndim))).sign()  # one for each output channel

        def merged(v: Tensor, w: Tensor | None, b: Tensor | None) -> Tensor:
            return scale.abs() * run(v, w, b) + shift

        def back(relevance: Tensor, v: Tensor) -> tuple[Tensor]:
            w = weight * signs.reshape(-1, *(1,) * (weight.ndim - 1))
            b = None if bias is None else bias * signs
            return (linear_share(merged, w, b, relevance, v, self.rule, zero=scale * zero + shift),)

        return torch.as_tensor(_Relevance.apply(output, back, before))

    @staticmethod
    def _pass(func: Any, args: Any, kwargs: Any) -> Tensor:
        with torch.no_grad():
            output = func(args[0].detach().clone(), *args[1:], **kwargs)
        return torch.as_tensor(_Relevance.apply(output, lambda relevance, _: (relevance,), args[0]))

    def _shared(self, func: Any, args: Any, kwargs: Any) -> Tensor:
        """Propagate through a sum in proportion to the size of each summand (of its positive part for
        alpha1-beta0), and through a product in halves."""
        size = (lambda v: v.clamp_min(0)) if self.rule == "alpha1-beta0" else torch.abs
        with torch.no_grad():
            output = func(*(a.detach().clone() if isinstance(a, Tensor) else a for a in args), **kwargs)
        ends = [a for a in args[:2] if isinstance(a, Tensor) and a.requires_grad]

        def back(relevance: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
            if len(inputs) == 1:
                return (_shrunk(relevance, inputs[0]),)
            a, b = inputs
            if func in PRODUCTS:
                return _shrunk(relevance / 2, a), _shrunk(relevance / 2, b)
            first, both = size(a), size(a) + size(b)
            share = torch.where(both > 0, first / both.clamp_min(1e-12), 0.5)
            return _shrunk(relevance * share, a), _shrunk(relevance * (1 - share), b)

        return torch.as_tensor(_Relevance.apply(output, back, *ends))

    def _difference(self, func: Any, args: Any, kwargs: Any) -> Tensor:
        """Propagate through a - b as the sum of a and -b; a constant gets no relevance."""
        with torch.no_grad():
            output = func(*(a.detach().clone() if isinstance(a, Tensor) else a for a in args), **kwargs)
        ends = [a for a in args[:2] if isinstance(a, Tensor) and a.requires_grad]
        if len(ends) == 1:

            def back(relevance: Tensor, end: Tensor) -> tuple[Tensor]:
                return (_shrunk(relevance, end),)

            return torch.as_tensor(_Relevance.apply(output, back, *ends))
        plus, minus = reversed(ends) if func in (Tensor.__rsub__, torch.rsub) else ends
        return self._shared(torch.add, (plus, self._pass(torch.neg, (minus,), {})), {})

    def _product(self, func: Any, args: Any, kwargs: Any) -> Tensor:
        """Propagate through a matrix product, which is linear in each factor: equal parts for all factors that
        depend on the image."""
        positions = [i for i, a in enumerate(args) if isinstance(a, Tensor) and a.requires_grad]

        def back(relevance: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
            factors = list(args)
            for position, value in zip(positions, inputs, strict=True):
                factors[position] = value

            def share(position: int, value: Tensor) -> Tensor:
                def run(v: Tensor) -> Tensor:
                    return torch.as_tensor(func(*factors[:position], v, *factors[position + 1 :], **kwargs))

                return ratio(run, relevance / len(positions), value)

            return tuple(share(position, value) for position, value in zip(positions, inputs, strict=True))

        with torch.no_grad():
            output = func(*args, **kwargs)
        return torch.as_tensor(_Relevance.apply(output, back, *(args[i] for i in positions)))

    def _refuse(self, func: Any, args: Any, kwargs: Any) -> Tensor:
        raise UnsupportedError(
            f"{self.method} has no rule for {getattr(func, '__name__', func)} in this network; use "
            "integrated-gradients"
        )

    def _softmax(self, func: Any, args: Any, kwargs: Any) -> Tensor:
        """Keep the weights of attention constant; there is no rule for any other softmax."""
        with torch.no_grad():
            weights = torch.as_tensor(func(*args, **kwargs))
        square = weights.ndim >= 3 and weights.shape[-1] == weights.shape[-2]
        return weights if square else self._refuse(func, args, kwargs)

    def _multi_head(self, func: Any, args: Any, kwargs: Any) -> tuple[Tensor, None]:
        with self:  # torch disables a mode inside its own handler
            return multi_head(args, kwargs), None

    def _attend(self, func: Any, args: Any, kwargs: Any) -> Tensor:
        """Propagate through attention with constant weights, which get no relevance themselves."""
        seen = AttentionMode()
        with torch.no_grad():
            seen.attend(*args, **kwargs)
        value = args[2] if len(args) > 2 else kwargs["value"]
        return self._product(torch.matmul, (seen.maps[-1], value), {})

    def _scaled(self, func: Any, args: Any, kwargs: Any) -> Tensor:
        other = args[1] if len(args) > 1 else kwargs.get("other")
        if isinstance(other, Tensor) and other.requires_grad:
            raise UnsupportedError(
                f"{self.method} has no rule for {getattr(func, '__name__', func)} of two parts of this "
                "network; use integrated-gradients"
            )
        return self._pass(func, args, kwargs)


def _of_zeros(func: Any, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return the output of a linear step for zeros, one value per output channel: its bias."""
    if bias is None:
        return weight.new_zeros(())
    axes = 0 if func not in CONVOLUTIONS else int(CONVOLUTIONS[func][-2])
    return bias.detach().reshape(-1, *(1,) * axes)


def norm_scale(func: Any, args: Any, kwargs: Any) -> Tensor:
    """Return the factor of a normalisation for each value of its input (N, C, *S), at constant statistics."""
    bound = inspect.signature(func).bind(*args, **kwargs)
    bound.apply_defaults()
    arguments, x = bound.arguments, args[0]
    shape = (1, -1, *(1,) * (x.ndim - 2))
    if func is F.group_norm:
        groups = x.reshape(len(x), arguments["num_groups"], -1)
        spread = groups.var(dim=2, unbiased=False).repeat_interleave(
            x.shape[1] // arguments["num_groups"], dim=1
        )
        spread = spread.reshape(len(x), x.shape[1], *(1,) * (x.ndim - 2))
    elif (func is F.batch_norm and not arguments["training"]) or (
        func is F.instance_norm and not arguments["use_input_stats"]
    ):
        spread = arguments["running_var"].reshape(shape)
    else:
        axes = tuple(range(2, x.ndim)) if func is F.instance_norm else (0, *range(2, x.ndim))
        spread = x.var(dim=axes, unbiased=False, keepdim=True)
    scale = torch.rsqrt(spread + arguments["eps"])
    return scale if arguments["weight"] is None else scale * arguments["weight"].reshape(shape)


def _shrunk(relevance: Tensor, like: Tensor) -> Tensor:
    """Return relevance summed over the axes along which `like` was broadcast."""
    extra = relevance.ndim - like.ndim
    relevance = relevance.sum(dim=tuple(range(extra))) if extra else relevance
    axes = tuple(i for i, n in enumerate(like.shape) if n == 1 and relevance.shape[i] > 1)
    return relevance.sum(dim=axes, keepdim=True) if axes else relevance
