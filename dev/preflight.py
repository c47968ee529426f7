"""Reasons not to start, found before anything is changed."""

import os
import shutil
from pathlib import Path

from dev import network, places
from dev.errors import DevError

# Measured at the first start, while the runtime image moves from the builder to containerd: 8 GB in
# the builder, 6 GB of wheels, 5 GB on the way, 12 GB in containerd of which 6 stay.
FIRST_BUILD_BYTES = 32 * 10**9


def check_node() -> None:
    """Raise unless this machine can be the node."""
    if os.geteuid() != 0:
        raise DevError("a node needs root: containers, mounts and iptables are made")
    if not Path("/etc/debian_version").exists():
        raise DevError("the node is built from Debian's packages, and this is not Debian")
    if not places.state_dir().exists():
        _check_disk()
    if shutil.which("iptables"):
        network.refuse_foreign_cluster()


def _check_disk() -> None:
    parent = next(path for path in places.state_dir().parents if path.exists())
    free = shutil.disk_usage(parent).free
    if free < FIRST_BUILD_BYTES:
        raise DevError(
            f"{free / 10**9:.0f} GB are free under {parent}; "
            f"the first start needs {FIRST_BUILD_BYTES / 10**9:.0f} GB"
        )
