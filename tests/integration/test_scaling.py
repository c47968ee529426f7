"""A model's size on a real API server: it follows what gateways tell, or whoever scales it."""

import json
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fakes.gateway import FakeGateway
from operator_process import Models, OperatorProcess, account_kubeconfig, chart_rights
from said_gateway import SaidGateway

from berth_api import names
from berth_operator.core.scaling.demand import FIRST_REPORT_SECONDS
from dev.kubectl import Kubectl

AUTO = {"mode": "Auto", "maxReplicas": 4, "targetQueueDepth": 4, "scaleDownDelaySeconds": 1}
WAKES = 5
# From the enqueue to the decision; the gateway's own COALESCE_SECONDS come before it.
DECISION_SECONDS = 0.15

Start = Callable[..., OperatorProcess]


@dataclass
class Replicas:
    """The sizes of a model's Deployment, as a watch tells them, with the times."""

    seen: list[tuple[int, float]] = field(default_factory=list)

    @contextmanager
    def watched(self, kubectl: Kubectl, namespace: str) -> Iterator["Replicas"]:
        command = kubectl._command(
            ("--namespace", namespace, "get", "deployments.apps", "--watch", "--output")
        )
        shown = 'jsonpath={.spec.replicas}{"\\n"}'
        with subprocess.Popen([*command, shown], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            reader = threading.Thread(target=self._read, args=(process.stdout,))
            reader.start()
            yield self
            process.terminate()
            reader.join()

    def _read(self, lines: Any) -> None:
        for line in lines:
            if line.strip():
                self.seen.append((int(line), time.monotonic()))

    @property
    def now(self) -> int | None:
        return self.seen[-1][0] if self.seen else None

    def since(self, moment: float, replicas: int) -> float | None:
        """Seconds after `moment` at which there were so many."""
        return next((at - moment for n, at in self.seen if at > moment and n == replicas), None)


@pytest.fixture
def models(kubectl: Kubectl, definition: None, namespace: str) -> Models:
    return Models(kubectl, namespace)


@pytest.fixture
def start(kubectl: Kubectl, namespace: str, tmp_path: Path) -> Iterator[Start]:
    rights = json.dumps({"apiVersion": "v1", "kind": "List", "items": chart_rights(namespace)})
    kubectl("apply", "-f", "-", stdin=rights)
    kubeconfig = account_kubeconfig(kubectl, namespace, tmp_path)
    started: list[OperatorProcess] = []

    def begin() -> OperatorProcess:
        directory = tmp_path / str(len(started))
        directory.mkdir()
        started.append(OperatorProcess(kubeconfig, namespace, directory).start())
        return started[-1].wait_until_ready()

    yield begin
    for one in started:
        one.kill()
    kubectl("delete", "--ignore-not-found", "--wait=false", "-f", "-", stdin=rights)


@pytest.fixture
def gateway(kubectl: Kubectl, definition: None, namespace: str) -> Iterator[SaidGateway]:
    with SaidGateway(kubectl, namespace).running() as running:
        yield running


@pytest.fixture
def replicas(kubectl: Kubectl, definition: None, namespace: str) -> Iterator[Replicas]:
    with Replicas().watched(kubectl, namespace) as watched:
        yield watched


def condition(models: Models, kind: str) -> tuple[str, str]:
    found = {one["type"]: one for one in models.status().get("conditions", [])}.get(kind, {})
    return found.get("status", ""), found.get("reason", "")


def at_zero(models: Models, **spec: Any) -> None:
    """A planned model that waits for its first request."""
    models.create(**({"scaling": AUTO, "keepAlive": "1s"} | spec))
    models.read_shape()
    models.wait_for("zero", lambda: condition(models, "Ready") == ("True", "ScaledToZero"))
    models.wait_for("demand", lambda: condition(models, "ScalingActive")[0] == "True")


def test_a_model_at_zero_is_woken_within_a_quarter_of_a_second_and_goes_back_to_zero(
    models: Models, start: Start, gateway: SaidGateway, replicas: Replicas
) -> None:
    start()
    at_zero(models)
    took = []
    for _ in range(WAKES):
        models.wait_for("zero", lambda: replicas.now == 0)
        time.sleep(0.3)
        said = gateway.say(held=1)
        models.wait_for("a replica", lambda said=said: replicas.since(said, 1) is not None)
        took.append(replicas.since(said, 1) or 0.0)
        gateway.say(held=0)
    print("from the enqueue to the watched Deployment, seconds:", sorted(took))
    assert statistics.median(took) < DECISION_SECONDS
    told = {"ScaledFromZero", "ScaledToZero"}
    models.wait_for("its events", lambda: told <= set(models.events()))


def test_a_burst_gets_all_its_replicas_at_once(
    models: Models, start: Start, gateway: SaidGateway, replicas: Replicas
) -> None:
    start()
    at_zero(models)
    gateway.say(held=11, oldest_held_seconds=0.1)
    models.wait_for("replicas", lambda: bool(replicas.now))
    assert (replicas.now or 0) >= 3
    models.wait_for("the status", lambda: "queue" in models.status())
    status = models.status()
    assert status["scaling"]["desiredReplicas"] >= 3
    assert status["queue"]["depth"] == 11
    shown = models.kubectl("--namespace", models.namespace, "get", "mdep", "smol", "-o", "wide")
    heads, values = (line.split() for line in shown.splitlines()[:2])
    assert {"DESIRED", "QUEUE"} <= set(heads)
    assert "11" in values


def test_nothing_is_written_at_rest_while_gateways_go_on_telling(
    models: Models, start: Start, gateway: SaidGateway
) -> None:
    operator = start()
    at_zero(models)
    gateway.say(held=0, arrivals=7, answered=7)
    time.sleep(2)  # longer than keepAlive
    # Why the size is zero, a look later: whatever else gives one would change it in the rest.
    models.edit(names.PLURAL, "smol", {"metadata": {"labels": {"example.com/look": "again"}}})
    models.wait_for("its reason", lambda: models.status()["scaling"]["reason"] == "KeepAlive")
    time.sleep(2)
    written, writes = models.written(), operator.metric("berth_operator_writes_total")
    time.sleep(6)  # more than the time that numbers wait to be told
    assert models.written() == written
    assert operator.metric("berth_operator_writes_total") == writes
    assert operator.metric("berth_operator_gateways") == 1


@pytest.mark.parametrize("told", [True, False], ids=["told", "killed before it told"])
def test_a_new_leader_holds_replicas_until_it_knows_and_a_restart_writes_nothing(
    models: Models, start: Start, gateway: SaidGateway, replicas: Replicas, told: bool
) -> None:
    first = start()
    at_zero(models)
    gateway.say(held=11)
    models.wait_for("replicas", lambda: bool(replicas.now))
    before = replicas.now
    first.kill()
    if not told:
        untold = json.dumps({"status": {"scaling": {"desiredReplicas": 0}}})
        where = ("--namespace", models.namespace, names.PLURAL, "smol", "--subresource=status")
        models.kubectl("patch", *where, "--type=merge", "-p", untold)
    gateway.be_silent(silent=True)
    gateway.fake.state.clear()
    second = start()
    time.sleep(FIRST_REPORT_SECONDS / 2)
    assert replicas.now == before
    assert models.status()["scaling"]["desiredReplicas"] == before
    assert second.metric("berth_operator_gateways") == 0
    gateway.be_silent(silent=False)
    gateway.say(held=0)
    models.wait_for("zero", lambda: replicas.now == 0)


def test_without_a_gateway_replicas_are_held_and_the_condition_says_why(
    models: Models, start: Start
) -> None:
    start()
    models.create(scaling=AUTO | {"minReplicas": 1}, keepAlive="1s")
    models.read_shape()
    unknown = ("False", "MetricsUnavailable")
    models.wait_for("the condition", lambda: condition(models, "ScalingActive") == unknown)
    models.edit(names.PLURAL, "smol", {"spec": {"scaling": AUTO | {"minReplicas": 0}}})
    time.sleep(4)
    assert models.status()["scaling"]["desiredReplicas"] == 1


def test_a_gateway_that_goes_takes_its_requests_with_it(
    models: Models, start: Start, gateway: SaidGateway, replicas: Replicas
) -> None:
    start()
    at_zero(models)
    with SaidGateway(models.kubectl, models.namespace, FakeGateway("gateway-2")).running() as other:
        other.say(held=5)
        models.wait_for("replicas", lambda: bool(replicas.now))
        models.kubectl(
            "--namespace", models.namespace, "delete", "pod", "gateway-2", "--grace-period=0"
        )
    models.wait_for("zero", lambda: replicas.now == 0)


@pytest.mark.parametrize("mode", ["Fixed", "External"])
def test_the_scale_subresource_is_obeyed_and_never_overwritten(
    models: Models, start: Start, gateway: SaidGateway, replicas: Replicas, mode: str
) -> None:
    start()
    models.create(scaling={"mode": mode}, replicas=1)
    models.read_shape()
    models.wait_for("a replica", lambda: replicas.now == 1)
    gateway.say(held=100)
    models._run("scale", names.PLURAL, "smol", "--replicas=3")
    models.wait_for("three", lambda: replicas.now == 3)
    models.wait_for("the queue", lambda: models.status().get("queue", {}).get("depth") == 100)
    assert models.get(names.PLURAL, "smol")["spec"]["replicas"] == 3
    assert replicas.now == 3
    assert "scaling" not in models.status()


def test_where_berth_decides_spec_replicas_is_not_looked_at(
    models: Models, start: Start, gateway: SaidGateway, replicas: Replicas
) -> None:
    start()
    at_zero(models)
    models._run("scale", names.PLURAL, "smol", "--replicas=3")
    time.sleep(2)
    assert replicas.now == 0
