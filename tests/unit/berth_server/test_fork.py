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


@pytest.mark.parametrize(
    ("environment", "cpus"),
    [
        ({"GOMP_CPU_AFFINITY": "0 1 5"}, {0, 1, 5}),
        ({"OMP_PLACES": "{2,3}", "OMP_PROC_BIND": "true"}, {2, 3}),
        ({"OMP_PLACES": "{7}"}, {7}),
        ({}, set()),
        ({"OMP_PLACES": "cores"}, set()),  # a user's own
        ({"OMP_PLACES": "{0:4}:2:4"}, set()),
        ({"GOMP_CPU_AFFINITY": "0-3"}, set()),
        ({"GOMP_CPU_AFFINITY": ""}, set()),
    ],
)
def test_a_ranks_cpus_are_read_as_vllm_writes_them(environment, cpus):
    assert fork.bound(environment) == cpus


def test_a_forked_rank_keeps_to_its_cpus(engine, monkeypatch):
    hooks: dict = {}
    monkeypatch.setattr(fork.os, "register_at_fork", lambda **given: hooks.update(given))
    monkeypatch.setattr(fork.signal, "set_wakeup_fd", lambda _: None)
    kept: list = []
    monkeypatch.setattr(fork.os, "sched_setaffinity", lambda pid, cpus: kept.append((pid, cpus)))
    fork.install()
    monkeypatch.delenv("OMP_PLACES", raising=False)
    monkeypatch.delenv("GOMP_CPU_AFFINITY", raising=False)
    hooks["after_in_child"]()
    assert kept == []
    monkeypatch.setenv("GOMP_CPU_AFFINITY", "4 5")
    hooks["after_in_child"]()
    assert kept == [(0, {4, 5})]


def test_a_rank_that_cannot_be_bound_goes_on(engine, monkeypatch):
    monkeypatch.setenv("GOMP_CPU_AFFINITY", "4096")
    monkeypatch.setattr(fork.signal, "set_wakeup_fd", lambda _: None)
    fork._after()
