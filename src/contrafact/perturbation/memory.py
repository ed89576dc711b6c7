"""Batches that fit in memory, halved when memory runs out, and gradient checkpointing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch

from contrafact.core import ContrafactError

# Input voxels of one pass. On a GPU 64 MiB, and about a hundred times that in activations; a CPU is fastest
# if the activations of a pass stay in its caches.
VOXELS = 2**24 if torch.cuda.is_available() else 2**20

NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


def images_at_once(voxels: int) -> int:
    """Return how many images of so many voxels (with channels) a pass of the model may have."""
    return max(1, VOXELS // max(1, voxels))


def portions(count: int, batch: int, voxels: int, work: Callable[[slice], None]) -> None:
    """Call `work` on slices that cover 0..count, each of at most `batch` items and about `VOXELS` input voxels.
    After an out-of-memory error the slices are halved.

    voxels  of one item, including channels
    raises  ContrafactError if a single item does not fit in memory
    """
    size = max(1, min(batch, images_at_once(voxels)))
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
                    f"one image of {voxels} voxels does not fit in memory; crop it, or use a model of "
                    "patches (TiledPredictor)"
                ) from error
            size = max(1, size // 2)
            continue
        start = part.stop


def out_of_memory(error: BaseException) -> bool:
    """Whether an error means out of memory; on the CPU torch raises a plain RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in NO_MEMORY)


@contextlib.contextmanager
def remade(predictor: Any) -> Iterator[None]:
    """Use gradient checkpointing inside: the network's blocks keep no activations and run again in the backward
    pass. Less memory, one more forward pass, the same gradient."""
    from torch.utils.checkpoint import checkpoint

    module = predictor.module
    blocks = [m for m in module.children() if next(m.parameters(), None) is not None] if module else []
    if len(blocks) == 1:
        blocks = list(blocks[0].children()) or blocks
    forwards = [(block, block.__dict__.get("forward")) for block in blocks]

    def checkpointed(forward: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *inputs, **options: checkpoint(forward, *inputs, use_reentrant=False, **options)

    for block in blocks:
        block.forward = checkpointed(block.forward)
    try:
        yield
    finally:
        for block, before in forwards:
            if before is None:
                del block.forward
            else:
                block.forward = before
