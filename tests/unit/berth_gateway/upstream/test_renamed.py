from collections.abc import Callable

import pytest

from berth_gateway.errors import LostError
from berth_gateway.routing.renaming import Renaming
from berth_gateway.upstream.renamed import Renamed

FIELD = b'"model":"a1b2"'


class Pieces:
    """A connection of which the pieces are known beforehand."""

    def __init__(self, *pieces: bytes, lost: bool = False) -> None:
        self.pieces = list(pieces)
        self.lost = lost
        self.reading = True

    @property
    def whole(self) -> bool:
        return not self.pieces and not self.lost

    async def piece(self) -> bytes:
        if not self.pieces and self.lost:
            raise LostError("gone")
        return self.pieces.pop(0) if self.pieces else b""

    async def pour(self, sink: Callable[[bytes], None]) -> None:
        while taken := await self.piece():
            sink(taken)

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


def renamed(connection: Pieces) -> Renamed:
    return Renamed(connection, Renaming("a1b2", "llama"))  # type: ignore[arg-type]


async def test_an_answer_in_one_piece_is_whole_at_once() -> None:
    rest = renamed(Pieces())

    assert rest.begin(b'{"a":"') == b'{"a":"'
    assert rest.whole
    assert await rest.piece() == b""


@pytest.mark.parametrize("cut", range(len(FIELD)))
async def test_a_name_cut_in_two_changes_by_either_way_of_reading(cut: int) -> None:
    first, *others = b"{" + FIELD[:cut], FIELD[cut:], b"}"
    read, poured = renamed(Pieces(*others)), renamed(Pieces(*others))
    by_pieces = [read.begin(first)]
    while piece := await read.piece():
        by_pieces.append(piece)
    at_once = [poured.begin(first)]
    await poured.pour(at_once.append)

    assert not read.whole
    assert b"".join(by_pieces) == b"".join(at_once) == b'{"model":"llama"}'


async def test_a_piece_that_is_held_back_is_no_end() -> None:
    rest = renamed(Pieces(b'"mod', b'el":"other"}'))
    rest.begin(b"{")

    assert await rest.piece() == b'"model":"other"}'
    assert await rest.piece() == b""


async def test_what_breaks_off_breaks_off_here_too() -> None:
    rest = renamed(Pieces(lost=True))
    rest.begin(b"{")
    with pytest.raises(LostError):
        await rest.pour(lambda _: None)


async def test_a_slow_client_pauses_the_engine() -> None:
    connection = Pieces(b"x")
    rest = renamed(connection)
    rest.pause_reading()
    assert not connection.reading
    rest.resume_reading()
    assert connection.reading
