"""The mock engine and the load generator: built once, started and read here.

They are tested before they are built: a figure is worth no more than what measured it.
"""

import hashlib
import http.client
import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.gateway import scenarios
from dev import binaries, locks, places, progress
from dev.errors import DevError

_SOURCE = Path(__file__).parent / "load"
_BINARIES = ("mock", "load")
ENDPOINTS = 4
STOP_SECONDS = 5.0
START_SECONDS = 5.0


def build() -> Path:
    """The folder with `mock` and `load`, named by their sources, shared by clones."""
    target = places.cache_dir() / "bin" / f"bench-load-{_fingerprint()}"
    if target.exists():
        return target  # without waiting for a long build of something else
    with locks.exclusive(places.cache_dir() / "binaries.lock"):
        if not target.exists():
            _build(target)
    return target


def _fingerprint() -> str:
    digest = hashlib.sha256()
    for file in sorted(_SOURCE.rglob("*")):
        if file.is_file():
            digest.update(str(file.relative_to(_SOURCE)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]


def _build(target: Path) -> None:
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    go, env = binaries.go(), binaries.go_environment()
    with progress.step("build the load generator"):
        progress.run([go, "test", "./..."], cwd=_SOURCE, env=env)
        packages = [f"./{name}" for name in _BINARIES]
        progress.run([go, "build", "-o", f"{partial}/", *packages], cwd=_SOURCE, env=env)
    partial.rename(target)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now; all are held until the last is found."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


class Mock:
    """Four endpoints in one process."""

    def __init__(self, process: subprocess.Popen[bytes], ports: Sequence[int]) -> None:
        self.pid = process.pid
        self.ports = tuple(ports)

    @property
    def addresses(self) -> list[str]:
        return [f"127.0.0.1:{port}" for port in self.ports]

    def pace(self, gap_us: int) -> None:
        """For all streams that begin from now on."""
        answer(self.ports[0], f"/mock?gap_us={gap_us}")


@contextmanager
def mock(folder: Path, pinned: Sequence[str]) -> Iterator[Mock]:
    """`pinned` is what stands before the command, as for `load`."""
    ports = free_ports(ENDPOINTS)
    arguments = [f"--ports={','.join(map(str, ports))}", f"--model={scenarios.MODEL}"]
    process = subprocess.Popen([*pinned, str(folder / "mock"), *arguments])
    try:
        progress.wait_for("the mock engine", lambda: _listens(ports[-1]), seconds=START_SECONDS)
        yield Mock(process, ports)
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)


def load(argv: Sequence[str], at_edge: Callable[[], None], limit: float) -> dict[str, Any]:
    """The load generator's report; `at_edge` is called as its window begins and as it ends.

    Killed after `limit` seconds, which is a DevError as any other failure of it.
    """
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    overdue = threading.Timer(limit, process.kill)
    overdue.start()
    said = []
    try:
        for line in process.stderr or ():
            said.append(line)
            if line.strip() in {"begin", "end"}:
                at_edge()
        out = process.stdout.read() if process.stdout else ""
        status = process.wait()
    finally:
        overdue.cancel()
        process.kill()
    if status:
        raise DevError(f"the load generator ended with status {status}: {''.join(said)}")
    found: dict[str, Any] = json.loads(out)
    return found


def answer(port: int, path: str) -> int:
    """The status of one GET on this machine."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=START_SECONDS)
    try:
        connection.request("GET", path)
        reply = connection.getresponse()
        reply.read()
        return reply.status
    finally:
        connection.close()


def _listens(port: int) -> bool:
    try:
        return answer(port, "/health") == http.HTTPStatus.OK
    except OSError:
        return False
