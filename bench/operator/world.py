"""The cluster that is measured: a control plane, and in `full` also KWOK's nodes and pods."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from aiohttp import web

from berth_api import names
from dev import binaries, places, progress
from dev.controlplane import POD_CIDR, ControlPlane
from dev.processes import Daemon

NODES: Final = 200
CARDS_PER_NODE: Final = 8
CARD_MIB: Final = 81559  # an H100, as its driver reports it
_NOT_READY: Final = "node.kubernetes.io/not-ready"
_KWOK_NODES: Final = "kwok.x-k8s.io/node"
_READY_SECONDS: Final = 60.0
# By default both send twenty and fifty requests a second: that limit would be all that is measured.
_UNLIMITED: Final = ("--kube-api-qps=5000", "--kube-api-burst=5000")
_SYNCS: Final = ("deployment", "replicaset", "endpoint", "service-endpoint")
_CONTROLLER_FLAGS: Final = (
    # KWOK's nodes renew no lease, and would be taken for lost.
    "--controllers=*,-node-lifecycle-controller",
    *_UNLIMITED,
    *(f"--concurrent-{kind}-syncs=20" for kind in _SYNCS),
)
_SCHEDULER_FLAGS: Final = _UNLIMITED


@dataclass(frozen=True)
class World:
    plane: ControlPlane
    daemons: tuple[Daemon, ...]

    def pids(self) -> dict[str, int]:
        found = {daemon.name: daemon.pid() for daemon in self.daemons}
        return {name: pid for name, pid in found.items() if pid is not None}


@contextmanager
def running(folder: Path, *, pods: bool) -> Iterator[World]:
    """With `pods`, whatever Kubernetes and KWOK do about them; else API server and etcd alone."""
    with ControlPlane(
        folder, controller_flags=_CONTROLLER_FLAGS, scheduler_flags=_SCHEDULER_FLAGS
    ) as plane:
        etcd, apiserver, *controllers = plane.daemons
        for plural in (names.PLURAL, names.PLURAL_POOL):
            definition = places.REPOSITORY / f"crds/{plural}.{names.GROUP}.yaml"
            plane.kubectl("apply", "--server-side", "-f", str(definition))
            progress.wait_for(
                "the definition", partial(plane.kubectl.succeeds, "get", plural), seconds=30
            )
        if not pods:
            for daemon in controllers:
                daemon.stop()
            yield World(plane, (etcd, apiserver))
            return
        with _kwok(plane, folder) as kwok:
            yield World(plane, (*plane.daemons, kwok))


@contextmanager
def _kwok(plane: ControlPlane, folder: Path) -> Iterator[Daemon]:
    built = binaries.directory(binaries.KWOK_MODULE)
    stages = folder / "stages.yaml"
    texts = (file.read_text() for file in sorted((built / binaries.DEFINITIONS).iterdir()))
    stages.write_text("\n---\n".join(text for text in texts if "kind: Stage" in text))
    daemon = Daemon("kwok", folder / "run")
    daemon.start(
        [
            built / "kwok",
            f"--kubeconfig={plane.kubeconfig}",
            "--manage-all-nodes=false",
            f"--manage-nodes-with-annotation-selector={_KWOK_NODES}=fake",
            "--server-address=127.0.0.1:10347",
            "--node-lease-duration-seconds=0",
            "--node-ip=127.0.0.1",
            f"--config={stages}",
        ]
    )
    try:
        plane.kubectl("create", "-f", "-", stdin=_nodes())
        _wait_for_nodes(plane)
        yield daemon
    finally:
        daemon.stop()


def _nodes() -> str:
    labels = {
        "nvidia.com/gpu.count": str(CARDS_PER_NODE),
        "nvidia.com/gpu.memory": str(CARD_MIB),
        "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3",
        "nvidia.com/gpu.compute.major": "9",
        "nvidia.com/gpu.compute.minor": "0",
    }
    held = {"cpu": "192", "memory": "2Ti", "pods": "250", "nvidia.com/gpu": str(CARDS_PER_NODE)}
    nodes = [
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": f"gpu-{number}",
                "labels": labels,
                "annotations": {_KWOK_NODES: "fake"},
            },
            "status": {"capacity": held, "allocatable": held},
        }
        for number in range(NODES)
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": nodes})


def _wait_for_nodes(plane: ControlPlane) -> None:
    """Ready, and without the taint that only the node lifecycle controller would take off."""

    def ready() -> bool:
        path = "{.items[*].status.conditions[?(@.type=='Ready')].status}"
        said = plane.kubectl("get", "nodes", "-o", f"jsonpath={path}").split()
        return said.count("True") == NODES

    progress.wait_for("KWOK's nodes", ready, seconds=_READY_SECONDS)
    plane.kubectl.succeeds("taint", "nodes", "--all", f"{_NOT_READY}:NoSchedule-")


def enter_network() -> None:
    """In a fresh network namespace: loopback, and every pod's address on it."""
    for command in (
        "link set lo up",
        f"route add local {POD_CIDR} dev lo",
        # An API server does not start without a default route, wherever it listens.
        "link add outside type bridge",
        "addr add 192.0.2.1/24 dev outside",
        "link set outside up",
        "route add default dev outside",
    ):
        progress.run(["ip", *command.split()])


@asynccontextmanager
async def engines() -> AsyncIterator[None]:
    """What answers at every pod's status port: an engine that serves and has measured itself."""
    told = json.dumps(
        {
            "phase": "Serving",
            "engines": [
                {"name": "engine", "phase": "Serving", "measured": {"kvCacheTokens": 100_000}}
            ],
        }
    )

    async def status(_: web.Request) -> web.Response:
        return web.Response(text=told, content_type="application/json")

    application = web.Application()
    application.router.add_get("/status", status)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "0.0.0.0", names.PORT_SERVER_STATUS).start()
        yield
    finally:
        await runner.cleanup()
