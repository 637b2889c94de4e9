"""Requests through `wasi:http`. Only there in a sink whose `plugin.toml` says `http = true`."""

import importlib
from datetime import timedelta
from typing import Any, NoReturn

from componentize_py_types import Err, Ok

from ..errors import Error
from ..http import Request

try:
    from wit_world.imports import http_types as wasi
    from wit_world.imports import outgoing_handler
    from wit_world.imports.streams import StreamError_Closed
except ImportError:
    raise ImportError("`wasmill.http` is for sinks whose plugin.toml says `http = true`") from None

# `weakref.finalize`, which gives resources back, imports it when it is first called.
importlib.import_module("atexit")

WRITE = 4096
"""The most that `blocking_write_and_flush` takes at once."""

_METHODS = {
    "GET": wasi.Method_Get,
    "HEAD": wasi.Method_Head,
    "POST": wasi.Method_Post,
    "PUT": wasi.Method_Put,
    "DELETE": wasi.Method_Delete,
}


def send(request: Request, most: int) -> tuple[int, list[tuple[str, str]], bytes]:
    """Sends it; the answer is its status, its headers, and of its body so many bytes."""
    authority = request.address.authority
    outgoing = _outgoing(request)
    body = outgoing.body()
    try:
        future = outgoing_handler.handle(outgoing, _options(request.timeout))
    except Err as error:
        _no_answer(authority, error.value)
    # A peer may answer and close before it has read everything: then the answer says more than the failed write.
    broken = _write(body, request.body)
    with future:
        with future.subscribe() as answered:
            answered.block()
        match future.get():
            case Ok(Ok(response)):
                return _read(response, most, authority, broken)
            case Ok(Err(code)):
                _no_answer(authority, code)
            case _:
                raise Error.retryable(f"no answer from {authority}")


def _outgoing(request: Request) -> Any:
    fields = [(name.lower(), value.encode()) for name, value in request.headers.items()]
    fields.append(("content-length", b"%d" % len(request.body)))
    try:
        headers = wasi.Fields.from_list(fields)
    except Err as error:
        raise Error(f"a header is not valid: {_said(error.value)}") from None
    outgoing = wasi.OutgoingRequest(headers)
    address = request.address
    method = _METHODS.get(request.method)
    try:
        outgoing.set_method(method() if method else wasi.Method_Other(request.method))
        outgoing.set_scheme(wasi.Scheme_Https() if address.scheme == "https" else wasi.Scheme_Http())
        outgoing.set_authority(address.authority)
        outgoing.set_path_with_query(address.path)
    except Err:
        raise Error(f"`{request.method} {address.authority}{address.path}` is no request") from None
    return outgoing


def _options(timeout: timedelta) -> Any:
    nanoseconds = timeout // timedelta(microseconds=1) * 1000
    options = wasi.RequestOptions()
    options.set_connect_timeout(nanoseconds)
    options.set_first_byte_timeout(nanoseconds)
    options.set_between_bytes_timeout(nanoseconds)
    return options


def _write(body: Any, content: bytes) -> str | None:
    """What kept the peer from getting all of it."""
    try:
        with body.write() as stream:
            for start in range(0, len(content), WRITE):
                stream.blocking_write_and_flush(content[start : start + WRITE])
        wasi.OutgoingBody.finish(body, None)
    except Err as error:
        return _said(error.value)
    return None


def _read(response: Any, most: int, authority: str, broken: str | None) -> tuple[int, list[tuple[str, str]], bytes]:
    with response:
        status = response.status()
        if broken is not None and status < 300:
            raise Error.retryable(f"the request to {authority} broke off: {broken}")
        with response.headers() as fields:
            headers = [(name, value.decode(errors="replace")) for name, value in fields.entries()]
        start = bytearray()
        with response.consume() as body, body.stream() as stream:
            try:
                while len(start) < most:
                    start += stream.blocking_read(most - len(start))
            except Err as error:
                if not isinstance(error.value, StreamError_Closed):
                    raise Error.retryable(f"the answer from {authority} broke off") from None
        return status, headers, bytes(start)


def _no_answer(authority: str, code: Any) -> NoReturn:
    if isinstance(code, wasi.ErrorCode_HttpRequestDenied):
        raise Error(f"the pipeline file does not grant requests to {authority}") from None
    if isinstance(code, wasi.ErrorCode_HttpRequestUriInvalid):
        raise Error(f"`{authority}` is not a host") from None
    raise Error.retryable(f"no answer from {authority}: {_said(code)}") from None


def _said(case: Any) -> str:
    """The name of a variant's case, and its value if there is one."""
    name = type(case).__name__.rpartition("_")[2]
    value = getattr(case, "value", None)
    return name if value is None else f"{name}: {value}"
