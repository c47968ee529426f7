"""What a kubelet does, as far as fault tests need it: it restarts operators and ends shape Jobs."""

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import builders
from cluster_client import ClusterClient, RefusedError
from operator_process import OperatorProcess

from berth_api import names
from berth_operator.cluster import kinds

LOOK_SECONDS = 0.2
# Before each restart of a container; the last of these before all further ones.
RESTART_PAUSES = (0.0, 10.0, 20.0, 40.0)


@contextmanager
def every(seconds: float, act: Callable[[], None], name: str) -> Iterator[None]:
    """Again and again for as long as the block runs, in a thread of its own."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(seconds):
            act()

    thread = threading.Thread(target=run, name=name)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@dataclass
class Container:
    """An operator that is started again whenever it ends."""

    operator: OperatorProcess
    exit_codes: list[int] = field(default_factory=list)
    _restart_at: float | None = None

    def look(self) -> None:
        code = self.operator.exit_code()
        if code is None:
            return
        if self._restart_at is None:
            pause = RESTART_PAUSES[min(len(self.exit_codes), len(RESTART_PAUSES) - 1)]
            self.exit_codes.append(code)
            self._restart_at = time.monotonic() + pause
        if time.monotonic() >= self._restart_at:
            self._restart_at = None
            self.operator.start()


@contextmanager
def restarting(operator: OperatorProcess) -> Iterator[Container]:
    container = Container(operator)
    with every(LOOK_SECONDS, container.look, "kubelet"):
        yield container


@contextmanager
def ending_shape_jobs(
    kubeconfig: Path, namespace: str, report: Mapping[str, Any] = builders.SMOLLM2_REPORT
) -> Iterator[None]:
    """Every shape Job's pod ends with this answer."""
    cluster = ClusterClient(kubeconfig)

    def look() -> None:
        # A control plane that is away is what many of these tests are about.
        with contextlib.suppress(OSError, http.client.HTTPException, RefusedError):
            _end_all(cluster, namespace, report)

    with every(LOOK_SECONDS, look, "shape reader"):
        yield


def _end_all(cluster: ClusterClient, namespace: str, report: Mapping[str, Any]) -> None:
    label = f"{names.LABEL_ROLE}={names.ROLE_SHAPE}"
    for pod in cluster.items(kinds.POD.path(namespace), label):
        if pod["status"].get("phase") == "Pending":
            path = kinds.POD.path(namespace, pod["metadata"]["name"], "status")
            cluster.patch(path, {"status": _ended(pod, report)})


def _ended(pod: dict[str, Any], report: Mapping[str, Any]) -> dict[str, Any]:
    container = pod["spec"]["containers"][0]["name"]
    told = builders.ended(container, 0, json.dumps(report))
    state = told["state"]["terminated"] | {"startedAt": "2026-01-02T03:04:00Z"}
    ended = told | {"imageID": "", "state": {"terminated": state}}
    return {"phase": "Succeeded", "containerStatuses": [ended]}
