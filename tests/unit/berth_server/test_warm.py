import sys

import pytest

from berth_server import warm
from berth_server.errors import NotWarm


def test_for_vllm_its_server_its_core_and_the_devices_worker_are_imported():
    found = warm.modules(["/usr/bin/vllm", "serve"], "cpu")
    assert "vllm.entrypoints.cli.serve" in found
    assert "vllm.v1.worker.cpu_worker" in found
    assert warm.modules(["python3", "-m", "vllm.entrypoints.cli.main"], "cuda")[-1].startswith(
        "vllm.v1.worker.gpu"
    )


def test_for_another_program_its_module_is_imported():
    assert warm.modules(["python3", "-m", "standins.engine"], "cpu") == ("standins.engine",)
    assert warm.modules(["/opt/engine"], "cpu") == ()


def test_a_module_is_run_by_the_python_that_is_named():
    assert warm.executable([sys.executable, "-m", "a"]) == (
        sys.executable,
        [sys.executable, "-m", "a"],
    )


@pytest.fixture
def script(tmp_path, monkeypatch):
    """A program on the PATH, with its first line."""

    def written(first: str) -> str:
        path = tmp_path / "vllm"
        path.write_text(first + "\nimport sys\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        return str(path)

    return written


@pytest.mark.parametrize("first", ["#!/usr/bin/python3", "#!/usr/bin/env python3", "#! python3.12"])
def test_a_script_is_run_by_the_python_of_its_first_line(script, first):
    path = script(first)
    python = first.split()[-1].removeprefix("#!")
    assert warm.executable(["vllm", "serve"]) == (python, [path, "serve"])


@pytest.mark.parametrize(
    "first", ["#!/bin/sh", "#!/usr/bin/python3 -O", "\x7fELF", "#!", "#!/usr/bin/env"]
)
def test_what_no_plain_python_runs_is_not_forked(script, first):
    script(first)
    with pytest.raises(NotWarm, match="no Python script"):
        warm.executable(["vllm", "serve"])


@pytest.mark.parametrize("argv", [["no-such-program"], [sys.executable, "-c", "pass"]])
def test_what_is_not_there_or_no_module_is_not_forked(argv):
    with pytest.raises(NotWarm):
        warm.executable(argv)


def test_only_what_is_read_late_may_differ():
    ours = {"OMP_NUM_THREADS": "1", "VLLM_LOGGING_LEVEL": "INFO", "CUDA_VISIBLE_DEVICES": "0"}
    late = {"CUDA_VISIBLE_DEVICES": "1", "BERTH_ENGINE_KEY_FILE": "/k"}
    assert warm.differing(ours, ours | late) == []
    assert warm.differing(ours, ours | {"OMP_NUM_THREADS": "2", "NEW": "1"}) == [
        "NEW",
        "OMP_NUM_THREADS",
    ]
