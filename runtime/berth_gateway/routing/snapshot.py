"""Which models exist, what they are called and where they run: one frozen value.

A new one replaces the old as a whole, so a request sees one state of the world from its first
decision to its last.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from berth_api.spec import Queue, RoutingPolicy
from berth_gateway.routing.keep_alive import FOREVER
from berth_gateway.routing.presets import Presets
from berth_gateway.routing.standing import Standing

QUEUE: Final = Queue()  # the API's own defaults, for static routes too
_UNTOLD: Final = Standing()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An engine that takes requests now."""

    # The pod's uid, because an address may pass to another pod; else the address. A pool's pod has
    # several engines, and what is counted of one says nothing of its neighbours.
    key: str
    url: str  # http://host:port
    name: str  # the pod's, for people
    served_model: str | None = None  # what the engine calls the model, where models may share it
    engine_key: str | None = field(default=None, repr=False)  # in place of the model's own, then


@dataclass(frozen=True, slots=True)
class Facts:
    """What spec and status say of the model itself. Empty, None and 0 are unknown."""

    commit: str = ""  # status.model.commit
    file_bytes: int = 0
    dtype: str = ""  # that most of its parameters are stored in
    architecture: str = ""  # model_type of its config.json
    context: int | None = None  # tokens
    memory_bytes: int = 0  # that one replica takes
    on_gpu: bool = False
    capabilities: tuple[str, ...] = ("completion",)  # Ollama's words


@dataclass(frozen=True, slots=True)
class Model:
    key: str  # metadata.uid, or the name of a static route
    name: str  # metadata.name, the only name that an engine of its own serves
    namespace: str = ""  # empty for a static route
    served_name: str | None = None  # spec.model.name
    aliases: tuple[str, ...] = ()
    hub_id: str | None = None  # organisation/model of an hf:// source
    created_seconds: int = 0  # metadata.creationTimestamp, Unix time
    phase: str | None = None  # status.phase, as the operator last wrote it
    reason: str | None = None  # status.reason, of the Ready condition
    eta_seconds: int | None = None  # status.load.etaSeconds
    engine_key: str | None = field(default=None, repr=False)
    endpoints: tuple[Endpoint, ...] = ()
    room: int | None = None  # requests that one endpoint takes, running and waiting; None: any
    max_pending: int = QUEUE.max_pending  # requests held
    max_wait_seconds: int = QUEUE.max_wait_seconds
    policy: RoutingPolicy = RoutingPolicy.LEAST_IN_FLIGHT
    fixed_replicas: int | None = None  # spec.replicas, where only a user changes it
    paused: bool = False
    replacing: bool = False  # a roll-out has begun and not ended
    hold_replacement: bool = True  # spec.rollout.holdRequests
    keep_alive_seconds: float = FOREVER  # spec.keepAlive, where the last replica may go
    facts: Facts = Facts()
    presets: Presets | None = None  # spec.defaults
    standing: Standing = _UNTOLD
    adapters: tuple[str, ...] = ()  # of spec.adapters, by name
    loadable: tuple[str, ...] = ()  # of these, what every replica has: status.adapters
    own_adapter: str | None = None  # spec.defaults.adapter
    adapter: str | None = None  # by this one it is seen here; a model of its own to clients

    @property
    def home(self) -> str:
        """The name that no other model can take, of the model whose adapter this may be."""
        return f"{self.name}.{self.namespace}" if self.namespace else self.name

    @property
    def qualified_name(self) -> str:
        """The name that no other model or adapter can take."""
        return f"{self.adapter}.{self.home}" if self.adapter else self.home

    @property
    def engine_name(self) -> str:
        """What the engine is to be asked for."""
        own = self.own_adapter if self.own_adapter in self.offered else None
        return self.adapter or own or self.name

    @property
    def offered(self) -> tuple[str, ...]:
        """Adapters that a request may have: while replicas differ, those that all of them have.

        One that waits for its first replica will meet a replica that has them all.
        """
        return self.loadable if self.endpoints else self.adapters

    @property
    def names(self) -> tuple[str, ...]:
        """What it would like to be called, the preferred name first."""
        if self.adapter:
            return (self.adapter,)
        wanted = (self.served_name, self.name, *self.aliases, self.hub_id)
        return tuple(dict.fromkeys(name for name in wanted if name))


@dataclass(frozen=True, slots=True)
class Snapshot:
    models: tuple[Model, ...] = ()  # the oldest first
    listed: tuple[Model, ...] = ()  # each with its adapters behind it
    index: Mapping[str, Model] = field(default_factory=lambda: MappingProxyType({}))

    def find(self, name: str) -> Model | None:
        return self.index.get(name)

    def public_name(self, model: Model) -> str:
        """The first of a model's names that leads to it."""
        mine = (name for name in model.names if self.index[name] is model)
        return next(mine, model.qualified_name)

    def other_names(self, model: Model) -> tuple[str, ...]:
        """Its further names that lead to it."""
        public = self.public_name(model)
        wanted = dict.fromkeys((*model.names, model.qualified_name))
        return tuple(n for n in wanted if n != public and self.index[n] is model)


def build(models: Iterable[Model]) -> Snapshot:
    """Names are given in order of age, uid breaking ties; a qualified name beats any other.

    A model's own names come before those of its adapters.
    """
    ordered = tuple(sorted(models, key=lambda model: (model.created_seconds, model.key)))
    listed = tuple(one for model in ordered for one in (model, *_adapted(model)))
    index = {one.qualified_name: one for one in listed if one.namespace}
    for one in listed:
        for name in one.names:
            index.setdefault(name, one)
    return Snapshot(models=ordered, listed=listed, index=MappingProxyType(index))


def _adapted(model: Model) -> Iterable[Model]:
    return (replace(model, adapter=name) for name in model.offered)
