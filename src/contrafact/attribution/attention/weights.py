"""The attention weights of a transformer, collected while it runs.

`AttentionMode` (a `TorchFunctionMode`) intercepts every attention the network computes: by
`scaled_dot_product_attention`, by `nn.MultiheadAttention`, or by a softmax over tokens. It needs no list of
network classes, and computes fused kernels, which return no weights, explicitly.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from contrafact.attribution.gradients import needs_gradients, upsample, watchable
from contrafact.core import Question, UnsupportedError

SOFTMAX = {F.softmax, torch.softmax, Tensor.softmax}


class AttentionMode(TorchFunctionMode):
    """Mode that collects in `maps` the attention weights (N, heads, T, T) of each layer, with their graph.

    rows    number of token rows (rows, T, C) in each layer's input; None where it is unknown
    tokens  (rows, T, C): the latest input of a linear layer or an `nn.MultiheadAttention`
    """

    def __init__(self) -> None:
        super().__init__()
        self.maps: list[Tensor] = []
        self.rows: list[int | None] = []
        self.tokens: Tensor | None = None
        self._in_multi_head = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            return self.attend(*args, **kwargs)
        if func is F.multi_head_attention_forward:
            before = len(self.maps)
            self._note_tokens((args[0] if args else kwargs["query"]).transpose(0, 1))
            self._in_multi_head = True
            with self:  # torch disables a mode inside its own handler
                out = multi_head(args, kwargs)
            self._in_multi_head = False
            if len(self.maps) == before:
                raise UnsupportedError("attention between different tokens cannot be followed; use lrp")
            return out, self.maps[-1].mean(dim=1) if kwargs.get("need_weights", True) else None
        if func is F.linear and not self._in_multi_head and args[0].ndim == 3:
            self._note_tokens(args[0])
        result = func(*args, **kwargs)
        if func in SOFTMAX:
            self._note(result)
        return result

    def _note_tokens(self, tokens: Tensor) -> None:
        self.tokens = tokens

    def _note(self, weights: Tensor) -> None:
        if weights.ndim >= 3 and weights.shape[-1] == weights.shape[-2] > 1:
            self.maps.append(weights)
            fits = self.tokens is not None and self.tokens.shape[1] == weights.shape[-1]
            self.rows.append(len(self.tokens) if fits and self.tokens is not None else None)

    def windowed(self, count: int) -> bool:
        """Whether any layer partitions the tokens of `count` images into more rows than images."""
        return any(
            m.ndim > 4 or (m.ndim == 4 and len(m) != count) or (m.ndim == 3 and rows not in (None, count))
            for m, rows in zip(self.maps, self.rows, strict=True)
        )

    def attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """Compute `scaled_dot_product_attention` explicitly, and record its weights."""
        if is_causal or enable_gqa:
            raise UnsupportedError("causal or grouped attention cannot be followed; use integrated-gradients")
        logits = query @ key.transpose(-2, -1) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
        if attn_mask is not None:
            hidden = attn_mask.dtype == torch.bool
            logits = logits.masked_fill(~attn_mask, -math.inf) if hidden else logits + attn_mask
        weights = torch.softmax(logits, dim=-1)
        self._note(weights)
        return weights @ value


def multi_head(args: Any, kwargs: Any) -> Tensor:
    """Compute `nn.MultiheadAttention` as self-attention of tokens (T, N, C) in its single steps, so that active
    modes see its `scaled_dot_product_attention`.

    gives   tokens (T, N, C)
    raises  UnsupportedError for options that image models do not use (key masks, added keys)
    """
    bound = inspect.signature(F.multi_head_attention_forward).bind(*args, **kwargs)
    bound.apply_defaults()
    arguments = bound.arguments
    unusual = ("bias_k", "bias_v", "add_zero_attn", "key_padding_mask", "use_separate_proj_weight")
    if any(arguments[name] is not None and arguments[name] is not False for name in unusual):
        raise UnsupportedError("this kind of attention cannot be followed; use integrated-gradients")
    tokens, count, width = arguments["query"].shape
    parts = zip(
        (arguments["query"], arguments["key"], arguments["value"]),
        arguments["in_proj_weight"].chunk(3),
        (None,) * 3 if arguments["in_proj_bias"] is None else arguments["in_proj_bias"].chunk(3),
        strict=True,
    )
    query, key, value = (
        F.linear(x, w, b).reshape(len(x), count, arguments["num_heads"], -1).permute(1, 2, 0, 3)
        for x, w, b in parts
    )
    mask = arguments["attn_mask"]
    if mask is not None and mask.dtype == torch.bool:
        mask = ~mask  # True hides a key in one function and shows it in the other
    mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    mixed = mixed.permute(2, 0, 1, 3).reshape(tokens, count, width)
    return F.linear(mixed, arguments["out_proj_weight"], arguments["out_proj_bias"])


def attention_maps(question: Question, method: str) -> tuple[Tensor, list[Tensor], bool]:
    """Return target values (N,), the attention weights (N, heads, T, T) or (N x heads, T, T) of every layer,
    and whether these are weights within windows, (windows, heads, n, n).

    raises  UnsupportedError without gradients or attention
    """
    needs_gradients(question, method)
    predictor = watchable(question, method)
    images = torch.as_tensor(question.images).to(predictor.device).requires_grad_()
    with torch.enable_grad(), AttentionMode() as mode:
        outputs = predictor(images)
    windowed = mode.windowed(len(images))
    maps = mode.maps if windowed else [m for m in mode.maps if len(m) % len(images) == 0]
    if not maps:
        raise UnsupportedError(f"{method} needs attention between tokens; this network has none: use gradcam")
    with torch.enable_grad():
        values = question.target(outputs)
    return values, maps, windowed


def mean_head(weights: Tensor, count: int) -> Tensor:
    """Return attention weights (N, T, T) averaged over heads."""
    return weights.reshape(count, -1, *weights.shape[-2:]).mean(dim=1)


def output_tokens(question: Question, count: int, tokens: int, method: str) -> Tensor:
    """Return the shares (N, T) of the tokens that feed the output: the class token, or all tokens equally
    where there is no class token."""
    extra, _ = token_grid(tokens, question.images.shape[2:], method)
    share = torch.full((count, tokens), 1.0 / tokens, device=question.predictor.device)
    if extra:
        share = torch.zeros_like(share)
        share[:, 0] = 1.0
    return share


def on_image(share: Tensor, question: Question, method: str) -> Tensor:
    """Return token shares (N, T) on the image's grid (N, *S), each spread evenly over its patch."""
    size = question.images.shape[2:]
    extra, grid = token_grid(share.shape[1], size, method)
    maps = share[:, extra:].reshape(len(share), *grid)
    return upsample(maps, size) / math.prod(side // cells for side, cells in zip(size, grid, strict=True))


def token_grid(tokens: int, size: Sequence[int], method: str) -> tuple[int, tuple[int, ...]]:
    """Return the number of tokens without a position (class tokens), and the grid of the other tokens.

    raises  UnsupportedError if no whole patch size fits
    """
    for extra in (0, 1, 2):
        for patch in range(1, min(size) + 1):
            grid = tuple(side // patch for side in size)
            if math.prod(grid) == tokens - extra and all(side % patch == 0 for side in size):
                return extra, grid
    raise UnsupportedError(f"{method} cannot map {tokens} tokens to an image of {tuple(size)}; use gradcam")
