"""Results as MP4, written by ffmpeg where this machine has it."""

from __future__ import annotations

import contextlib
import importlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contrafact.core import ContrafactError, Grid, UnsupportedError
from contrafact.export.paper_files import WALK, legend_words, slice_pictures, walk_pictures
from contrafact.render.map_display import MapScale
from contrafact.render.paper import FOOT, MARK
from contrafact.render.text import engine_words, printable

Row = Mapping[str, Any]
Arrays = Mapping[str, NDArray[Any]]
Pixels = NDArray[np.uint8]
CODERS = ("libx264", "libopenh264", "mpeg4")  # the first that this ffmpeg has; all play everywhere
SLICE = 120  # milliseconds of a slice
SECONDS = 300
MISSING = "an MP4 needs ffmpeg on this machine; got none; install ffmpeg, or: pip install imageio-ffmpeg"


def found_ffmpeg() -> str:
    """Return the program ffmpeg, of this machine or of the package imageio-ffmpeg; empty without either."""
    if own := shutil.which("ffmpeg"):
        return own
    with contextlib.suppress(ImportError, RuntimeError):  # without the package; the package without its program
        return str(importlib.import_module("imageio_ffmpeg").get_ffmpeg_exe())
    return ""


def ffmpeg_or_refuse() -> str:
    if not (program := found_ffmpeg()):
        raise UnsupportedError(MISSING)
    return program


def walk_mp4(row: Row, frames: NDArray[Any], grid: Grid, *, title: str) -> bytes:
    """Return the frames of a counterfactual as a movie, from the image to the changed image and back."""
    made = walk_pictures(row, frames, grid)
    about = f"Counterfactual, {engine_words(row)}, target {_target(row)}. {MARK}. {FOOT}"
    return mp4(made + made[-2:0:-1], milliseconds=WALK, title=title, about=about)


def slices_mp4(row: Row, arrays: Arrays, grid: Grid, scale: MapScale, *, title: str) -> bytes:
    """Return the slices of a volume with the map over them, 1,024 pixels and more, between strips of words."""
    name = f"{engine_words(row)} for {_target(row)}"
    pictures = slice_pictures(row, arrays, grid, scale)
    about = f"{name}. {legend_words(row, scale)}. {scale.words} {FOOT}"
    return mp4(pictures, milliseconds=SLICE, title=title, about=about)


def mp4(pictures: Iterable[Pixels], *, milliseconds: int, title: str, about: str) -> bytes:
    """Return pictures (H, W, 3) of one size as an MP4 without a date, `title` and `about` in its metadata. Odd
    sizes get a black row or column, because its colours lie on pairs of pixels.

    raises  UnsupportedError without ffmpeg; ContrafactError where ffmpeg writes no movie
    """
    program, stream = ffmpeg_or_refuse(), iter(pictures)
    first = _even(next(stream))
    with tempfile.TemporaryDirectory() as folder:
        movie, log = Path(folder) / "movie.mp4", Path(folder) / "log"
        words = [program, *_words(program, first.shape, milliseconds, title, about), str(movie)]
        with (
            contextlib.suppress(BrokenPipeError),  # it ended before the last picture: its words say why
            log.open("wb") as told,
            subprocess.Popen(words, stdin=subprocess.PIPE, stdout=told, stderr=told) as running,
        ):
            assert running.stdin is not None
            running.stdin.write(first.tobytes())
            for picture in stream:
                running.stdin.write(_even(picture).tobytes())
        if running.returncode or not movie.exists():
            said = log.read_text("utf-8", "replace").strip().splitlines() or [f"status {running.returncode}"]
            raise ContrafactError(f"ffmpeg wrote no MP4: {said[-1]}")
        return movie.read_bytes()


def _words(program: str, shape: tuple[int, ...], milliseconds: int, title: str, about: str) -> list[str]:
    """Return what ffmpeg is told: raw pictures in, 30 of them a second out, for players that want as many."""
    size = f"{shape[1]}x{shape[0]}"
    given = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-framerate", f"1000/{milliseconds}", "-i", "-"]
    coder = _coder(program)
    quality = {"libx264": ["-crf", "16"], "mpeg4": ["-q:v", "2"]}.get(coder, ["-b:v", "8M"])
    same = ["-fflags", "+bitexact", "-flags:v", "+bitexact", "-map_metadata", "-1"]
    told = ["-metadata", f"title={printable(title)}", "-metadata", f"comment={printable(about)}"]
    made = ["-c:v", coder, *quality, "-pix_fmt", "yuv420p", "-r", "30", "-movflags", "+faststart"]
    return ["-hide_banner", "-loglevel", "error", *given, *made, *same, *told]


def _coder(program: str) -> str:
    said = subprocess.run([program, "-hide_banner", "-encoders"], capture_output=True, timeout=60, check=False)
    known = said.stdout.decode("utf-8", "replace").split()
    return next((coder for coder in CODERS if coder in known), CODERS[-1])


def _even(picture: Pixels) -> Pixels:
    high, wide = picture.shape[:2]
    return np.ascontiguousarray(np.pad(picture, ((0, high % 2), (0, wide % 2), (0, 0))))


def _target(row: Row) -> str:
    return str(row.get("target_name") or row["record"]["target"])
