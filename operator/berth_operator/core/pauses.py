"""How long what fails is left alone before it is tried again: each time twice as long as before."""

from datetime import timedelta
from typing import Final, NamedTuple

_DOUBLINGS: Final = 10  # far beyond every longest pause


class Pauses(NamedTuple):
    first: timedelta
    longest: timedelta

    def of(self, tries: int) -> timedelta:
        """After so many failures, of which there is one at least."""
        return min(self.longest, self.first * (1 << min(tries - 1, _DOUBLINGS)))
