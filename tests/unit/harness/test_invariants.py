"""Each invariant of the fault suite can fail, and says what it found."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from invariants import LONGEST_LEAD_SECONDS, Audit, Write, alarms, excesses, strays

from berth_api import names

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
ACCOUNT = "system:serviceaccount:team:berth-operator"


def write(process: str, resource: str, second: float) -> Write:
    at = NOON + timedelta(seconds=second)
    return Write(at, at + timedelta(milliseconds=10), process, "patch", resource, "smol")


def test_the_holder_of_the_lease_may_write() -> None:
    assert not strays([write("a", "leases", 0), write("a", "services", 1)])


def test_whoever_does_not_hold_the_lease_may_not() -> None:
    stray = write("b", "services", 1)
    assert strays([write("a", "leases", 0), stray]) == [stray]


def test_a_former_holder_may_not_either() -> None:
    late = write("a", "services", 17)
    holds = [write("a", "leases", 0), write("b", "leases", 16)]
    assert strays([*holds, late, write("b", "services", 18)]) == [late]


def test_a_holder_that_has_not_renewed_for_too_long_may_not() -> None:
    late = write("a", "services", LONGEST_LEAD_SECONDS + 1)
    assert strays([write("a", "leases", 0), late]) == [late]


def test_a_write_before_any_lease_is_a_stray() -> None:
    assert len(strays([write("a", "services", 0)])) == 1


def event(**changes: Any) -> dict[str, Any]:
    return {
        "user": {
            "username": ACCOUNT,
            "extra": {"authentication.kubernetes.io/credential-id": ["JTI=1"]},
        },
        "verb": "patch",
        "stage": "ResponseComplete",
        "requestURI": "/api/v1/namespaces/team/services/smol?force=true",
        "objectRef": {"resource": "services", "namespace": "team", "name": "smol"},
        "responseStatus": {"code": 200},
        "requestReceivedTimestamp": "2026-01-02T12:00:00.000001Z",
        "stageTimestamp": "2026-01-02T12:00:00.010000Z",
    } | changes


def test_only_what_the_account_has_changed_is_a_write(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    others = [
        event(verb="get"),
        event(responseStatus={"code": 403}),
        event(requestURI="/api/v1/namespaces/team/secrets/smol?dryRun=All"),
        event(user={"username": "someone"}),
    ]
    status = {"resource": "modeldeployments", "name": "smol", "subresource": "status"}
    lines = [*others, event(), event(objectRef=status)]
    log.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    found = Audit(log, ACCOUNT).writes()
    assert [one.resource for one in found] == ["services", "modeldeployments/status"]
    assert {one.process for one in found} == {"JTI=1"}
    assert {one.process for one in Audit(log, ACCOUNT, aliases={"JTI=1": "JTI=0"}).writes()} == {
        "JTI=0"
    }


LOG = """\
2026-01-02 12:00:00,000 INFO berth_operator team/smol: applied Service/smol
2026-01-02 12:00:01,000 ERROR berth_operator team/smol: unexpected
Traceback (most recent call last):
  File "decide.py", line 1, in decide
KeyError: 'type'
2026-01-02 12:00:02,000 WARNING berth_operator lease not renewed
"""


def test_an_error_and_its_traceback_are_alarms() -> None:
    assert [line.split(":")[0] for line in alarms(LOG, [])][-2:] == [
        "Traceback (most recent call last)",
        "KeyError",
    ]
    assert len(alarms(LOG, [])) == 3


def test_who_expects_the_error_expects_its_traceback_and_no_other_error() -> None:
    assert not alarms(LOG, ["team/smol: unexpected"])
    assert len(alarms(LOG * 2, ["team/other: unexpected"])) == 6


def deployment(replicas: int, cards: int = 0) -> dict[str, Any]:
    container = {"resources": {"limits": {"nvidia.com/gpu": str(cards), "cpu": "4"}}}
    return {
        "metadata": {"labels": {names.LABEL_MODEL: "smol"}},
        "spec": {"replicas": replicas, "template": {"spec": {"containers": [container]}}},
    }


def model(gpus: int = 0, **spec: Any) -> dict[str, Any]:
    plan = {"plan": {"gpusPerReplica": gpus}}
    return {"metadata": {"name": "smol"}, "spec": spec, "status": plan}


def test_more_replicas_than_the_spec_allows_are_an_excess() -> None:
    assert not excesses([model(replicas=2)], [deployment(2)])
    assert excesses([model(replicas=2)], [deployment(2), deployment(1)]) == [
        "smol has 3 replicas and may have 2"
    ]
    auto = {"mode": "Auto", "maxReplicas": 4}
    assert not excesses([model(scaling=auto)], [deployment(4)])
    assert len(excesses([model(scaling=auto)], [deployment(5)])) == 1


def test_more_cards_than_planned_are_an_excess() -> None:
    assert not excesses([model(gpus=2, replicas=2)], [deployment(2, cards=2)])
    assert excesses([model(gpus=2, replicas=2)], [deployment(2, cards=4)]) == [
        "smol asks for 8 cards and may have 4"
    ]
