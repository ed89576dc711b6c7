"""Pictures in the terminal: what is sent is the picture, and what a terminal can show is asked of it."""

from __future__ import annotations

import base64
import io
import os
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from browsing import planted_run, record
from contrafact.cli import main
from contrafact.cli.terminal_pictures import (
    NO_TERMINAL,
    NOT_SHOWN,
    encoded,
    pictures,
    protocol,
    terminal_answer,
    told_of,
)
from contrafact.core import Grid, Heatmap, Image
from contrafact.generators import Progress
from contrafact.io import Run
from contrafact.phantoms import draw_factors, knee_phantom

SIXEL, PLAIN = "\x1b[?62;4;22c", "\x1b[?64;1;2;22c"


def picture(height: int = 45, width: int = 31) -> np.ndarray:
    """Steps of grey with an orange square: fewer colours than a terminal has; not a multiple of six lines."""
    made = np.repeat((np.indices((height, width)).sum(0) // 4 * 10 % 250)[..., None], 3, axis=2).astype(
        np.uint8
    )
    made[5:20, 3:12] = (255, 153, 51)
    return made


def of_sixels(text: str) -> np.ndarray:
    """Draw sixels as a terminal does (DEC STD 070), to bytes (H, W, 3)."""
    body = re.fullmatch(r"\x1bP(?:\d*;?)*q(.*)\x1b\\", text, re.DOTALL)[1]
    width, height = map(int, re.match(r'"1;1;(\d+);(\d+)', body).groups())
    page = np.zeros((height + 6, width, 3))
    colours, colour, x, y = {}, None, 0, 0
    for define, use, count, code, other in re.findall(
        r"#(\d+;2;\d+;\d+;\d+)|#(\d+)|!(\d+)([?-~])|([?-~$-])", body[body.index("#") :]
    ):
        if define:
            number, _, *shares = map(int, define.split(";"))
            colours[number] = np.array(shares) * 2.55
        elif use:
            colour = colours[int(use)]
        elif other == "$":
            x = 0
        elif other == "-":
            x, y = 0, y + 6
        else:
            bits, wide = ord(code or other) - 63, int(count or 1)
            for line in (line for line in range(6) if bits >> line & 1):
                page[y + line, x : x + wide] = colour
            x += wide
            assert x <= width
    assert not page[height:].any()
    return page[:height].round().astype(np.uint8)


def of_kitty(text: str) -> np.ndarray:
    pieces = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", text)
    assert "".join(f"\x1b_G{about};{piece}\x1b\\" for about, piece in pieces) == text
    assert all(len(piece) <= 4096 and len(piece) % 4 == 0 for _, piece in pieces[:-1])
    assert [about[-3:] for about, _ in pieces] == ["m=1"] * (len(pieces) - 1) + ["m=0"] or len(pieces) == 1
    assert "a=T" in pieces[0][0] and "f=100" in pieces[0][0]
    return np.asarray(Picture.open(io.BytesIO(base64.b64decode("".join(piece for _, piece in pieces)))))


def of_iterm(text: str) -> np.ndarray:
    about, content = re.fullmatch(r"\x1b\]1337;File=([^:]*):([^\x07]*)\x07", text).groups()
    content = base64.b64decode(content)
    assert "inline=1" in about and f"size={len(content)}" in about
    return np.asarray(Picture.open(io.BytesIO(content)))


def test_what_is_sent_is_the_picture() -> None:
    made = picture()
    np.testing.assert_allclose(of_sixels(encoded(made, "sixel")), made, atol=2)  # colours are in per cent
    np.testing.assert_array_equal(of_kitty(encoded(made, "kitty")), made)
    np.testing.assert_array_equal(of_iterm(encoded(made, "iterm")), made)
    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 3)).astype(np.uint8)  # of several messages
    assert encoded(noise, "kitty").count("\x1b_G") > 5
    np.testing.assert_array_equal(of_kitty(encoded(noise, "kitty")), noise)


