"""The rest of an answer that tells its model by another name than the engine does."""

from collections.abc import Callable

from berth_gateway.routing.renaming import Renaming
from berth_gateway.upstream.connection import Connection


class Renamed:
    """Read as its connection is, by `piece` or `pour`; `begin` comes first."""

    def __init__(self, connection: Connection, renaming: Renaming) -> None:
        self.whole = False  # nothing comes behind what has been said
        self._connection = connection
        self._renaming = renaming

    def begin(self, first: bytes) -> bytes:
        """The first piece, and what was held back of it if the answer has no other."""
        said = self._renaming.take(first)
        self.whole = self._connection.whole
        return said + self._renaming.end() if self.whole else said

    async def piece(self) -> bytes:
        """The next bytes; b"" at the end. LostError as of the connection."""
        while taken := await self._connection.piece():
            if said := self._renaming.take(taken):
                return said
        return self._renaming.end()

    async def pour(self, sink: Callable[[bytes], None]) -> None:
        """Hand the rest to `sink`. LostError as of the connection."""
        take = self._renaming.take
        await self._connection.pour(lambda taken: sink(take(taken)))
        sink(self._renaming.end())

    def pause_reading(self) -> None:
        self._connection.pause_reading()

    def resume_reading(self) -> None:
        self._connection.resume_reading()
