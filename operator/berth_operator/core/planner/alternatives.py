"""How many alternatives a plan names: a status is read by people, and kept by etcd."""

import re
from collections.abc import Sequence
from typing import Final

from berth_api.status import Alternative

MOST: Final = 16
_MORE: Final = re.compile(r"; and ([0-9]{1,9}) more$")


def bounded(alternatives: Sequence[Alternative]) -> list[Alternative]:
    """The first MOST; the last sentence counts the rest, and those that were left out before."""
    if len(alternatives) <= MOST:
        return list(alternatives)
    *kept, last = alternatives[:MOST]
    more = len(alternatives) - MOST + sum(map(_left_out, alternatives))
    reason = f"{_MORE.sub('', last.reason)}; and {more} more"
    return [*map(_plain, kept), last.model_copy(update={"reason": reason})]


def _left_out(one: Alternative) -> int:
    counted = _MORE.search(one.reason)
    return int(counted[1]) if counted else 0


def _plain(one: Alternative) -> Alternative:
    return one.model_copy(update={"reason": _MORE.sub("", one.reason)})
