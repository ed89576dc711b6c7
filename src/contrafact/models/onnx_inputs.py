"""Give images to an ONNX graph as it declares its input: axes, size, batch and type of numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contrafact.core import InputError
from contrafact.models.flat_images import size_of_row
from contrafact.models.preprocessing import Preprocessing

CHANNELS = 4  # at most; longer axes are spatial
TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
}


@dataclass(frozen=True, slots=True)
class OnnxInput:
    """The input of a graph.

    shape          of a batch as the graph declares it; an axis without a number is free
    channels_last  (N, *S, C), as Keras exports, not (N, C, *S)

    A graph of (N, values) takes images as rows, as estimators of scikit-learn do.
    """

    name: str
    dtype: Any
    shape: tuple[int | None, ...]
    channels_last: bool

    @property
    def batch(self) -> int | None:
        """The number of images that the graph takes at once; None: any."""
        return self.shape[0]

    @property
    def is_row(self) -> bool:
        """Whether the graph takes each image as one row of values."""
        return len(self.shape) == 2

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed of the images."""
        return size_of_row(self.shape[1] or 0)[1] if self.is_row else ()

    @property
    def channels(self) -> int | None:
        """The number of channels; None: any."""
        return None if self.is_row else self.shape[-1 if self.channels_last else 1]

    @property
    def size(self) -> tuple[int, ...] | None:
        """The spatial size; None: any, at least along one axis."""
        if self.is_row:
            return None
        axes = self.shape[1:-1] if self.channels_last else self.shape[2:]
        known = tuple(n for n in axes if n is not None)
        return known if len(known) == len(axes) else None

    def declared(self, preprocessing: Preprocessing | None) -> Preprocessing:
        """Return the preprocessing, with the size and channels of the graph where it declares none."""
        given = preprocessing or Preprocessing()
        if self.is_row:
            size = size_of_row(self.shape[1] or 0)[0]
            return given if size is None else dataclasses.replace(given, size=size.size, channels=1)
        return dataclasses.replace(
            given,
            size=self.size if given.size is None else given.size,
            channels=self.channels if given.channels is None else given.channels,
        )

    def of(self, images: NDArray[np.float32]) -> NDArray[Any]:
        """Return images (N, C, *S) with the axes and numbers of the graph.

        raises  InputError for images of another shape, or numbers that its type cannot hold
        """
        values = np.moveaxis(images, 1, -1) if self.channels_last else images
        values = values.reshape(len(values), -1) if self.is_row else values
        fits = values.ndim == len(self.shape) and all(
            want in (None, have) for want, have in zip(self.shape[1:], values.shape[1:], strict=True)
        )
        if not fits:
            raise InputError(
                f"the input '{self.name}' of this graph is {_text(self.shape)}; got images "
                f"{_text((None, *values.shape[1:]))}: declare the size and channels of its preprocessing"
            )
        if self.dtype is np.uint8:
            values = np.rint(values)
        limits: Any = np.iinfo(self.dtype) if self.dtype is np.uint8 else np.finfo(self.dtype)
        if values.size and not (limits.min <= values.min() and values.max() <= limits.max):
            raise InputError(
                f"the input '{self.name}' of this graph is {np.dtype(self.dtype)}, from {limits.min:g} to "
                f"{limits.max:g}; got values from {values.min():.4g} to {values.max():.4g}: declare its "
                "preprocessing"
            )
        return np.ascontiguousarray(values, self.dtype)


def input_of(path: Path, session: Any, constants: Mapping[str, Any] | None = None) -> OnnxInput:
    """Return the input of a session that is the image: the only one beside `constants`. Raise InputError for
    several, or one that is no image."""
    inputs = [one for one in session.get_inputs() if one.name not in (constants or {})]
    unknown = set(constants or {}) - {one.name for one in session.get_inputs()}
    if unknown:
        names = ", ".join(f"'{one.name}'" for one in session.get_inputs())
        raise InputError(f"the inputs of '{path.name}' are {names}; got '{min(unknown)}'")
    if len(inputs) != 1:
        names = ", ".join(f"'{one.name}'" for one in inputs) or "none"
        raise InputError(
            f"expected a graph with one input, the images, in '{path.name}'; got {names}: give values for the "
            "others, which are kept constant: --inputs '{\"age\": [60]}' (inputs= in Python)"
        )
    shape = tuple(n if isinstance(n, int) and n > 0 else None for n in inputs[0].shape)
    if len(shape) not in (2, 4, 5) or inputs[0].type not in TYPES:
        raise InputError(
            f"the input '{inputs[0].name}' of '{path.name}' must be a batch of images with 4 or 5 axes, or of "
            f"rows with 2, of {', '.join(TYPES)}; got {inputs[0].type} {_text(shape)}"
        )
    return OnnxInput(inputs[0].name, TYPES[inputs[0].type], shape, is_channels_last(shape))


def is_channels_last(shape: tuple[int | None, ...]) -> bool:
    """Whether a batch of this shape has its channels last: few there, and not few after the batch."""
    return len(shape) > 2 and _few(shape[-1]) and not _few(shape[1])


def batched(
    session: Any, declared: OnnxInput, names: list[str], constants: Mapping[str, NDArray[Any]] | None = None
) -> Callable[[NDArray[np.float32]], list[Any]]:
    """Return a function of images (N, C, *S) to the outputs; a graph of a fixed batch gets the last image again
    until its batch is full. Each of `constants` is a row of the same values for every image."""
    others = {one.name: one for one in session.get_inputs() if one.name in (constants or {})}

    def beside(count: int) -> dict[str, NDArray[Any]]:
        rows = {}
        for name, value in (constants or {}).items():
            whole = others[name].type in ("tensor(int64)", "tensor(int32)")
            dtype = np.dtype(others[name].type[7:-1]) if whole else TYPES.get(others[name].type, value.dtype)
            flat = value.reshape(-1)[0] if len(others[name].shape) == 1 and value.size == 1 else value
            rows[name] = np.broadcast_to(flat, (count, *np.shape(flat))).astype(dtype)
        return rows

    def run(images: NDArray[np.float32]) -> list[Any]:
        values = declared.of(images)
        size = declared.batch or max(1, len(values))
        padded = np.concatenate([values, np.repeat(values[-1:], -len(values) % size, axis=0)])
        rows = beside(size)
        starts = range(0, len(padded), size)
        try:
            parts = [session.run(names, {declared.name: padded[i : i + size], **rows}) for i in starts]
        except Exception as error:  # onnxruntime raises its own types, all derived from Exception
            raise InputError(f"the graph could not be run: {' '.join(str(error).split())[:200]}") from error
        outputs = [np.concatenate(part)[: len(images)] for part in zip(*parts, strict=True)]
        return [np.asarray(output, np.float32) for output in outputs]

    return run


def _few(size: int | None) -> bool:
    return size is not None and size <= CHANNELS


def _text(shape: tuple[int | None, ...]) -> str:
    return f"({', '.join('any' if n is None else str(n) for n in shape)})"
