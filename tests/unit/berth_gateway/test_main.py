"""The command: its exit status, and what it says when it cannot start."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from berth_gateway import __main__ as command
from berth_gateway import serve

ROOT = Path(__file__).parents[3]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    def run_with(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["berth_gateway", *arguments])
        status = command.main()
        return status, capsys.readouterr().err

    return run_with


async def test_what_only_a_cluster_needs_takes_no_memory_without_one() -> None:
    asked = "import berth_gateway.serve, sys; print({'aiohttp', 'kubernetes'} & sys.modules.keys())"
    environ = os.environ | {"PYTHONPATH": os.pathsep.join((f"{ROOT}/crds", f"{ROOT}/runtime"))}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", asked, env=environ, stdout=asyncio.subprocess.PIPE
    )
    told, _ = await process.communicate()

    assert told == b"set()\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "routes.yaml: No such file or directory"),
        ("- model: a\n  endpoints: [nonsense]\n", "routes.yaml:2: 0.endpoints.0 is 'nonsense'"),
    ],
)
def test_a_bad_file_is_one_line_and_exit_status_2(run, tmp_path, content, words) -> None:
    path = tmp_path / "routes.yaml"
    if content is not None:
        path.write_text(content)
    ports = ("--port", "0", "--management-port", "0")
    status, error = run("--routes", str(path), "--auth", "None", *ports)

    assert status == 2
    assert words in error
    assert len(error.splitlines()) == 1


def test_a_bad_argument_is_one_line_and_exit_status_2(run) -> None:
    status, error = run("--port", "x")

    assert status == 2
    assert error.startswith("berth_gateway: arguments: argument --port: 'x' is not a whole number")
    assert len(error.splitlines()) == 1


def test_a_part_that_dies_is_exit_status_1(run, monkeypatch, caplog) -> None:
    async def dies(_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(serve, "run", dies)

    assert run("--namespace", "berth")[0] == 1
    assert "ZeroDivisionError" in caplog.text


async def test_sigterm_is_exit_status_0(tmp_path: Path) -> None:
    (tmp_path / "routes.yaml").write_text("- {model: llama, endpoints: ['http://127.0.0.1:1']}\n")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "berth_gateway", "--routes", str(tmp_path / "routes.yaml"),
        "--auth", "None", "--settle-seconds", "0", "--port", "0", "--management-port", "0",
        env={"PYTHONPATH": os.pathsep.join(str(ROOT / one) for one in ("crds", "runtime"))},
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    async with asyncio.timeout(15):
        while b"AUTHENTICATION IS OFF" not in await process.stderr.readline():
            pass
        process.send_signal(signal.SIGTERM)
        _, log = await process.communicate()

    assert process.returncode == 0
    assert b"Traceback" not in log
