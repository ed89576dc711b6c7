"""Limits of every connection, so that many idle or slow ones do not keep others out."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

CONNECTIONS = 256  # open at a time; a new one closes the one that has waited longest
HEADER_SECONDS = 10.0  # for the first request and its headers, and between two requests
BODY_SECONDS = 20.0  # for the body of a request
READ_SECONDS = 60.0  # for the other end to take some of what was sent
BEAT = 0.5  # seconds between two looks


class LimitedConnection(H11Protocol):
    """HTTP as uvicorn speaks it, with limits on the time that the other end may take."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._state, self._since, self._unsent = self._waits_for(), self.loop.time(), 0
        if len(self.connections) > CONNECTIONS:
            self._make_room()
        self._look = self.loop.call_later(BEAT, self._look_again)

    def connection_lost(self, exc: Exception | None) -> None:
        self._look.cancel()
        super().connection_lost(exc)

    def _waits_for(self) -> str:
        """Return what the other end owes: "request", "body", "reading", or nothing while it waits for us."""
        if self.flow.write_paused or self.transport.get_write_buffer_size():
            return "reading"
        if self.cycle is None or self.cycle.response_complete:
            return "request"
        return "body" if self.cycle.more_body else ""

    def _look_again(self) -> None:
        now, state, unsent = self.loop.time(), self._waits_for(), self.transport.get_write_buffer_size()
        if state != self._state or unsent != self._unsent:
            self._state, self._since, self._unsent = state, now, unsent
        limits = {"request": HEADER_SECONDS, "body": BODY_SECONDS, "reading": READ_SECONDS}
        if state and now - self._since > limits[state]:
            self.transport.abort()
            return
        self._look = self.loop.call_later(BEAT, self._look_again)

    def _make_room(self) -> None:
        """Close the connection that has waited longest for a request, or this one if all are at work."""
        others: list[Any] = [one for one in self.connections if one is not self]
        waiting = [one for one in others if one._waits_for() == "request"]
        oldest = min(waiting, key=lambda one: one._since, default=self)
        oldest.transport.abort()
        self.connections.discard(oldest)
