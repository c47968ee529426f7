"""Where things live: three roots, so that removing a cluster never removes an hour of building."""

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


def state_dir() -> Path:
    """The running cluster: certificates, etcd, containerd's images, logs."""
    return Path(os.environ.get("BERTH_DEV_DIR", "/var/lib/berth-dev"))


def cache_dir() -> Path:
    """What is slow to make and safe to share between clones: binaries, image layers, wheels."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "berth"
