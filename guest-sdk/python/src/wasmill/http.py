"""A small HTTP client, for sinks: `http.post("https://example.com/rows", body, {"Content-Type": "application/json"})`.

In WebAssembly it goes through `wasi:http`: `plugin.toml` says `http = true`, and the pipeline file grants the hosts. In
a native test it goes through the standard library.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from .errors import Error

TIMEOUT = timedelta(seconds=30)
"""How long a connection, the first byte of an answer, or the next may take, unless the request says otherwise."""
MAX_BODY = 64 << 10
"""How much of an answer's body is kept, in bytes: enough for an error's text."""
EXCERPT = 200


@dataclass(frozen=True, slots=True)
class Address:
    """An `http` or `https` address, taken apart."""

    scheme: str
    authority: str
    """The host, and the port if there is one."""
    path: str
    """The path and the query."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it is sent."""

    method: str
    address: Address
    headers: Mapping[str, str]
    body: bytes
    timeout: timedelta


@dataclass(frozen=True, slots=True)
class Response:
    """An answer, whatever its status."""

    status: int
    headers: dict[str, str]
    """By names in lower case; the first of each name."""
    body: bytes
    """At most its first `MAX_BODY` bytes."""

    def excerpt(self) -> str:
        """The start of the body as text, for an error."""
        return self.body.decode(errors="replace").strip()[:EXCERPT]


def parse(url: str) -> Address:
    """Takes an address apart; a wrong one is a fatal `Error`. A sink that does so when it opens says what is wrong
    before the pipeline starts."""
    wrong = Error(f"`{url}` is not an address as https://example.com/path")
    # Other characters are escaped in an address.
    if not url.isascii() or any(character.isspace() for character in url):
        raise wrong
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        raise wrong from None
    if not known or "@" in parts.netloc:
        raise wrong
    path = parts.path or "/"
    return Address(parts.scheme, parts.netloc, f"{path}?{parts.query}" if parts.query else path)


def request(
    method: str,
    url: str,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    timeout: timedelta = TIMEOUT,
) -> Response:
    """Sends a request of any method and waits for the answer. A wrong address, a wrong header and a host that is not
    granted are fatal errors; where there is no answer, the error is retryable."""
    status, fields, start = send(Request(method, parse(url), headers or {}, body, timeout), MAX_BODY)
    kept: dict[str, str] = {}
    for name, value in fields:
        kept.setdefault(name.lower(), value)
    return Response(status, kept, start)


def get(url: str, headers: Mapping[str, str] | None = None, timeout: timedelta = TIMEOUT) -> Response:
    """A GET."""
    return request("GET", url, headers=headers, timeout=timeout)


def post(url: str, body: bytes, headers: Mapping[str, str] | None = None, timeout: timedelta = TIMEOUT) -> Response:
    """A POST."""
    return request("POST", url, body, headers, timeout)


def put(url: str, body: bytes, headers: Mapping[str, str] | None = None, timeout: timedelta = TIMEOUT) -> Response:
    """A PUT."""
    return request("PUT", url, body, headers, timeout)


# What sends them takes what is above.
if sys.platform == "wasi":
    from .guest.http import send
else:
    from .testing.http import send
