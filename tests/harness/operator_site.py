"""One namespace of a control plane with the operators of a fault test, and what must hold in it."""

import contextlib
import http.client
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import builders
import pytest
from cluster_client import ClusterClient, RefusedError
from clusterapi import CRD_NAME
from fault_proxy import FaultProxy
from invariants import Audit, Write, alarms, excesses, strays, token_id
from operator_process import OperatorProcess, account_kubeconfig, chart_rights

from berth_api import names
from berth_operator.cluster import kinds
from berth_operator.cluster.kinds import Kind
from dev import progress
from dev.controlplane import ControlPlane
from dev.kubectl import Kubectl

Object = dict[str, Any]

CHILDREN = (
    kinds.SECRET,
    kinds.SERVICE,
    kinds.BUDGET,
    kinds.REVISION,
    kinds.DEPLOYMENT,
)
"""Of a model whose shape is known; the Job that read it has gone by then."""

CONVERGE_SECONDS = 30.0
# At rest for so long means for ever: nothing that Berth waits for on its own is nearer.
REST_SECONDS = 4.0
SETTLE_SECONDS = 60.0
_SHOWN = 5
# What kopf and Berth say, and a test may expect: of a request that is tried again, of a watch that
# ended the process, of a Lease that another has.
RETRIED = r"ERROR kopf\..* Request attempt #\d+ failed; will retry"
WATCH_ENDED = r"(Watcher for .*|multitasker) has failed: |CRITICAL .*(WatchingError|JSONDecodeError|APINotFoundError)"
LOST = r"CRITICAL .*LeadershipLost"
DEFINITION = Path(__file__).parents[2] / f"crds/{CRD_NAME}.yaml"
ESTABLISH_SECONDS = 30.0


def refuse_given_cluster(environ: Mapping[str, str]) -> None:
    """These tests stop etcd and delete definitions: never in a cluster that someone else made."""
    given = environ.get("BERTH_TEST_KUBECONFIG")
    if given:
        pytest.fail(
            f"BERTH_TEST_KUBECONFIG is {given}: the fault suite breaks the cluster that it runs "
            "on, so it starts one of its own; unset the variable"
        )


@contextlib.contextmanager
def stopped(plane: ControlPlane, name: str) -> Iterator[None]:
    """One of the control plane's programs, for as long as the block runs; then as it was."""
    daemon = next(one for one in plane.daemons if one.name == name)
    argv = Path(f"/proc/{daemon.pid()}/cmdline").read_text().rstrip("\0").split("\0")
    daemon.stop()
    try:
        yield
    finally:
        daemon.start(argv)


def install_definition(plane: ControlPlane) -> None:
    """Of both kinds."""
    for file in DEFINITION.parent.glob("*.yaml"):
        plane.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(file))
    wait_for(
        "the definitions",
        lambda: plane.kubectl.succeeds("get", f"{names.PLURAL},{names.PLURAL_POOL}"),
        seconds=ESTABLISH_SECONDS,
    )


