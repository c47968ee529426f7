"""Readers whose inputs are found by the ways that they take through them, in processes of their own.

Each has a limit of memory and of time for one input: what loops or grows ends its process.
"""

import subprocess
import sys
from pathlib import Path

import fuzzing
import pytest

PROGRAM = (
    Path(__file__).parents[1] / "harness" / "coverage_guided.py"
)  # imports are instrumented there
MOST_MEGABYTES = 512
LONGEST_INPUT_BYTES = 4096
# The process starts, and writes down what it has found.
EXTRA_SECONDS = 60


@pytest.mark.parametrize("reader", ["body", "form", "header", "log"])
def test_no_input_ends_a_reader(reader: str, seconds: float, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    ended = subprocess.run(
        [
            sys.executable, PROGRAM, reader, corpus, "-seed=1",
            f"-max_total_time={max(1, round(seconds))}", f"-timeout={fuzzing.EXAMPLE_SECONDS}",
            f"-rss_limit_mb={MOST_MEGABYTES}", f"-max_len={LONGEST_INPUT_BYTES}",
            f"-artifact_prefix={tmp_path}/",
        ],
        # Equal runs take equal ways: the same hashes as the same seed.
        env={"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=seconds + EXTRA_SECONDS,
        check=False,
    )  # fmt: skip
    found = [(path.name, path.read_bytes()) for path in tmp_path.iterdir() if path.is_file()]
    assert (ended.returncode, found) == (0, []), ended.stderr[-5000:]
    assert "Done " in ended.stderr, "it ran to the end of its time"
