"""The fetch Job: puts a model's files into its pool's cache, alone with the hub's token.

A pool's pod has no init container for a model that comes later, and must not see tokens. The Job's
end is what is remembered of the files: it stays as long as its model's revision does. A hub's files
are verified and marked by the fetcher; those of an image are copied aside and then renamed, so
that a folder of that name is whole.
"""

from typing import Any, Final

from berth_api import names
from berth_api.server import FetchConfig
from berth_api.shape import ShapeReport
from berth_api.source import ClaimSource, HubSource, OciSource
from berth_operator.core.digest import digest
from berth_operator.core.objects import model_files
from berth_operator.core.objects.jobs import job
from berth_operator.core.objects.pods import CONTROL_USER, pod_spec
from berth_operator.core.pools.pool import ResolvedPool
from berth_operator.core.resolved import Resolved
from berth_operator.settings import AcceleratorProfile, Settings

_HASH_DIGITS: Final = 8
# Tries of the kubelet before the Job is done again at Berth's own pace.
_TRIES: Final = 2


def directory(resolved: Resolved, pool: ResolvedPool, shape: ShapeReport) -> str | None:
    """Where the engine finds the files, in a pod of the pool; None: the pool cannot have them."""
    match resolved.source:
        case HubSource(repository=repository):
            return f"{names.DIR_MODEL}/{repository.replace('/', '--')}/{shape.commit}"
        case OciSource(reference=reference):
            return f"{names.DIR_MODEL}/oci--{digest([reference, shape.commit])[:_HASH_DIGITS]}"
        case ClaimSource(claim=claim, folder=folder) if claim == pool.spec.cache.claim_name:
            return f"{names.DIR_MODEL}/{folder}".rstrip("/")
        case ClaimSource():
            return None


def files_hash(resolved: Resolved, pool: ResolvedPool, shape: ShapeReport) -> str:
    """Names the Job; empty where the files are in the cache already."""
    if isinstance(resolved.source, ClaimSource):
        return ""
    place = [pool.spec.cache.claim_name, directory(resolved, pool, shape)]
    token = resolved.spec.model.auth_secret_ref
    return digest([place, token.wire() if token else None])[:_HASH_DIGITS]


def prefix(resolved: Resolved, files: str) -> str:
    """Of the names of all attempts."""
    return f"{names.fetch_job(resolved.name, files)}-"


def name(resolved: Resolved, files: str, attempt: int) -> str:
    return f"{prefix(resolved, files)}{attempt}"


def build(
    resolved: Resolved,
    pool: ResolvedPool,
    settings: Settings,
    profile: AcceleratorProfile,
    shape: ShapeReport,
    *,
    attempt: int,
) -> dict[str, Any]:
    """On the nodes of the pool's pods: a claim may be of one node, or of one zone."""
    found = files_hash(resolved, pool, shape)
    volume = {
        "name": model_files.VOLUME_MODEL,
        "persistentVolumeClaim": {"claimName": pool.spec.cache.claim_name},
    }
    init, container = _containers(resolved, pool, settings, shape)
    spec = pod_spec(resolved, settings, profile, CONTROL_USER) | {
        "restartPolicy": "Never",
        "initContainers": init,
        "containers": [container],
        "volumes": [model_files.tmp_volume(), model_files.server_volume(), volume],
    }
    limits = {"backoffLimit": _TRIES - 1}
    return job(resolved, name(resolved, found, attempt), names.ROLE_FETCH, limits, spec)


def _containers(
    resolved: Resolved, pool: ResolvedPool, settings: Settings, shape: ShapeReport
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    to = directory(resolved, pool, shape) or names.DIR_MODEL
    if isinstance(resolved.source, OciSource):
        reference = resolved.source.reference
        copier = model_files.copier_into(reference, settings, to, by=resolved.name)
        return [model_files.installer(settings)], copier
    config = FetchConfig(
        source=resolved.spec.model.source,
        commit=shape.commit,
        directory=to,
        status_port=names.PORT_SERVER_STATUS,
        expected_bytes=shape.fileBytes or None,
        token_secret=model_files.token_name(resolved),
    )
    return [], model_files.fetcher(resolved, settings, config)
