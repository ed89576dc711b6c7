"""Work in portions that fit the memory: fewer at a time for large volumes, half as many when it was
too much, and at last the network's activations made twice instead of kept."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

from contrafact.core import ContrafactError

# Voxels of input in one pass. On a GPU 64 MiB, and some hundred times that in activations; a CPU is fastest
# where the activations of a pass stay in its caches.
VOXELS = 2**24 if torch.cuda.is_available() else 2**20

NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


def portions(count: int, batch: int, voxels: int, work: Callable[[slice], None]) -> None:
    """`work` for all of 0..count, in slices of at most `batch` and about `VOXELS` voxels of input.

    voxels  of one item, channels too
    raises  ContrafactError when a single item does not fit
    """
    size = max(1, min(batch, VOXELS // max(voxels, 1)))
    start = 0
    while start < count:
        part = slice(start, min(start + size, count))
        try:
            work(part)
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            if size == 1:
                raise ContrafactError(
                    f"one image of {voxels} voxels does not fit the memory; crop it, or let the model take "
                    "patches (TiledPredictor)"
                ) from error
            size = max(1, size // 2)
            continue
        start = part.stop


def out_of_memory(error: BaseException) -> bool:
    """Also on the CPU, where torch says so with a plain RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in NO_MEMORY)


@contextlib.contextmanager
def remade(predictor: Any) -> Iterator[None]:
    """Inside, the network's blocks keep no activations for the backward pass but are run again then
    (gradient checkpointing): less memory, one more forward pass, the same gradient."""
    from torch.utils.checkpoint import checkpoint

    module = getattr(predictor, "module", None)
    blocks = [m for m in module.children() if next(m.parameters(), None) is not None] if module else []
    if len(blocks) == 1:
        blocks = list(blocks[0].children()) or blocks
    forwards = [(block, block.__dict__.get("forward")) for block in blocks]

    def again(forward: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *inputs, **more: checkpoint(forward, *inputs, use_reentrant=False, **more)

    for block in blocks:
        block.forward = again(block.forward)
    try:
        yield
    finally:
        for block, before in forwards:
            if before is None:
                del block.forward
            else:
                block.forward = before
