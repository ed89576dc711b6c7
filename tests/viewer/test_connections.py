"""Idle and slow connections do not keep others out."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("starlette", reason="the viewer needs contrafact[view]")

from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from browsing import Site, serving
from contrafact.viewer import connections
from contrafact.viewer.security import Guard

asked: list[bytes] = []


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    body = await Request(scope, receive).body()
    asked.append(body)
    await PlainTextResponse(body.decode() or "here")(scope, receive, send)


@pytest.fixture
def site() -> Iterator[Site]:
    asked.clear()
    with serving(Guard(echo, tokens={"t": "owner"})) as site:
        site.headers["x-contrafact-token"] = "t"
        yield site


@contextlib.contextmanager
def opened(site: Site, count: int) -> Iterator[list[Any]]:
    """Connections that say nothing."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(socket.create_connection(("127.0.0.1", site.port))) for _ in range(count)]


def closed(line: socket.socket, seconds: float) -> bool:
    line.settimeout(seconds)
    try:
        return line.recv(100_000) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def test_idle_connections_keep_nobody_out(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "CONNECTIONS", 20)
    with opened(site, 200) as lines:
        assert site.ask("/").text == "here"
        assert sum(closed(line, 0.01) for line in lines) >= 150
        assert closed(lines[0], 1) and not closed(lines[-1], 0.05)  # the oldest go first


def test_a_connection_that_says_nothing_or_half_a_header_is_closed(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEADER_SECONDS", 1.0)
    with opened(site, 2) as (silent, slow):
        slow.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        assert closed(silent, 10) and closed(slow, 10)
    assert site.ask("/").text == "here" and asked == [b""]


@pytest.mark.parametrize("how", ["slow", "gone"])
def test_half_a_body_is_not_acted_on(site: Site, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.setattr(connections, "BODY_SECONDS", 1.0)
    with opened(site, 1) as [line]:
        line.sendall(
            b"POST / HTTP/1.1\r\nHost: localhost\r\nx-contrafact-token: t\r\nContent-Length: 10\r\n\r\nhalf"
        )
        if how == "slow":
            assert closed(line, 10)
    assert site.ask("/", method="POST", body=b"whole").text == "whole" and asked == [b"whole"]


def test_an_answer_that_takes_long_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        import asyncio

        await asyncio.sleep(2.5)
        await PlainTextResponse("late")(scope, receive, send)

    for name in ("HEADER_SECONDS", "BODY_SECONDS", "READ_SECONDS"):
        monkeypatch.setattr(connections, name, 1.0)
    with serving(Guard(slow, tokens={"t": "owner"})) as site:
        assert site.ask("/", x_contrafact_token="t").text == "late"
        assert site.ask("/", method="POST", body=b"a", x_contrafact_token="t").text == "late"


def test_a_reader_who_takes_a_long_answer_slowly_gets_it_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    size = 12_000_000

    async def long(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("x" * size)(scope, receive, send)

    for name in ("HEADER_SECONDS", "READ_SECONDS"):
        monkeypatch.setattr(connections, name, 1.0)
    with (
        serving(Guard(long, tokens={"t": "owner"})) as site,
        socket.create_connection(("127.0.0.1", site.port)) as line,
    ):
        line.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nx-contrafact-token: t\r\n\r\n")
        got = 0
        while got < size and (part := line.recv(400_000)):
            got += len(part)
            time.sleep(0.1)
        assert got >= size


def test_a_reader_who_takes_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    async def long(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("x" * 12_000_000)(scope, receive, send)

    monkeypatch.setattr(connections, "READ_SECONDS", 1.0)
    with (
        serving(Guard(long, tokens={"t": "owner"})) as site,
        socket.create_connection(("127.0.0.1", site.port)) as line,
    ):
        line.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nx-contrafact-token: t\r\n\r\n")
        time.sleep(3.0)
        got = 0
        with contextlib.suppress(ConnectionError):
            while part := line.recv(400_000):
                got += len(part)
        assert got < 12_000_000
