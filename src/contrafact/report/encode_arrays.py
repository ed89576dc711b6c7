"""Encode arrays as text inside a page: 12 bits over their range, differences of neighbours, deflated."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEVELS = 4095  # 12 bits, as scanners store: every CT number from -1024 to 3071


def carried(values: NDArray[np.floating[Any]]) -> dict[str, Any]:
    """Encode values of any shape for `web/source/carried.ts`, with an error of at most half a step.

    gives  shape, low, step and data: value = low + step * level, levels as differences from the one to the
           left and, for frames (K, C, H, W), from the frame before; low bytes, then high bytes
    """
    low, high = float(values.min()), float(values.max())
    step = (high - low) / LEVELS or 1.0
    found = np.round((np.asarray(values, dtype=np.float64) - low) / step).astype(np.int64)
    found = np.diff(found, axis=-1, prepend=0)
    if found.ndim == 4:
        found = np.diff(found, axis=0, prepend=0)
    folded = np.where(found < 0, -2 * found - 1, 2 * found).astype("<u2").reshape(-1).view(np.uint8)
    packed = zlib.compress(folded[0::2].tobytes() + folded[1::2].tobytes(), 9)
    return {
        "shape": list(values.shape),
        "low": low,
        "step": step,
        "data": base64.b64encode(packed).decode(),
    }
