"""Batches that fit in memory, halved when memory runs out, and gradient checkpointing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from contrafact.core import ContrafactError

# Input voxels of one pass. On a GPU 64 MiB, and about a hundred times that in activations; a CPU is fastest
# if the activations of a pass stay in its caches.
VOXELS = 2**24 if torch.cuda.is_available() else 2**20

# Bytes of activations that a pass with gradients may hold beyond its first image, and the voxels from which an
# image is large enough that the first pass has one image, which shows how many bytes each image holds.
HELD = 2**34 if torch.cuda.is_available() else 2**28
LARGE = 2**15

NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


def images_at_once(voxels: int) -> int:
    """Return how many images of so many voxels (with channels) a pass of the model may have."""
    return max(1, VOXELS // max(1, voxels))


def portions(
    count: int, batch: int, voxels: int, work: Callable[[slice], int | None], *, measured: bool = False
) -> None:
    """Call `work` on slices that cover 0..count, each of at most `batch` items and about `VOXELS` input voxels.
    After an out-of-memory error the slices are halved.

    voxels    of one item, including channels
    measured  `work` returns the bytes that its pass held: if items are large, the first slice has one item, and
              those after it as many as hold at most `HELD` bytes together
    raises    ContrafactError if a single item does not fit in memory
    """
    size = max(1, min(batch, images_at_once(voxels)))
    start, first = 0, measured and voxels >= LARGE
    while start < count:
        part = slice(start, min(start + (1 if first else size), count))
        try:
            held = work(part)
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            if size == 1 or first:
                raise ContrafactError(
                    f"one image of {voxels} voxels does not fit in memory; crop it, or use a model of "
                    "patches (TiledPredictor)"
                ) from error
            size = max(1, size // 2)
            continue
        if first and held:
            size = max(1, min(size, HELD // held))
        start, first = part.stop, False


def held_bytes(outputs: Tensor) -> int:
    """Return the bytes of the activations that the autograd graph of `outputs` holds, without parameters."""
    nodes = [] if outputs.grad_fn is None else [outputs.grad_fn]
    found, seen = dict[int, int](), set(nodes)
    while nodes:
        node = nodes.pop()
        for kept in _saved(node):
            if not isinstance(kept._base if kept._is_view() else kept, nn.Parameter):
                found |= _storage(kept)
        before = {other for other, _ in node.next_functions if other is not None} - seen
        nodes += before
        seen |= before
    return sum(found.values())


def _saved(node: Any) -> Iterator[Tensor]:
    """Yield the tensors that a node of an autograd graph keeps for its backward pass. None where it keeps
    another thing from which they are made (gradient checkpointing): reading them would make them."""
    for name in dir(node):
        if name.startswith("_raw_saved_"):
            with contextlib.suppress(RuntimeError):  # changed in place since: the backward pass will say so
                raw = getattr(node, name)
                if not any(getattr(one, "unpack_hook", None) for one in _each(raw)):
                    tensors = "saved_tensors" if name == "_raw_saved_tensors" else name.removeprefix("_raw")
                    yield from (one for one in _each(getattr(node, tensors)) if isinstance(one, Tensor))


def _each(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _storage(tensor: Tensor) -> dict[int, int]:
    """Return the address and the bytes of a tensor's storage; nothing for a tensor without one."""
    try:
        storage = tensor.untyped_storage()
        return {storage.data_ptr(): storage.nbytes()}
    except (RuntimeError, NotImplementedError):  # sparse and nested tensors have no single storage
        return {}


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
