"""A client's request as it goes on to an engine: which header fields, and under which names."""

from functools import lru_cache
from typing import Final

from berth_api.spec import RoutingPolicy
from berth_gateway.client import Exchange
from berth_gateway.proxy import Call
from berth_gateway.routing.form import Form
from berth_gateway.routing.prefix import affinity
from berth_gateway.routing.request import Body
from berth_gateway.routing.snapshot import Model

# Beside content-type and accept, the headers that go on to the engine; all others, cookies and keys
# above all, end here.
_RARER_HEADERS: Final = (b"traceparent", b"tracestate", b"anthropic-version")
_MAX_REMEMBERED_BYTES: Final = 256  # of header fields that a client chooses; usual ones are shorter
_PREFIX_AWARE: Final = RoutingPolicy.PREFIX_AWARE  # a look-up at an Enum is slow in Python 3.11


def call(
    exchange: Exchange,
    model: Model,
    body: Body,
    path: bytes,
    *,
    content_type: bytes | None,
    accept: bytes | None,
    streams: bool,
) -> Call:
    """`path` is the engine's; `streams`: the client may be told something while it waits."""
    headers = exchange.headers
    usual = content_type, accept
    try:
        lines = _remembered_fields(*usual)
    except _LongError:
        lines = _fields(*usual)
    for name in _RARER_HEADERS:
        if name in headers:
            lines += b"%b: %b\r\n" % (name, headers[name])
    prefix = body.prefix if model.policy is _PREFIX_AWARE else b""
    named = body.naming(model.engine_name)
    return Call(
        model=model,
        path=path,
        body=named if model.presets is None else model.presets.into(path, named),
        headers=lines,
        streams=streams,
        asked=affinity(prefix) if prefix else None,  # nothing is not alike
        form=content_type if isinstance(body, Form) else None,
    )


class _LongError(Exception):
    """Too long to be remembered."""


@lru_cache(maxsize=1024)
def _remembered_fields(content_type: bytes | None, accept: bytes | None) -> bytes:
    """What it raises it forgets, so that only those of usual length are kept."""
    if len(content_type or b"") + len(accept or b"") > _MAX_REMEMBERED_BYTES:
        raise _LongError
    return _fields(content_type, accept)


def _fields(content_type: bytes | None, accept: bytes | None) -> bytes:
    """Header lines that are the same for most requests."""
    lines = b"accept-encoding: identity\r\n"
    if content_type is not None:
        lines += b"content-type: %b\r\n" % content_type
    if accept is not None:
        lines += b"accept: %b\r\n" % accept
    return lines
