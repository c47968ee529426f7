"""Numbers of which not all are known: what has no value yet is None."""

from collections.abc import Iterable


def least(given: Iterable[float | None]) -> float | None:
    """Of those that are known; None if none is."""
    return min((one for one in given if one is not None), default=None)
