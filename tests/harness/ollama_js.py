"""Ollama's JavaScript client, the real one, on Node.js: installed once a machine by its lock file.

`npm install --package-lock-only` in tests/ollama-js writes the lock file, with a hash of each package.
"""

import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dev import locks, places, progress

SOURCE = Path(__file__).parents[1] / "ollama-js"
SCRIPT = "client.mjs"
CALL_SECONDS = 60.0  # Node.js takes a tenth of one to start
_PACKAGES = ("package.json", "package-lock.json")


@dataclass(frozen=True)
class OllamaJs:
    """The client in `folder`, of the gateway at `url`."""

    folder: Path
    url: str
    key: str

    def call(self, name: str, argument: Any = None) -> dict[str, Any]:
        """`value`, what it gave; or `error` and `status`, what it threw."""
        command = ["node", SCRIPT, name, json.dumps(argument)]
        given = {"PATH": os.environ["PATH"], "BERTH_URL": self.url, "BERTH_KEY": self.key}
        ran = subprocess.run(
            command,
            cwd=self.folder,
            env=given,
            capture_output=True,
            check=False,
            timeout=CALL_SECONDS,
        )
        assert ran.returncode == 0, ran.stderr.decode()
        found: dict[str, Any] = json.loads(ran.stdout)
        return found


def prepare(folder: Path, url: str, key: str) -> OllamaJs:
    shutil.copy(SOURCE / SCRIPT, folder)
    (folder / "node_modules").symlink_to(_installed() / "node_modules")
    return OllamaJs(folder, url, key)


def _installed() -> Path:
    digest = hashlib.sha256((SOURCE / "package-lock.json").read_bytes()).hexdigest()[:12]
    folder = places.cache_dir() / f"ollama-js-{digest}"
    whole = folder / "whole"
    with locks.exclusive(places.cache_dir() / "ollama-js.lock"):
        if not whole.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            for name in _PACKAGES:
                shutil.copy(SOURCE / name, folder)
            with progress.step("install Ollama's JavaScript client"):
                progress.run(["npm", "ci", "--silent", "--ignore-scripts", "--prefix", folder])
            whole.touch()
    return folder
