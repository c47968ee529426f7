"""The gateway's HTTP front: whatever bytes come, in whatever pieces, it answers in HTTP or hangs up."""

from collections.abc import Callable
from itertools import pairwise

import fuzzing
import httptools
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from protocol_driver import Connection, Loop

Fuzz = Callable[[Callable[[], None]], None]

BODIES = st.sampled_from(
    [b'{"model":"llama"}', b'{"model":"x"}', b"{", b"", b"x" * 5000, b'{"model":"llama","n":1e9}']
)
METHODS = st.sampled_from([b"GET", b"POST", b"PUT", b"OPTIONS", b"CONNECT", b"PRI", b"get", b""])
PATHS = st.sampled_from(
    [
        b"/v1/models", b"/v1/chat/completions", b"*", b"/%", b"/%ff", b"//", b"http://a/v1/models",
        b"/v1/models/\xc3\xa9", b"/" + b"a" * 300, b"/v1/audio/transcriptions", b"?", b"a:1", b"",
    ]
)  # fmt: skip
VERSIONS = st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/9.9", b"HTTP/1.", b""])
TOO_LONG = b"a: " + b"b" * 70_000
FIELDS = st.sampled_from(
    [
        b"host: x", b"connection: close", b"connection: keep-alive", b"connection: upgrade",
        b"upgrade: h2c", b"upgrade: websocket", b"expect: 100-continue", b"te: trailers",
        b"transfer-encoding: chunked", b"transfer-encoding: gzip", b"transfer-encoding: chunked, x",
        b"content-length: 17", b"content-length: 17, 17", b"content-length: -1",
        b"content-length: 99999999999999999999", b"content-length: +1", b"content-length:",
        b"content-encoding: gzip", b"content-type: multipart/form-data; boundary=b", b": x", b"x",
        b" folded", b"x-request-id: \x80", b"authorization: Bearer x", TOO_LONG,
    ]
)  # fmt: skip


LINES = (
    st.just(b"POST /v1/chat/completions HTTP/1.1")
    | st.just(b"GET /v1/models HTTP/1.1")
    | st.tuples(METHODS, PATHS, VERSIONS).map(b" ".join)
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Nearly HTTP."""
    body = draw(BODIES)
    line = draw(LINES)
    fields = draw(st.just([]) | st.lists(FIELDS, max_size=3))
    if draw(st.booleans()):
        fields.append(b"content-length: %d" % len(body))
    elif draw(st.booleans()):
        fields.append(b"transfer-encoding: chunked")
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\nx: y\r\n\r\n"
    return b"\r\n".join([line, *fields, b"", body])


# Several in a row, with anything at all between, before and behind.
SENT = st.lists(requests() | requests() | st.binary(max_size=30), min_size=1, max_size=4).map(
    b"".join
)


@st.composite
def split(draw: st.DrawFn) -> list[bytes]:
    sent = draw(SENT)
    cuts = sorted(draw(st.lists(st.integers(0, len(sent)), max_size=6)))
    ends = [0, *cuts, len(sent)]
    return [sent[start:end] for start, end in pairwise(ends) if start < end]


class _Answers:
    """Counts what a client's parser makes of the answer."""

    def __init__(self) -> None:
        self.whole = 0
        self.begun = 0

    def on_message_begin(self) -> None:
        self.begun += 1

    def on_message_complete(self) -> None:
        self.whole += 1


def check_answer(answer: bytes) -> None:
    """A row of whole HTTP answers, and nothing else."""
    answers = _Answers()
    httptools.HttpResponseParser(answers).feed_data(answer)
    assert answers.begun == answers.whole


def test_any_bytes_are_answered_in_http_or_not_at_all(fuzz: Fuzz) -> None:
    loop = Loop()

    @fuzzing.rounds()
    @given(split())
    def talk(pieces: list[bytes]) -> None:
        connection = Connection(loop)
        check_answer(connection.send(pieces, turns=8))
        connection.wait()
        assert connection.transport.closing, "nobody waits for this client's next byte for ever"
        assert not connection.state.connections
        assert not connection.state.tasks
        assert not loop.faults

    try:
        fuzz(talk)
    finally:
        loop.close()


def test_where_bytes_are_cut_makes_no_difference(fuzz: Fuzz) -> None:
    loop = Loop()

    @fuzzing.rounds()
    @given(split())
    def talk(pieces: list[bytes]) -> None:
        # Whoever sends such a header is hung up on, with what has been answered by then.
        assume(TOO_LONG not in b"".join(pieces))
        cut, whole = Connection(loop), Connection(loop)
        assert _statuses(cut.send(pieces, turns=0)) == _statuses(
            whole.send([b"".join(pieces)], turns=0)
        )
        for connection in (cut, whole):
            connection.transport.abort()
        loop.turn()
        assert not loop.faults

    try:
        fuzz(talk)
    finally:
        loop.close()


def _statuses(answer: bytes) -> list[bytes]:
    return [line for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]


@pytest.mark.parametrize("sent", [b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n"])
def test_the_driver_hears_an_answer(sent: bytes) -> None:
    loop = Loop()
    assert Connection(loop).send([sent], turns=8).startswith(b"HTTP/1.1 200 OK\r\n")
    loop.close()
