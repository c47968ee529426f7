"""A containerd of our own beside any other: its root, its state and its socket are ours."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from dev import cgroups, progress
from dev.errors import CommandFailedError
from dev.processes import Daemon

PAUSE_IMAGE = "localhost/pause:1"
START_SECONDS = 30.0

_NAMESPACE = "k8s.io"  # where kubelet's containers are
_CNI_PLUGINS = "/usr/lib/cni"  # Debian's place
_CONFIG = """\
version = 2
root = "{root}"
state = "{state}"
imports = []
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.tracing.processor.v1.otlp",
]
[grpc]
  address = "{socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{root}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  netns_mounts_under_state_dir = true
  # Where the host may not lower oom_score_adj, a sandbox would die at its start.
  restrict_oom_score_adj = true
  disable_tcp_service = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{cni_plugins}"
    conf_dir = "{cni_config}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        Root = "{state}/runc"
        SystemdCgroup = false
"""


@dataclass(frozen=True)
class Containerd:
    state_dir: Path

    @property
    def socket(self) -> Path:
        return self._state / "containerd.sock"

    @property
    def cni_config(self) -> Path:
        return self.state_dir / "cni"

    @property
    def daemon(self) -> Daemon:
        return Daemon("containerd", self.state_dir / "run")

    def start(self) -> None:
        self._state.mkdir(parents=True, exist_ok=True)
        config = self.state_dir / "containerd.toml"
        config.write_text(
            _CONFIG.format(
                root=self._root,
                state=self._state,
                socket=self.socket,
                pause=PAUSE_IMAGE,
                cni_plugins=_CNI_PLUGINS,
                cni_config=self.cni_config,
            )
        )
        self.daemon.start(["/usr/bin/containerd", "--config", config])

        def answers() -> bool:
            self.daemon.check()
            return progress.succeeds(self._command("version"))

        progress.wait_for("containerd", answers, seconds=START_SECONDS)

    def stop(self) -> None:
        """Stop every container, then the shims, then containerd; the images stay."""
        if self.daemon.pid() is not None:
            cgroups.kill()
            for container in self._list("containers"):
                progress.succeeds(self._command("tasks", "delete", "--force", container))
                progress.succeeds(self._command("containers", "delete", container))
        for pid in self._shims():
            os.kill(pid, signal.SIGKILL)
        self.daemon.stop()

    def references(self) -> set[str]:
        return set(self._list("images"))

    @property
    def import_command(self) -> list[str | Path]:
        """Reads an image archive from its standard input."""
        return self._command("images", "import", "-")

    def tag(self, source: str, target: str) -> None:
        self._ctr("images", "tag", "--force", source, target)

    def remove(self, *references: str) -> None:
        self._ctr("images", "remove", "--sync", *references)

    def drop_archives(self) -> None:
        """Forget layers' archives, which containers, running from unpacked layers, never read."""
        self._ctr("content", "prune", "references")

    @property
    def _root(self) -> Path:
        return self.state_dir / "containerd"

    @property
    def _state(self) -> Path:
        return self.state_dir / "run" / "containerd"

    def _list(self, kind: str) -> list[str]:
        try:
            return self._ctr(kind, "list", "--quiet").split()
        except CommandFailedError:
            return []

    def _ctr(self, *arguments: str) -> str:
        return progress.run(self._command(*arguments))

    def _command(self, *arguments: str) -> list[str | Path]:
        return ["ctr", "--address", self.socket, "--namespace", _NAMESPACE, *arguments]

    def _shims(self) -> list[int]:
        """Processes that were started with our socket's path as an argument."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                arguments = (process / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"containerd-shim" in arguments[0] and str(self.socket).encode() in arguments:
                found.append(int(process.name))
        return found
