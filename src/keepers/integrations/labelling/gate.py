"""Who may talk to the labelling page: the token, the host, the origin, and what browsers are told.

An ASGI application around the page's own, so that nothing is answered without passing it.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, MutableMapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from keepers.errors import ParameterError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
"""The names under which a page on this machine may be asked for: others are DNS rebinding."""

UNKNOWN = (
    "This labelling page opens only with its token. Open the whole address that `keepers active "
    "label` printed, including ?token=...\n"
)


def check_token(token: str) -> str:
    """The token, if it can be one.

    Raises:
        ParameterError: under 16 characters, or others than letters, digits, `-`, `_`, `.`, `~`.
    """
    plain = (
        token.isascii()
        and token.replace("-", "")
        .replace("_", "")
        .translate({ord("."): None, ord("~"): None})
        .isalnum()
    )
    if len(token) < 16 or not plain:
        raise ParameterError(
            "token",
            f"got {len(token)} characters" + ("" if plain else ", some of them not for an address"),
            "Give 16 or more letters, digits, - or _, or none: then a random one is made",
        )
    return token


class Gate:
    """Lets through what carries the token, and adds the headers of every answer.

    `GET /?token=…` gives the cookie and sends on to `/`, so that the token leaves the address bar.
    The cookie's name is made of the token: two campaigns on one machine share a browser's cookies,
    whatever their ports.

    Args:
        application: the ASGI application behind.
        token: what has to be shown; compared in constant time.
        policy: the Content-Security-Policy of every answer.
        loopback: the `Host` of a request has to be a name of this machine.

    Raises:
        ParameterError: a token too short to be one.
    """

    def __init__(
        self, application: ASGIApp, token: str, *, policy: str, loopback: bool = True
    ) -> None:
        self._application = application
        self._token = check_token(token).encode()
        self._loopback = loopback
        self._headers = [
            (b"content-security-policy", policy.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"x-frame-options", b"DENY"),
            (b"cache-control", b"no-store"),
            (b"referrer-policy", b"no-referrer"),
            (b"cross-origin-resource-policy", b"same-origin"),
            (b"cross-origin-opener-policy", b"same-origin"),
        ]
        self.cookie = f"keepers-{hashlib.sha256(self._token).hexdigest()[:12]}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hand it on."""
        if scope["type"] == "lifespan":
            await self._application(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {name for name, _ in self._headers}
                given = [pair for pair in message.get("headers", []) if pair[0].lower() not in own]
                message["headers"] = [*given, *self._headers]
            await send(message)

        headers = _headers(scope["headers"])
        refused = self._refusal(scope, headers)
        if refused is None and self._offers_token(scope):
            cookie = f"{self.cookie}={self._token.decode()}; HttpOnly; SameSite=Strict; Path=/"
            pairs = [("location", "/"), ("set-cookie", cookie)]
            await _answer(send_with_headers, HTTPStatus.SEE_OTHER, "", pairs)
        elif refused is not None:
            await _answer(send_with_headers, *refused)
        else:
            await self._application(scope, receive, send_with_headers)

    def _refusal(
        self, scope: Scope, headers: Mapping[str, Sequence[str]]
    ) -> tuple[HTTPStatus, str] | None:
        hosts = headers.get("host", ())
        if len(hosts) != 1 or (self._loopback and _host_name(hosts[0]) not in LOOPBACK):
            return HTTPStatus.BAD_REQUEST, "This page is not served under that host name.\n"
        if not (self._offers_token(scope) or self._shows_token(headers)):
            return HTTPStatus.UNAUTHORIZED, UNKNOWN
        if scope["method"] in ("GET", "HEAD"):
            return None
        if not _same_origin(headers, hosts[0]):
            return HTTPStatus.FORBIDDEN, "Votes are taken from the labelling page itself only.\n"
        kinds = [kind.partition(";")[0].strip().lower() for kind in headers.get("content-type", ())]
        if kinds != ["application/json"]:
            return HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send JSON, as application/json.\n"
        return None

    def _offers_token(self, scope: Scope) -> bool:
        if scope["path"] != "/" or scope["method"] != "GET":
            return False
        offered = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
        return len(offered) == 1 and self._is_token(offered[0])

    def _shows_token(self, headers: Mapping[str, Sequence[str]]) -> bool:
        pairs = [part.strip() for line in headers.get("cookie", ()) for part in line.split(";")]
        shown = [part.partition("=")[2] for part in pairs if part.startswith(f"{self.cookie}=")]
        return any(self._is_token(value) for value in shown)

    def _is_token(self, value: str) -> bool:
        return secrets.compare_digest(value.encode("utf-8", "replace"), self._token)


def _headers(pairs: Sequence[tuple[bytes, bytes]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in pairs:
        found.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    return found


def _host_name(host: str) -> str | None:
    """The name in a `Host` header, without its port.

    >>> _host_name("127.0.0.1:8765"), _host_name("[::1]:8765"), _host_name("evil.example:80")
    ('127.0.0.1', '::1', 'evil.example')
    """
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _same_origin(headers: Mapping[str, Sequence[str]], host: str) -> bool:
    # Every browser sends Origin with a POST; only the host is compared, since a proxy with TLS
    # in front changes the scheme.
    origins, sites = headers.get("origin", ()), headers.get("sec-fetch-site", ())
    if len(origins) != 1 or any(site != "same-origin" for site in sites):
        return False
    scheme, separator, rest = origins[0].partition("://")
    return bool(separator) and scheme in ("http", "https") and rest.lower() == host.lower()


async def _answer(
    send: Send, status: HTTPStatus, text: str, headers: Sequence[tuple[str, str]] = ()
) -> None:
    body = text.encode()
    pairs = [*headers, ("content-type", "text/plain; charset=utf-8")]
    pairs.append(("content-length", str(len(body))))
    start: MutableMapping[str, Any] = {
        "type": "http.response.start",
        "status": int(status),
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs],
    }
    await send(start)
    await send({"type": "http.response.body", "body": body})
