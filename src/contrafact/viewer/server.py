"""Bind a socket, print a link and serve with uvicorn."""

from __future__ import annotations

import contextlib
import ipaddress
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass

import uvicorn
from starlette.types import ASGIApp

from contrafact.core import InputError
from contrafact.viewer.connections import LimitedConnection

BACKLOG = 128  # connections that wait to be accepted


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Address of a server, and the host names that lead there."""

    listener: socket.socket
    host: str
    port: int

    @property
    def loopback(self) -> bool:
        return ipaddress.ip_address(self.listener.getsockname()[0]).is_loopback

    @property
    def names(self) -> tuple[str, ...]:
        """Return the allowed host names besides those of the loopback address."""
        given = self.host if ":" not in self.host else f"[{self.host}]"
        return (given,) if self.loopback else (given, socket.gethostname(), socket.getfqdn())

    def link(self, path: str = "/", token: str | None = None) -> str:
        wild = self.host in ("0.0.0.0", "::")
        name = socket.gethostname() if wild else self.names[0]
        return f"http://{name}:{self.port}{path}" + (f"?token={token}" if token else "")


def bind(host: str, port: int) -> ServerAddress:
    """Bind the address before the link is printed, so that the link is valid."""
    try:
        kind, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[:2], family=kind)
    except (OSError, OverflowError) as error:
        raise InputError(f"expected a free address of this machine; got {host}:{port} ({error})") from error
    return ServerAddress(listener, host, listener.getsockname()[1])


def new_token() -> str:
    return secrets.token_urlsafe(24)


def configured(app: ASGIApp) -> uvicorn.Config:
    """Return the settings of a server: limits on connections, and no word about itself."""
    return uvicorn.Config(
        app,
        http=LimitedConnection,
        backlog=BACKLOG,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=3,
    )


def serve(app: ASGIApp, place: ServerAddress, *, ready: Callable[[], None]) -> None:
    """Serve until Ctrl-C."""
    config = configured(app)
    ready()
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn has already stopped cleanly
        uvicorn.Server(config).run(sockets=[place.listener])
