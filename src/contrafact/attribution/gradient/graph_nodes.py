"""Classify the nodes of an autograd graph: a rectifier, certainly not a rectifier, or unknown.

Names are torch's node names without `Backward0`. An operation that is not listed here is unknown: methods that
change rectifiers refuse a network with a new or a custom operation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import Node


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


LINEAR = _names("""
    Convolution ConvolutionOverrideable CudnnConvolution CudnnConvolutionTranspose MiopenConvolution
    MiopenConvolutionTranspose MiopenDepthwiseConvolution MkldnnConvolution MpsConvolution SlowConv2D
    SlowConv3D SlowConvDilated2D SlowConvDilated3D SlowConvTranspose2D SlowConvTranspose3D ConvDepthwise2D
    ConvDepthwise3D ConvTbc NnpackSpatialConvolution Addmv Mv Matmul Linear MkldnnLinear Dot
    Trilinear Embedding Add Sub Rsub Neg Sum Mean Cumsum FftR2C FftC2R FftC2C
""")
ARITHMETIC = _names("""
    Exp Expm1 Log Log1P Logsumexp Softmax LogSoftmax SafeSoftmax Reciprocal Var VarMean Std StdMean
    NativeBatchNorm NativeBatchNormLegit NativeBatchNormLegitNoTraining CudnnBatchNorm MiopenBatchNorm
    BatchNormWithUpdate BatchNormNoUpdate NativeLayerNorm NativeGroupNorm FusedRmsNorm WeightNormInterface
    NativeDropout FusedDropout
""")
ATTENTION = _names("""
    ScaledDotProductEfficientAttention ScaledDotProductFlashAttention ScaledDotProductFlashAttentionForCpu
    ScaledDotProductCudnnAttention ScaledDotProductFusedAttentionOverrideable FlashAttention
    EfficientAttention CudnnAttention
""")
ORDER = _names("""
    View ViewAsReal ViewAsComplex UnsafeView Reshape ReshapeAlias ReshapeCopy MkldnnReshape Permute
    Transpose T Expand Repeat Squeeze Unsqueeze Slice Select Split UnsafeSplit SplitWithSizes
    UnsafeSplitWithSizes Chunk Unbind Narrow NarrowCopy Cat Stack Clone Contiguous Alias AsStrided ToCopy
    Copy CopyBackwards ToMkldnn ToDense Index UnsafeIndex IndexSelect Flip Roll Rot90 Diagonal Unfold
    Im2Col Col2Im PixelShuffle PixelUnshuffle ChannelShuffle AccumulateGrad
""")
PADS = _names("""
    ConstantPadNd ReflectionPad1D ReflectionPad2D ReflectionPad3D ReplicationPad1D ReplicationPad2D
    ReplicationPad3D AvgPool2D AvgPool3D AdaptiveAvgPool2D AdaptiveAvgPool3D MkldnnAdaptiveAvgPool2D
    GridSampler2D GridSampler3D GridSampler2DCpuFallback CudnnGridSampler AffineGridGenerator
    UpsampleLinear1D UpsampleBilinear2D UpsampleBilinear2DAa UpsampleBicubic2D UpsampleBicubic2DAa
    UpsampleTrilinear3D UpsampleNearest1D UpsampleNearestExact1D UpsampleNearest2D UpsampleNearestExact2D
    UpsampleNearest3D UpsampleNearestExact3D
""")
PLAIN = LINEAR | ARITHMETIC | ATTENTION | ORDER | PADS
SMOOTH = {
    "Gelu": "GELU", "Silu": "SiLU", "Mish": "Mish", "Sigmoid": "Sigmoid", "LogSigmoid": "LogSigmoid",
    "Tanh": "Tanh", "Softplus": "Softplus", "Hardswish": "Hardswish", "Hardsigmoid": "Hardsigmoid",
    "Celu": "CELU", "Erf": "Erf", "Sin": "Sine", "Cos": "Cosine", "Atan": "Arctangent",
}  # fmt: skip
MAXIMA = _names("""
    MaxPool2D MaxPool2DWithIndices MaxPool3DWithIndices MkldnnMaxPool2D MkldnnMaxPool3D AdaptiveMaxPool2D
    AdaptiveMaxPool3D FractionalMaxPool2D FractionalMaxPool3D
""")
GREATEST = _names("Amax Max")
LAYERS = frozenset(name for name in LINEAR | ARITHMETIC if "Conv" in name or "Norm" in name)
LENGTHS = _names("Norm LinalgVectorNorm")
RESHAPED = _names("View UnsafeView ReshapeAlias Unsqueeze Squeeze Permute Transpose Clone Alias Expand")
SUMMED = _names("Sum Mean Var Std AvgPool2D AvgPool3D AdaptiveAvgPool2D AdaptiveAvgPool3D") | LENGTHS


def kind_of(node: Node) -> str:
    """Return the name of an operation without its ending, or the whole name of a custom function."""
    name = node.name().split("::")[-1]
    match = re.fullmatch(r"(\w+?)Backward(?:AutogradNestedTensor)?\d+(?:_copy)?", name)
    custom = isinstance(node, torch.autograd.function.BackwardCFunction)
    return match[1] if match and not custom else name


def saved(node: Node, name: str) -> Any:
    """Return an operand that a node saved, by name; None if it saved none."""
    return getattr(node, f"_saved_{name}", None)


def rectifies(node: Node) -> int | None:
    """Return the position of the input that a node keeps where positive and replaces by a constant elsewhere.

    None for any other operation. A ReLU6 is a rectifier; a clamp with another upper limit is a window, and is
    not.
    """
    kind = kind_of(node)
    if kind in ("Maximum", "Fmax"):
        constants = [k for k, (parent, _) in enumerate(node.next_functions) if parent is None]
        if len(constants) == 1 and not bool(saved(node, ("self", "other")[constants[0]]).any()):
            return 1 - constants[0]
        return None
    test = RECTIFY.get(kind)
    return 0 if test is not None and test(node) else None


RECTIFY: dict[str, Callable[[Node], bool]] = {
    "Relu": lambda _node: True,
    "Threshold": lambda node: bool(saved(node, "threshold") == 0),
    "Hardtanh": lambda node: bool(saved(node, "min_val") == 0 and saved(node, "max_val") == 6),
    "Clamp": lambda node: bool(_number(node, "min") == 0 and _number(node, "max") in (None, 6)),
    "ClampMin": lambda node: _number(node, "min") == 0,
    "LeakyRelu": lambda node: bool(saved(node, "negative_slope") == 0),
    "Elu": lambda node: bool(saved(node, "alpha") == 0),
    "PreluKernel": lambda node: not bool(saved(node, "weight").any()),
    "RreluWithNoise": lambda node: bool(saved(node, "upper") == 0 and saved(node, "lower") == 0),
}


def surely_none(node: Node, own: set[int]) -> bool:
    """Whether a node that is not a rectifier is certainly not a part of one either.

    own  addresses of tensors that do not depend on the image: parameters, buffers, and values made of them
    """
    kind = kind_of(node)
    if kind in PLAIN or kind in SMOOTH:
        return True
    test = SURE.get(kind)
    return test is not None and test(node, own)


def left_as_is(node: Node) -> str:
    """Return the name of an activation that is not a rectifier, or an empty text for any other operation."""
    kind = kind_of(node)
    bent = {"LeakyRelu": "LeakyReLU", "Elu": "ELU", "PreluKernel": "PReLU", "RreluWithNoise": "RReLU"}
    return (SMOOTH | bent | {"Hardtanh": "Hardtanh"}).get(kind, "")


def of_a_softmax(nodes: Sequence[Node]) -> set[Node]:
    """Return the maxima m in exp(x - m) / sum exp(x - m), a softmax in single steps: the result does not depend
    on m, and no gradient passes through it."""
    users: dict[Node, list[Node]] = {}
    for node in nodes:
        for parent, _ in node.next_functions:
            if parent is not None:
                users.setdefault(parent, []).append(node)
    return {node for node in nodes if kind_of(node) in GREATEST and _cancels(node, users)}


def _cancels(node: Node, users: Mapping[Node, list[Node]]) -> bool:
    """Whether a maximum is only subtracted from its own operand before a softmax."""
    (of, _), *_ = node.next_functions
    shifts = users.get(node, [])
    return bool(shifts) and all(
        kind_of(shift) == "Sub"
        and [parent for parent, _ in shift.next_functions] == [of, node]
        and bool(users.get(shift))
        and all(_is_softmax(power, users) for power in users[shift])
        for shift in shifts
    )


def _is_softmax(power: Node, users: Mapping[Node, list[Node]]) -> bool:
    """Whether the exponentials are used only for their shares of one sum."""
    after = users.get(power, [])
    sums = [user for user in after if kind_of(user) == "Sum"]
    ends = [user for user in after if kind_of(user) == "Div"]
    shares = bool(ends) and all([parent for parent, _ in end.next_functions] == [power, *sums] for end in ends)
    return kind_of(power) == "Exp" and len(sums) == 1 and shares and set(users[sums[0]]) == set(ends)


def _of_a_layer(node: Node, _own: set[int]) -> bool:
    """Whether a maximum is a pooling: its operand is the output of a convolution, a normalisation, or an
    activation of them. Any other maximum may be the larger of a number and zero."""
    parent = node.next_functions[0][0]
    while parent is not None and (kind_of(parent) in RESHAPED or left_as_is(parent)):
        parent = parent.next_functions[0][0]
    return parent is not None and (kind_of(parent) in LAYERS or rectifies(parent) is not None)


def _fixed_mask(node: Node, own: set[int]) -> bool:
    """Whether the mask of a node does not depend on the image."""
    mask = saved(node, "mask" if kind_of(node) == "MaskedFill" else "condition")
    return isinstance(mask, Tensor) and mask.untyped_storage().data_ptr() in own


def _fixed(node: Node, own: set[int], *sides: str) -> bool:
    """Whether no constant factor of a product can be a mask."""
    inputs = zip(sides, node.next_functions[-len(sides) :], strict=True)
    return not any(parent is None and _is_mask(saved(node, side), own) for side, (parent, _) in inputs)


def _is_mask(value: Any, own: set[int]) -> bool:
    """Whether a constant factor may be a mask; a single number, a parameter of the network, and a tensor that
    is neither 0 anywhere nor 1 everywhere cannot."""
    if not isinstance(value, Tensor) or value.numel() < 2 or value.untyped_storage().data_ptr() in own:
        return False
    return value.dtype == torch.bool or bool((value == 0).any() or (value == 1).all() or value.isinf().any())


def _of_a_sum(node: Node, _own: set[int]) -> bool:
    """Whether the operand of a root is a sum over positions or channels, as in a normalisation; the root of a
    single square would be an absolute value."""
    parent = node.next_functions[0][0]
    while parent is not None and kind_of(parent) in {"Add", "Sub", "Mul", "Div", "ClampMin"} | RESHAPED:
        inputs = [node for node, _ in parent.next_functions if node is not None]
        if len(inputs) != 1:
            return False
        (parent,) = inputs
    return parent is not None and kind_of(parent) in SUMMED


def _power(node: Node, own: set[int]) -> bool:
    """Whether a power is not an absolute value: its exponent is whole, or its base is a sum."""
    exponent = _number(node, "exponent")
    return exponent is not None and (exponent == int(exponent) or _of_a_sum(node, own))


def _among_places(node: Node, _own: set[int]) -> bool:
    """Whether a maximum or a norm is taken over positions or channels, and not over a new axis that holds a
    number beside a constant, or alone."""
    parent, padded = node.next_functions[0][0], False
    while parent is not None:
        kind = kind_of(parent)
        beside = kind in ("Stack", "Cat") and any(operand is None for operand, _ in parent.next_functions)
        if (
            kind in ("Stack", "CopySlices")
            or beside
            or (padded and kind in ("Unsqueeze", "View", "UnsafeView"))
        ):
            return False
        if kind not in {"ConstantPadNd", "AsStrided", "Slice", "Select", "Contiguous"} | RESHAPED:
            break
        padded |= kind == "ConstantPadNd"
        parent = parent.next_functions[0][0]
    return True


def _length(node: Node, own: set[int]) -> bool:
    """Whether a norm is taken over positions or channels."""
    parent = node.next_functions[0][0]
    return parent is not None and kind_of(parent) != "Unsqueeze" and _among_places(node, own)


def _small_divisor(node: Node, own: set[int]) -> bool:
    """Whether a clamp only keeps a norm or a standard deviation above 0, to avoid a division by zero."""
    low, parent = _number(node, "min"), node.next_functions[0][0]
    if low is None or not 0 < low < 0.01 or parent is None:
        return False
    return (
        kind_of(parent) in SUMMED
        or _of_a_sum(node, own)
        or (kind_of(parent) == "Sqrt" and _of_a_sum(parent, own))
    )


def _symmetric(node: Node, _own: set[int]) -> bool:
    """Whether a clamp has limits -a and a."""
    low, high = ("min_val", "max_val") if kind_of(node) == "Hardtanh" else ("min", "max")
    ends = _number(node, low), _number(node, high)
    return None not in ends and ends[0] == -ends[1] < 0  # type: ignore[operator]


def _number(node: Node, name: str) -> float | None:
    """Return a number that a node saved, by name; None if it saved no number."""
    value = saved(node, name)
    return float(value) if isinstance(value, (int, float)) else None


SURE: dict[str, Callable[[Node, set[int]], bool]] = {
    "Mul": lambda node, own: _fixed(node, own, "self", "other"),
    "Div": lambda node, own: _fixed(node, own, "self", "other"),
    "Mm": lambda node, own: _fixed(node, own, "self", "mat2"),
    "Addmm": lambda node, own: _fixed(node, own, "mat1", "mat2"),
    "Bmm": lambda node, own: _fixed(node, own, "self", "mat2"),
    "Baddbmm": lambda node, own: _fixed(node, own, "batch1", "batch2"),
    "Sqrt": _of_a_sum,
    "Rsqrt": _of_a_sum,
    "Pow": _power,
    "ClampMin": _small_divisor,
    "Clamp": _symmetric,
    "Hardtanh": _symmetric,
    "MaskedFill": _fixed_mask,
    "Where": _fixed_mask,
    **dict.fromkeys(GREATEST, _of_a_layer),
    **dict.fromkeys(LENGTHS, _length),
    **dict.fromkeys(MAXIMA, _among_places),
    "LeakyRelu": lambda _node, _own: True,
    "Elu": lambda _node, _own: True,
    "PreluKernel": lambda node, _own: bool(saved(node, "weight").all()),
    "RreluWithNoise": lambda node, _own: not saved(node, "training"),
}
