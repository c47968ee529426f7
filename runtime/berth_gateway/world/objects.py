"""Kubernetes objects, read into what the gateway needs of them. Pure; the rest is not kept."""

import base64
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from berth_api import names
from berth_api.keys import engine_key
from berth_api.model_deployment import ModelDeployment
from berth_api.pool import ModelPool, PoolStatus
from berth_api.quantity import parse_duration
from berth_api.server import queue_limit
from berth_api.spec import DEFAULT_KEEP_ALIVE, ScalingMode, Spec
from berth_api.status import Status
from berth_gateway.routing import presets
from berth_gateway.routing.keep_alive import FOREVER
from berth_gateway.routing.pools import Pool
from berth_gateway.routing.snapshot import Endpoint, Facts, Model, Snapshot, build
from berth_gateway.routing.standing import standing

_log = logging.getLogger(__name__)

Json = dict[str, Any]
Read = TypeVar("Read", ModelDeployment, ModelPool)

_HUB_SOURCE: Final = re.compile(r"hf://([^@]+)")
_IDLE: Final = "Idle"  # status.phase: at zero replicas
# vLLM's flags, and Ollama's words for what they make of a model.
_EMBEDS: Final = {("--runner", "pooling"), ("--convert", "embed")}
_ABLE: Final = (("--enable-auto-tool-choice", "tools"), ("--reasoning-parser", "thinking"))


@dataclass(frozen=True, slots=True)
class Slice:
    """The endpoints of one EndpointSlice that take requests."""

    namespace: str
    model: str
    endpoints: tuple[Endpoint, ...]
    engine_identity: str | None = None  # names.pool_engine, where models may share the engine


def model(item: Json) -> Model | None:
    """A ModelDeployment as a model without endpoints; None if a newer kind cannot be read."""
    metadata = item["metadata"]
    read = _read(ModelDeployment, item)
    if read is None:
        return None
    hub = _HUB_SOURCE.match(read.spec.model.source)
    spec, status = read.spec, read.status or Status()
    return Model(
        key=metadata["uid"],
        name=metadata["name"],
        namespace=metadata["namespace"],
        served_name=spec.model.name,
        aliases=tuple(spec.model.aliases),
        hub_id=hub.group(1) if hub else None,
        created_seconds=_unix_seconds(metadata["creationTimestamp"]),
        phase=status.phase,
        reason=status.reason,
        eta_seconds=status.load.eta_seconds if status.load else None,
        room=queue_limit(status.plan.max_num_seqs) if status.plan else None,
        max_pending=spec.queue.max_pending,
        max_wait_seconds=spec.queue.max_wait_seconds,
        policy=spec.routing.policy,
        fixed_replicas=_fixed_replicas(spec),
        paused=spec.paused,
        replacing=_replacing(status),
        hold_replacement=spec.rollout.hold_requests,
        keep_alive_seconds=_keep_alive_seconds(spec),
        facts=_facts(spec, status),
        presets=presets.of(spec.defaults),
        adapters=tuple(one.name for one in spec.adapters),
        loadable=tuple(one.name for one in status.adapters or ()),
        own_adapter=spec.defaults.adapter if spec.defaults else None,
        standing=standing(spec, status),
    )


def _read(kind: type[Read], item: Json) -> Read | None:
    metadata = item["metadata"]
    try:
        return kind.model_validate(item)
    except ValidationError as error:
        _log.warning("%s/%s is left out: %s", metadata["namespace"], metadata["name"], error)
        return None


def _fixed_replicas(spec: Spec) -> int | None:
    """None where the operator, an autoscaler or a pool may change them."""
    pooled = spec.pool is not None
    return None if pooled or spec.scaling.mode is not ScalingMode.FIXED else spec.replicas


def _keep_alive_seconds(spec: Spec) -> float:
    """FOREVER where the operator never takes the last replica away. A pool always may."""
    if spec.pool is None and not spec.scaling.sleeps:
        return FOREVER
    seconds = parse_duration(spec.keep_alive or DEFAULT_KEEP_ALIVE)
    return FOREVER if seconds is None else float(seconds)


