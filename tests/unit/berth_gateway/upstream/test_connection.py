"""An engine's answers, whole and broken, however the network cuts them up."""

import asyncio
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_gateway.errors import LostError
from berth_gateway.upstream import connection as module
from berth_gateway.upstream.connection import Connection

JSON = b"content-type: application/json\r\n"
BODY = b'{"model":"llama"}'


class Wire:
    """A transport in memory."""

    def __init__(self) -> None:
        self.written = b""
        self.writes = 0
        self.unsent = 0
        self.reading = True
        self.aborted = False

    def write(self, data: bytes) -> None:
        self.written += data
        self.writes += 1

    def writelines(self, pieces: Iterable[bytes]) -> None:
        self.write(b"".join(pieces))

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def abort(self) -> None:
        self.aborted = True


def _asked(clock: Callable[[], float] = lambda: 0.0) -> tuple[Connection, Wire]:
    connection, wire = Connection(b"engine:8000", asyncio.get_running_loop(), clock), Wire()
    connection.connection_made(wire)  # type: ignore[arg-type]
    connection.ask(b"/v1/completions", b"accept: */*\r\n", BODY)
    return connection, wire


async def _read(connection: Connection) -> bytes:
    body = b""
    while piece := await connection.piece():
        body += piece
    return body


def _feed(connection: Connection, raw: bytes, cuts: Iterable[int] = ()) -> None:
    edges = [0, *sorted(cut % (len(raw) + 1) for cut in cuts), len(raw)]
    for start, end in pairwise(edges):
        if start < end:
            connection.data_received(raw[start:end])


async def test_a_request_is_one_write() -> None:
    _, wire = _asked()

    assert wire.written == (
        b"POST /v1/completions HTTP/1.1\r\nhost: engine:8000\r\naccept: */*\r\n"
        b"content-length: 17\r\n\r\n" + BODY
    )
    assert wire.writes == 1


async def test_a_long_body_is_not_copied() -> None:
    wire, seen = Wire(), []
    wire.writelines = seen.extend  # type: ignore[method-assign]
    connection = Connection(b"x", asyncio.get_running_loop())
    connection.connection_made(wire)  # type: ignore[arg-type]
    body = b" " * (module.JOIN_BYTES + 1)
    connection.ask(b"/", b"", body)

    assert seen[1] is body


FRAMINGS: dict[str, Callable[[list[bytes]], bytes]] = {
    "length": lambda pieces: (
        b"content-length: %d\r\n\r\n" % sum(map(len, pieces)) + b"".join(pieces)
    ),
    "chunks": lambda pieces: (
        b"Transfer-Encoding: chunked\r\n\r\n"
        + b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in pieces)
        + b"0\r\n\r\n"
    ),
    "trailers": lambda pieces: (
        b"transfer-encoding: chunked\r\n\r\n"
        + b"".join(b"%X;ext=1\r\n%b\r\n" % (len(one), one) for one in pieces)
        + b"0\r\nx-trailer: no header\r\n\r\n"
    ),
}
PIECES = st.lists(st.binary(min_size=1, max_size=40), max_size=6)
CUTS = st.lists(st.integers(0, 2000), max_size=12)


@given(PIECES, CUTS, st.sampled_from(sorted(FRAMINGS)), st.booleans(), st.booleans())
def test_an_answer_arrives_whole_however_it_is_cut(
    pieces: list[bytes], cuts: list[int], framing: str, early: bool, pours: bool
) -> None:
    async def scene() -> None:
        connection, wire = _asked()
        hint = b"HTTP/1.1 100 Continue\r\nx-early: 1\r\n\r\n" if early else b""
        raw = hint + b"HTTP/1.1 200 OK\r\n" + JSON + FRAMINGS[framing](pieces)
        poured: list[bytes] = []
        if pours:
            reading: asyncio.Task[Any] = asyncio.create_task(connection.pour(poured.append))
        else:
            reading = asyncio.create_task(_read(connection))
        await asyncio.sleep(0)
        _feed(connection, raw, cuts)
        body = await reading
        assert (b"".join(poured) if pours else body) == b"".join(pieces)
        assert connection.status == 200
        assert (b"content-type", b"application/json") in connection.headers
        assert {name for name, _ in connection.headers} <= {
            b"content-type", b"content-length", b"transfer-encoding",
        }  # fmt: skip
        assert connection.finish()
        assert not wire.aborted

    asyncio.run(scene())


@given(PIECES, CUTS, st.sampled_from(sorted(FRAMINGS)), st.integers(0, 400))
def test_an_answer_that_is_cut_short_never_looks_whole(
    pieces: list[bytes], cuts: list[int], framing: str, kept: int
) -> None:
    raw = b"HTTP/1.1 200 OK\r\n" + FRAMINGS[framing](pieces)
    kept = min(kept, len(raw) - 1)

    async def scene() -> None:
        connection, _ = _asked()
        _feed(connection, raw[:kept], cuts)
        connection.connection_lost(None)
        with pytest.raises(LostError):
            await _read(connection)
        assert not connection.finish()

    asyncio.run(scene())


