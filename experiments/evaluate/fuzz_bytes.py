"""Changes to bytes, and to JSON, TOML and CSV, whatever they belong to."""

from __future__ import annotations

import copy
import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

Rng = np.random.Generator
SIZES = (0, 1, 2, 127, 255, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)
ODD: tuple[Any, ...] = (
    None, True, False, -1, 0, 3, 10**30, 1e308, -0.5, float("nan"), float("inf"), "", "a", "x" * 3000,
    "../../a",
    "/etc/passwd", "\0", "é\u202e", [], {}, [None], [[]], {"a": 1}, [1, 2, 3], ["a"], "1e9", [1e9] * 3,
)  # fmt: skip
TEXTS = (
    "", "nan", "-1", "1e400", "9" * 400, "true", '"a"', "'", "[", "]]", "{", "=", "\ufeff", "\x00", "\u2028",
    ",", ",,,",
    "é", '"', "../../x", "/dev/zero", "inf", "[1, 2]", "{ a = 1 }", "1979-05-27", "0x", "\\", "x" * 200_000,
)  # fmt: skip
DEEP = 100_000  # brackets


def pick(rng: Rng, several: Any) -> Any:
    return several[int(rng.integers(len(several)))]


def _place(rng: Rng, size: int) -> int:
    """A place in a file: one half of them in its first bytes, where headers are."""
    return int(rng.integers(max(1, min(size, 400) if rng.random() < 0.5 else size)))


def flipped(raw: bytes, rng: Rng) -> bytes:
    out = bytearray(raw or b"\0")
    for _ in range(int(rng.integers(1, 9))):
        out[_place(rng, len(out))] ^= 1 << int(rng.integers(8))
    return bytes(out)


def overwritten(raw: bytes, rng: Rng) -> bytes:
    """Whole numbers of two, four or eight bytes replaced by extreme ones: sizes, offsets, counts."""
    out = bytearray(raw or b"\0")
    for _ in range(int(rng.integers(1, 4))):
        width, order = pick(rng, ("H", "I", "Q", "B")), pick(rng, "<>")
        value = struct.pack(order + width, pick(rng, SIZES) % 2 ** (8 * struct.calcsize(width)))
        at = _place(rng, len(out))
        out[at : at + len(value)] = value
    return bytes(out)


def cut(raw: bytes, rng: Rng) -> bytes:
    return raw[: int(rng.integers(len(raw) + 1))]


def moved(raw: bytes, rng: Rng) -> bytes:
    """A piece removed, written twice, or put elsewhere."""
    raw = raw or b"\0"
    start, other = _place(rng, len(raw)), _place(rng, len(raw))
    piece = raw[start : start + int(rng.integers(1, 64))]
    kept = raw if rng.random() < 0.5 else raw[:start] + raw[start + len(piece) :]
    return kept if rng.random() < 0.3 else kept[:other] + piece + kept[other:]


