"""One engine's lines, however the log is cut into pieces."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from berth_cli.engine_lines import EngineLines

ENGINES = ("1a2b3c4d5e", "1a2b3c4d5f", "5f6a7b8c9d")
TEXT = st.text(st.sampled_from("ab [] \r\té1"), max_size=12)
SAID = st.lists(st.tuples(st.sampled_from(ENGINES), TEXT), max_size=8)


def fed(engine: str, pieces: list[bytes]) -> bytes:
    lines = EngineLines(engine)
    return b"".join([*map(lines.feed, pieces), lines.end()])


def cut(log: bytes, at: list[int]) -> list[bytes]:
    ends = sorted({min(one, len(log)) for one in at} | {0, len(log)})
    return [log[first:last] for first, last in pairwise(ends)]


@given(SAID, st.lists(st.integers(0, 200), max_size=10))
def test_what_each_engine_said_comes_out_again_and_nothing_else(said, at):
    pieces = cut("".join(f"[{engine}] {text}\n" for engine, text in said).encode(), at)
    for engine in ENGINES:
        its = "".join(f"{text}\n" for who, text in said if who == engine)
        assert fed(engine, pieces) == its.encode()


def test_a_line_is_told_as_soon_as_it_is_whole():
    lines = EngineLines("ab")
    assert lines.feed(b"[ab] one\n[ab] tw") == b"one\n"
    assert lines.feed(b"o") == b""
    assert lines.feed(b"\n") == b"two\n"


def test_what_the_pod_says_of_itself_is_left_out():
    assert fed("ab", [b"INFO engine ab is executed\n[warm] [ab] no\n [ab] no\n[ab]no"]) == b""


def test_a_log_that_ends_in_a_line_shows_what_there_is_of_it():
    assert fed("ab", [b"[ab] half"]) == b"half"