@pytest.mark.parametrize(
    ("about", "answer", "expected"),
    [
        ({"TERM": "xterm-kitty"}, "", "kitty"),
        ({"KITTY_WINDOW_ID": "1"}, PLAIN, "kitty"),
        ({"TERM_PROGRAM": "ghostty"}, "", "kitty"),
        ({"TERM_PROGRAM": "iTerm.app"}, "", "iterm"),
        ({"TERM_PROGRAM": "WezTerm"}, SIXEL, "iterm"),
        ({"LC_TERMINAL": "iTerm2"}, "", "iterm"),  # over ssh
        ({"TERM": "foot"}, SIXEL, "sixel"),
        ({"TERM": "xterm-256color"}, PLAIN, ""),
        ({"TERM": "xterm-256color"}, "", ""),
        ({"TERM": "xterm"}, "\x1b[?4c", ""),  # the first number is the terminal's class
        ({"TERM": "tmux-256color", "TMUX": "x", "KITTY_WINDOW_ID": "1"}, PLAIN, ""),  # of the terminal outside
        ({"TERM": "tmux-256color", "TMUX": "x", "TERM_PROGRAM": "iTerm.app"}, SIXEL, "sixel"),
    ],
)
def test_the_protocol_is_that_of_the_terminal(about: dict[str, str], answer: str, expected: str) -> None:
    assert protocol(about, lambda: answer) == expected


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX terminal")
def test_a_terminal_is_asked_and_one_that_is_silent_is_not_waited_for() -> None:
    import termios

    outside, inside = os.openpty()
    name, heard = os.ttyname(inside), []

    def answer() -> None:
        heard.append(os.read(outside, 16))
        os.write(outside, SIXEL.encode())

    before = termios.tcgetattr(inside)
    thread = threading.Thread(target=answer)
    thread.start()
    assert terminal_answer(name, seconds=60) == SIXEL
    thread.join()
    assert heard == [b"\x1b[c"]
    assert termios.tcgetattr(inside) == before  # as it was
    assert terminal_answer(name, seconds=0.05) == ""
    assert terminal_answer("/nowhere/tty") == ""
    os.close(inside)
    os.close(outside)


def test_the_picture_of_an_image_is_its_change_and_else_its_map(tmp_path: Path) -> None:
    run = planted_run(tmp_path / "run", 1)
    mine = [row for row in run.rows() if row["case"] == "Case 1"]
    maps = [row for row in mine if row["kind"] == "heatmap"]
    assert {row["kind"] for row in mine} == {"heatmap", "strip"}
    images = [("both.png", mine), ("map.png", maps), ("none.png", [])]
    (first, change), (second, heat) = pictures(run, images)
    assert (first, second) == ("both.png", "map.png")
    assert change.shape[1] == 3 * 288 + 2 * 8 and heat.shape[1] == 2 * 288 + 8
    ramp, changed = change[:288, 8:280].mean(2), change[:288, 8 + 296 : 280 + 296].mean(2)
    assert (changed - ramp).mean() > 20  # the planted change is brighter
    assert (np.ptp(heat[:288, 296:].astype(int), axis=2) > 50).any()  # orange or blue
    assert not (np.ptp(heat[:288, :288].astype(int), axis=2) > 2).any()


