"""Several threads read arrays, as the requests of a page do."""

from __future__ import annotations

import ast
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contrafact.core.limits import stored_arrays
from contrafact.io import read_image


def stored(path: Path) -> None:
    with stored_arrays(path) as file:
        assert file["image"].shape == (4, 4)


@pytest.mark.parametrize("read", [stored, read_image])
def test_no_two_threads_parse_a_header_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[Path], Any]
) -> None:
    # CPython 3.11 keeps one depth for all threads: two at once raise SystemError at times.
    path, inside, together, real = tmp_path / "a.npz", threading.Lock(), list[bool](), ast.literal_eval

    def watched(text: Any) -> Any:
        alone = inside.acquire(blocking=False)
        together.append(not alone)
        for _ in range(50):
            time.sleep(0)  # lets another thread in
        if alone:
            inside.release()
        return real(text)

    np.savez(path, image=np.zeros((4, 4), np.float32))
    monkeypatch.setattr(ast, "literal_eval", watched)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(read, [path] * 64))
    assert len(together) >= 64 and not any(together)
