"""The twin: a Go operator on controller-runtime that makes the same objects, built and run."""

import hashlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.operator import recorded
from dev import binaries, locks, places, progress

_SOURCE: Final = Path(__file__).parent / "twin"
_STOP_SECONDS: Final = 30.0


def build() -> Path:
    """The binary, named by its sources, shared by clones."""
    digest = hashlib.sha256()
    for file in sorted(_SOURCE.iterdir()):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    target = places.cache_dir() / "bin" / f"bench-twin-{digest.hexdigest()[:12]}"
    with locks.exclusive(places.cache_dir() / "binaries.lock"):
        if not target.exists():
            partial = target.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            with progress.step("build the twin"):
                command = [binaries.go(), "build", "-o", f"{partial}/twin", "."]
                progress.run(command, cwd=_SOURCE, env=binaries.go_environment())
            partial.rename(target)
    return target / "twin"


@contextmanager
def running(kubeconfig: Path, folder: Path) -> Iterator[int]:
    """Its process id."""
    told = folder / "recorded.json"
    recorded.write(told)
    with (folder / "twin.log").open("ab") as sink:
        process = subprocess.Popen(
            [build(), "--recorded", told],
            env={**os.environ, "KUBECONFIG": str(kubeconfig)},
            stdout=sink,
            stderr=sink,
        )
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=_STOP_SECONDS)
