"""A cluster with one pool, played second by second: its pods, its clients, and an operator.

The operator is the real one without kopf: each look is made by hand, and it can be replaced by one
that knows nothing but what is in the cluster. At each order the site checks what may never be: a
route to an engine that its pod is not to hold any more.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import builders
from fakes.cluster import READS, Call, FakeCluster, Fault
from fakes.obedient_pod import Loaded, ObedientPod

from berth_api import names
from berth_api.server import Phase
from berth_api.shape import ShapeReport
from berth_operator.cluster import kinds
from berth_operator.cluster.cache import Cache, ModelKey
from berth_operator.cluster.execute import Executor
from berth_operator.cluster.kinds import Kind
from berth_operator.cluster.observe import Observer
from berth_operator.cluster.pod_status import ProxyReader
from berth_operator.cluster.pools.execute import PoolExecutor
from berth_operator.cluster.pools.observe import PoolObserver
from berth_operator.cluster.pools.orders import ProxiedOrders
from berth_operator.cluster.pools.store import PoolKey, PoolStore
from berth_operator.cluster.store import K, Store
from berth_operator.cluster.warnings import WarningReader
from berth_operator.core.decide import decide
from berth_operator.core.kubernetes import timestamp
from berth_operator.core.objects import pool_pods
from berth_operator.core.observed import Load, Object
from berth_operator.metrics import Metrics
from berth_operator.pool_reconcile import PoolReconciler
from berth_operator.reconcile import Reconciler
from berth_operator.spec_pace import SpecPace

POOL = PoolKey("team-a", "shared")
GIB = 2**30
CARD_BYTES = 80 * GIB  # as builders' h100 has it
SHAPE = ShapeReport.model_validate(
    {
        "commit": "0e9e39f249a16976918f6564b8830bc894c89659",
        "config": dict(builders.LLAMA_8B_CONFIG),
        "tensorBytes": {"BF16": 16_060_522_496},
        "tensorCount": 291,
        "fileBytes": 16_069_000_000,
    }
)


class Died(Exception):
    """Of an operator, in the middle of whatever it did."""


class Dies(Fault):
    """Counts writes only, and not what models are told: all else builds on those."""

    def hits(self, call: Call) -> bool:
        told = (call.verb, call.kind) == ("apply_status", names.KIND)
        return call.verb not in READS and not told and super().hits(call)


class Operator:
    """Made anew it knows what the cluster has, and nothing else."""

    def __init__(self, site: "Site") -> None:
        api, context = site.cluster, builders.context()
        self.cache = Cache()
        self.news: set[PoolKey] = set()
        self.store = PoolStore(self.cache.occupy)
        self.metrics = Metrics()
        for (kind, _, _), obj in list(api.objects.items()):
            self.take(kind, {"type": "ADDED", "object": obj})
        api.watchers[:] = [self.take]
        pods = ProxyReader(api)
        self.models = Reconciler(
            Observer(
                self.cache,
                pods,
                WarningReader(api, clock=lambda: 0),
                lambda: site.now,
                load=lambda key, _: site.load(key),
                shapes=site.shapes,
                pool=lambda namespace, name: self.store.pool(PoolKey(namespace, name)),
            ),
            decide,
            context,
            Executor(api, self.cache, lambda *_: None),
            self.metrics,
            specs=SpecPace(lambda: site.seconds * 10),
        )
        self.reported: list[ModelKey] = []
        self.pools = PoolReconciler(
            PoolObserver(self.store, self.cache, pods, lambda: site.now, site.load),
            PoolExecutor(
                api,
                self.store,
                ProxiedOrders(api),
                may_write=lambda: True,
                pool_key=lambda uid: pool_pods.key(uid, context.master_key),
            ),
            context,
            self.cache,
            self.metrics,
            self.reported.extend,
        )

    def take(self, kind: Kind, event: Any) -> None:
        labels = event["object"]["metadata"].get("labels", {})
        if kind in kinds.HANDLED or (kind in kinds.OWNED and names.LABEL_MODEL in labels):
            _keep(self.cache, kind, event)
        if kind is kinds.POOL or (kind in kinds.POOL_OWNED and names.LABEL_POOL in labels):
            self.news.update(_keep(self.store, kind, event))

    async def look(self) -> None:
        """At everything, once."""
        for key in self.cache.models():
            await self.models(key)
        due = {*self.store.pools(), *self.news}
        self.news.clear()
        for pool in due:
            await self.pools(pool)


def _keep(store: Store[K], kind: Kind, event: Any) -> tuple[K, ...]:
    if event["type"] == "DELETED":
        return store.remove(kind, event["object"]["metadata"]["uid"])
    return store.upsert(kind, event["object"])


@dataclass
class Client:
    """Requests for one model: held while no slice routes them, else in flight for a while."""

    held: list[float] = field(default_factory=list)  # since
    sent: list[tuple[float, str, Loaded]] = field(default_factory=list)  # until, endpoint
    last: float | None = None  # that one came or ended
    asked: float | None = None  # that one came
    answered: list[str] = field(default_factory=list)  # the engines that did


@dataclass
class Site:
    cluster: FakeCluster = field(default_factory=FakeCluster)
    seconds: float = 0.0
    pods: dict[str, ObedientPod] = field(default_factory=dict)
    clients: dict[str, Client] = field(default_factory=dict)
    failing: set[str] = field(default_factory=set)
    deaths: int = 0
    swapped: list[str] = field(default_factory=list)  # what each of the orders took away
    shapes: dict[str, ShapeReport] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.operator = Operator(self)

    @property
    def now(self) -> Any:
        return builders.NOW + timedelta(seconds=self.seconds)

    # What a user does

    def pool(self, **spec: Any) -> None:
        given = {
            "accelerator": {"profile": "h100"},
            "cache": {"claimName": "models"},
            "residency": {"minResidencySeconds": 0, "starvationSeconds": 30},
        }
        self.cluster.put(
            {
                "apiVersion": names.API_VERSION,
                "kind": names.KIND_POOL,
                "metadata": {"name": POOL.name, "namespace": POOL.namespace},
                "spec": given | spec,
            }
        )

    def model(
        self,
        name: str,
        folder: str | None = None,
        *,
        annotations: Mapping[str, str] | None = None,
        **spec: Any,
    ) -> None:
        """Two fit on a card. `folder` is of the pool's cache, where the files are, or a source.

        What is None in the spec is left out.
        """
        source = folder if folder and "://" in folder else f"pvc://models/{folder or name}"
        self.shapes[source] = SHAPE
        given = {
            "model": {"source": source},
            "pool": POOL.name,
            "memory": {"gpuMemoryFraction": "0.45"},
            "keepAlive": "5m",
        }
        wanted = {key: value for key, value in (given | spec).items() if value is not None}
        known = self.cluster.find(kinds.MODEL, POOL.namespace, name) or {}
        kept = known.get("metadata", {}).get("annotations", {})
        metadata: dict[str, Any] = {"name": name, "namespace": POOL.namespace}
        metadata["annotations"] = {**kept, **(annotations or {})}
        status = {"status": known["status"]} if "status" in known else {}
        obj = {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": metadata}
        self.cluster.put(obj | {"spec": wanted} | status)

    def fetched(self) -> None:
        """All Jobs have ended well."""
        done = {"conditions": [{"type": "Complete", "status": "True"}]}
        for job in self.cluster.of_kind(kinds.JOB):
            self.cluster.put(job | {"status": done})

    def ask(self, name: str) -> None:
        client = self.clients.setdefault(name, Client())
        client.held.append(self.seconds)
        client.last = client.asked = self.seconds

    # What befalls the operator

    def restart(self) -> None:
        """Another one, that knows what is in the cluster."""
        self.operator = Operator(self)

    def dies_at(self, number: int, *, after: bool) -> None:
        """At its write of this number; `after`: just after it was carried out."""
        self.cluster.faults.append(Dies(Died(), times=1, after=after, skip=number))

    # What is seen

    def load(self, key: ModelKey) -> Load:
        client = self.clients.get(key.name, Client())
        flying: dict[str, int] = {}
        for _, endpoint, _ in client.sent:
            flying[endpoint] = flying.get(endpoint, 0) + 1
        idle = None if client.last is None else self.seconds - client.last
        return Load(
            held=len(client.held),
            oldest_seconds=self.seconds - min(client.held, default=self.seconds),
            in_flight=flying,
            idle_seconds=0.0 if flying or client.held else idle,
            asked_seconds=None if client.asked is None else self.seconds - client.asked,
            gateways=1,
            complete=True,
        )

    def status(self, name: str) -> Any:
        found = self.cluster.find(kinds.MODEL, POOL.namespace, name)
        assert found is not None
        return found["status"]

    @property
    def pool_status(self) -> Any:
        found = self.cluster.find(kinds.POOL, *POOL)
        assert found is not None
        return found["status"]

    def engine(self, name: str) -> Any:
        """What the pool's status says of the engine that a model asks for."""
        return next(one for one in self.pool_status["engines"] if name in one["models"])

    def routes(self, name: str) -> list[tuple[str, int]]:
        """Pods and ports that a model's requests may go to."""
        found = self.cluster.find(kinds.SLICE, POOL.namespace, names.model_slice(name)) or {}
        port = found.get("ports", [{}])[0].get("port")
        return [(one["targetRef"]["name"], port) for one in found.get("endpoints") or []]

    def serving(self) -> set[str]:
        """Folders of what the pods really serve."""
        return {
            one.order.config.model_dir.rpartition("/")[2]
            for pod in self.pods.values()
            for one in pod.loaded.values()
            if one.phase is Phase.SERVING
        }

    def starts(self) -> list[str]:
        """Engines in the order in which pods started them."""
        return [one for pod in self.pods.values() for one in pod.starts]

    def owned(self, labels: Mapping[str, str]) -> list[Object]:
        """All with these labels, by kind and name."""
        found = [
            one
            for one in self.cluster.objects.values()
            if labels.items() <= one["metadata"].get("labels", {}).items()
        ]
        return sorted(found, key=lambda one: (one["kind"], one["metadata"]["name"]))

    # What happens

    async def step(self, seconds: float = 0.5) -> None:
        self.seconds += seconds
        self._make_pods()
        for pod in self.pods.values():
            pod.step()
            assert all(pod.used(card) <= size for card, size in enumerate(pod.cards))
            self.cluster.proxied[pod.name] = pod.status()
        self._serve()
        await self.look()
        self._serve()

    async def run(self, seconds: float, *, step: float = 0.5) -> None:
        for _ in range(round(seconds / step)):
            await self.step(step)

    async def look(self) -> None:
        """By an operator that is replaced when it dies."""
        try:
            await self.operator.look()
        except Died:
            self.deaths += 1
            self.restart()

    async def until_answered(self, seconds: float = 60.0) -> None:
        for _ in range(round(seconds * 2)):
            if not any(one.held or one.sent for one in self.clients.values()):
                return
            await self.step()
        raise AssertionError(f"not answered in {seconds} s: {self.clients}")

    def _make_pods(self) -> None:
        """As the controllers of the cluster and the kubelet."""
        found = self.cluster.find(kinds.DEPLOYMENT, POOL.namespace, names.pool_name(POOL.name))
        wanted = 0 if found is None else found["spec"]["replicas"]
        for number in range(wanted):
            name = f"{names.pool_name(POOL.name)}-{number}"
            if name not in self.pods:
                assert found is not None
                self._make_pod(name, found["spec"]["template"], number)

    def _make_pod(self, name: str, template: Object, number: int) -> None:
        started = self.seconds
        pod = ObedientPod(
            name, (CARD_BYTES * 92 // 100,), lambda: self.seconds - started, self.failing
        )
        self.pods[name] = pod
        self.cluster.obeying[name] = lambda body, headers: self._ordered(pod, body, headers)
        running = {"running": {"startedAt": timestamp(self.now)}}
        self.cluster.put(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": name,
                    "namespace": POOL.namespace,
                    "labels": template["metadata"]["labels"],
                },
                "spec": {"nodeName": "node-1"},
                "status": {
                    "podIP": f"10.0.0.{number + 1}",
                    "phase": "Running",
                    "conditions": [{"type": "Ready", "status": "True"}],
                    "containerStatuses": [{"name": "engine", "ready": True, "state": running}],
                },
            }
        )

    def _ordered(
        self, pod: ObedientPod, body: dict[str, Any], headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        kept = {one["id"] for one in body["engines"]}
        gone = [one for id_, one in pod.loaded.items() if id_ not in kept]
        self.swapped += [one.order.id for one in gone]
        closed = {one.order.config.port for one in gone}
        for model in self.cluster.of_kind(kinds.MODEL):
            routes = self.routes(model["metadata"]["name"])
            assert not [port for name, port in routes if name == pod.name and port in closed]
        answer = pod.obey(body, headers)
        self.cluster.proxied[pod.name] = pod.status()
        return answer

    def _serve(self) -> None:
        """A gateway and its clients: a request takes a second, and is only sent where it is served.

        It sees a route only as it is between two looks, so it may never meet an engine that drains.
        """
        for name, client in self.clients.items():
            for one in [one for one in client.sent if one[0] <= self.seconds]:
                client.sent.remove(one)
                one[2].in_flight -= 1
                client.last = self.seconds
                client.answered.append(one[2].order.id)
            for pod, port in self.routes(name)[:1]:
                served = self._at(pod, port)
                for _ in client.held if served else ():
                    served.in_flight += 1
                    endpoint = names.pool_endpoint(self._uid(pod), served.order.id)
                    client.sent.append((self.seconds + 1.0, endpoint, served))
                client.held[:] = [] if served else client.held

    def _at(self, pod: str, port: int) -> Loaded | None:
        """None where it has crashed: the gateway holds on to what it cannot send."""
        found = [one for one in self.pods[pod].loaded.values() if one.order.config.port == port]
        assert len(found) == 1, f"nothing serves at {pod}:{port}"
        assert found[0].phase in (Phase.SERVING, Phase.FAILED), found[0]
        return found[0] if found[0].phase is Phase.SERVING else None

    def _uid(self, pod: str) -> str:
        found = self.cluster.find(kinds.POD, POOL.namespace, pod)
        assert found is not None
        uid: str = found["metadata"]["uid"]
        return uid
