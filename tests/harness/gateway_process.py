"""The gateway as its own process, with a routes file or with a cluster."""

import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from dev import progress

START_SECONDS = 30.0  # what takes a second here may take ten on a busy machine
_AT_ONCE = ("--settle-seconds", "0")
_PORTS = re.compile(r"on port (\d+), management on (\d+)")


@dataclass
class GatewayProcess:
    """`python -m berth_gateway` on ports of its own; `arguments` say where its routes come from.

    It has the same ports when it is started again, as a container has.
    """

    directory: Path
    arguments: tuple[str, ...]
    python_path: Sequence[str] = tuple(sys.path)
    port: int = 0
    management_port: int = 0
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> "GatewayProcess":
        chosen = ("--port", str(self.port), "--management-port", str(self.management_port))
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": ":".join(self.python_path)}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "berth_gateway", *chosen, *_AT_ONCE, *self.arguments],
                env=environment,
                stdout=log,
                stderr=log,
            )
        progress.wait_for("the gateway's ports", self._listens, seconds=START_SECONDS)
        progress.wait_for("the gateway", self._is_ready, seconds=START_SECONDS)
        return self

    @property
    def log(self) -> Path:
        return self.directory / "gateway.log"

    @property
    def url(self) -> str:
        """What clients call the base URL."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def metrics_url(self) -> str:
        return f"http://127.0.0.1:{self.management_port}/metrics"

    def metric(self, name: str, **labels: str) -> float | None:
        """The sum over the series with these labels; None: there is none."""
        with urllib.request.urlopen(self.metrics_url, timeout=5) as answer:
            text = answer.read().decode()
        values = [
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]
        return sum(values) if values else None

    def resident_bytes(self, what: str = "VmRSS") -> int:
        """Of memory; VmHWM: the most that it has had."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return 1024 * int(re.search(rf"^{what}:\s+(\d+) kB$", status, re.MULTILINE)[1])  # type: ignore[index]

    def open_files(self) -> int:
        assert self._process is not None
        return len(list(Path(f"/proc/{self._process.pid}/fd").iterdir()))

    def kill(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()
        found = _PORTS.search(self.log.read_text())
        if found:
            self.port, self.management_port = int(found[1]), int(found[2])
        return found is not None

    def _is_ready(self) -> bool:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.management_port}/readyz", timeout=5)
        except (urllib.error.URLError, OSError):
            return False
        return True
