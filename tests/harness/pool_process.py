"""A pool's pod as a process on this machine, and what a test asks of it."""

import contextlib
import dataclasses
import http.client
import json
import socket
import subprocess
import time
from pathlib import Path

from engine_configs import standin_config

from berth_api import names
from berth_api.pool_server import EngineOrder, EngineOrders
from berth_api.server import EngineStatus, Phase, PodStatus
from standins.card import Cards

# A loaded machine starts two interpreters in a few seconds.
PATIENCE_SECONDS = 30.0
POOL_KEY = "0123456789abcdef-pool"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


GIB = 2**30
CARD = 16 * GIB


def key_of(name: str) -> str:
    return f"key-of-{name}-0123"


@dataclasses.dataclass
class PoolPod:
    process: subprocess.Popen[bytes]
    status_port: int
    folder: Path
    cards: Cards
    device: str = "cuda"
    sequence: int = 0
    ports: dict[str, int] = dataclasses.field(default_factory=dict)
    leaders: dict[str, int] = dataclasses.field(default_factory=dict)

    def wanted(
        self, name, gib=4, *, cards=(0,), attempt=0, extra_args=(), stall_seconds=60, **knobs
    ) -> EngineOrder:
        port = self.ports.setdefault(name, free_port())
        on_card = self.device == "cuda"
        config = standin_config(
            port,
            self.folder / "model",
            name=name,
            device=self.device,
            gpu_memory_fraction=str(gib * GIB / CARD) if on_card else None,
            tensor_parallel_size=max(1, len(cards)) if on_card else 1,
            extra_args=list(extra_args),
            env=knobs,
        )
        return EngineOrder(
            id=name,
            attempt=attempt,
            config=config,
            key=key_of(name),
            cards=list(cards) if on_card else [],
            memory_bytes=gib * GIB,
            max_queued_requests=4,
            stall_timeout_seconds=stall_seconds,
            start_timeout_seconds=30,
        )

    def order(self, *engines, sequence=None, key=POOL_KEY) -> tuple[int, dict]:
        self.sequence += 1
        orders = EngineOrders(
            sequence=self.sequence if sequence is None else sequence, engines=list(engines)
        )
        return self.call("PUT", self.status_port, "/engines", orders.wire(), key)

    def call(self, method, port, path, payload, key):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
        try:
            headers = {"Authorization": f"Bearer {key}", names.HEADER_POOL_KEY: key}
            connection.request(method, path, payload, headers)
            reply = connection.getresponse()
            return reply.status, json.loads(reply.read())
        finally:
            connection.close()

    def ask(self, name, **body) -> tuple[int, dict]:
        whole = json.dumps({"model": name, "prompt": "x", "max_tokens": 2, **body})
        return self.call("POST", self.ports[name], "/v1/completions", whole, key_of(name))

    def status(self) -> PodStatus:
        url = f"http://127.0.0.1:{self.status_port}/status"
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", self.status_port, timeout=5)
        ) as connection:
            connection.request("GET", url)
            return PodStatus.model_validate_json(connection.getresponse().read())

    def engine(self, name) -> EngineStatus | None:
        return next((one for one in self.status().engines if one.id == name), None)

    def until(self, wanted, seconds=PATIENCE_SECONDS):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if found := wanted(self):
                    return found
            time.sleep(0.05)
        raise AssertionError(f"it did not happen in time: {self.log()[-4000:]}")

    def serving(self, *names):
        for name in names:
            self.until(lambda pod, name=name: pod.phase(name) is Phase.SERVING)
        return self

    def gone(self, *names):
        for name in names:
            self.until(lambda pod, name=name: pod.engine(name) is None)

    def phase(self, name) -> Phase | None:
        found = self.engine(name)
        return found.phase if found else None

    def is_interpreter(self, pid: int) -> bool:
        """Before any engine was forked from it: those have its command line too."""
        with contextlib.suppress(OSError, IndexError):
            parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
            line = Path(f"/proc/{pid}/cmdline").read_bytes()
            return int(parent) == self.process.pid and b"berth_server.zygote" in line
        return False

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def loaded(self, name) -> int:
        return self.call("GET", self.ports[name], "/berth/load", None, key_of(name))[1]["inFlight"]

    def pids(self, name) -> list[int]:
        """Of an engine's session: its leader listens on its port, or has."""
        leader = self.leaders.get(name) or listener(self.ports[name])
        if leader is None:
            return []
        self.leaders[name] = leader
        return [pid for pid in all_pids() if session_of(pid) == leader]


def all_pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def environment_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def session_of(pid: int) -> int | None:
    """None of a zombie: it waits for this machine's PID 1, which is not the pod here."""
    try:
        state, _, _, session = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:4]
    except OSError:
        return None
    return None if state == "Z" else int(session)


def listener(port: int) -> int | None:
    """The process that listens on a port. A forked one keeps its parent's command line."""
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    sockets = {
        f"socket:[{row[9]}]" for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "0A"
    }
    for pid in all_pids():
        with contextlib.suppress(OSError):
            if sockets & {str(fd.readlink()) for fd in Path(f"/proc/{pid}/fd").iterdir()}:
                return pid
    return None