def _facts(spec: Spec, status: Status) -> Facts:
    known, plan = status.model, status.plan
    facts = Facts(capabilities=_capabilities(spec.runtime.extra_args))
    if known is not None:
        facts = replace(
            facts,
            commit=known.commit,
            file_bytes=known.file_bytes,
            dtype=known.parameters_dtype,
            architecture=known.architecture,
        )
    if plan is not None:
        facts = replace(
            facts,
            context=plan.max_model_len,
            memory_bytes=plan.usable_bytes * max(plan.gpus_per_replica, 1),
            on_gpu=plan.gpus_per_replica > 0,
        )
    return facts


def _capabilities(flags: Iterable[str]) -> tuple[str, ...]:
    """As far as the engine's flags tell. A model that embeds does nothing else."""
    words = [word for flag in flags for word in flag.replace("=", " ").split()]
    pairs = set(pairwise(words))
    if pairs & _EMBEDS:
        return ("embedding",)
    return ("completion", *(name for flag, name in _ABLE if flag in words))


def _replacing(status: Status) -> bool:
    """A roll-out is under way, of a model that was not just asleep."""
    known = status.current_revision and status.update_revision
    return bool(
        known and status.current_revision != status.update_revision and status.phase != _IDLE
    )


def pool(item: Json) -> Pool | None:
    """None if a newer kind cannot be read."""
    metadata = item["metadata"]
    read = _read(ModelPool, item)
    if read is None:
        return None
    profile, status = read.spec.accelerator.profile, read.status or PoolStatus()
    return Pool(metadata["namespace"], metadata["name"], profile, status)


def endpoint_slice(item: Json) -> Slice:
    """Ready, serving and not terminating addresses, at the port that is called engine.

    On that of a pool's model stands what its engine calls the model, and who the engine is.

    Conditions that are absent mean what the EndpointSlice API says: ready and serving true,
    terminating false.
    """
    metadata = item["metadata"]
    ports = (port for port in item.get("ports") or () if port.get("name") == names.PORT_NAME_ENGINE)
    number = next((port.get("port") for port in ports), None)
    notes = metadata.get("annotations") or {}
    served = notes.get(names.ANNOTATION_SERVED_MODEL)
    found = () if number is None else _endpoints(item.get("endpoints") or (), number, served)
    return Slice(
        metadata["namespace"],
        metadata["labels"][names.LABEL_MODEL],
        tuple(found),
        notes.get(names.ANNOTATION_ENGINE_IDENTITY),
    )


def _endpoints(items: Iterable[Json], port: int, served: str | None) -> Iterable[Endpoint]:
    for item in items:
        conditions = item.get("conditions") or {}
        open_ = conditions.get("ready") is not False and conditions.get("serving") is not False
        if not open_ or conditions.get("terminating"):
            continue
        # The API allows several addresses and says that only the first has a meaning.
        address = item["addresses"][0]
        host = f"[{address}]" if ":" in address else address
        pod = item.get("targetRef") or {}
        url = f"http://{host}:{port}"
        key, name = pod.get("uid") or url, pod.get("name") or url
        if served is not None:
            key = names.pool_endpoint(key, served)
        yield Endpoint(key=key, url=url, name=name, served_model=served)


def snapshot(models: Iterable[Model], slices: Iterable[Slice], master: bytes | None) -> Snapshot:
    """Models with their endpoints and their engine keys.

    A pod in two slices (IPv4 and IPv6, or a slice being split) counts once.
    """
    found: dict[tuple[str, str], dict[str, Endpoint]] = {}
    for one in slices:
        pods = found.setdefault((one.namespace, one.model), {})
        key = _engine_key(master, one.engine_identity)
        for endpoint in one.endpoints:
            pods.setdefault(endpoint.key, replace(endpoint, engine_key=key) if key else endpoint)
    return build(
        replace(
            one,
            engine_key=_engine_key(master, one.key),
            endpoints=tuple(found.get((one.namespace, one.name), {}).values()),
        )
        for one in models
    )


def _engine_key(master: bytes | None, identity: str | None) -> str | None:
    return None if master is None or identity is None else engine_key(master, identity)


def secret(item: Json) -> dict[str, bytes]:
    """A Secret's fields, decoded; the API server has checked that they are base64."""
    return {name: base64.b64decode(value) for name, value in (item.get("data") or {}).items()}


def _unix_seconds(timestamp: str) -> int:
    return int(datetime.fromisoformat(timestamp.replace("Z", "+00:00")).timestamp())
