import os
import types

import pytest

from berth_server import fork


@pytest.mark.parametrize(
    ("threads", "safe"),
    [
        (["python3"], True),
        (["VLLM::EngineCor", "ZMQbg/Reaper", "ZMQbg/IO/0"], True),
        (["python3", "python3"], False),  # a pool of OpenBLAS or of OpenMP
        (["python3", "tokio-runtime-w"], False),
        ([], False),
    ],
)
def test_a_process_is_forked_only_if_no_thread_of_it_would_be_lost(threads, safe):
    assert fork.safe(threads) is safe


@pytest.fixture
def engine(monkeypatch):
    """A vLLM with the two names that are replaced."""
    processes = types.SimpleNamespace(_maybe_force_spawn=lambda: None)
    registry = types.SimpleNamespace(_run_in_subprocess=None)
    modules = {
        "vllm.utils.system_utils": processes,
        "vllm.model_executor.models.registry": registry,
    }
    monkeypatch.setattr(fork.importlib, "import_module", modules.__getitem__)
    monkeypatch.setattr(fork.os, "register_at_fork", lambda **_: None)
    monkeypatch.setenv("VLLM_WORKER_MULTIPROC_METHOD", "spawn")
    return types.SimpleNamespace(processes=processes, registry=registry)


def test_the_method_is_chosen_anew_for_each_process(engine, monkeypatch, tmp_path):
    monkeypatch.setattr(fork, "_THREADS", tmp_path)
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "comm").write_text("python3\n")
    fork.install()
    engine.processes._maybe_force_spawn()
    assert os.environ["VLLM_WORKER_MULTIPROC_METHOD"] == "fork"
    (tmp_path / "2").mkdir()
    (tmp_path / "2" / "comm").write_text("python3\n")
    monkeypatch.setattr(fork.time, "sleep", lambda _: None)
    engine.processes._maybe_force_spawn()
    assert os.environ["VLLM_WORKER_MULTIPROC_METHOD"] == "spawn"


def test_a_thread_of_libzmq_is_given_a_moment_to_name_itself(engine, monkeypatch, tmp_path):
    monkeypatch.setattr(fork, "_THREADS", tmp_path)
    for number, name in ((1, "python3"), (2, "python3")):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "comm").write_text(f"{name}\n")

    def named(_seconds):
        (tmp_path / "2" / "comm").write_text("ZMQbg/IO/0\n")

    monkeypatch.setattr(fork.time, "sleep", named)
    fork.install()
    engine.processes._maybe_force_spawn()
    assert os.environ["VLLM_WORKER_MULTIPROC_METHOD"] == "fork"


def test_a_models_class_is_read_in_the_same_process(engine):
    fork.install()
    assert engine.registry._run_in_subprocess(lambda: 7) == 7


def test_another_vllm_is_left_alone(engine):
    del engine.registry._run_in_subprocess
    with pytest.raises(AttributeError):
        fork.install()
