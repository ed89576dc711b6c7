"""Operations of networks that map a changed window of their input to a changed window of their output."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from contrafact.models.patches import Patch, large

CONVOLUTIONS: dict[Any, Callable[..., Tensor]] = {
    nn.Conv1d: F.conv1d,
    nn.Conv2d: F.conv2d,
    nn.Conv3d: F.conv3d,
}
MAXIMA: dict[Any, Callable[..., Tensor]] = {
    nn.MaxPool1d: F.max_pool1d,
    nn.MaxPool2d: F.max_pool2d,
    nn.MaxPool3d: F.max_pool3d,
}
MEANS: dict[Any, Callable[..., Tensor]] = {
    nn.AvgPool1d: F.avg_pool1d,
    nn.AvgPool2d: F.avg_pool2d,
    nn.AvgPool3d: F.avg_pool3d,
}
POOLS = {F.max_pool2d: nn.MaxPool2d, F.max_pool3d: nn.MaxPool3d, F.avg_pool2d: nn.AvgPool2d,
         F.avg_pool3d: nn.AvgPool3d}  # fmt: skip
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
# Pointwise in evaluation mode.
POINTWISE: set[Any] = {
    nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Tanh, nn.Hardswish, nn.ReLU6,
    nn.Softplus, nn.Mish, nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d,
    F.relu, F.relu_, F.leaky_relu, F.elu, F.gelu, F.silu, F.sigmoid, F.tanh, F.softplus, F.mish,
    torch.relu, torch.relu_, torch.sigmoid, torch.tanh, "relu", "relu_", "sigmoid", "tanh", "contiguous",
}  # fmt: skip
# Pointwise functions of several maps.
JOINTS: set[Any] = {
    operator.add, operator.iadd, operator.sub, operator.mul, operator.imul, operator.truediv, operator.neg,
    torch.add, torch.sub, torch.mul, torch.cat, torch.concat, "add", "add_", "mul", "mul_", "sub",
}  # fmt: skip

Slide = tuple[Callable[[Tensor], Tensor], Any, Any, Any, Any, float]


def sliding(part: Any) -> Slide | None:
    """Return a sliding window: function of a padded map, kernel, stride, padding, dilation, padding value."""
    kind = type(part)
    if kind in CONVOLUTIONS and part.padding_mode == "zeros" and not isinstance(part.padding, str):
        convolve, more = CONVOLUTIONS[kind], (part.dilation, part.groups)
        return (
            lambda x: convolve(x, part.weight, part.bias, part.stride, 0, *more),
            part.kernel_size, part.stride, part.padding, part.dilation, 0.0,
        )  # fmt: skip
    if kind in MAXIMA and not part.return_indices:
        pool = MAXIMA[kind]
        return (
            lambda x: pool(x, part.kernel_size, part.stride, 0, part.dilation),
            part.kernel_size, part.stride, part.padding, part.dilation, -math.inf,
        )  # fmt: skip
    if kind in MEANS and not part.ceil_mode and (part.count_include_pad or not np.any(part.padding)):
        mean, divisor = MEANS[kind], getattr(part, "divisor_override", None)
        if divisor is None:
            return (
                lambda x: mean(x, part.kernel_size, part.stride),
                part.kernel_size,
                part.stride,
                part.padding,
                1,
                0.0,
            )
    return None


def apply_window(
    patch: Patch, kept: Tensor, function: Callable[[Tensor], Tensor], kernel: Any, stride: Any, padding: Any,
    dilation: Any, outside: float,
) -> Patch | None:  # fmt: skip
    """Return the outputs that depend on any voxel of the patch, as windows of one size for all boxes."""
    axes = patch.start.shape[1]
    k, s, p, d = (
        np.broadcast_to(np.asarray(v, dtype=np.int64), axes) for v in (kernel, stride, padding, dilation)
    )
    reach, full = (k - 1) * d + 1, np.asarray(kept.shape[2:])
    ends = patch.start + patch.values.shape[2:]
    low = np.clip(-((reach - 1 - p - patch.start) // s), 0, full - 1)  # rounded up
    high = np.clip((ends - 1 + p) // s, 0, full - 1)
    size = np.maximum((high - low + 1).max(axis=0), 1)
    if large(tuple(size), kept):
        return None
    start = np.minimum(low, full - size)
    window = patch.window(start * s - p, tuple(((size - 1) * s + reach).tolist()), outside)
    return Patch(function(window), start, kept)


def over_all(part: Any, patch: Patch, args: Any, kwargs: Any) -> bool:
    """Whether an operation is the mean over all voxels of a map."""
    axes = patch.start.shape[1]
    pools = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
    if type(part) in pools or part in (F.adaptive_avg_pool2d, F.adaptive_avg_pool3d):
        size: Any = part.output_size if isinstance(part, nn.Module) else kwargs.get("output_size", *args[:1])
        return bool(size == 1 or tuple(np.ravel(size)) == (1,) * axes)
    if part not in (torch.mean, "mean") or "dtype" in kwargs:
        return False
    dim = kwargs.get("dim", *args[:1]) if args or "dim" in kwargs else ()
    return sorted(np.ravel(dim) % (axes + 2)) == list(range(2, axes + 2)) if np.size(dim) else False


def mean_of(patch: Patch, kept: Tensor) -> Tensor | None:
    """Return means over whole maps (N, C, ...), shaped like `kept`, from the change in the patch."""
    if not bool(torch.isfinite(kept).all()):
        return None
    size = tuple(patch.values.shape[2:])
    change = (patch.values - patch.before(patch.start, size)).flatten(2).sum(dim=2, dtype=torch.float32)
    change = change / math.prod(patch.kept.shape[2:])
    return (kept + change.reshape(len(change), *kept.shape[1:])).to(kept.dtype)


def joinable(kind: Any, patches: list[Patch], args: Any, kwargs: Any) -> bool:
    """Whether all arguments are patches of maps of one size, or numbers."""
    if kind in (torch.cat, torch.concat):
        dim = kwargs.get("dim", args[1] if len(args) > 1 else 0)
        if len(patches) != len(args[0]) or dim % patches[0].values.ndim != 1:
            return False
    elif any(not isinstance(v, (Patch, int, float)) for v in args) or not set(kwargs) <= {"alpha"}:
        return False
    return len({patch.kept.shape[2:] for patch in patches}) == 1
