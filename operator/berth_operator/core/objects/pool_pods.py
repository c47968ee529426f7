"""A pool's own objects: its pods, the key that orders to them are signed with, and a budget.

The pod's template is rendered once for what the pool's spec and the administrator's profiles say,
kept in a ControllerRevision and re-applied verbatim: a new Berth ends no pod, for with it all of
its engines would go.
"""

import base64
import hashlib
from dataclasses import dataclass
from typing import Any, Final

from berth_api import names
from berth_api.keys import engine_key
from berth_api.pool_server import PoolConfig
from berth_api.quantity import mebibytes
from berth_operator.core.accelerators.offer import Offer
from berth_operator.core.digest import digest
from berth_operator.core.kubernetes import annotation
from berth_operator.core.objects import model_files
from berth_operator.core.objects.pod_template import (
    PRE_STOP_SECONDS,
    SHM_BYTES,
    TEARDOWN_SECONDS,
    supervision,
)
from berth_operator.core.objects.pods import env_of, pod_spec_of
from berth_operator.core.observed import Object
from berth_operator.core.pools import cards
from berth_operator.core.pools.pool import ResolvedPool, labels, metadata
from berth_operator.settings import Device, Settings

_HASH_DIGITS: Final = 10
# A pod of many engines is drained longer than its streams take: each engine ends by itself.
_PROGRESS_DEADLINE_SECONDS: Final = 86_400
# On the budget: which key was last written. The operator never reads Secrets.
ANNOTATION_KEY: Final = f"{names.GROUP}/pool-key"


@dataclass(frozen=True)
class PoolPods:
    """What a pool's objects are rendered from."""

    pool: ResolvedPool
    settings: Settings
    offer: Offer
    master_key: bytes


def key(pool_uid: str, master_key: bytes) -> str:
    """Derived as an engine's is."""
    return engine_key(master_key, pool_uid)


def key_hash(given: PoolPods) -> str:
    """Tells one key from another without telling the key."""
    return hashlib.sha256(key(given.pool.uid, given.master_key).encode()).hexdigest()[:16]


def key_written(budgets: tuple[Object, ...], wanted: str) -> bool:
    return any(annotation(one, ANNOTATION_KEY) == wanted for one in budgets)


def secret(given: PoolPods) -> dict[str, Any]:
    text = base64.b64encode(key(given.pool.uid, given.master_key).encode()).decode()
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(given.pool, names.pool_key_secret(given.pool.name)),
        "type": "Opaque",
        "data": {names.POOL_KEY_FIELD: text},
    }


def budget(given: PoolPods) -> dict[str, Any]:
    """One pod at a time; it is also the memory of the key's having been written."""
    told = {ANNOTATION_KEY: key_hash(given)}
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(given.pool, names.pool_name(given.pool.name), annotations=told),
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": _selector(given.pool)},
        },
    }


def spec_hash(given: PoolPods) -> str:
    """Of what the user and the administrator say of a pod, not of how this Berth renders it."""
    spec = given.pool.spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    said = {name: value for name, value in spec.items() if name not in ("replicas", "residency")}
    profile = given.offer.profile.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    image = image_of(given.pool, given.offer)
    return digest([said, profile, image, list(cards.room(given.offer))])[:_HASH_DIGITS]


def image_of(pool: ResolvedPool, offer: Offer) -> str:
    return pool.spec.runtime.image or offer.engine.image


def revision(given: PoolPods, name: str, number: int) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": metadata(given.pool, names.pool_revision(given.pool.name, name)),
        "revision": number,
        "data": {"template": template(given)},
    }


def deployment(given: PoolPods, pod_template: dict[str, Any]) -> dict[str, Any]:
    """One Deployment for the pool's life: a new template goes pod by pod, in the old one's place.

    A card is free when its pod has gone, so none is made beside it.
    """
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(given.pool, names.pool_name(given.pool.name)),
        "spec": {
            "replicas": given.pool.spec.replicas,
            "revisionHistoryLimit": 0,  # Berth keeps its own
            "progressDeadlineSeconds": _PROGRESS_DEADLINE_SECONDS,
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1},
            },
            "selector": {"matchLabels": _selector(given.pool)},
            "template": pod_template,
        },
    }


