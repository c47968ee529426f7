"""Questions asked of pods and Deployments as JSON: is it ready, what did it say at the end."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from typing import Any

from berth_api import names
from berth_api.quantity import parse
from berth_operator.core.observed import Object


def is_ready(pod: Object) -> bool:
    """One that ended may still have the condition: without its kubelet nobody takes it off."""
    return is_active(pod) and condition(pod, "Ready").get("status") == "True"


def is_reachable(pod: Object) -> bool:
    """Ready, and with an address."""
    return is_ready(pod) and bool(pod["status"].get("podIP"))


def is_finished(pod: Object) -> bool:
    """Ended for good, as after an eviction; its ReplicaSet keeps it, and makes another."""
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def is_starting(pod: Object) -> bool:
    """Neither ready, nor finished, nor on its way out."""
    return not (is_ready(pod) or is_finished(pod) or is_terminating(pod))


def is_terminating(thing: Object) -> bool:
    return "deletionTimestamp" in thing["metadata"]


def is_active(pod: Object) -> bool:
    """As a ReplicaSet counts: neither finished nor on its way out."""
    return not (is_finished(pod) or is_terminating(pod))


def is_routed(pod: Object) -> bool:
    """Whether the Service selects it: not while it drains, nor when someone took it aside."""
    return bool(pod["metadata"].get("labels", {}).get(names.LABEL_ROUTE) == names.ROUTE_OPEN)


def is_serving(pod: Object) -> bool:
    """Ready, and sent new requests."""
    return is_ready(pod) and is_routed(pod)


def unschedulable_since(pod: Object) -> datetime | None:
    """Since when no node has had room for it; one that a queue holds back is not asked for."""
    scheduled = condition(pod, "PodScheduled")
    if (scheduled.get("status"), scheduled.get("reason")) != ("False", "Unschedulable"):
        return None
    return moment(scheduled.get("lastTransitionTime"))


def container_port(pod: Object, name: str, usual: int) -> int:
    """The port that is named so: whoever starts a pod may choose the number."""
    ports = (port for one in pod["spec"].get("containers", ()) for port in one.get("ports", ()))
    found: int = next((port["containerPort"] for port in ports if port.get("name") == name), usual)
    return found


def annotation(thing: Object, name: str) -> str | None:
    found: str | None = thing["metadata"].get("annotations", {}).get(name)
    return found


def timestamp(at: datetime) -> str:
    """As Kubernetes writes a time: RFC 3339 in whole seconds. `at` is in UTC."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(text: str | None) -> datetime | None:
    """RFC 3339; None also where someone wrote something else."""
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def condition(thing: Object, kind: str) -> Mapping[str, Any]:
    """The condition of that type, or an empty one."""
    found = (c for c in thing.get("status", {}).get("conditions") or [] if c["type"] == kind)
    return next(found, {})


def container_statuses(pod: Object) -> Iterator[Mapping[str, Any]]:
    """Of init containers first, then of the others: the order in which they run."""
    status = pod.get("status", {})
    yield from status.get("initContainerStatuses") or []
    yield from status.get("containerStatuses") or []


def absent(wanted: Iterable[dict[str, Any]], there: Iterable[Object]) -> list[dict[str, Any]]:
    """Those of a kind that Kubernetes lets nobody change: made once, never applied again."""
    made = {one["metadata"]["name"] for one in there}
    return [one for one in wanted if one["metadata"]["name"] not in made]


def termination(container: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """How the container last ended badly: now, or before its present restart."""
    now = container.get("state", {}).get("terminated")
    if now is not None:
        return now if now.get("exitCode") else None
    if container.get("ready"):
        return None
    last: Mapping[str, Any] | None = container.get("lastState", {}).get("terminated")
    return last if last and last.get("exitCode") else None


def terminated_message(pod: Object, container: str) -> str | None:
    state = _terminated(pod, container)
    return state.get("message") if state else None


def finished_at(pod: Object, container: str) -> datetime | None:
    state = _terminated(pod, container)
    return datetime.fromisoformat(state["finishedAt"]) if state else None


def _terminated(pod: Object, container: str) -> Mapping[str, Any] | None:
    found = (c for c in container_statuses(pod) if c["name"] == container)
    state: Mapping[str, Any] | None = next(found, {}).get("state", {}).get("terminated")
    return state


def ended_at(pod: Object) -> datetime | None:
    """When a pod ended for good: its last news, for a kubelet does not write the time itself."""
    news = [
        pod["metadata"].get("creationTimestamp"),
        *(one.get("lastTransitionTime") for one in pod["status"].get("conditions") or ()),
    ]
    return max((at for text in news if (at := moment(text))), default=None)


def requests(spec: Mapping[str, Any]) -> dict[str, Decimal]:
    """What a pod spec's containers request of each resource, in its base unit.

    A limit without a request is one. Init containers have gone before these run, and what Berth's
    own need is less. An amount that cannot be read is left out: it is in no pod of Berth's making.
    """
    found: dict[str, Decimal] = {}
    for container in spec.get("containers", ()):
        resources = container.get("resources") or {}
        asked = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
        for name, amount in asked.items():
            with suppress(ValueError):
                found[name] = found.get(name, Decimal(0)) + parse(amount)
    return found
