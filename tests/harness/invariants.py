"""What must hold after every fault, whatever it was.

One writer at a time, nothing above its bounds, no write at rest, nothing in a log that the fault
does not explain. Read from the API server's audit log, from objects and from logs; the functions
are pure, so that a test can show that each of them can fail.
"""

import base64
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from berth_api import names

Object = dict[str, Any]

# A leader that cannot renew its Lease stops writing after 10 s, and a write takes at most 5 s.
LONGEST_LEAD_SECONDS = 15.0
_WRITING = ("create", "update", "patch", "delete", "deletecollection")
_CREDENTIAL = "authentication.kubernetes.io/credential-id"
_ALARMING = re.compile(r" (ERROR|CRITICAL) |^Traceback|^\w*(Error|Exception)\b", re.MULTILINE)


@dataclass(frozen=True)
class Write:
    """A change that the API server made, and whose token asked for it."""

    asked_at: datetime
    done_at: datetime
    process: str
    verb: str
    resource: str
    name: str

    @property
    def of_lease(self) -> bool:
        return self.resource == "leases"

    def __str__(self) -> str:
        return f"{self.asked_at:%H:%M:%S.%f} {self.process} {self.verb} {self.resource}/{self.name}"


@dataclass(frozen=True)
class Audit:
    """The writes of one service account."""

    log: Path
    account: str
    start: int = 0  # bytes at the log's beginning that are of no interest
    # Of a token that was rotated: the id by which its process was known before.
    aliases: dict[str, str] = field(default_factory=dict)

    def writes(self, since: datetime | None = None) -> list[Write]:
        """In the order in which they were asked for."""
        found = [
            _write(event, self.aliases)
            for line in self._lines()
            if self.account in line and _is_write(event := json.loads(line), self.account)
        ]
        found.sort(key=lambda write: write.asked_at)
        return [write for write in found if since is None or write.asked_at >= since]

    def _lines(self) -> list[str]:
        """Whole ones: the last may still be in the making."""
        with self.log.open(encoding="utf-8") as log:
            log.seek(self.start)
            return [line for line in log if line.endswith("\n")]

    def changes(self, since: datetime | None = None) -> list[Write]:
        """Those that are not of the Lease."""
        return [write for write in self.writes(since) if not write.of_lease]


def token_id(token: str) -> str:
    """How the audit log calls the bearer of this token."""
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return f"JTI={claims['jti']}"


def strays(writes: Iterable[Write]) -> list[Write]:
    """Writes of a process that did not hold the Lease then, or had not renewed it for too long."""
    writes = list(writes)
    holds = sorted((one for one in writes if one.of_lease), key=lambda one: one.done_at)
    return [one for one in writes if not one.of_lease and not _covered(one, holds)]


def _covered(write: Write, holds: Sequence[Write]) -> bool:
    before = [hold for hold in holds if hold.done_at <= write.asked_at]
    if not before or before[-1].process != write.process:
        return False
    silent = write.asked_at - before[-1].done_at
    return silent.total_seconds() <= LONGEST_LEAD_SECONDS


def alarms(log: str, expected: Iterable[str]) -> list[str]:
    """Lines that sound an alarm and match no expected pattern.

    A traceback belongs to the line before it: whoever expects that one expects both.
    """
    explained = [re.compile(pattern) for pattern in expected]
    found: list[str] = []
    quiet = False
    for line in log.splitlines():
        if _is_entry(line):
            quiet = any(pattern.search(line) for pattern in explained)
        if _ALARMING.search(line) and not quiet:
            found.append(line)
    return found


def excesses(models: Iterable[Object], deployments: Iterable[Object]) -> list[str]:
    """Models at rest whose Deployments have more replicas, or cards, than the spec allows."""
    deployments = list(deployments)
    return [
        said
        for model in models
        if (said := _excess(model, [one for one in deployments if _serves(one, model)]))
    ]


def _excess(model: Object, deployments: Sequence[Object]) -> str:
    name, spec = model["metadata"]["name"], model["spec"]
    auto = spec.get("scaling", {}).get("mode") == "Auto"
    allowed = spec["scaling"].get("maxReplicas", 1) if auto else spec.get("replicas", 1)
    has = sum(one["spec"].get("replicas", 1) for one in deployments)
    if has > allowed:
        return f"{name} has {has} replicas and may have {allowed}"
    per_replica = model.get("status", {}).get("plan", {}).get("gpusPerReplica", 0)
    cards = sum(one["spec"].get("replicas", 1) * _cards(one) for one in deployments)
    if cards > allowed * per_replica:
        return f"{name} asks for {cards} cards and may have {allowed * per_replica}"
    return ""


def _serves(deployment: Object, model: Object) -> bool:
    return bool(
        deployment["metadata"]["labels"].get(names.LABEL_MODEL) == model["metadata"]["name"]
    )


def _cards(deployment: Object) -> int:
    containers = deployment["spec"]["template"]["spec"]["containers"]
    return sum(
        int(amount)
        for container in containers
        for name, amount in container.get("resources", {}).get("limits", {}).items()
        if name.endswith(".com/gpu")
    )


def _is_entry(line: str) -> bool:
    """Of the log, not of a traceback under it."""
    return re.match(r"\d{4}-\d\d-\d\d ", line) is not None


def _is_write(event: Object, account: str) -> bool:
    return (
        event["user"]["username"] == account
        and event["verb"] in _WRITING
        and event["stage"] == "ResponseComplete"
        and event.get("responseStatus", {}).get("code", 0) < 400
        and "dryRun=All" not in event["requestURI"]
    )


def _write(event: Object, aliases: Mapping[str, str]) -> Write:
    target = event["objectRef"]
    token = event["user"].get("extra", {}).get(_CREDENTIAL, ["?"])[0]
    parts = (target["resource"], target.get("subresource"))
    return Write(
        asked_at=datetime.fromisoformat(event["requestReceivedTimestamp"]),
        done_at=datetime.fromisoformat(event["stageTimestamp"]),
        process=aliases.get(token, token),
        verb=event["verb"],
        resource="/".join(part for part in parts if part),
        name=target.get("name", ""),
    )
