"""Warning Events about a model's children: why the cluster does not do what was asked.

Read live and rarely, only for a model whose pods do not come up: a watch on Events would bring
every warning of the cluster. Most reasons stand in the children's own conditions anyway; this
adds what does not, such as a volume that cannot be mounted.
"""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Final

from berth_operator.cluster import kinds
from berth_operator.cluster.port import Json, KubeApi
from berth_operator.core.kubernetes import is_starting
from berth_operator.core.observed import Children, Object
from berth_operator.errors import ApiError

# Pods that are up sooner never cost a list.
PATIENCE: Final = timedelta(seconds=10)
# One list serves all models of a namespace for so long.
FRESH_SECONDS: Final = 10.0
# The first page is enough for a reason; a namespace in a crash loop holds thousands of Events.
MAX_EVENTS: Final = 500


class WarningReader:
    def __init__(self, api: KubeApi, *, clock: Callable[[], float]) -> None:
        self._api = api
        self._clock = clock
        self._read: dict[str, tuple[float, list[Json]]] = {}

    async def read(
        self, namespace: str, children: Children, pods: Iterable[Object], now: datetime
    ) -> tuple[Object, ...]:
        """Warnings about the children and what they made, oldest first; usually not even read."""
        pods = tuple(pods)
        if not wanted(children, pods, now):
            return ()
        prefixes = tuple(child["metadata"]["name"] for child in children.all())
        found = [event for event in await self._list(namespace) if _concerns(event, prefixes)]
        return tuple(sorted(found, key=_time))

    async def _list(self, namespace: str) -> list[Json]:
        at, events = self._read.get(namespace, (float("-inf"), []))
        if self._clock() - at < FRESH_SECONDS:
            return events
        try:
            events = await self._api.list_all(
                kinds.EVENT, namespace, fields="type=Warning", limit=MAX_EVENTS
            )
        except ApiError:
            events = []  # a hint only: without it the decision is the same, with less to say
        self._read[namespace] = (self._clock(), events)
        return events


def wanted(children: Children, pods: Iterable[Object], now: datetime) -> bool:
    """Whether a pod has been coming up for long, or has not even been made."""
    late = any(is_starting(pod) and now - _created(pod) > PATIENCE for pod in pods)
    return late or any(_lacks_pods(one, now) for one in children.deployments + children.jobs)


def _lacks_pods(owner: Object, now: datetime) -> bool:
    spec, status = owner.get("spec", {}), owner.get("status", {})
    asked = spec.get("replicas", spec.get("parallelism", 0))
    made = status.get("replicas", sum(status.get(n, 0) for n in ("active", "succeeded", "failed")))
    return bool(made < asked) and now - _created(owner) > PATIENCE


def _created(obj: Object) -> datetime:
    return datetime.fromisoformat(obj["metadata"]["creationTimestamp"])


def _concerns(event: Json, prefixes: tuple[str, ...]) -> bool:
    """A ReplicaSet's or pod's name begins with its Deployment's or Job's, and a dash."""
    name: str = event.get("involvedObject", {}).get("name", "")
    return any(name == prefix or name.startswith(f"{prefix}-") for prefix in prefixes)


def _time(event: Json) -> str:
    return event.get("lastTimestamp") or event.get("eventTime") or ""