@given(st.binary(max_size=300), CUTS)
def test_whatever_bytes_come_it_ends_and_raises_nothing_else(raw: bytes, cuts: list[int]) -> None:
    async def scene() -> None:
        connection, _ = _asked()
        _feed(connection, raw, cuts)
        connection.connection_lost(None)
        with pytest.raises(LostError):
            await _read(connection)

    asyncio.run(scene())


async def test_a_body_without_length_ends_with_the_connection() -> None:
    connection, _ = _asked()
    _feed(connection, b"HTTP/1.1 200 OK\r\n\r\nhalf and")
    assert await connection.piece() == b"half and"
    assert not connection.whole
    _feed(connection, b" half")
    connection.connection_lost(None)

    assert await _read(connection) == b" half"
    assert not connection.finish()


async def test_such_a_body_is_lost_when_the_connection_is_reset() -> None:
    connection, _ = _asked()
    _feed(connection, b"HTTP/1.1 200 OK\r\n\r\nhalf")
    connection.connection_lost(ConnectionResetError("reset by peer"))

    with pytest.raises(LostError, match="reset by peer"):
        await _read(connection)


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
async def test_an_answer_that_has_no_body_is_whole_at_once(status: bytes) -> None:
    connection, _ = _asked()
    _feed(connection, b"HTTP/1.1 %b\r\n\r\n" % status)

    assert await connection.piece() == b""
    assert connection.whole
    assert connection.finish()


async def test_an_engine_that_says_close_is_not_asked_again() -> None:
    connection, wire = _asked()
    _feed(connection, b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok")

    assert await _read(connection) == b"ok"
    assert not connection.finish()
    assert wire.aborted


@pytest.mark.parametrize("behind", [b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx", b"junk"])
async def test_bytes_behind_an_answer_end_the_connection_and_not_the_answer(behind: bytes) -> None:
    connection, wire = _asked()
    _feed(connection, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok" + behind)

    assert await _read(connection) == b"ok"
    assert not connection.finish()
    assert wire.aborted


async def test_bytes_that_come_while_it_is_idle_end_it() -> None:
    connection, wire = _asked()
    _feed(connection, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    assert await _read(connection) == b""
    assert connection.finish()
    _feed(connection, b"HTTP/1.1 408 Request Timeout\r\n\r\n")

    assert wire.aborted


async def test_an_answer_before_the_request_was_sent_leaves_a_connection_that_is_of_no_use() -> (
    None
):
    connection, wire = _asked()
    wire.unsent = 9
    _feed(connection, b"HTTP/1.1 413 Large\r\ncontent-length: 0\r\n\r\n")

    assert await _read(connection) == b""
    assert not connection.finish()


async def test_a_head_without_end_is_lost() -> None:
    connection, wire = _asked()
    _feed(connection, b"HTTP/1.1 200 OK\r\n" + b"x: " + b"a" * (module.MAX_HEAD_BYTES + 1))

    with pytest.raises(LostError, match="head of more than"):
        await connection.piece()
    assert wire.aborted


@pytest.mark.parametrize(
    "raw",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n",
    ],
)
async def test_what_is_no_answer_is_lost(raw: bytes) -> None:
    connection, wire = _asked()
    _feed(connection, raw)

    with pytest.raises(LostError, match="no HTTP answer"):
        await connection.piece()
    assert wire.aborted


async def test_bytes_in_front_of_a_fault_are_not_withheld() -> None:
    connection, _ = _asked()
    poured: list[bytes] = []
    pouring = asyncio.create_task(connection.pour(poured.append))
    await asyncio.sleep(0)
    _feed(connection, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\nzz\r\n")

    with pytest.raises(LostError):
        await pouring
    assert poured == [b"ok"]


async def test_an_engine_faster_than_its_reader_is_made_to_wait() -> None:
    connection, wire = _asked()
    _feed(connection, b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
    piece = b"x" * module.BUFFERED_BYTES
    _feed(connection, piece)
    assert wire.reading
    _feed(connection, b"x")
    assert not wire.reading
    await connection.piece()
    assert wire.reading


async def test_silence_is_a_loss_but_not_while_the_reader_makes_it_wait() -> None:
    now = [0.0]
    connection, wire = _asked(lambda: now[0])
    _feed(connection, b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n")
    await connection.piece()
    connection.limit_silence(0.01)
    connection.pause_reading()
    now[0] = 100.0
    await asyncio.sleep(0.02)
    assert not wire.aborted
    connection.resume_reading()
    now[0] = 200.0

    with pytest.raises(LostError, match=r"no byte for 0\.01 s"):
        await connection.piece()
    assert wire.aborted


async def test_the_last_two_pieces_are_remembered() -> None:
    connection, _ = _asked()
    _feed(connection, b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n")
    for piece in (b"ab", b"cd", b"ef"):
        _feed(connection, piece)
        await connection.piece()

    assert connection.tail == b"cdef"
