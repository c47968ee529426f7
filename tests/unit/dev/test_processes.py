import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev import progress
from dev.errors import DevError
from dev.processes import Daemon


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon("sleeper", tmp_path)
    yield daemon
    daemon.stop()


def test_is_started_once_and_stopped(daemon: Daemon) -> None:
    daemon.start(["sleep", "60"])
    first = daemon.pid()
    daemon.start(["sleep", "60"])
    assert first is not None
    assert daemon.pid() == first
    daemon.stop()
    assert daemon.pid() is None


def test_a_reused_pid_is_left_alone(daemon: Daemon) -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        daemon.folder.joinpath("sleeper.pid").write_text(f"{stranger.pid} 1\n")
        daemon.stop()
        assert stranger.poll() is None
        stranger.terminate()


def test_an_early_end_is_told_with_its_last_words(daemon: Daemon) -> None:
    daemon.start(["sh", "-c", "echo no such flag >&2"])
    progress.wait_for("the end", lambda: daemon.pid() is None, seconds=5)
    with pytest.raises(DevError, match="no such flag"):
        daemon.check()