@dataclass
class Site:
    """The operators' namespace and the models' in one; every operator has a token of its own."""

    plane: ControlPlane
    namespace: str
    directory: Path
    explained: list[str] = field(default_factory=list)  # alarms in the log that the test expects
    elected: bool = True  # False: one operator at a time, whom nobody has to wait for
    operators: list[OperatorProcess] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.cluster = ClusterClient(self.plane.kubeconfig)
        account = f"system:serviceaccount:{self.namespace}:berth-operator"
        self.audit = Audit(self.plane.audit_log, account)

    @property
    def kubectl(self) -> Kubectl:
        return self.plane.kubectl

    def another_client(self) -> ClusterClient:
        """For another thread."""
        return ClusterClient(self.plane.kubeconfig)

    def prepare(self) -> None:
        self.kubectl("create", "namespace", self.namespace)
        self.kubectl.apply(*chart_rights(self.namespace))

    def start(
        self, *, through: FaultProxy | None = None, everywhere: bool = False
    ) -> OperatorProcess:
        operator = self.new(through=through, everywhere=everywhere)
        return operator.start().wait_until_ready()

    def new(
        self, *, through: FaultProxy | None = None, everywhere: bool = False
    ) -> OperatorProcess:
        """Not started; `everywhere`: for all namespaces, which suits a control plane of its own."""
        if everywhere:
            self.kubectl.apply(*chart_rights(self.namespace, everywhere=True))
        directory = self.directory / str(len(self.operators))
        directory.mkdir()
        server = None if through is None else through.url
        kubeconfig = account_kubeconfig(self.kubectl, self.namespace, directory, server)
        operator = OperatorProcess(
            kubeconfig, self.namespace, directory, self.elected, everywhere=everywhere
        )
        self.operators.append(operator)
        return operator

    def start_in_pod(self, mounted: Path) -> OperatorProcess:
        """With a service account's files where a pod has them, for an API server on port 443."""
        operator = self.new()
        operator.mounted = mounted
        return operator.start().wait_until_ready()

    # What a user does.

    def create(self, name: str, **spec: Any) -> None:
        body = builders.model_deployment(**spec) | {"metadata": {"name": name}}
        self.cluster.create(kinds.MODEL.path(self.namespace), body)

    def edit(self, name: str, **spec: Any) -> None:
        self.cluster.patch(self.path(kinds.MODEL, name), {"spec": spec})

    def edit_as_soon_as_taken(self, name: str, *, replicas: int, seconds: float) -> None:
        """By an API server that is on its way back."""

        def taken() -> bool:
            self.edit(name, replicas=replicas)
            return True

        wait_for("the API server", taken, seconds=seconds)

    def path(self, kind: Kind, name: str) -> str:
        return kind.path(self.namespace, name)

    # What is there.

    def model(self, name: str) -> Object:
        return self.cluster.get(self.path(kinds.MODEL, name))

    def children(self, name: str, wanted: Sequence[Kind] = (*CHILDREN, kinds.JOB)) -> list[Object]:
        """Everything that the model owns itself, also what is on its way out."""
        return [
            one | {"kind": kind.kind}
            for kind in wanted
            for one in self.cluster.items(kind.path(self.namespace))
            if any(owner["name"] == name for owner in one["metadata"].get("ownerReferences", []))
        ]

    def deployment(self, name: str) -> Object:
        (one,) = self.children(name, [kinds.DEPLOYMENT])
        return one

    def is_converged(self, name: str) -> bool:
        """One child of each kind, and a status that speaks of the last change."""
        found = sorted(child["kind"] for child in self.children(name))
        model = self.model(name)
        seen = model.get("status", {}).get("observedGeneration")
        wanted = sorted(kind.kind for kind in CHILDREN)
        return bool(found == wanted and seen == model["metadata"]["generation"])

    def wait_until_converged(self, *models: str, seconds: float = CONVERGE_SECONDS) -> None:
        wait_for(
            f"the children of {', '.join(models)}",
            lambda: all(self.is_converged(name) for name in models),
            seconds=seconds,
        )

    def wait_until_scaled(self, name: str, replicas: int, *, seconds: float) -> None:
        wait_for(
            f"{replicas} replicas",
            lambda: self.deployment(name)["spec"]["replicas"] == replicas,
            seconds=seconds,
        )

    def leader(self) -> OperatorProcess | None:
        """Who says so."""
        return next((one for one in self.operators if _leads(one)), None)

    # What must hold.

    def wait_for_rest(self) -> None:
        """Until nothing but the Lease has been written for a while."""

        def rests() -> bool:
            changes = self.audit.changes()
            return not changes or _age(changes[-1]) > REST_SECONDS

        wait_for("rest", rests, seconds=SETTLE_SECONDS)

    def check(self) -> None:
        self.wait_for_rest()
        if self.elected:
            assert_none("writes without the Lease", strays(self.audit.writes()))
        wait_for("the API server", self._is_answering, seconds=CONVERGE_SECONDS)
        models = self.cluster.items(kinds.MODEL.path(self.namespace))
        deployments = self.cluster.items(kinds.DEPLOYMENT.path(self.namespace))
        assert_none("models above their bounds", excesses(models, deployments))
        for operator in self.operators:
            log = operator.log.read_text() if operator.log.exists() else ""
            assert_none(f"alarms in {operator.log}", alarms(log, self.explained))

    def _is_answering(self) -> bool:
        """A server that has just come back answers some kinds sooner than others."""
        for kind in (kinds.MODEL, kinds.DEPLOYMENT):
            self.cluster.items(kind.path(self.namespace))
        return True

    def stop(self) -> None:
        for operator in self.operators:
            if operator.is_running():
                operator.kill()


def assert_none(what: str, found: Iterable[object]) -> None:
    found = [str(one) for one in found]
    assert not found, "\n".join([f"{len(found)} {what}:", *found[:_SHOWN]])


def wait_for(what: str, ready: Callable[[], bool], *, seconds: float) -> float:
    """Seconds that it took. An API server that is away is not ready."""

    def there() -> bool:
        try:
            return ready()
        except (OSError, http.client.HTTPException, RefusedError):
            return False

    started = time.monotonic()
    progress.wait_for(what, there, seconds=seconds)
    return time.monotonic() - started


def token_of(operator: OperatorProcess) -> str:
    return token_id(operator.token())


def now() -> datetime:
    return datetime.now(UTC)


def _leads(operator: OperatorProcess) -> bool:
    try:
        return operator.is_running() and operator.metric("berth_operator_leading") == 1
    except OSError:
        return False


def _age(write: Write) -> float:
    return (now() - write.done_at).total_seconds()
