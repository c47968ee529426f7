"""What a node changes on its host outside our folders, remembered so that `down` can undo it.

kubelet, kube-proxy and containerd set kernel parameters and create directories at fixed paths.
The record is written before the first of them starts and removed once the host is as it was.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from dev import progress

_KERNEL_PARAMETERS = (
    "kernel/panic",  # kubelet
    "kernel/panic_on_oops",  # kubelet
    "kernel/keys/root_maxbytes",  # kubelet
    "kernel/keys/root_maxkeys",  # kubelet
    "net/bridge/bridge-nf-call-ip6tables",
    "net/bridge/bridge-nf-call-iptables",  # ours: Services between pods on one bridge
    "net/ipv4/conf/all/route_localnet",  # kube-proxy
    "net/ipv4/ip_forward",  # ours: pods reach each other through the host
    "vm/overcommit_memory",  # kubelet
    "vm/panic_on_oom",  # kubelet
)
_REQUIRED = {"net/bridge/bridge-nf-call-iptables": "1", "net/ipv4/ip_forward": "1"}

# Paths that no flag moves.
_DIRECTORIES = (
    "/opt/containerd",
    "/run/containerd",  # shims' sockets
    "/var/lib/cni",  # libcni's result cache
    "/var/lib/kubelet",  # kubelet's device plugin sockets
    "/var/log/containers",  # kubelet's links to logs
)


@dataclass(frozen=True)
class Host:
    """`record` holds the values of before; it exists exactly while the host is changed."""

    record: Path
    proc_sys: Path = Path("/proc/sys")

    def prepare(self) -> None:
        if not self.record.exists():
            self.record.write_text(json.dumps(self._observe(), indent=2))
        for name, value in _REQUIRED.items():
            if (self.proc_sys / name).exists():
                (self.proc_sys / name).write_text(value)

    def restore(self) -> None:
        if not self.record.exists():
            return
        before = json.loads(self.record.read_text())
        for name, value in before["parameters"].items():
            if (self.proc_sys / name).read_text() != value:
                (self.proc_sys / name).write_text(value)
        for directory in before["absent"]:
            shutil.rmtree(directory, ignore_errors=True)
        self.record.unlink()

    def _observe(self) -> dict[str, object]:
        parameters = [name for name in _KERNEL_PARAMETERS if (self.proc_sys / name).exists()]
        return {
            "parameters": {name: (self.proc_sys / name).read_text() for name in parameters},
            "absent": [name for name in _DIRECTORIES if not Path(name).exists()],
        }


def unmount_below(folder: Path) -> None:
    """Unmount everything under a folder of ours, innermost first."""
    for target in reversed(mounts_below(folder, Path("/proc/self/mountinfo").read_text())):
        progress.run(["umount", "--lazy", target])


def mounts_below(folder: Path, mountinfo: str) -> list[str]:
    """Mount points at or under `folder`, in the order in which they were mounted."""
    targets = [line.split()[4] for line in mountinfo.splitlines()]
    return [
        target for target in targets if target == str(folder) or target.startswith(f"{folder}/")
    ]
