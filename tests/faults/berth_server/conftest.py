"""A whole runtime pod without a cluster: the real wrapper as a process, around the stand-in engine."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from engine_configs import standin_config

from berth_api.server import Phase, PodStatus, ServerConfig
from standins import tiny_model

KEY = "0123456789abcdef"
# A loaded machine starts two interpreters in a few seconds.
PATIENCE_SECONDS = 30.0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@dataclass
class RuntimePod:
    process: subprocess.Popen[bytes]
    status_port: int
    engine_port: int
    termination_log: Path

    def get(self, port: int, path: str, key: str | None = None) -> tuple[int, bytes]:
        return self.call("GET", port, path, None, key)[:2]

    def ask(self, body: dict, path: str = "/v1/completions") -> tuple[int, bytes, dict]:
        return self.call("POST", self.engine_port, path, {"model": "tiny", **body}, KEY)

    def call(self, method, port, path, body, key):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        payload = None if body is None else json.dumps(body)
        connection.request(method, path, payload, headers)
        reply = connection.getresponse()
        content = reply.read()
        connection.close()
        return reply.status, content, dict(reply.getheaders())

    def status(self) -> PodStatus:
        return PodStatus.model_validate_json(self.get(self.status_port, "/status")[1])

    def ready(self) -> bool:
        return self.get(self.status_port, "/readyz")[0] == 200

    def until(self, wanted: Callable[["RuntimePod"], bool]) -> None:
        """Waits for `wanted`; a pod that has ended or is not up yet does not have it."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            try:
                if wanted(self):
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise AssertionError("it did not happen in time")

    def serving(self) -> "RuntimePod":
        self.until(lambda pod: pod.status().phase is Phase.SERVING)
        return self

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def ended(self) -> int:
        return self.process.wait(PATIENCE_SECONDS)

    def failure(self) -> dict:
        return json.loads(self.termination_log.read_text())

    def engine_pids(self) -> list[int]:
        """Of the engine's session, which outlives the wrapper if something goes wrong."""
        port = str(self.engine_port).encode()
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    line = (entry / "cmdline").read_bytes()
                except OSError:
                    continue
                if b"standins.engine" in line and port in line:
                    found.append(int(entry.name))
        return found


@pytest.fixture
def pod(tmp_path):
    """`pod(knobs, ...)` starts a runtime pod; all of its processes are gone after the test."""
    started: list[RuntimePod] = []
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text(json.dumps(tiny_model.CONFIG))
    (tmp_path / "key").write_text(KEY)

    def start(
        extra_args=(), *, python_path=tuple(sys.path), respelt=lambda config: config, **changes
    ) -> RuntimePod:
        knobs = {name: value for name, value in changes.items() if name.startswith("STANDIN_")}
        settings = {name: value for name, value in changes.items() if name not in knobs}
        engine = standin_config(free_port(), model, extra_args=list(extra_args), env=knobs)
        defaults = {
            "max_queued_requests": 4,
            "drain_timeout_seconds": 30,
            "stall_timeout_seconds": 60,
            "start_timeout_seconds": 60,
        }
        config = ServerConfig(
            namespace="team-a",
            model="tiny",
            revision="abc",
            engines=[engine],
            status_port=free_port(),
            engine_key_file=str(tmp_path / "key"),
            **(defaults | settings),
        )
        process = subprocess.Popen(
            [sys.executable, "-m", "berth_server", str(tmp_path / "termination-log")],
            env=os.environ
            | {
                "BERTH_SERVER_CONFIG": respelt(config.wire()),
                "PYTHONPATH": os.pathsep.join(python_path),
            },
            stdout=(tmp_path / "log").open("wb"),
            stderr=subprocess.STDOUT,
        )
        started.append(
            RuntimePod(process, config.status_port, engine.port, tmp_path / "termination-log")
        )
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()
        for pid in one.engine_pids():
            os.kill(pid, signal.SIGKILL)
