"""Virtual environments of programs that Berth is tried with, each made once a machine."""

import hashlib
import shutil
import sys
from pathlib import Path

from dev import locks, places, progress


def prepare(name: str, requirements: Path) -> Path:
    """The folder of its executables. `requirements` has all that is installed, pinned."""
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    folder = places.cache_dir() / f"{name}-{digest}"
    whole = folder / "whole"  # an environment cannot be made elsewhere and moved
    with locks.exclusive(places.cache_dir() / f"{name}.lock"):
        if not whole.exists():
            shutil.rmtree(folder, ignore_errors=True)
            _install(name, folder, requirements)
            whole.touch()
    return folder / "bin"


def _install(name: str, folder: Path, requirements: Path) -> None:
    uv = next(places.cache_dir().glob("uv-*/bin/uv"))  # the Makefile's
    into = ("--python", folder / "bin" / "python", "--no-deps", "-r", requirements)
    with progress.step(f"install {name}"):
        progress.run([uv, "venv", "--quiet", "--python", sys.executable, folder])
        progress.run([uv, "pip", "install", "--quiet", *into])
