"""Which cluster the demo runs on, and how it is started, filled with images and stopped.

In this order: the one that BERTH_KUBECONFIG names, kind where Docker runs, else this machine.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol

from dev import (
    binaries,
    cgroups,
    host,
    images,
    network,
    packages,
    places,
    preflight,
    progress,
)
from dev.containerd import Containerd
from dev.controlplane import ControlPlane
from dev.errors import DevError
from dev.kubectl import Kubectl
from dev.node import Node
from dev.processes import Daemon

KIND_CLUSTER = "berth-dev"
API_PORT = 6443


class Kind(Enum):
    """The sorts of cluster, best first."""

    GIVEN = "given"
    KIND = "kind"
    OWN_NODE = "own-node"


def choose(environment: Mapping[str, str], *, docker_works: bool, kind_installed: bool) -> Kind:
    if environment.get("BERTH_KUBECONFIG"):
        return Kind.GIVEN
    if docker_works and kind_installed:
        return Kind.KIND
    return Kind.OWN_NODE


class Cluster(Protocol):
    """What the rest of `dev` may ask of any of the three."""

    @property
    def kubectl(self) -> Kubectl: ...
    @property
    def builder(self) -> images.Builder | None: ...
    @property
    def modules(self) -> tuple[binaries.Module, ...]: ...
    def prepare(self) -> None: ...
    def start(self) -> None: ...
    def load(self, image: images.Image) -> None: ...
    def stop(self) -> None: ...
    def running(self) -> bool: ...
    def status(self) -> list[str]: ...


def up(*, keep_go_cache: bool = False) -> Cluster:
    """Start this machine's cluster from whatever is there; a running one is left as it is."""
    cluster = current()
    cluster.prepare()
    binaries.build(cluster.modules, keep_cache=keep_go_cache)
    cluster.start()
    return cluster


def current() -> Cluster:
    """The cluster of this machine and environment, whether or not it runs."""
    kind = choose(
        os.environ,
        docker_works=shutil.which("docker") is not None and progress.succeeds(["docker", "info"]),
        kind_installed=shutil.which("kind") is not None,
    )
    match kind:
        case Kind.GIVEN:
            return GivenCluster(Path(os.environ["BERTH_KUBECONFIG"]))
        case Kind.KIND:
            return KindCluster(places.state_dir() / "kind.kubeconfig")
        case Kind.OWN_NODE:
            return OwnNode(places.state_dir())


@dataclass(frozen=True)
class GivenCluster:
    """Somebody's cluster: it is never started, stopped or filled; its nodes pull the images."""

    kubeconfig: Path
    builder: None = None
    modules: tuple[binaries.Module, ...] = (binaries.HELM_MODULE,)

    @property
    def kubectl(self) -> Kubectl:
        return Kubectl(_installed_kubectl(), self.kubeconfig)

    def prepare(self) -> None:
        """Nothing to do."""

    def start(self) -> None:
        self.kubectl("version")

    def load(self, image: images.Image) -> None:
        """Nothing to do."""

    def stop(self) -> None:
        """Nothing to do."""

    def running(self) -> bool:
        return True

    def status(self) -> list[str]:
        return [f"cluster: given by BERTH_KUBECONFIG, {self.kubeconfig}"]


@dataclass(frozen=True)
class KindCluster:
    kubeconfig: Path
    builder: images.Docker = field(default_factory=images.Docker)
    modules: tuple[binaries.Module, ...] = (binaries.HELM_MODULE,)

    @property
    def kubectl(self) -> Kubectl:
        return Kubectl(_installed_kubectl(), self.kubeconfig)

    def prepare(self) -> None:
        places.claim(self.kubeconfig.parent)

    def start(self) -> None:
        if self.running():
            return
        with progress.step("kind create cluster"):
            _kind("create", "cluster", "--wait=120s", f"--kubeconfig={self.kubeconfig}")

    def load(self, image: images.Image) -> None:
        with progress.step(f"load {image.reference}"):
            _kind("load", "docker-image", image.reference)

    def stop(self) -> None:
        if self.running():
            _kind("delete", "cluster", f"--kubeconfig={self.kubeconfig}")

    def status(self) -> list[str]:
        return [f"cluster: kind, {'running' if self.running() else 'stopped'}"]

    def running(self) -> bool:
        return KIND_CLUSTER in progress.run(["kind", "get", "clusters"]).split()


def _kind(*arguments: str) -> None:
    progress.run(["kind", *arguments, f"--name={KIND_CLUSTER}"])


def _installed_kubectl() -> Path:
    installed = shutil.which("kubectl")
    if installed is None:
        raise DevError("a cluster that this tool did not build needs kubectl on PATH")
    return Path(installed)


@dataclass(frozen=True)
class OwnNode:
    """The machine itself as the node, without Docker."""

    state_dir: Path
    modules: tuple[binaries.Module, ...] = binaries.MODULES

    @property
    def control_plane(self) -> ControlPlane:
        return ControlPlane(self.state_dir, address=network.NODE_IP, api_port=API_PORT)

    @property
    def node(self) -> Node:
        return Node(self.control_plane, Containerd(self.state_dir))

    @property
    def kubectl(self) -> Kubectl:
        return self.control_plane.kubectl

    @property
    def builder(self) -> images.Buildah:
        return images.Buildah(
            storage=places.cache_dir() / "containers", run_dir=self.state_dir / "run" / "buildah"
        )

    def prepare(self) -> None:
        preflight.check_node()
        places.claim(self.state_dir)
        packages.install()

    def start(self) -> None:
        host.Host(self._host_record).prepare()
        network.create()
        cgroups.create()
        with progress.step("start the control plane"):
            self.control_plane.start()
        with progress.step("start containerd"):
            self.node.containerd.start()
        for image in images.system():
            images.build(self.builder, image)
            self.load(image)
        with progress.step("start the node"):
            self.node.start()

    def load(self, image: images.Image) -> None:
        """Bring an image into containerd unless the same one is there."""
        runtime = self.node.containerd
        marks = f"{image.repository}:id-"
        unique = marks + self.builder.image_id(image.reference)
        known = runtime.references()
        if unique in known:
            return
        with progress.step(f"load {image.reference}"):
            self.builder.send(image.reference, runtime.import_command)
            runtime.tag(image.reference, unique)
        for old in (mark for mark in known if mark.startswith(marks)):
            # The second is kubelet's own name for the same image.
            runtime.remove(old, f"sha256:{old.removeprefix(marks)}")
        runtime.drop_archives()

    def stop(self) -> None:
        with progress.step("stop the node"):
            self.node.stop()
        with progress.step("stop the control plane"):
            self.control_plane.stop()
        host.unmount_below(self.builder.storage)
        network.remove()
        host.Host(self._host_record).restore()

    def running(self) -> bool:
        return any(daemon.pid() for daemon in self._daemons)

    def status(self) -> list[str]:
        lines = [f"cluster: this machine, {self.state_dir}"]
        return lines + [f"  {one.name}: {one.pid() or 'stopped'}" for one in self._daemons]

    @property
    def _daemons(self) -> tuple[Daemon, ...]:
        return (
            *self.control_plane.daemons,
            self.node.containerd.daemon,
            *self.node.daemons,
        )

    @property
    def _host_record(self) -> Path:
        return self.state_dir / "host.json"
