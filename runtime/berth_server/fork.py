"""Starts vLLM's processes on CPU by fork where that is safe, so that its imports are paid once.

vLLM's API server, engine core and worker each spend some 11 s of CPU on the same imports, one
after the other, and a fourth interpreter reads the model's class when no cache is there: in a new
pod that is 53 s of CPU against 15 s with this module (measured, 0.32, two cores). On CPU vLLM
spawns only because a worker's OpenMP settings must be in place before its libraries load; `args`
sets the number of threads for the first process instead, and a forked worker keeps to its rank's
CPUs by its affinity, which its threads inherit.

A fork copies one thread, so it is refused while there is any that could hold a lock or belong to
a thread pool: then vLLM spawns as it always does. Two of vLLM's names are replaced; if a version
lacks them, it starts slower and no different.
"""

import contextlib
import importlib
import logging
import os
import re
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

_log = logging.getLogger("vllm.berth")
_T = TypeVar("_T")

_METHOD: Final = "VLLM_WORKER_MULTIPROC_METHOD"
_THREADS: Final = Path("/proc/self/task")
# libzmq's own threads: a child never uses its parent's sockets, and pyzmq knows by the pid.
_HARMLESS: Final = "ZMQbg/"
# At most a fifth of a second per process, where a spawn costs eleven.
_LOOKS: Final = 20
_BETWEEN_LOOKS_SECONDS: Final = 0.01
# What vLLM sets around the making of each worker: GOMP_CPU_AFFINITY="0 1", as it preloads libgomp,
# else OMP_PLACES="{0,1}" (utils/ompmultiprocessing.py and platforms/cpu.py, 0.32).
_BINDINGS: Final = ("GOMP_CPU_AFFINITY", "OMP_PLACES")
_LIST: Final = re.compile(r"\d+(?: \d+)*|\{\d+(?:,\d+)*\}")


def install() -> None:
    """Raises ImportError or AttributeError if this vLLM is another than expected."""
    processes: Any = importlib.import_module("vllm.utils.system_utils")
    registry: Any = importlib.import_module("vllm.model_executor.models.registry")
    # vLLM asks this function right before it makes each process.
    processes._maybe_force_spawn = _choosing(processes._maybe_force_spawn)  # noqa: SLF001
    # It keeps CUDA out of the parent; without a GPU there is nothing to keep out.
    if not hasattr(registry, "_run_in_subprocess"):
        raise AttributeError("vllm.model_executor.models.registry._run_in_subprocess")
    registry._run_in_subprocess = _run_here  # noqa: SLF001
    os.register_at_fork(after_in_child=_after)


def safe(threads: Iterable[str]) -> bool:
    """Whether a process with `threads`, by name, can be forked: one of them, and libzmq's."""
    return sum(not name.startswith(_HARMLESS) for name in threads) == 1


def _choosing(decide: Callable[[], None]) -> Callable[[], None]:
    def choose() -> None:
        decide()
        threads = settled_threads()
        os.environ[_METHOD] = "fork" if safe(threads) else "spawn"
        _log.info("next process by %s; threads: %s", os.environ[_METHOD], ", ".join(threads))

    return choose


def settled_threads() -> list[str]:
    """The names of this process's threads; a new thread of libzmq names itself a moment late."""
    for _ in range(_LOOKS):
        threads = [name for task in _THREADS.iterdir() if (name := _name(task))]
        if safe(threads):
            break
        time.sleep(_BETWEEN_LOOKS_SECONDS)
    return threads


def _name(task: Path) -> str | None:
    try:
        return (task / "comm").read_text().strip()
    except OSError:
        return None  # it has ended


def _after() -> None:
    """In a forked child, before anything else."""
    signal.set_wakeup_fd(-1)  # its signals must not wake its parent's event loop
    if cpus := bound(os.environ):
        # OpenMP read its settings in the parent; not being bound is slower and no different.
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, cpus)


def bound(environment: Mapping[str, str]) -> set[int]:
    """The CPUs that vLLM binds a worker to; none where it does not, or somebody else wrote it."""
    written = next((environment[name] for name in _BINDINGS if name in environment), "")
    plain = _LIST.fullmatch(written)
    return {int(cpu) for cpu in re.findall(r"\d+", written)} if plain else set()


def _run_here(function: Callable[[], _T]) -> _T:
    return function()
