"""KEDA's operator and metrics adapter, the real ones, as processes beside a control plane."""

import shutil
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dev import binaries, progress
from dev.controlplane import ControlPlane
from dev.processes import Daemon
from standins import external_metrics

NAMESPACE = "keda"
START_SECONDS = 60.0
LOOPBACK = "127.0.0.1"


@contextmanager
def running(control_plane: ControlPlane, folder: Path) -> Iterator[None]:
    """For as long as the context lasts; their logs stay in `folder`."""
    kubectl = control_plane.kubectl
    built = binaries.directory(binaries.KEDA_MODULE)
    definitions = built / binaries.DEFINITIONS
    kubectl("apply", "--server-side", "-f", str(definitions))
    kubectl("create", "namespace", NAMESPACE)
    certificates = _certificates(control_plane, folder / "certificates")
    grpc, health, secure, metrics = _free_ports(4)
    environment = {
        "KUBECONFIG": str(control_plane.kubeconfig),
        "POD_NAMESPACE": NAMESPACE,
        "KEDA_CLUSTER_OBJECT_NAMESPACE": NAMESPACE,
        "WATCH_NAMESPACE": "",
    }
    operator, adapter = Daemon("keda-operator", folder), Daemon("keda-adapter", folder)
    operator_flags = (
        f"--cert-dir={certificates}",
        f"--metrics-service-bind-address={LOOPBACK}:{grpc}",
        f"--health-probe-bind-address={LOOPBACK}:{health}",
        "--enable-prometheus-metrics=false",
    )
    adapter_flags = (
        f"--cert-dir={certificates}",
        f"--tls-cert-file={certificates / 'tls.crt'}",
        f"--tls-private-key-file={certificates / 'tls.key'}",
        f"--bind-address={LOOPBACK}",
        f"--secure-port={secure}",
        f"--port={metrics}",
        f"--metrics-service-address={LOOPBACK}:{grpc}",
        *(
            f"--{use}-kubeconfig={control_plane.kubeconfig}"
            for use in ("lister", "authentication", "authorization")
        ),
    )
    try:
        operator.start([built / "operator", *operator_flags], environment)
        _wait(operator, f"http://{LOOPBACK}:{health}/readyz")
        adapter.start([built / "adapter", *adapter_flags], environment)
        _wait(adapter, f"http://{LOOPBACK}:{metrics}/metrics")
        with external_metrics.registered(secure, control_plane.authority, kubectl):
            yield
    finally:
        adapter.stop()
        operator.stop()


def _certificates(control_plane: ControlPlane, folder: Path) -> Path:
    """The two speak to each other with them, and the adapter to the API server."""
    folder.mkdir(parents=True)
    pair = external_metrics.serving_pair(control_plane.authority)
    for source, name in (
        (control_plane.authority.root.certificate, "ca.crt"),
        (pair.certificate, "tls.crt"),
        (pair.key, "tls.key"),
    ):
        shutil.copyfile(source, folder / name)
    return folder


def _wait(daemon: Daemon, url: str) -> None:
    def answered() -> bool:
        daemon.check()
        try:
            urllib.request.urlopen(url, timeout=5)
        except (urllib.error.URLError, OSError):
            return False
        return True

    progress.wait_for(daemon.name, answered, seconds=START_SECONDS)


def _free_ports(number: int) -> list[int]:
    probes = [socket.create_server((LOOPBACK, 0)) for _ in range(number)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports
