"""What native code prints in a block is logged; stderr stays that of the process."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from contrafact.core import InputError, library_output
from contrafact.core.library_output import unprinted
from contrafact.io import read_image

KNOWN = re.compile("lib: ")
WAIT = 60.0


def in_thread(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def _write(line: bytes) -> None:
    os.write(2, line)


def stderr() -> tuple[int, int]:
    about = os.fstat(2)
    return about.st_dev, about.st_ino


def test_lines_of_others_return_to_stderr_as_they_were(capfd: pytest.CaptureFixture[str]) -> None:
    with unprinted(KNOWN) as lines:
        os.write(2, b"lib: damaged\n")
        in_thread(lambda: _write(b"  a line of another thread\nhalf a")).join(WAIT)
    os.write(2, b" line\n")
    assert lines == ["lib: damaged"]
    assert capfd.readouterr().err == "  a line of another thread\nhalf a line\n"


class Announced:
    """A lock that says when a second one waits for it."""

    def __init__(self) -> None:
        self.lock, self.waits = threading.Lock(), threading.Event()

    def __enter__(self) -> None:
        if self.lock.locked():
            self.waits.set()
        self.lock.acquire()

    def __exit__(self, *_: object) -> None:
        self.lock.release()


def test_a_second_thread_leaves_stderr_as_it_is(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, lock, seen = stderr(), Announced(), list[object]()
    monkeypatch.setattr(library_output, "_stderr", lock)

    def second() -> None:
        with unprinted(KNOWN) as lines:
            seen.append(stderr())
            _write(b"lib: of the second\n")
        seen.append(list(lines))

    with unprinted(KNOWN) as lines:
        thread = in_thread(second)
        assert lock.waits.wait(WAIT)
        assert stderr() != before and not seen
    thread.join(WAIT)
    assert seen == [before, []] and lines == []
    assert stderr() == before
    assert capfd.readouterr().err == "lib: of the second\n"


def test_stderr_is_restored_after_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    before, count = stderr(), len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0
    with pytest.raises(KeyError), unprinted(KNOWN):
        os.write(2, b"other\n")
        raise KeyError
    assert stderr() == before and capfd.readouterr().err == "other\n"
    assert not count or len(os.listdir("/proc/self/fd")) == count


def test_a_line_of_another_thread_is_no_reason_of_a_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sitk = pytest.importorskip("SimpleITK")
    (tmp_path / "a.mha").write_text("NDims = 2\nDimSize = 4 4\nElementDataFile = LOCAL\n")
    real = sitk.ImageFileReader.ReadImageInformation

    def disturbed(reader: object) -> None:
        os.write(2, b"step 7: all is well\n")
        real(reader)

    monkeypatch.setattr(sitk.ImageFileReader, "ReadImageInformation", disturbed)
    with pytest.raises(InputError, match="ElementType required"):
        read_image(tmp_path / "a.mha")
    assert capfd.readouterr().err == "step 7: all is well\n"
