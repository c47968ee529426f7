"""etcd, kube-apiserver, kube-controller-manager and kube-scheduler as plain processes.

The integration tests start one of these per run in a temporary directory: it needs the built
binaries and `openssl`, no root, no container and no fixed port. `dev.node` adds a node to it.
"""

import json
import socket
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from dev import binaries, kubeconfig, progress
from dev.certificates import Authority, KeyPair
from dev.kubectl import Kubectl
from dev.processes import Daemon

if TYPE_CHECKING:
    from typing_extensions import Self

LOOPBACK = "127.0.0.1"
POD_CIDR = "10.244.0.0/16"
SERVICE_CIDR = "10.96.0.0/16"
API_SERVICE_IP = "10.96.0.1"  # the first of SERVICE_CIDR; Kubernetes takes it for itself
START_SECONDS = 120.0

# Everyone's writes: "who changed what, and when". Leases are writes too, so the log also shows who
# was leader. Of reads only those of Berth's own accounts, which tell the rights that it uses;
# others' would drown all that.
BERTH_ACCOUNTS = "system:serviceaccounts:berth-system"
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "Metadata", "verbs": ["create", "update", "patch", "delete", "deletecollection"]},
        {"level": "Metadata", "userGroups": [BERTH_ACCOUNTS]},
        {"level": "None"},
    ],
}
# A rotated log would end under the tests that read it on from where they began.
AUDIT_LOG_MEGABYTES = 2048


@dataclass(frozen=True)
class _Client:
    """A component's kubeconfig: its file name and who its certificate says it is."""

    name: str
    user: str
    groups: tuple[str, ...] = ()


_CLIENTS = (
    _Client("admin", "berth-dev-admin", ("system:masters",)),
    _Client("controller-manager", "system:kube-controller-manager"),
    _Client("scheduler", "system:kube-scheduler"),
)