@pytest.mark.parametrize("can", [True, False])
def test_the_command_shows_pictures_below_the_table(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can: bool
) -> None:
    rng = np.random.default_rng(3)
    values = np.clip(knee_phantom(draw_factors(rng), rng).image.values[0], 0, 255).astype(np.uint8)
    for name in ("a.png", "b.png"):
        Picture.fromarray(values).save(tmp_path / name)
    words = ["explain", str(tmp_path / "a.png"), str(tmp_path / "b.png"), "--bundle", "phantom", "--rescale"]
    words += ["--target", "class:1", "--no-checks", "--methods", "gradient", "--out", str(tmp_path / "run")]
    assert main([*words, "--show"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == NO_TERMINAL
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("contrafact.cli.terminal_pictures.protocol", lambda *_: "kitty" if can else "")
    assert main([*words, "--show"]) == 0
    out = capsys.readouterr().out
    assert "report: " in out
    if can:
        said = out[out.index("report: ") :]
        assert said.count("a=T,f=100") == 2 and "\na.png\n" in said and "\nb.png\n" in said
    else:
        assert out.splitlines()[-1] == NOT_SHOWN and "\x1b" not in out
    assert main([*words, "--show", "--json"]) == 2
    assert "--show or --json" in capsys.readouterr().err


def test_pictures_of_a_volume_and_of_a_large_image_fit_and_keep_proportions(tmp_path: Path) -> None:
    run = Run.create(tmp_path / "run", about={})
    for name, shape, spacing in (("v", (4, 10, 20), (1.0, 1.0, 0.5)), ("w", (900, 700), (1.0, 1.0))):
        grid = Grid(shape, spacing_mm=spacing)
        values = np.zeros(shape, np.float32)
        values[..., 3:5, 3:5] = 1
        run.add(
            name,
            Image(values[None], grid=grid),
            Heatmap(values=values, grid=grid, record=record("gradcam", name)),
        )
    for (_, made), width in zip(pictures(run, [(r["key"], [r]) for r in run.rows()]), (288, 224), strict=True):
        assert made.shape[1] == 2 * width + 8
        assert 288 < made.shape[0] < 288 + 400


@pytest.mark.parametrize("can", [True, False])
def test_samples_of_a_fit_are_pictures_above_its_bar_and_else_a_line_with_their_path(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can: bool
) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "fit.toml").write_text('name = "toy"\nout = "out"\n[data]\npath = "images"\n')
    path = tmp_path / "out" / "samples.png"

    def stages(*_: object, **__: object) -> Iterator[tuple[str, Progress]]:
        for done in (1, 2, 3):
            path.parent.mkdir(exist_ok=True)
            Picture.fromarray(picture(40, 80)).save(path)
            yield "generator", Progress(done=done, total=3, seconds_left=0.0)
        yield "encoder", Progress(done=1, total=1, seconds_left=0.0)

    monkeypatch.setattr("contrafact.bundles.fitting.fit_stages", stages)
    if can:
        monkeypatch.setenv("FORCE_COLOR", "1")  # rich takes stderr for a terminal
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
        monkeypatch.setattr("contrafact.cli.terminal_pictures.protocol", lambda *_: "kitty")
    assert main(["fit", str(tmp_path / "fit.toml")]) == 0
    said = capsys.readouterr().err
    if can:
        shown = re.findall(r"\x1b_G.*?\x1b\\", said, re.DOTALL)
        assert len(shown) == 2  # the first and the last; the one between came within a minute
        np.testing.assert_array_equal(of_kitty(shown[0]), picture(40, 80))
    else:
        assert "\x1b_G" not in said
        assert said.count(f"samples: {path}") == 1
    assert main(["fit", str(tmp_path / "fit.toml"), "--json"]) == 0
    assert "samples.png" not in capsys.readouterr().err


def test_samples_are_shown_once_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("contrafact.cli.terminal_pictures.protocol", lambda *_: "iterm")
    clock, path = [0.0], tmp_path / "samples.png"
    told = told_of(path, True, now=lambda: clock[0])
    assert told(True) == ""  # none is written yet
    Picture.fromarray(picture(900, 1200)).convert("L").save(path)
    shown = []
    for clock[0] in (0.0, 59.0, 61.0, 119.0, 122.0):
        shown.append(bool(told(False)))
    assert shown == [True, False, True, False, True]
    name, _, drawn = told(True).partition("\n")
    assert name == str(path) and of_iterm(drawn).shape == (576, 768, 3)
