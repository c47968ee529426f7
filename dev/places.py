"""Where things live: three roots, so that removing a cluster never removes an hour of building."""

import os
import shutil
from pathlib import Path

from dev.errors import DevError

REPOSITORY = Path(__file__).resolve().parent.parent

_MARK = ".made-by-berth-dev"


def state_dir() -> Path:
    """The running cluster: certificates, etcd, containerd's images, logs."""
    return Path(os.environ.get("BERTH_DEV_DIR", "/var/lib/berth-dev"))


def cache_dir() -> Path:
    """What is slow to make and safe to share between clones: binaries, image layers, wheels."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "berth"


def claim(folder: Path) -> None:
    """Make a folder ours, unless it holds something that is not."""
    if folder.exists() and any(folder.iterdir()) and not (folder / _MARK).exists():
        raise DevError(f"{folder} exists and was not made by this tool: refusing")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _MARK).touch()


def remove(folder: Path) -> None:
    """Remove a folder that was claimed."""
    if not folder.exists():
        return
    if not (folder / _MARK).exists():
        raise DevError(f"{folder} was not made by this tool: refusing to remove it")
    shutil.rmtree(folder)
