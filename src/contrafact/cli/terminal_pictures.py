"""Pictures in a terminal that can show them: by kitty's protocol, iTerm's, or as sixels."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import io
import itertools
import os
import re
import select
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

if TYPE_CHECKING:
    from contrafact.io import Run
    from contrafact.render.paper import Panel

Pixels = NDArray[np.uint8]
WIDE = 768  # pixels of the longer side of a sheet of samples
SIDE = 288  # pixels of the longer side of an image: three fit into a usual terminal
CHUNK = 4096  # bytes of one message of kitty's protocol
COLOURS = 256  # registers that terminals with sixels have
SECONDS = 0.5  # how long a terminal may take to say what it can do
KITTY = {"ghostty", "kitty"}  # TERM_PROGRAM of terminals with kitty's protocol
ITERM = {"iTerm.app", "WezTerm", "mintty"}  # of terminals with iTerm's
NOT_SHOWN = "no picture is shown: the terminal shows none (kitty, iTerm and sixel do); the report has them"
PAUSE = 60.0  # seconds between two pictures of a file that changes
NO_TERMINAL = "no picture is shown: the output is not a terminal; the report has them"


def protocol(about: Mapping[str, str], ask: Callable[[], str]) -> str:
    """Return "kitty", "iterm", "sixel", or "" for a terminal that shows no pictures.

    about  the environment; within tmux or screen it is that of the terminal outside, so only `ask` counts
    ask    returns what the terminal answers to "what are you" (primary device attributes), or ""
    """
    program = about.get("TERM_PROGRAM", "")
    if not about.get("TMUX") and not about.get("TERM", "").startswith(("tmux", "screen")):
        known = about.get("TERM") in ("xterm-kitty", "xterm-ghostty")
        if known or about.get("KITTY_WINDOW_ID") or program in KITTY:
            return "kitty"
        if program in ITERM or about.get("LC_TERMINAL") == "iTerm2":
            return "iterm"
    attributes = re.search(r"\x1b\[\?([\d;]+)c", ask())
    return "sixel" if attributes and "4" in attributes[1].split(";")[1:] else ""


def terminal_answer(path: str = "/dev/tty", seconds: float = SECONDS) -> str:
    """Return the primary device attributes of the terminal, or "" where there is none or it does not answer."""
    try:
        import termios
        import tty
    except ImportError:  # no POSIX terminal
        return ""
    with contextlib.suppress(OSError, termios.error), open(path, "r+b", buffering=0) as terminal:
        before, said = termios.tcgetattr(terminal), b""
        try:
            tty.setcbreak(terminal.fileno())
            terminal.write(b"\x1b[c")
            end = time.monotonic() + seconds
            while not said.endswith(b"c") and (left := end - time.monotonic()) > 0:
                if select.select([terminal], [], [], left)[0]:
                    said += os.read(terminal.fileno(), 64)
        finally:
            termios.tcsetattr(terminal, termios.TCSAFLUSH, before)
        return said.decode("ascii", "replace")
    return ""


def encoded(pixels: Pixels, how: str) -> str:
    """Return a picture (H, W, 3) as text that a terminal of this protocol shows."""
    return {"kitty": _kitty, "iterm": _iterm, "sixel": _sixel}[how](pixels)


def _png(pixels: Pixels) -> bytes:
    content = io.BytesIO()
    Picture.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def _kitty(pixels: Pixels) -> str:
    """Return a PNG in pieces; each says whether more follow."""
    text = base64.b64encode(_png(pixels)).decode()
    pieces = [text[k : k + CHUNK] for k in range(0, len(text), CHUNK)]
    first = "a=T,f=100,q=2,"  # transmit and show a PNG, and answer nothing
    more = itertools.chain([1] * (len(pieces) - 1), [0])
    return "".join(
        f"\x1b_G{'' if k else first}m={m};{piece}\x1b\\"
        for k, (m, piece) in enumerate(zip(more, pieces, strict=True))
    )


def _iterm(pixels: Pixels) -> str:
    content = _png(pixels)
    about = f"inline=1;size={len(content)};width={pixels.shape[1]}px;preserveAspectRatio=1"
    return f"\x1b]1337;File={about}:{base64.b64encode(content).decode()}\x07"


def _sixel(pixels: Pixels) -> str:
    """Return the colours, then bands of six lines: of each colour in a band, six bits a column."""
    made = Picture.fromarray(pixels).quantize(COLOURS, dither=Picture.Dither.NONE)
    numbers, palette = np.asarray(made), np.array(made.getpalette()).reshape(-1, 3)
    height, width = numbers.shape
    used = np.unique(numbers)
    head = f'\x1bPq"1;1;{width};{height}'
    head += "".join(f"#{n};2;{';'.join(str(round(c / 2.55)) for c in palette[n])}" for n in used)
    bands = []
    for top in range(0, height, 6):
        band = numbers[top : top + 6]
        bits = (1 << np.arange(len(band)))[:, None]
        rows = (f"#{n}{_runs(((band == n) * bits).sum(0) + 63)}" for n in np.unique(band))
        bands.append("$".join(rows))
    return head + "-".join(bands) + "\x1b\\"


def _runs(codes: NDArray[Any]) -> str:
    """Return characters, with more than three that are equal as "!count character"."""
    pieces = []
    for code, group in itertools.groupby(codes.tolist()):
        count = len(list(group))
        pieces.append(f"!{count}{chr(code)}" if count > 3 else chr(code) * count)
    return "".join(pieces)


def pictures(
    run: Run, images: Iterable[tuple[str, Sequence[Mapping[str, Any]]]]
) -> Iterator[tuple[str, Pixels]]:
    """Yield the name of each image with a picture of the result that tells most: original, changed image and
    difference, or the heatmap where no change was found. `images` has each name with its rows of the run."""
    from contrafact.export.dicom.captures import sheet_pixels
    from contrafact.io import stored_grid
    from contrafact.render.outcome import found
    from contrafact.render.paper import change_sheet, heatmap_sheet
    from contrafact.render.run_index import RunIndex

    index = RunIndex(run)
    for name, rows in images:
        changes = [row for row in rows if row["kind"] == "strip" and not row.get("picture")]
        maps = [row for row in rows if row["kind"] == "heatmap"]
        first = [row for row in changes if found(row)] + maps + changes
        if not first:
            continue
        row = first[0]
        arrays = run.arrays(row)
        if row["kind"] == "heatmap":
            grid = stored_grid(row, arrays["values"].shape, arrays["affine"])
            sheet = heatmap_sheet(row, arrays, grid, index.map_scale(row, arrays["values"]), side=SIDE)
        else:
            grid = stored_grid(row, arrays["frames"].shape[2:], arrays["strip_affine"])
            sheet = change_sheet(row, arrays, grid, side=SIDE)
        panels = tuple(_small(panel, sheet.aspect) for panel in sheet.panels)
        yield name, sheet_pixels(dataclasses.replace(sheet, panels=panels, aspect=1.0))


def _small(panel: Panel, aspect: float) -> Panel:
    """Return a panel in true proportions, whose longer side has `SIDE` pixels at most."""
    from contrafact.export.paper_files import true_proportions

    made = Picture.fromarray(true_proportions(panel.pixels, aspect))
    made.thumbnail((SIDE, SIDE))
    return dataclasses.replace(panel, pixels=np.asarray(made))


def shown(pictures: Iterable[tuple[str, Pixels]]) -> Iterator[str]:
    """Yield the text that shows each picture under its name, or one line that says why none is shown."""
    if not sys.stdout.isatty():
        yield NO_TERMINAL
        return
    how = protocol(os.environ, terminal_answer)
    if not how:
        yield NOT_SHOWN
        return
    for name, pixels in pictures:
        yield f"{name}\n{encoded(pixels, how)}"


def told_of(path: Path, terminal: bool, now: Callable[[], float] = time.monotonic) -> Callable[[bool], str]:
    """Return a function that gives what to print of a picture file that is written anew again and again: in a
    terminal that shows pictures the picture, at first, once a minute, and at the last (`True`); elsewhere one
    line with its path, once; else an empty text."""
    how = protocol(os.environ, terminal_answer) if terminal else ""
    before: float | None = None

    def told(last: bool) -> str:
        nonlocal before
        if not path.exists() or (before is not None and (not how or (now() - before < PAUSE and not last))):
            return ""
        before = now()
        if not how:
            return f"samples: {path}, anew with each report"
        with Picture.open(path) as picture:
            made = picture.convert("RGB")
        made.thumbnail((WIDE, WIDE))
        return f"{path}\n{encoded(np.asarray(made), how)}"

    return told
