"""What schemathesis asks for: mostly what is there, else it would see nothing but 404."""

import zlib

import schemathesis

THERE = {"tenant": "acme", "plugin": "split-words", "pipeline": "counts", "number": 1}
TEXT = """name = "counts"
[sources.a]
type = "generate"
rows_per_second = 10
[sinks.c]
input = "a"
type = "print"
"""


def one_in(count, value):
    """The same for the same value, so that what was found is found again."""
    return zlib.crc32(repr(value).encode("utf8", "surrogatepass")) % count == 0


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    if context.operation.path == "/v1/tokens/{number}":
        # Its own token is among them: revoked, it would open nothing any more.
        return {"number": 1_000_000}
    return {
        name: value if one_in(6, value) else THERE.get(name, value)
        for name, value in (path_parameters or {}).items()
    }


@schemathesis.hook
def map_body(context, body):
    if isinstance(body, dict) and "text" in body and one_in(2, body):
        return {**body, "text": TEXT}
    return body


@schemathesis.serializer("application/wasm")
def component(context, value):
    return value if isinstance(value, bytes) else str(value).encode("utf8", "surrogatepass")


@schemathesis.deserializer("application/wasm")
def bytes_of(context, response):
    return response.content.decode("latin-1")
