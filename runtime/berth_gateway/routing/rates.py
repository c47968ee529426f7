"""How often a key may ask: a token bucket, as a value and two functions.

A bucket holds a minute's worth, so a key may spend its minute at once and then goes on at its rate.
"""

from math import ceil
from typing import Final, NamedTuple

_MINUTE_SECONDS: Final = 60
_HOUR_SECONDS: Final = 3600
FILL_SECONDS: Final = float(_MINUTE_SECONDS)  # in which an empty bucket is full again
_MILLISECONDS: Final = 1000


class Bucket(NamedTuple):
    level: float  # requests that may be made now
    at: float  # seconds on the caller's monotonic clock


class Verdict(NamedTuple):
    """`limit`, `remaining` in requests; times in seconds."""

    allowed: bool
    limit: int
    remaining: int
    reset_seconds: float  # until the bucket is full again
    retry_seconds: float  # until the next request is allowed; 0 if one is now


def share(per_minute: int, gateways: int) -> int:
    """Of a limit that is for all gateways together, what one of them lets through."""
    return max(per_minute // gateways, 1)


def spend(bucket: Bucket | None, per_minute: int, now: float) -> tuple[Bucket, Verdict]:
    """One request at `now`. None is a key that has not been seen; a refused one costs nothing.

    A bucket of another rate goes on at this one, no fuller than this one's.
    """
    filled = _filled(bucket, per_minute, now)
    allowed = filled >= 1
    level = filled - 1 if allowed else filled
    return Bucket(level, now), _verdict(level, per_minute, allowed=allowed)


def look(bucket: Bucket | None, per_minute: int, now: float) -> Verdict:
    """How it stands, without a request."""
    level = _filled(bucket, per_minute, now)
    return _verdict(level, per_minute, allowed=level >= 1)


def _filled(bucket: Bucket | None, per_minute: int, now: float) -> float:
    if bucket is None:
        return float(per_minute)
    gained = (now - bucket.at) * per_minute / _MINUTE_SECONDS
    return min(bucket.level + gained, float(per_minute))


def _verdict(level: float, per_minute: int, *, allowed: bool) -> Verdict:
    per_second = per_minute / _MINUTE_SECONDS
    return Verdict(
        allowed=allowed,
        limit=per_minute,
        remaining=int(level),
        reset_seconds=(per_minute - level) / per_second,
        retry_seconds=max(1 - level, 0.0) / per_second,
    )


def headers(verdict: Verdict) -> list[tuple[bytes, bytes]]:
    """OpenAI's, of requests."""
    return [
        (b"x-ratelimit-limit-requests", b"%d" % verdict.limit),
        (b"x-ratelimit-remaining-requests", b"%d" % verdict.remaining),
        (b"x-ratelimit-reset-requests", duration(verdict.reset_seconds).encode()),
    ]


def duration(seconds: float) -> str:
    """As OpenAI writes it: "120ms", "1s", "6m0s", "1h0m0s"; rounded up."""
    if seconds < 1:
        return f"{ceil(seconds * _MILLISECONDS)}ms"
    hours, rest = divmod(ceil(seconds), _HOUR_SECONDS)
    minutes, left = divmod(rest, _MINUTE_SECONDS)
    if hours:
        return f"{hours}h{minutes}m{left}s"
    return f"{minutes}m{left}s" if minutes else f"{left}s"
