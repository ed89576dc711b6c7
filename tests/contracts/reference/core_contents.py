"""Which values count as the same to a digest, and what the digests of plain ones are."""

from __future__ import annotations

import functools
import itertools
import logging
import pathlib
import re
import tempfile
import types
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from contrafact.core import (
    fingerprint,
)
from contrafact.core.contents import Contents, digest_of_content
from contrafact.core.fingerprint import digest_of_path
from contrafact.core.source import is_library, name_of
from reference.heatmaps import network
from reference.kept import tried


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self, a: Any, b: Any = None) -> None:
        self.a, self.b = a, b


class Plain:
    kind = 3

    def __init__(self, **values: Any) -> None:
        vars(self).update(values)

    @property
    def twice(self) -> int:
        return 2


class Named(str):
    pass


def closing(value: Any) -> Any:
    def inner(x: Any, y: Any = value) -> Any:
        return value, x, y

    return inner


def added(x: Any, *, by: int = 1) -> Any:
    return x + by


class Ring(Plain):
    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        self.own = self


def contents() -> dict[str, Any]:
    """Which of many values count as the same, as a matrix; and what they reached."""
    some = np.array([1.0, 2.0])
    shared = torch.ones(2)
    values: list[Callable[[], Any]] = [
        lambda: 1,
        lambda: 1.0,
        lambda: "1",
        lambda: True,
        lambda: 1j,
        lambda: None,
        lambda: b"1",
        lambda: [1],
        lambda: (1,),
        lambda: {1},
        lambda: frozenset({1}),
        lambda: {1: 2},
        lambda: {2: 1},
        lambda: {"a": 1, "b": 2},
        lambda: {"b": 2, "a": 1},
        lambda: types.MappingProxyType({"a": 1, "b": 2}),
        lambda: some,
        lambda: some.copy(),
        lambda: some.reshape(1, 2),
        lambda: some.astype("f4"),
        lambda: some[::-1],
        lambda: some[0],
        lambda: np.array([1, "a"], dtype=object),
        lambda: np.array([[1, "a"]], dtype=object),
        lambda: torch.ones(2),
        lambda: torch.ones(2, dtype=torch.float64),
        lambda: torch.ones(1, 2),
        lambda: torch.nn.Parameter(torch.ones(2)),
        lambda: torch.tensor([1 + 2j]).conj(),
        lambda: torch.tensor([1 - 2j]),
        lambda: torch.device("cpu"),
        lambda: torch.float32,
        lambda: torch.float64,
        lambda: pathlib.PurePosixPath("a"),
        lambda: pathlib.PurePosixPath("b"),
        lambda: np.dtype("f4"),
        lambda: np.dtype("f8"),
        lambda: functools.partial(added, 1),
        lambda: functools.partial(added, 2),
        lambda: functools.partial(added, by=2),
        lambda: added,
        lambda: closing(1),
        lambda: closing(2),
        lambda: closing(1),
        lambda: lambda x: x + 1,
        lambda: lambda x: x + 2,
        lambda: Plain,
        lambda: Slotted,
        lambda: Plain(a=1),
        lambda: Plain(a=2),
        lambda: Plain(b=1),
        lambda: Slotted(1),
        lambda: Slotted(2),
        lambda: Slotted(1, 0),
        lambda: Named("1"),
        lambda: Named("2"),
        lambda: Ring(a=1),
        lambda: Ring(a=2),
        lambda: weakref.ref(shared),
        lambda: logging.getLogger("a"),
        lambda: logging.getLogger("b"),
        lambda: re.compile("a"),
        lambda: re.compile("b"),
        lambda: range(3),
        lambda: range(4),
        lambda: Plain(a=1).__init__,
        lambda: Plain(a=2).__init__,
        lambda: [1].append,
        lambda: [2].append,
        lambda: len,  # type: ignore[misc]
        lambda: added.__code__,
        lambda: closing.__code__,
        lambda: np,
        lambda: functools,
        lambda: itertools.count(3),
        lambda: itertools.count(4),
        lambda: torch.nn.Linear,
        lambda: torch.nn.functional.relu,
        lambda: network(2),
        lambda: network(2).train(),
        lambda: network(2).requires_grad_(False),
        lambda: network(2, 3),
        lambda: torch.nn.ReLU(),
        lambda: torch.nn.Dropout(0.1),
        lambda: torch.nn.Dropout(0.2),
        lambda: torch.nn.BatchNorm2d(2),
    ]
    digests, reached = [], []
    kept = [one() for one in values]
    for value in kept:
        contents_of = Contents()
        digests.append(contents_of.digest(value))
        reached.append([len(contents_of.unread), len(contents_of.tensors), len(contents_of.holders)])
    return {
        "same": [digests.index(one) for one in digests],
        "again": [digest_of_content(value) == one for value, one in zip(kept, digests, strict=True)],
        "reached": reached,
        "names": [name_of(v) for v in (added, Plain, Plain(), len, 3)],
        "libraries": [
            is_library(n) for n in ("numpy.linalg", "numpylike", "torch", "reference.core", "json", "")
        ],
    }


def digests() -> dict[str, Any]:
    @dataclass
    class One:
        a: int = 1
        b: Any = None

    plain = [
        (),
        (None,),
        (True,),
        (1,),
        (1.0,),
        ("1",),
        (b"1",),
        ("ab", "c"),
        ("a", "bc"),
        ([1, 2],),
        ((1, 2),),
        ({2, 1},),
        ({"b": 1, "a": 2},),
        (np.arange(3),),
        (np.arange(3.0),),
        (np.zeros((0, 2)),),
        (np.arange(6).reshape(2, 3),),
        (np.arange(6).reshape(2, 3).T,),
        (np.float64(1.0),),
        (bytearray(b"1"),),
        (1 + 2j,),
        (One(),),
        (One(2),),
        (One(b=One()),),
        ({1: 2},),
        (frozenset("ab"),),
        ("\ud800",),
    ]
    found: dict[str, Any] = {"plain": [fingerprint(*one) for one in plain]}
    found["refused"] = tried(lambda: fingerprint(object), lambda: fingerprint(One))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "in").mkdir()
        (folder / "b").write_text("b")
        (folder / "in" / "a").write_text("a")
        found["paths"] = [digest_of_path(folder / part) for part in ("b", "in", "", "no")]
    return found


def values() -> dict[str, Any]:
    parts = (contents, digests)
    return {part.__name__: part() for part in parts}
