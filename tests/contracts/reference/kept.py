"""Values as JSON, and what differs between two of them."""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from contrafact.core import ContrafactWarning

FOLDER = Path(__file__).parent
RELATIVE = 1e-3  # processors round differently, and sums in another order
SAMPLES = 7


def brief(values: Any) -> dict[str, Any]:
    """An array in a few numbers. `mixed`, its sum with fixed weights, changes where values change places."""
    array = np.asarray(values.detach().cpu() if isinstance(values, torch.Tensor) else values, dtype=np.float64)
    flat = array.ravel()
    at = np.sort(np.random.default_rng(flat.size).permutation(flat.size)[:SAMPLES])
    return {
        "shape": list(array.shape),
        "sum": float(flat.sum()),
        "sizes": float(np.abs(flat).sum()),
        "mixed": float(flat @ np.cos(np.arange(flat.size))),
        "samples": flat[at].tolist(),
    }


def plain(value: Any) -> Any:
    """What JSON can hold of a value, numbers with 6 digits."""
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, (np.ndarray, torch.Tensor)):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else str(value)
    return value


def asked(ask: Callable[[], Any]) -> Any:
    """What a call gives, or its error or warning without what is other every time: folders, addresses."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", ContrafactWarning)
            return ask()
    except Exception as error:
        text = re.sub(r"/[^ ,;:]*/| at 0x[0-9a-f]+", "", str(error))
        return f"{type(error).__name__}: {text}"


def tried(*asks: Callable[[], Any]) -> list[Any]:
    return [asked(ask) for ask in asks]


def differences(found: Any, kept: Any, where: str = "", scale: float = 0.0) -> Iterator[str]:
    """What differs between two values of `plain`: numbers by more than a thousandth, all else at all.

    scale  the greatest number beside these: a number that is nearly 0 by cancellation has no exact digits
    """
    if isinstance(found, dict) and isinstance(kept, dict):
        for key in [*kept, *(k for k in found if k not in kept)]:
            if key not in found or key not in kept:
                yield f"{where}/{key} is {'new' if key in found else 'gone'}"
            elif key == "samples" and "sizes" in kept and len(found[key]) == len(kept[key]):
                beside = 100 * kept["sizes"] / max(1, math.prod(kept["shape"]))
                for number, (one, other) in enumerate(zip(found[key], kept[key], strict=True)):
                    yield from differences(one, other, f"{where}/{key}/{number}", beside)
            else:
                yield from differences(found[key], kept[key], f"{where}/{key}", _scale(kept, scale))
    elif isinstance(found, list) and isinstance(kept, list):
        if len(found) != len(kept):
            yield f"{where} has {len(found)} values, not {len(kept)}"
        for number, (one, other) in enumerate(zip(found, kept, strict=False)):
            yield from differences(one, other, f"{where}/{number}", _scale(kept, scale))
    elif type(found) is not type(kept) and not (_is_number(found) and _is_number(kept)):
        yield f"{where}: {found!r}, not {kept!r}"
    elif _is_number(kept) and isinstance(kept, float):
        if abs(found - kept) > RELATIVE * abs(kept) + 5e-5 * scale + 1e-7:
            yield f"{where}: {found!r}, not {kept!r}"
    elif found != kept:
        yield f"{where}: {found!r}, not {kept!r}"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _scale(part: Any, before: float) -> float:
    """The greatest number of one group; those of an array all count beside the sum of its sizes, and single
    values of it beside a hundred times its mean size."""
    if isinstance(part, dict) and isinstance(part.get("sizes"), float):
        return float(part["sizes"])
    numbers = [abs(v) for v in (part.values() if isinstance(part, dict) else part) if isinstance(v, float)]
    return max(numbers, default=before)


def read(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def write(name: str, found: Any) -> None:
    lines = [f"{json.dumps(key)}: {json.dumps(part, ensure_ascii=False)}" for key, part in found.items()]
    (FOLDER / f"{name}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
