"""A cgroup root of our own, so that pods are found and removed without touching anyone else's."""

import contextlib
import os
import signal
from pathlib import Path

from dev import progress

ROOT = "/berth-dev"
MOUNT = Path("/sys/fs/cgroup")
KILL_SECONDS = 10.0


def hierarchies(mount: Path = MOUNT) -> list[Path]:
    """Every hierarchy: one in cgroup v2, one per controller (some under two names) in v1."""
    if (mount / "cgroup.controllers").exists():
        return [mount]
    return [entry for entry in sorted(mount.iterdir()) if entry.is_dir() and not entry.is_symlink()]


def create(mount: Path = MOUNT) -> None:
    for hierarchy in hierarchies(mount):
        (hierarchy / ROOT.lstrip("/")).mkdir(exist_ok=True)
    unified = mount / "cgroup.controllers"
    if unified.exists():
        controllers = " ".join(f"+{name}" for name in unified.read_text().split())
        (mount / ROOT.lstrip("/") / "cgroup.subtree_control").write_text(controllers)


def kill(mount: Path = MOUNT) -> None:
    """End every process in our cgroups."""

    def empty() -> bool:
        members = {pid for root in _roots(mount) for pid in _members(root)}
        for pid in members:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not members

    progress.wait_for(f"the processes in {ROOT} to end", empty, seconds=KILL_SECONDS)


def remove(mount: Path = MOUNT) -> None:
    """Remove our cgroups, which must be empty, from the leaves up."""
    for root in _roots(mount):
        for folder, _, _ in os.walk(root, topdown=False):
            Path(folder).rmdir()


def _roots(mount: Path) -> list[Path]:
    roots = [hierarchy / ROOT.lstrip("/") for hierarchy in hierarchies(mount)]
    return [root for root in roots if root.exists()]


def _members(root: Path) -> list[int]:
    """A cgroup may go while it is looked for or read."""
    members: list[int] = []
    for folder, _, _ in os.walk(root):  # which passes over what is gone, where rglob raises
        with contextlib.suppress(OSError):
            members += [int(pid) for pid in Path(folder, "cgroup.procs").read_text().split()]
    return members
