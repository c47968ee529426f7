from pathlib import Path

import pytest

from berth_operator import __main__ as entry
from berth_operator.errors import ConfigurationError, LeadershipLost


def test_a_bad_configuration_is_one_line_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("namespace: x\nmisspelt: 1\n")
    monkeypatch.setenv("BERTH_CONFIG", str(config))
    assert entry.main() == 2
    said = capsys.readouterr().err
    assert "misspelt" in said
    assert said.count("\n") == 1


def test_a_lost_lease_is_exit_code_1_even_inside_a_task_group() -> None:
    group = ExceptionGroup("tasks", [ExceptionGroup("inner", [LeadershipLost("lease")])])
    assert entry._exit_code(group) == 1


def test_configuration_errors_from_tasks_are_exit_code_2() -> None:
    assert entry._exit_code(ExceptionGroup("tasks", [ConfigurationError("key")])) == 2


def test_anything_else_comes_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    assert entry._exit_code(ValueError("a bug")) == 1
    (record,) = caplog.records
    assert record.exc_info
