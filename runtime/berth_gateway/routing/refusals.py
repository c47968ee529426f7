"""An engine's refusal that looks like an answer.

When several streams arrive at once, vLLM admits them before its queue is counted, so those that
find it full have status 200 already and are refused by the first event of the stream.
"""

from typing import Final, NamedTuple

import msgspec

_DATA: Final = b"data:"
_ERROR: Final = b'{"error"'
_LOOK_BYTES: Final = 32  # the field's name is at the very beginning
_MAX_EVENT_BYTES: Final = 16 * 2**10  # a refusal is a sentence


class _Error(msgspec.Struct):
    code: int = 0


class _Event(msgspec.Struct):
    error: _Error


class Refused(NamedTuple):
    """What the engine would have answered, had it known in time."""

    status: int
    body: bytes


def looks_refused(first: bytes) -> bool:
    """Cheap, for the first bytes of every stream; True while too few are here to tell."""
    if not first.startswith(_DATA):
        return False
    begin = first[len(_DATA) : _LOOK_BYTES].lstrip()
    return begin.startswith(_ERROR) or _ERROR.startswith(begin)


def is_cut(first: bytes) -> bool:
    """The event may go on in bytes that are still to come."""
    return b"\n" not in first and len(first) < _MAX_EVENT_BYTES


def refused(first: bytes) -> Refused | None:
    """The refusal in a stream's first event; None if it is anything else."""
    body = first.partition(b"\n")[0].removeprefix(_DATA).strip()
    try:
        return Refused(msgspec.json.decode(body, type=_Event).error.code, body)
    except msgspec.MsgspecError:
        return None
