"""Requests of native tests, through the standard library."""

from http.client import HTTPConnection, HTTPException, HTTPSConnection

from ..errors import Error
from ..http import Request


def send(request: Request, most: int) -> tuple[int, list[tuple[str, str]], bytes]:
    """Sends it; the answer is its status, its headers, and of its body so many bytes."""
    address = request.address
    kind = HTTPSConnection if address.scheme == "https" else HTTPConnection
    peer = kind(address.authority, timeout=request.timeout.total_seconds())
    try:
        peer.request(request.method, address.path, request.body, dict(request.headers))
        answer = peer.getresponse()
        return answer.status, answer.getheaders(), answer.read(most)
    except ValueError as error:
        raise Error(f"a header is not valid: {error}") from None
    except (OSError, HTTPException) as error:
        raise Error.retryable(f"no answer from {address.authority}: {error}") from None
    finally:
        peer.close()
