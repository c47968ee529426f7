"""LiteLLM's proxy, the real one.

`uv pip compile --python-version 3.11` of `litellm[proxy]` writes litellm-requirements.txt.
"""

import os
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import locked_environment

from dev import progress

REQUIREMENTS = Path(__file__).parents[1] / "litellm-requirements.txt"
START_SECONDS = 120.0  # 12 s on an idle machine, most of it imports


def command() -> Path:
    """Its executable; half a gigabyte is installed where it was not before."""
    return locked_environment.prepare("litellm", REQUIREMENTS) / "litellm"


@dataclass
class LiteLLM:
    """One proxy with one configuration, on a port of its own."""

    config: Path
    environment: Mapping[str, str]
    port: int = 0
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> "LiteLLM":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        # Nothing of this machine's user, and nothing from the network but what the test serves.
        quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False"}
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.config.parent)}
        place = ("--config", str(self.config), "--host", "127.0.0.1", "--port", str(self.port))
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [command(), *place],
                env=environment | quiet | dict(self.environment),
                stdout=log,
                stderr=log,
            )
        progress.wait_for("LiteLLM", self._is_alive, seconds=START_SECONDS)
        return self

    @property
    def log(self) -> Path:
        return self.config.with_suffix(".log")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def _is_alive(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()
        alive = f"http://127.0.0.1:{self.port}/health/liveliness"
        try:
            urllib.request.urlopen(alive, timeout=5)
        except (urllib.error.URLError, OSError):
            return False
        return True
