"""What the chart's service accounts may do, and what an audit log says they did.

Kubernetes' own names throughout: a verb on a resource, `group/resource/subresource`.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Object = dict[str, Any]
_CREATED = 201
# What 0.1 called itself; since then it is berth-operator.
_EARLIER_AGENT = "OpenAPI-Generator/"


@dataclass(frozen=True, order=True)
class Right:
    """`namespace` is empty for all of them, `name` for every object."""

    account: str
    namespace: str
    resource: str
    verb: str
    name: str = ""

    def covers(self, asked: "Right") -> bool:
        return (
            (self.account, self.resource, self.verb) == (asked.account, asked.resource, asked.verb)
            and self.namespace in ("", asked.namespace)
            and self.name in ("", asked.name)
        )

    def __str__(self) -> str:
        where = f" in {self.namespace}" if self.namespace else ""
        return f"{self.account}{where}: {self.verb} {self.resource}{self.name and f' {self.name}'}"


def granted(objects: Iterable[Object]) -> set[Right]:
    """By the bindings among `objects`, to service accounts by their names."""
    known = {_key(one["kind"], one["metadata"]): one for one in objects}
    return {
        right
        for one in known.values()
        if one["kind"] in ("RoleBinding", "ClusterRoleBinding")
        for subject in one["subjects"]
        for rule in known[_key(one["roleRef"]["kind"], one["metadata"], one["roleRef"]["name"])][
            "rules"
        ]
        for right in _rights(subject["name"], one["metadata"].get("namespace", ""), rule)
    }


def _key(kind: str, metadata: Object, name: str = "") -> tuple[str, str, str]:
    return kind, metadata.get("namespace", ""), name or metadata["name"]


def _rights(account: str, namespace: str, rule: Object) -> Iterator[Right]:
    for group in rule["apiGroups"]:
        for resource in rule["resources"]:
            for verb in rule["verbs"]:
                for name in rule.get("resourceNames", [""]):
                    full = f"{group}/{resource}".lstrip("/")
                    yield Right(account, namespace, full, verb, name)


def needed(log: Iterable[str], release: str, since: datetime) -> Iterator[Right]:
    """By what the release's service accounts asked of an API server, from its audit log."""
    prefix = f"system:serviceaccount:{release}:"
    for line in log:
        if prefix not in line or not line.endswith("\n"):  # the last may be in the making
            continue
        event = json.loads(line)
        asked_at = datetime.fromisoformat(event["requestReceivedTimestamp"])
        ours = event["user"]["username"].startswith(prefix) and not _is_earlier(event)
        if ours and asked_at >= since:
            yield from _needed(event, prefix)


def _is_earlier(event: Object) -> bool:
    """Asked by a release before this one, which an upgrade starts from and has its own rights."""
    agent: str = event.get("userAgent", "")
    return agent.startswith(_EARLIER_AGENT)


def _needed(event: Object, prefix: str) -> Iterator[Right]:
    where = event.get("objectRef")
    if where is None:  # a path that is no object's
        return
    code = event.get("responseStatus", {}).get("code", 0)
    parts = (where.get("apiGroup", ""), where["resource"], where.get("subresource", ""))
    account = event["user"]["username"].removeprefix(prefix)
    resource = "/".join(part for part in parts if part)
    verbs = [event["verb"]]
    if event["verb"] == "patch" and code == _CREATED:  # an apply of what was not there needs both
        verbs.append("create")
    for verb in verbs:
        name = "" if verb == "create" else where.get("name", "")
        yield Right(account, where.get("namespace", ""), resource, verb, name)


def unused(rights: Iterable[Right], asked: Iterable[Right]) -> set[Right]:
    done = set(asked)
    return {right for right in rights if not any(right.covers(one) for one in done)}


def uncovered(rights: Iterable[Right], asked: Iterable[Right]) -> set[Right]:
    held = set(rights)
    return {one for one in set(asked) if not any(right.covers(one) for right in held)}
