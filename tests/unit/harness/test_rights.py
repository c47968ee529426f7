"""What roles grant and what an audit log shows, each way that the two can differ."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from rights import Right, granted, needed, uncovered, unused

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
READ = Right("berth-operator", "", "apps/deployments", "get")
WRITE = Right("berth-operator", "", "apps/deployments", "patch")


def role(kind: str, name: str, namespace: str | None, *rules: dict) -> list[dict]:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    subjects = [{"kind": "ServiceAccount", "name": "berth-operator"}]
    reference = {"kind": kind, "name": name}
    return [
        {"kind": kind, "metadata": metadata, "rules": list(rules)},
        {
            "kind": f"{kind}Binding",
            "metadata": metadata,
            "roleRef": reference,
            "subjects": subjects,
        },
    ]


def rule(resource: str, *verbs: str, group: str = "", **names: list[str]) -> dict:
    return {"apiGroups": [group], "resources": [resource], "verbs": list(verbs)} | names


def event(verb: str, resource: str, *, code: int = 200, **where) -> str:
    what = {"resource": resource, "namespace": "team"} | where
    line = {
        "verb": verb,
        "user": {"username": "system:serviceaccount:berth-system:berth-operator"},
        "objectRef": what,
        "responseStatus": {"code": code},
        "requestReceivedTimestamp": NOW.isoformat().replace("+00:00", "Z"),
    }
    return json.dumps(line) + "\n"


def asked(*lines: str) -> list[Right]:
    return list(needed(lines, "berth-system", NOW))


def test_rights_are_read_from_roles_and_cluster_roles():
    objects = [
        *role("ClusterRole", "all", None, rule("deployments", "get", "patch", group="apps")),
        *role("Role", "own", "berth-system", rule("secrets", "get", resourceNames=["a", "b"])),
    ]
    secrets = {
        Right("berth-operator", "berth-system", "secrets", "get", name) for name in ("a", "b")
    }
    assert granted(objects) == {READ, WRITE, *secrets}


def test_a_role_that_nobody_is_bound_to_grants_nothing():
    (alone, _) = role("ClusterRole", "all", None, rule("pods", "get"))
    assert granted([alone]) == set()


def test_what_was_asked_for_uses_a_right():
    done = asked(event("get", "deployments", apiGroup="apps", name="a"))
    assert unused([READ, WRITE], done) == {WRITE}
    assert uncovered([READ], done) == set()


def test_an_apply_of_what_was_not_there_needs_two_rights():
    done = asked(event("patch", "deployments", apiGroup="apps", name="a", code=201))
    assert {right.verb for right in done} == {"patch", "create"}
    assert uncovered([WRITE], done) == {
        Right("berth-operator", "team", "apps/deployments", "create")
    }


@pytest.mark.parametrize(
    "right",
    [
        Right("berth-gateway", "", "secrets", "get"),
        Right("berth-operator", "elsewhere", "secrets", "get"),
        Right("berth-operator", "", "secrets", "list"),
        Right("berth-operator", "", "secrets/status", "get"),
        Right("berth-operator", "team", "secrets", "get", "another"),
    ],
)
def test_a_right_covers_no_other_account_namespace_verb_kind_or_name(right):
    done = asked(event("get", "secrets", name="one"))
    assert uncovered([right], done) == set(done)


def test_others_requests_and_earlier_ones_and_half_a_line_do_not_count():
    line = event("get", "secrets")
    other = line.replace("berth-system", "elsewhere")
    assert asked(other, line.rstrip("\n")) == []
    assert list(needed([line], "berth-system", NOW + timedelta(seconds=1))) == []
