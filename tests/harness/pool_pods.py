"""A pool's pods as processes of this machine, and the kubelet that plays them.

Berth has fixed the ports of a pool's pod, and the folders in which it finds its things. So each pod
has namespaces of its own, as a container has: an address, a PID 1, and folders where its template
mounts them. Its cards are a file. It takes root, `ip` and `unshare`.
"""

import base64
import contextlib
import http.client
import json
import os
import random
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster_client import ClusterClient, RefusedError
from said_nodes import timestamp

from berth_api import names
from berth_api.server import PodStatus
from berth_operator.cluster import kinds
from dev import progress
from standins import tiny_model
from standins.card import VARIABLE, Cards

Object = dict[str, Any]

# The last half of 198.18.0.0/15, which no network has but for measurements: two addresses a pod.
_FIRST_ADDRESS = (198 << 24) + (19 << 16)
_PAIRS = 2**16 // 4
_ANSWER_SECONDS = 2.0
_INSIDE = Path("/berth")
# $1 is an empty folder, $2 the pod's own, which it is to see at /berth, the rest a command. A root
# of links to this machine's has a folder that this machine has not.
_CONTAINER = """set -e
root="$1"; own="$2"; shift 2
mount -t tmpfs none "$root"
for one in /*; do
  if [ -L "$one" ]; then cp -P "$one" "$root$one"
  elif [ -d "$one" ] && [ "$one" != /proc ]; then mkdir "$root$one"; mount --bind "$one" "$root$one"
  fi
done
mkdir "$root/proc" "$root/berth"
mount -t proc proc "$root/proc"
mount --bind "$own" "$root/berth"
exec chroot "$root" "$@"
"""


@dataclass(frozen=True)
class Network:
    """A network namespace with one address, which this machine reaches and nobody else."""

    name: str
    pair: int

    @classmethod
    def make(cls) -> "Network":
        found = cls(f"pool-{os.urandom(4).hex()}", random.randrange(_PAIRS))
        cable = found.name
        inside = ("ip", "-n", found.name)
        for command in (
            ("ip", "netns", "add", found.name),
            ("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", *found._at),
            ("ip", "address", "add", f"{found._end(1)}/30", "dev", cable),
            ("ip", "link", "set", cable, "up"),
            (*inside, "address", "add", f"{found.address}/30", "dev", "eth0"),
            (*inside, "link", "set", "eth0", "up"),
            (*inside, "link", "set", "lo", "up"),
        ):
            progress.run(command)
        return found

    @property
    def address(self) -> str:
        return self._end(2)

    def remove(self) -> None:
        progress.run(("ip", "netns", "delete", self.name))

    @property
    def _at(self) -> tuple[str, str]:
        return "netns", self.name

    def _end(self, number: int) -> str:
        whole = _FIRST_ADDRESS + 4 * self.pair + number
        return ".".join(str(byte) for byte in whole.to_bytes(4, "big"))


@dataclass
class PodProcess:
    """One pod: what its template says, run here."""

    object: Object
    folder: Path
    network: Network
    cards: Cards
    started_at: str
    ready: bool = False
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        return str(self.object["metadata"]["name"])

    def start(self, environment: Mapping[str, str]) -> None:
        root = self.folder / "root"
        root.mkdir()
        place = ("ip", "netns", "exec", self.network.name)
        alone = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
        container = ("sh", "-c", _CONTAINER, "sh", str(root), str(self.folder / "berth"))
        server = (sys.executable, "-m", "berth_server", str(_INSIDE / "termination-log"))
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*place, *alone, *container, *server], env=environment, stdout=log, stderr=log
            )

    def end(self) -> None:
        """With all of its processes."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self.network.remove()

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def says_ready(self) -> bool:
        try:
            return self._get(names.PATH_READY)[0] == http.client.OK
        except OSError:
            return False

    def report(self) -> PodStatus:
        return PodStatus.model_validate_json(self._get(names.PATH_STATUS)[1])

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def _log(self) -> Path:
        return self.folder / "pod.log"

    def _get(self, path: str) -> tuple[int, bytes]:
        address = self.network.address
        with contextlib.closing(
            http.client.HTTPConnection(address, names.PORT_SERVER_STATUS, timeout=_ANSWER_SECONDS)
        ) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()


@dataclass
class PoolKubelet:
    """Starts the pods of one namespace's pools that have a node, and tells when they are ready."""

    kubeconfig: Path
    namespace: str
    folder: Path
    card_bytes: tuple[int, ...]  # of each pod
    models: tuple[str, ...]  # folders of the pools' claim
    pods: dict[str, PodProcess] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.cluster = ClusterClient(self.kubeconfig)

    def look(self) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException, RefusedError):
            for pod in self.cluster.items(kinds.POD.path(self.namespace), _POOLS):
                uid = pod["metadata"]["uid"]
                if uid not in self.pods and "nodeName" in pod["spec"]:
                    self.pods[uid] = self._start(pod)
                    self._tell(self.pods[uid])
            for one in self.pods.values():
                if not one.ready and one.says_ready():
                    one.ready = True
                    self._tell(one)

    def stop(self) -> None:
        for one in self.pods.values():
            one.end()

    def _start(self, pod: Object) -> PodProcess:
        folder = self.folder / pod["metadata"]["name"]
        cards = self._fill(folder / "berth", pod)
        one = PodProcess(pod, folder, Network.make(), cards, timestamp())
        given = pod["spec"]["containers"][0]["env"]
        own = {
            "PATH": f"{_INSIDE / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(str(Path(one).resolve()) for one in sys.path),
            VARIABLE: str(_INSIDE / "cards"),
        }
        one.start({each["name"]: each["value"] for each in given} | own)
        return one

    def _fill(self, berth: Path, pod: Object) -> Cards:
        """What is mounted, and the driver's tool."""
        (berth / "run").mkdir(parents=True)
        for model in self.models:
            (berth / "model" / model).mkdir(parents=True)
            (berth / "model" / model / "config.json").write_text(json.dumps(tiny_model.CONFIG))
        key = self._secret(names.pool_key_secret(pod["metadata"]["labels"][names.LABEL_POOL]))
        (berth / "pool-key").mkdir()
        (berth / "pool-key" / names.POOL_KEY_FIELD).write_bytes(key)
        (berth / "bin").mkdir()
        tool = berth / "bin" / "nvidia-smi"
        tool.write_text(f"#!/bin/sh\nexec {sys.executable} -S -m standins.card\n")
        tool.chmod(0o755)
        cards = Cards(berth / "cards")
        cards.write(list(self.card_bytes))
        return cards

    def _secret(self, name: str) -> bytes:
        found = self.cluster.get(kinds.SECRET.path(self.namespace, name))
        return base64.b64decode(found["data"][names.POOL_KEY_FIELD])

    def _tell(self, one: PodProcess) -> None:
        ready = "True" if one.ready else "False"
        container = {
            "name": "engine",
            "image": "example.test/engine:1",
            "imageID": "",
            "ready": one.ready,
            "restartCount": 0,
            "state": {"running": {"startedAt": one.started_at}},
        }
        status = {
            "phase": "Running",
            "podIP": one.network.address,
            "podIPs": [{"ip": one.network.address}],
            "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": timestamp()}],
            "containerStatuses": [container],
        }
        path = kinds.POD.path(self.namespace, one.name, "status")
        self.cluster.patch(path, {"status": status})


_POOLS = f"{names.LABEL_ROLE}={names.ROLE_POOL}"