def filled(raw: bytes, rng: Rng) -> bytes:
    at, count = _place(rng, len(raw)), int(rng.integers(1, 200))
    fill = pick(rng, (bytes(count), b"\xff" * count, rng.bytes(count), b"%s%n" * (count // 4 + 1)))
    return raw[:at] + fill + raw[at + (count if rng.random() < 0.5 else 0) :]


def replaced(raw: bytes, rng: Rng) -> bytes:
    """Another content: nothing, noise, a text, another format."""
    others = (b"", b"\0" * 1000, rng.bytes(500), b"hello\n", b"PK\5\6" + bytes(18), b"\x89PNG\r\n\x1a\n",
              b"\x93NUMPY\1\0", b"{}", b"[" * DEEP, b"II*\0\x08\0\0\0", raw + raw, raw[::-1],
              bytes(128) + b"DICM" + raw[:200], b"\x80\4cos\nsystem\n(S'true'\ntR.")  # fmt: skip
    return bytes(pick(rng, others))


def encoded(raw: bytes, rng: Rng) -> bytes:
    text = raw.decode("latin-1")
    return pick(rng, (text.encode("utf-16"), raw + b"\xe9\xff", b"\xef\xbb\xbf" + raw, text.encode("utf-32"),
                      raw.replace(b"a", b"\xe9", 1), raw.replace(b"\n", b"\r"), b"\xff\xfe" + raw))  # fmt: skip


BYTES: tuple[Callable[[bytes, Rng], bytes], ...] = (
    flipped, flipped, overwritten, overwritten, cut, moved, filled, replaced, encoded,
)  # fmt: skip


def _places(tree: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [way]
    for key, value in (
        tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    ):
        found += _places(value, (*way, key))
    return found


def changed_tree(tree: Any, rng: Rng) -> Any:
    """A tree with a value taken out, replaced, wrapped, renamed or put elsewhere."""
    tree = copy.deepcopy(tree)
    places = [way for way in _places(tree) if way]
    if not places or rng.random() < 0.05:
        return pick(rng, ODD)
    *way, last = pick(rng, places)
    holder = tree
    for key in way:
        holder = holder[key]
    how = int(rng.integers(6))
    if how == 0:
        del holder[last]
    elif how == 1:
        holder[last] = [holder[last]] if rng.random() < 0.5 else {"a": holder[last]}
    elif how == 2 and isinstance(holder, dict):
        holder[pick(rng, (str(last)[:-1], str(last) + "x", "", "é", "__class__"))] = holder.pop(last)
    elif how == 3 and isinstance(holder[last], (int, float)):
        holder[last] = pick(rng, (-holder[last], holder[last] * 10**6, holder[last] + 0.5, str(holder[last])))
    else:
        holder[last] = pick(rng, ODD)
    return tree


def changed_json(raw: bytes, rng: Rng) -> bytes:
    if rng.random() < 0.06:
        deep = pick(rng, (("[", "]"), ('{"a":', "}")))
        return (deep[0] * DEEP + "1" + deep[1] * DEEP).encode()
    if rng.random() < 0.06:
        return raw.replace(b"{", b'{"a": 1' + b"0" * 5000 + b", ", 1)  # a number longer than Python converts
    try:
        tree = json.loads(raw)
    except (ValueError, RecursionError):
        return flipped(raw, rng)
    for _ in range(int(rng.integers(1, 3))):
        tree = changed_tree(tree, rng)
    text = json.dumps(tree)
    return (text.replace('"', '"\\ud800', 1) if rng.random() < 0.05 else text).encode()


def changed_lines(raw: bytes, rng: Rng) -> bytes:
    """JSON lines: one line changed as JSON."""
    lines = raw.split(b"\n")
    at = int(rng.integers(max(1, len(lines) - 1)))
    lines[at] = changed_json(lines[at], rng)
    return b"\n".join(lines)


def changed_text(raw: bytes, rng: Rng) -> bytes:
    """TOML, CSV and text headers: a value, a field or a line is another."""
    lines = raw.decode("latin-1").split("\n")
    at = int(rng.integers(len(lines)))
    mark = next((m for m in ("=", ":", ",") if m in lines[at]), "")
    how = int(rng.integers(5))
    if how == 0:
        del lines[at]
    elif how == 1:
        lines.insert(int(rng.integers(len(lines))), lines[at])
    elif how == 2 and mark:
        fields = lines[at].split(mark)
        fields[int(rng.integers(len(fields)))] = pick(rng, TEXTS)
        lines[at] = mark.join(fields)
    elif how == 3 and mark:
        lines[at] = lines[at].split(mark)[0] + mark + " " + pick(rng, TEXTS)
    else:
        lines[at] = lines[at].replace(pick(rng, '"=,[]1aet '), pick(rng, TEXTS))
    return "\n".join(lines).encode("utf-8", "surrogatepass")
