"""Images are read as they are needed: one ahead, no further."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from contrafact.core import Image, InputError
from contrafact.io import read_ahead, read_image
from contrafact.study import inputs

WAIT = 60.0


def test_one_image_is_read_ahead_and_no_further_one() -> None:
    begun, events = list[str](), {name: threading.Event() for name in "abcd"}

    def read(path: Path) -> Image:
        begun.append(path.name)
        events[path.name].set()
        return Image(np.full((1, 2, 2), ord(path.name), np.float32))

    found = []
    for name, image in zip("abcd", read_ahead([Path(name) for name in "abcd"], read), strict=True):
        following = chr(ord(name) + 1)
        assert following not in events or events[following].wait(WAIT)  # while this one is worked on
        assert begun == sorted(begun) and len(begun) == min(len(found) + 2, 4)
        found.append(chr(int(image.values[0, 0, 0])))
    assert found == list("abcd")
    assert list(read_ahead([], read)) == []


def test_an_unreadable_image_ends_the_reading_where_it_is(tmp_path: Path) -> None:
    for name in "ac":
        np.save(tmp_path / f"{name}.npy", np.zeros((4, 4), np.float32))
    (tmp_path / "b.npy").write_bytes(b"no array")
    images = read_ahead([tmp_path / f"{name}.npy" for name in "abc"], read_image)
    assert next(images).source.endswith("a.npy")
    with pytest.raises(InputError, match=r"b\.npy"):
        next(images)


def test_a_worker_reads_each_image_once_and_the_next_while_it_computes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [str(tmp_path / f"{name}.npy") for name in "abc"]
    for path in (paths[0], paths[2]):
        np.save(path, np.zeros((4, 4), np.float32))
    Path(paths[1]).write_bytes(b"no array")
    begun, events = list[str](), {path: threading.Event() for path in paths}

    def counted(path: Path) -> Image:
        begun.append(str(path))
        events[str(path)].set()
        return read_image(path)

    monkeypatch.setattr(inputs, "read_image", counted)
    reader = inputs.Ahead()
    for _ in range(3):  # methods
        reader.read(paths[:1], paths[1:2])[paths[0]].result(WAIT)
        assert events[paths[1]].wait(WAIT)
    for _ in range(3):
        with pytest.raises(InputError, match=r"b\.npy"):
            reader.read(paths[1:2], paths[2:])[paths[1]].result(WAIT)
    for _ in range(3):
        reader.read(paths[2:], ())[paths[2]].result(WAIT)
    assert begun == paths
