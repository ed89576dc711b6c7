"""MP4 by ffmpeg: what it is told, what it refuses, and (where it is) what comes out."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from browsing import planted_run, ramp, record, strip
from contrafact.core import ContrafactError, Heatmap, Image, UnsupportedError
from contrafact.export import movie
from contrafact.export.run_files import export_run
from contrafact.io import Run

WITH = pytest.mark.skipif(not movie.found_ffmpeg(), reason="no ffmpeg on this machine")
PRETENDING = """#!{python}
import json, sys
if "-encoders" in sys.argv:
    print("V..... {coder} an encoder")
else:
    given = sys.stdin.buffer.read() if {reads} else b""
    {ending}
    open({told!r}, "w").write(json.dumps({{"words": sys.argv[1:], "bytes": len(given)}}))
    open(sys.argv[-1], "wb").write(b"movie")
"""


def pretend(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    coder: str = "libx264",
    ending: str = "",
    reads: bool = True,
) -> Path:
    """A program in the place of ffmpeg, which writes down what it is told."""
    told = folder / "told.json"
    program = folder / "ffmpeg"
    words = {"python": sys.executable, "coder": coder, "told": str(told), "ending": ending, "reads": reads}
    program.write_text(PRETENDING.format(**words))
    program.chmod(0o755)
    monkeypatch.setattr(movie, "found_ffmpeg", lambda: str(program))
    return told


def test_without_ffmpeg_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(UnsupportedError, match="install ffmpeg, or: pip install imageio-ffmpeg"):
        list(export_run(planted_run(tmp_path / "run", 1), "mp4", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("coder", ["libx264", "mpeg4"])
def test_every_picture_reaches_ffmpeg_in_even_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, coder: str
) -> None:
    told = pretend(tmp_path, monkeypatch, coder=coder)
    pictures = (np.zeros((5, 7, 3), np.uint8) for _ in range(3))
    assert movie.mp4(pictures, milliseconds=300, title="a\nb", about="SYNTHETIC") == b"movie"
    said = json.loads(told.read_text())
    words = " ".join(said["words"])
    assert said["bytes"] == 3 * 6 * 8 * 3
    for part in ("-s 8x6", "-framerate 1000/300", f"-c:v {coder}", "title=a b", "comment=SYNTHETIC", "yuv420p"):
        assert part in words


@pytest.mark.parametrize("reads", [True, False])
def test_an_encoder_that_fails_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: bool
) -> None:
    pretend(tmp_path, monkeypatch, ending="sys.exit('no room')", reads=reads)
    pictures = (np.zeros((512, 512, 3), np.uint8) for _ in range(9))
    with pytest.raises(ContrafactError, match="ffmpeg wrote no MP4: no room"):
        movie.mp4(pictures, milliseconds=300, title="", about="")


def test_frames_walk_there_and_back_and_slices_are_walked_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, wrote = pretend(tmp_path, monkeypatch), []
    image = Image(np.random.default_rng(0).uniform(0, 1, (1, 4, 8, 8)), window=(0, 1))
    run = Run.create(tmp_path / "run", about={})
    heat = Heatmap(values=np.ones((4, 8, 8), np.float32), grid=image.grid, record=record("gradient", "one"))
    run.add("slices", image, heat)
    flat = Image(ramp(level=0), window=(0, 200))
    run.add("walk", flat, strip("flat"))
    for path in export_run(run, "mp4", tmp_path / "out"):
        said = json.loads(told.read_text())
        wide, high = (int(n) for n in said["words"][said["words"].index("-s") + 1].split("x"))
        wrote.append((path.name.rpartition("_")[2], wide, high, said["bytes"] // (wide * high * 3)))
    assert [name for name, *_ in wrote] == ["slices.mp4", "frames.mp4"]
    assert all(wide >= 1024 and high > 1024 for _, wide, high, _ in wrote)
    frames = len(run.rows()[1]["scores"])
    assert [count for *_, count in wrote] == [4, 2 * frames - 2]


@WITH
@pytest.mark.slow
def test_a_movie_can_be_read_and_is_the_same_each_time(tmp_path: Path) -> None:
    pictures = [np.full((65, 64, 3), value, np.uint8) for value in (0, 128, 255)]
    first, second = (movie.mp4(pictures, milliseconds=300, title="Case 1", about="SYNTHETIC") for _ in range(2))
    assert first == second
    (tmp_path / "movie.mp4").write_bytes(first)
    program = movie.found_ffmpeg()
    said = subprocess.run(
        [program, "-i", str(tmp_path / "movie.mp4")], capture_output=True, text=True, check=False
    ).stderr
    assert re.search(r"Duration: 00:00:00\.9", said) and "64x66" in said and "SYNTHETIC" in said
    raw = ["-f", "rawvideo", "-pix_fmt", "gray", "-"]
    out = subprocess.run([program, "-i", str(tmp_path / "movie.mp4"), *raw], capture_output=True, check=True)
    shown = np.frombuffer(out.stdout, np.uint8).reshape(-1, 66, 64)[:, :60].mean(axis=(1, 2))
    assert shown[0] < 6 and shown[-1] > 249 and (abs(shown - 128) < 6).any()
