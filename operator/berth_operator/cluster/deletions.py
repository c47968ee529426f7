"""Uids of deleted objects, remembered against late news of them: a namesake has another uid."""

from collections import OrderedDict
from typing import Final

# News is late by seconds; this many deletions take minutes even in the largest cluster that was
# measured.
_REMEMBERED: Final = 4096


class Deletions:
    """Forgets the oldest first."""

    def __init__(self) -> None:
        self._uids: OrderedDict[str, None] = OrderedDict()

    def __contains__(self, uid: str) -> bool:
        return uid in self._uids

    def add(self, uid: str) -> None:
        self._uids[uid] = None
        while len(self._uids) > _REMEMBERED:
            self._uids.popitem(last=False)