def _selector(pool: ResolvedPool) -> dict[str, str]:
    return {names.LABEL_POOL: pool.name, names.LABEL_ROLE: names.ROLE_POOL}


def template(given: PoolPods) -> dict[str, Any]:
    pool, offer = given.pool, given.offer
    spec = pod_spec_of(
        pool.spec.pod_template, given.settings, offer.profile, offer.engine.run_as_user
    )
    grace = PRE_STOP_SECONDS + pool.spec.drain_timeout_seconds + TEARDOWN_SECONDS
    return {
        "metadata": {
            "labels": labels(pool),
            "annotations": dict(pool.spec.pod_template.annotations),
        },
        "spec": spec
        | {
            "terminationGracePeriodSeconds": grace,
            "initContainers": [model_files.installer(given.settings)],
            "containers": [_container(given)],
            "volumes": _volumes(given),
        },
    }


def _container(given: PoolPods) -> dict[str, Any]:
    offer = given.offer
    return {
        "name": "engine",
        "image": image_of(given.pool, offer),
        "imagePullPolicy": given.settings.image_pull_policy,
        "command": ["python3", "-m", "berth_server"],
        "env": env_of(given.pool.spec.pod_template, _environment(given)),
        "ports": [{"name": names.PORT_NAME_STATUS, "containerPort": names.PORT_SERVER_STATUS}],
        **supervision(offer.engine.device),
        "resources": _resources(given),
        "volumeMounts": [
            model_files.server_mount(read_only=True),
            {"name": "run", "mountPath": names.DIR_RUN},
            {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 -- NCCL and torch share here
            {"name": "pool-key", "mountPath": names.DIR_POOL_KEY, "readOnly": True},
            {"name": model_files.VOLUME_MODEL, "mountPath": names.DIR_MODEL, "readOnly": True},
            model_files.tmp_mount(),
            *model_files.compiled_mounts(given.pool.spec.cache),
        ],
    }


def _environment(given: PoolPods) -> dict[str, str]:
    return model_files.engine_environment() | {names.ENV_POOL_CONFIG: config(given).wire()}


def config(given: PoolPods) -> PoolConfig:
    offer = given.offer
    return PoolConfig(
        namespace=given.pool.namespace,
        pool=given.pool.name,
        device=offer.engine.device.value,
        cards=0 if offer.on_cpu else offer.cards_per_node,
        memory_bytes=offer.memory_bytes if offer.on_cpu else None,
        command=offer.engine.command,
        env=dict(offer.engine.env),
        status_port=names.PORT_SERVER_STATUS,
        pool_key_file=f"{names.DIR_POOL_KEY}/{names.POOL_KEY_FIELD}",
        drain_timeout_seconds=given.pool.spec.drain_timeout_seconds,
        compiled=model_files.compiled(given.pool.spec.cache, image_of(given.pool, offer)),
    )


def _resources(given: PoolPods) -> dict[str, Any]:
    pool, offer = given.pool, given.offer
    memory = mebibytes(cards.pod_memory_bytes(pool, offer))
    limits = {"memory": memory}
    each = 1 if offer.on_cpu else offer.cards_per_node
    if offer.profile.resource:
        limits[offer.profile.resource] = str(each)
    cpu = pool.spec.resources.cpu or f"{offer.profile.millicpu * each}m"
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": limits}


# Of each engine that may be loaded at once, as a dedicated pod has it.
_SHM_ENGINES: Final = 8


def _volumes(given: PoolPods) -> list[dict[str, Any]]:
    device: Device = given.offer.engine.device
    shm = mebibytes(SHM_BYTES[device] * _SHM_ENGINES)
    cache = given.pool.spec.cache
    claim: dict[str, Any] = {"claimName": cache.claim_name}
    if not cache.keep_compiled:
        claim |= {"readOnly": True}
    secret_volume = {"secretName": names.pool_key_secret(given.pool.name), "defaultMode": 0o440}
    return [
        model_files.server_volume(),
        {"name": "run", "emptyDir": {}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": shm}},
        {"name": "pool-key", "secret": secret_volume},
        {"name": model_files.VOLUME_MODEL, "persistentVolumeClaim": claim},
        model_files.tmp_volume(),
    ]
