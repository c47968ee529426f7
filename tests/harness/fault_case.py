"""One fault on a real node: what it may leave in logs, and what must hold when it is over.

Whatever the fault was: no model has more replicas than its spec allows, one more during a roll-out;
the operator comes to rest and then writes nothing but its Lease; the gateways write nothing at all;
no log has an alarm that the test does not expect. How requests ended, each test says by itself. The
log of a pod that the fault has removed cannot be read any more.
"""

import re
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import invariants
from invariants import Audit

from bench.cluster.traffic import End, Result, table
from bench.cluster.watching import Log, Seen
from berth_api import names
from dev.errors import CommandFailedError
from dev.installed import SYSTEM, Berth

OPERATOR, GATEWAY = "operator", "gateway"
# Rest is so many seconds without a write, and it is found within so many after a test.
REST_SECONDS = 3.0
RESTS_WITHIN_SECONDS = 30.0
_SURGE = 1
_STAMPED = re.compile(r"\d{4}-\d\d-\d\dT\S+ ")


@dataclass
class Case:
    berth: Berth
    namespace: str
    log: Log  # of the namespace's Deployments and pods
    began: float = field(default_factory=time.time)
    expected_alarms: list[str] = field(default_factory=list)  # patterns of log lines

    def __post_init__(self) -> None:
        assert self.berth.audit_log is not None, "these tests read the API server's audit log"
        self._audit_start = self.berth.audit_log.stat().st_size

    def seen(self, kind: str) -> list[Seen]:
        """What has happened to objects of this kind since the test began."""
        return [one for one in self.log.since(self.began) if one.kind == kind]

    def lines(self, component: str, since: float | None = None) -> list[str]:
        """Of the logs of Berth's own pods that are there, since this Unix time or the test began."""
        moment = self.began if since is None else since
        logs = [self._log_of(pod, moment) for pod in self._own_pods(component)]
        return [line for log in logs for line in written_since(log, moment)]

    def assert_invariants(self) -> None:
        log = "\n".join(self.lines(OPERATOR) + self.lines(GATEWAY))
        assert invariants.alarms(log, self.expected_alarms) == []
        assert too_many(self._allowed(), self.log.seen, self.began) == []
        self._assert_rest()
        assert self._writes(GATEWAY) == []

    def _own_pods(self, component: str) -> list[str]:
        found = self.berth.all("pods", SYSTEM, f"app.kubernetes.io/component={component}")
        return [pod["metadata"]["name"] for pod in found]

    def _log_of(self, pod: str, moment: float) -> str:
        """With the time of each line, from the moment's whole second on: kubectl sends no finer."""
        since = f"--since-time={datetime.fromtimestamp(moment, UTC).isoformat()}"
        try:
            return self.berth.kubectl("logs", pod, "-n", SYSTEM, "--timestamps", since)
        except CommandFailedError as error:
            if "NotFound" in str(error):  # it has ended meanwhile
                return ""
            raise

    def _allowed(self) -> dict[str, int]:
        models = self.berth.all("modeldeployments", self.namespace)
        return {one["metadata"]["name"]: most_replicas(one["spec"]) for one in models}

    def _assert_rest(self) -> None:
        def rests() -> bool:
            changes = self._writes(OPERATOR)
            last = max((one.done_at.timestamp() for one in changes), default=self.began)
            return time.time() - last >= REST_SECONDS

        self.berth.wait_until("the operator rests", rests, seconds=RESTS_WITHIN_SECONDS)

    def _writes(self, component: str) -> list[invariants.Write]:
        account = f"system:serviceaccount:{SYSTEM}:berth-{component}"
        assert self.berth.audit_log is not None
        return Audit(self.berth.audit_log, account, start=self._audit_start).changes()


def written_since(log: str, moment: float) -> list[str]:
    """Lines of `kubectl logs --timestamps`, without the time, that are of `moment` or later.

    A line without a time is the kubelet's: of a container that has just ended it has no log.
    """
    stamped = (line.partition(" ") for line in log.split("\n") if _STAMPED.match(line))
    return [text for at, _, text in stamped if datetime.fromisoformat(at).timestamp() >= moment]


def most_replicas(spec: dict[str, Any]) -> int:
    """That a user allows, and a roll-out's surge."""
    scaling = spec.get("scaling", {})
    auto = scaling.get("mode") == "Auto"
    allowed = scaling.get("maxReplicas", 1) if auto else spec.get("replicas", 1)
    return int(allowed) + _SURGE


def too_many(allowed: dict[str, int], seen: Iterable[Seen], since: float) -> list[str]:
    """Models of `allowed` whose Deployments together had more replicas at any moment."""
    wanted: dict[str, dict[str, int]] = {}
    found: list[str] = []
    for one in seen:
        metadata = one.object["metadata"]
        model = metadata.get("labels", {}).get(names.LABEL_MODEL)
        if one.kind != "Deployment" or model not in allowed:
            continue
        gone = one.type == "DELETED"
        mine = wanted.setdefault(model, {})
        mine[metadata["name"]] = 0 if gone else one.object["spec"]["replicas"]
        if one.at >= since and sum(mine.values()) > allowed[model]:
            found.append(f"{model} had {sum(mine.values())} replicas and may have {allowed[model]}")
    return found


def changes_of_size(seen: Iterable[Seen], model: str) -> list[int]:
    """The sizes that a model's Deployment was given, one after the other."""
    sizes: list[int] = []
    for one in seen:
        if one.object["metadata"].get("labels", {}).get(names.LABEL_MODEL) == model:
            size = one.object["spec"]["replicas"]
            if not sizes or size != sizes[-1]:
                sizes.append(size)
    return sizes


def ends(results: Sequence[Result]) -> dict[End, int]:
    """How many requests ended otherwise than whole, by how."""
    return dict(Counter(one.end for one in results if one.end is not End.WHOLE))


def shown(results: Sequence[Result]) -> str:
    """For the message of a failed test."""
    bad = [one for one in results if one.end is not End.WHOLE]
    lines = [f"  {one.end.value} at {one.at:.1f} s: {one.detail}" for one in bad[:5]]
    return "\n".join([table(results), *lines])
