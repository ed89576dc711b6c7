"""Access control of every page: tokens, hosts, request size, and the browser's content security policy."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
BODY = 64 * 1024  # bytes
READING = ("GET", "HEAD")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# NiiVue renders text from an embedded picture; pages with volumes may read data URIs.
VOLUMES = POLICY.replace("img-src 'self'", "img-src 'self' data:")
HEADERS = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",  # images of patients must not be cached on disk
}


@dataclass(frozen=True, slots=True)
class Guard:
    """ASGI middleware that checks every request.

    tokens      role of each token; writes need a token in the header x-contrafact-token, which no other site
                can send
    hosts       allowed names in the Host header, against DNS rebinding
    addresses   whether numeric addresses are allowed too, for servers bound to all addresses; a number cannot
                be rebound
    """

    app: ASGIApp
    tokens: Mapping[str, str] = field(repr=False)
    hosts: tuple[str, ...] = LOOPBACK
    addresses: bool = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return  # no websockets and no lifespan events
        headers, asked = Headers(scope=scope), dict(parse_qsl(scope["query_string"].decode("latin-1")))
        answer = self._refused(scope, headers) or self._enter(scope, headers, asked)
        body: bytes | None = b""
        if answer is None and scope["method"] not in READING:
            try:
                body = await _body(headers, receive)
            except ConnectionError:  # it was closed before its body was whole: nothing is done
                return
            if body is None:
                answer = PlainTextResponse(f"expected at most {BODY} bytes", 413)

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                sent = MutableHeaders(scope=message)
                sent.update(HEADERS)
                if scope.get("state", {}).get("volumes"):  # set by the page
                    sent["content-security-policy"] = VOLUMES
            await send(message)

        async def replayed() -> Message:
            return {"type": "http.request", "body": body or b"", "more_body": False}

        if answer is not None:
            await answer(scope, receive, guarded)
        else:
            await self.app(scope, receive if scope["method"] in READING else replayed, guarded)

    def _refused(self, scope: Scope, headers: Headers) -> Response | None:
        """Refuse unknown host names and requests from other sites."""
        if not self._ours(headers.get("host", "")):
            return PlainTextResponse("this host name is not served here", 421)
        site, reads = headers.get("sec-fetch-site", "none"), scope["method"] in READING
        arrives = reads and headers.get("sec-fetch-mode") == "navigate"
        if site not in ("none", "same-origin") and not arrives:
            return PlainTextResponse("requests from other sites are refused", 403)
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != headers.get("host"):
            return PlainTextResponse("requests from other sites are refused", 403)
        if not reads and self._role(headers.get("x-contrafact-token", "")) is None:
            return PlainTextResponse("expected the token of the link", 403)
        return None

    def _enter(self, scope: Scope, headers: Headers, asked: dict[str, str]) -> Response | None:
        """Store a token of the link in a cookie, so that it leaves the address bar."""
        token = asked.pop("token", "")
        role = self._role(token)
        if role is not None and scope["method"] in READING:
            where = scope["path"] + (f"?{urlencode(asked)}" if asked else "")
            # One slash only: two would name another host.
            answer = RedirectResponse("/" + where.lstrip("/\\"), 303)
            answer.set_cookie(cookie_name(token), token, httponly=True, samesite="lax")
            return answer
        scope.setdefault("state", {})["roles"] = roles = self._roles(headers)
        if not roles:
            return PlainTextResponse("open the link with its token, as the command printed it", 401)
        return None

    def _roles(self, headers: Headers) -> dict[str, str]:
        """Return the roles of this browser with their tokens."""
        try:
            cookies = SimpleCookie(headers.get("cookie", ""))
        except CookieError:
            cookies = SimpleCookie()
        roles = {}
        held = [c.value for c in cookies.values()] + [headers.get("x-contrafact-token", "")]
        for token in held:
            role = self._role(token)
            if role is not None:
                roles[role] = token
        return roles

    def _role(self, token: str) -> str | None:
        for known, role in self.tokens.items():
            if hmac.compare_digest(known.encode(), token.encode("utf-8", "replace")):
                return role
        return None

    def _ours(self, host: str) -> bool:
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        if name.lower().rstrip(".") in self.hosts:
            return True
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return self.addresses


async def _body(headers: Headers, receive: Receive) -> bytes | None:
    """Return the whole body, or None if it is too long, declared or not.

    raises  ConnectionError if the connection ends before the body
    """
    said = headers.get("content-length", "0")
    if not said.isdecimal() or int(said) > BODY:
        return None
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError
        body += message.get("body", b"")
        if len(body) > BODY:
            return None
        if not message.get("more_body"):
            return body


def cookie_name(token: str) -> str:
    """Return a cookie name; it depends on the token, because cookies of all ports of a machine are shared."""
    return "contrafact-" + hashlib.sha256(token.encode()).hexdigest()[:8]
