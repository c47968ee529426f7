"""The engine's log: whatever stands in it, a line is read at once and a crash has a cause."""

from collections.abc import Callable
from typing import Any

import fuzzing
from hypothesis import given
from hypothesis import strategies as st

from berth_api.shape import MOST_BYTES
from berth_server import causes, crash
from berth_server.launch import MAX_LINE_BYTES, TAIL_LINES
from berth_server.status import State

Fuzz = Callable[[Callable[[], None]], None]

NUMBERS = st.sampled_from(
    ["0", "-0", "..", ".", ",", "1.2.3", "9" * 400, "9" * 5000, "-5.5", "1e308", "nan", "٣", ""]
) | st.floats().map(str)
WORDS = st.sampled_from(
    [
        "Available KV cache memory: ", "KV cache size: ", "Model loading took ", " GiB", " tokens",
        "No available memory for the cache blocks", "CUDA out of memory. Tried to allocate ",
        " of which ", " is free.", "ERROR ", "] ", "(", ") ", "ValueError: ", "\n", "\r", "%",
        "Loading safetensors checkpoint shards: ", " Completed", "Capturing CUDA graphs (", "): ",
        "Free memory on device ", "Value error, ", " [type=", "max seq len (", "See root cause above",
        "Graph capturing finished in ", "took ", "[Errno 98] ", "Using max model len ",
        "Actual usage is ", "Auto-fit max_model_len: ", "died unexpectedly (exit code: -9)", "{0}",
    ]
)  # fmt: skip
# What the rules look for, with any number in the place of theirs.
BY_RULE = st.sampled_from([rule.pattern for rule in causes.RULES]).flatmap(st.from_regex)
PIECES = WORDS | NUMBERS | BY_RULE | st.text(max_size=20)
LINES = st.lists(PIECES, max_size=12).map("".join) | st.builds(
    lambda piece, times: (piece * times)[:MAX_LINE_BYTES], WORDS, st.integers(1, MAX_LINE_BYTES)
)
LOGS = st.lists(LINES, max_size=12) | st.builds(
    lambda line, times: [line] * times, LINES, st.integers(1, TAIL_LINES)
)


def test_any_line_is_read(fuzz: Fuzz) -> None:
    @fuzzing.rounds()
    @given(LOGS)
    def read(log: list[str]) -> None:
        state = State(started_seconds=0, engine_names=("engine",))
        for line in log:
            state.read("engine", line, now_seconds=1)
        told = state.snapshot(2)
        assert type(told).model_validate_json(told.wire()) == told

    fuzz(read)


def test_any_end_has_a_reason_and_a_fix(fuzz: Fuzz) -> None:
    @fuzzing.rounds()
    @given(LOGS, st.integers(-64, 255))
    def explain(log: list[str], code: int) -> None:
        failure = crash.explain(log, code)
        assert failure.reason
        assert failure.fix
        assert 0 < len(failure.message) <= crash.MAX_MESSAGE_CHARACTERS
        if failure.shortage is not None:
            assert all(abs(number) <= MOST_BYTES for number in _numbers(failure.shortage))

    fuzz(explain)


def _numbers(shortage: Any) -> list[int]:
    return [one for one in shortage.model_dump().values() if isinstance(one, int)]