@dataclass(frozen=True)
class ControlPlane:
    """A Kubernetes without nodes, whose every file is under `state_dir`.

    `api_port` 0 takes a free one; a given one stays the same over restarts. `address` is where the
    API server listens and, unless it is loopback, what it tells pods to connect to.
    `controller_flags` are the controller manager's, after those that it always gets, and so
    are `scheduler_flags`.
    """

    state_dir: Path
    address: str = LOOPBACK
    api_port: int = 0
    controller_flags: tuple[str, ...] = ()
    scheduler_flags: tuple[str, ...] = ()
    authority: Authority = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "authority", Authority(self.state_dir / "pki"))

    def __enter__(self) -> "Self":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.state_dir / "admin.kubeconfig"

    @property
    def kubectl(self) -> Kubectl:
        return Kubectl(binaries.path("kubectl"), self.kubeconfig)

    @property
    def audit_log(self) -> Path:
        """One JSON event per line: every write, and what Berth's own accounts read."""
        return self.state_dir / "audit.log"

    @property
    def daemons(self) -> tuple[Daemon, ...]:
        """In the order of starting."""
        names = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
        return tuple(Daemon(name, self.state_dir / "run") for name in names)

    def running(self) -> bool:
        return all(daemon.pid() is not None for daemon in self.daemons)

    def start(self) -> None:
        """Start what does not run and return when the cluster can take a pod."""
        if self.running():
            return
        self.stop()
        self.state_dir.mkdir(parents=True, exist_ok=True)
        self.authority.create()
        try:
            self._launch()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        for daemon in reversed(self.daemons):
            daemon.stop()

    def client_kubeconfig(self, name: str, user: str, groups: tuple[str, ...] = ()) -> Path:
        """A kubeconfig for one more user; it lies beside the others."""
        pair = self.authority.issue(name, user=user, groups=groups)
        server = json.loads(self.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
        path = self.state_dir / f"{name}.kubeconfig"
        return kubeconfig.write(path, server, self.authority.root.certificate, pair)

    def _launch(self) -> None:
        etcd, apiserver, controller_manager, scheduler = self.daemons
        etcd_url = f"https://{LOOPBACK}:{_free_port(LOOPBACK)}"
        api_port = self.api_port or _free_port(self.address)
        self._write_kubeconfigs(f"https://{self.address}:{api_port}")
        etcd.start(self._etcd_command(etcd_url))
        apiserver.start(self._apiserver_command(etcd_url, api_port))
        # The others end at once when the API server has not yet made their roles.
        self._wait_for("get", "--raw=/readyz", daemons=(etcd, apiserver))
        controller_manager.start(self._controller_manager_command())
        scheduler.start(self._scheduler_command())
        # No pod is let in before the controller manager has made this account.
        self._wait_for("get", "serviceaccount", "default", daemons=self.daemons)

    def _wait_for(self, *request: str, daemons: tuple[Daemon, ...]) -> None:
        def answered() -> bool:
            for daemon in daemons:
                daemon.check()
            return self.kubectl.succeeds(*request)

        progress.wait_for("the control plane", answered, seconds=START_SECONDS)

    def _write_kubeconfigs(self, server: str) -> None:
        for client in _CLIENTS:
            pair = self.authority.issue(client.name, user=client.user, groups=client.groups)
            path = self.state_dir / f"{client.name}.kubeconfig"
            kubeconfig.write(path, server, self.authority.root.certificate, pair)

    def _etcd_command(self, url: str) -> list[str | Path]:
        server = self.authority.issue("etcd", user="etcd", addresses=[f"IP:{LOOPBACK}"])
        peer_url = f"http://{LOOPBACK}:{_free_port(LOOPBACK)}"
        return [
            binaries.path("etcd"),
            f"--data-dir={self.state_dir / 'etcd'}",
            f"--listen-client-urls={url}",
            f"--advertise-client-urls={url}",
            f"--listen-peer-urls={peer_url}",
            f"--initial-advertise-peer-urls={peer_url}",
            f"--initial-cluster=default={peer_url}",
            "--client-cert-auth",
            f"--trusted-ca-file={self.authority.root.certificate}",
            f"--cert-file={server.certificate}",
            f"--key-file={server.key}",
            "--unsafe-no-fsync",  # a power cut may lose a development cluster; a slow disk may not
            "--log-level=warn",
        ]

    def _apiserver_command(self, etcd_url: str, port: int) -> list[str | Path]:
        root = self.authority.root
        server = self._serving_pair()
        client = self.authority.issue(
            "apiserver-client", user="kube-apiserver", groups=("system:masters",)
        )
        accounts = self.authority.issue("service-accounts", user="service-accounts")
        policy = self.state_dir / "audit-policy.json"
        policy.write_text(json.dumps(AUDIT_POLICY))
        return [
            binaries.path("kube-apiserver"),
            f"--bind-address={self.address}",
            f"--secure-port={port}",
            *self._advertise_flags(),
            f"--service-cluster-ip-range={SERVICE_CIDR}",
            "--allow-privileged",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            f"--tls-cert-file={server.certificate}",
            f"--tls-private-key-file={server.key}",
            f"--client-ca-file={root.certificate}",
            f"--etcd-servers={etcd_url}",
            f"--etcd-cafile={root.certificate}",
            f"--etcd-certfile={client.certificate}",
            f"--etcd-keyfile={client.key}",
            # A node's name means nothing to this machine's name servers.
            "--kubelet-preferred-address-types=InternalIP",
            f"--kubelet-certificate-authority={root.certificate}",
            f"--kubelet-client-certificate={client.certificate}",
            f"--kubelet-client-key={client.key}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={accounts.certificate}",
            f"--service-account-signing-key-file={accounts.key}",
            f"--audit-policy-file={policy}",
            f"--audit-log-path={self.audit_log}",
            f"--audit-log-maxsize={AUDIT_LOG_MEGABYTES}",
            *self._aggregation_flags(),
        ]

    def _aggregation_flags(self) -> list[str]:
        """For API servers behind this one, such as those that give an HPA its metrics."""
        user = "front-proxy-client"
        proxy = self.authority.issue(user, user=user)
        return [
            f"--requestheader-client-ca-file={self.authority.root.certificate}",
            f"--requestheader-allowed-names={user}",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-username-headers=X-Remote-User",
            f"--proxy-client-cert-file={proxy.certificate}",
            f"--proxy-client-key-file={proxy.key}",
        ]

    def _serving_pair(self) -> KeyPair:
        names = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
        ips = dict.fromkeys((self.address, LOOPBACK, API_SERVICE_IP))
        addresses = [f"IP:{ip}" for ip in ips] + [f"DNS:{name}" for name in names]
        return self.authority.issue("apiserver", user="kube-apiserver", addresses=addresses)

    def _advertise_flags(self) -> list[str]:
        """Pods cannot reach loopback, so there is nothing to advertise where no pod runs."""
        if self.address == LOOPBACK:
            return ["--endpoint-reconciler-type=none"]
        return [f"--advertise-address={self.address}"]

    def _controller_manager_command(self) -> list[str | Path]:
        root = self.authority.root
        config = self.state_dir / "controller-manager.kubeconfig"
        return [
            binaries.path("kube-controller-manager"),
            *self._component_flags(config),
            "--allocate-node-cidrs",
            f"--cluster-cidr={POD_CIDR}",
            f"--cluster-signing-cert-file={root.certificate}",
            f"--cluster-signing-key-file={root.key}",
            f"--root-ca-file={root.certificate}",
            f"--service-account-private-key-file={self.authority.folder / 'service-accounts.key'}",
            "--use-service-account-credentials",
            *self.controller_flags,
        ]

    def _scheduler_command(self) -> list[str | Path]:
        config = self.state_dir / "scheduler.kubeconfig"
        return [
            binaries.path("kube-scheduler"),
            *self._component_flags(config),
            *self.scheduler_flags,
        ]

    def _component_flags(self, config: Path) -> list[str]:
        return [
            f"--kubeconfig={config}",
            f"--authentication-kubeconfig={config}",
            f"--authorization-kubeconfig={config}",
            f"--bind-address={LOOPBACK}",
            f"--secure-port={_free_port(LOOPBACK)}",
            "--leader-elect=false",  # there is one of each
        ]


def _free_port(address: str) -> int:
    """A port that nothing listens on now; the program that gets it binds it a moment later."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port
