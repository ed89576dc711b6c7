"""Functions that move values, choose among them or limit them: relevance takes the way of their gradient."""

from __future__ import annotations

from typing import Any

NAMES = {
    "__get__", "__getitem__", "__setitem__", "adaptive_max_pool1d", "adaptive_max_pool1d_with_indices",
    "adaptive_max_pool2d", "adaptive_max_pool2d_with_indices", "adaptive_max_pool3d",
    "adaptive_max_pool3d_with_indices", "adjoint", "alpha_dropout", "amax", "amin", "as_strided",
    "as_subclass", "as_tensor", "atleast_1d", "atleast_2d", "atleast_3d", "bfloat16", "block_diag",
    "broadcast_tensors", "broadcast_to", "cat", "channel_shuffle", "chunk", "clamp", "clamp_max",
    "clamp_min", "clip", "clone", "col2im", "column_stack", "concat", "concatenate", "constant_pad_nd",
    "contiguous", "copy", "cpu", "cuda", "diag", "diag_embed", "diagonal", "double", "dropout1d",
    "dsplit", "dstack", "expand", "expand_as", "feature_alpha_dropout", "feature_dropout", "flatten",
    "flip", "fliplr", "flipud", "float", "fold", "fractional_max_pool2d", "fractional_max_pool3d",
    "gather", "half", "hardshrink", "hsplit", "hstack", "im2col", "index", "index_put", "index_select",
    "kthvalue", "masked_fill", "masked_scatter", "masked_select", "max", "max_pool1d",
    "max_pool1d_with_indices", "max_pool2d", "max_pool2d_with_indices", "max_pool3d",
    "max_pool3d_with_indices", "max_unpool1d", "max_unpool2d", "max_unpool3d", "maximum", "median", "min",
    "minimum", "moveaxis", "movedim", "nan_to_num", "narrow", "narrow_copy", "pad", "permute",
    "pixel_shuffle", "pixel_unshuffle", "ravel", "real", "repeat", "repeat_interleave", "requires_grad",
    "reshape", "reshape_as", "roll", "rot90", "row_stack", "scatter", "select", "select_scatter",
    "slice_scatter", "softshrink", "sort", "split", "split_with_sizes", "squeeze", "stack", "swapaxes",
    "swapdims", "t", "take", "take_along_dim", "tensor_split", "threshold", "tile", "to", "topk",
    "transpose", "tril", "triu", "type", "type_as", "unbind", "unflatten", "unfold", "unsafe_chunk",
    "unsafe_split", "unsqueeze", "view", "view_as", "view_as_complex", "view_as_real", "vsplit", "vstack",
    "where",
}  # fmt: skip


def moves(function: Any) -> bool:
    """Whether a function of torch only moves, chooses or limits values; `clamp_` does as `clamp`."""
    name = str(getattr(function, "__name__", ""))
    return name in NAMES or name.removesuffix("_") in NAMES
