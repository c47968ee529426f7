"""How a program that runs once ends, and what it leaves."""

import sys
from pathlib import Path

import pytest

from berth_api.shape import Failure
from berth_server import once, termination
from berth_server.errors import ConfigurationError


@pytest.fixture(autouse=True)
def no_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["program"])


def test_what_was_found_is_its_last_words(monkeypatch, tmp_path: Path) -> None:
    log = tmp_path / "log"
    monkeypatch.setattr(sys, "argv", ["program", str(log)])
    found = Failure(reason="Unreachable", message="no answer")
    assert once.run("berth-once", lambda at: once.tell(at, found)) == 0
    assert Failure.model_validate_json(log.read_text()) == found


def test_without_an_argument_the_kubelets_log_is_written() -> None:
    given: list[Path] = []
    assert once.run("berth-once", lambda at: given.append(at) or 3) == 3
    assert given == [termination.DEFAULT_PATH]


def test_one_that_is_set_up_wrongly_says_so(caplog) -> None:
    def work(log: Path) -> int:
        raise ConfigurationError(f"no source for {log}")

    assert once.run("berth-once", work) == 2
    assert "no source for /dev/termination-log" in caplog.text
