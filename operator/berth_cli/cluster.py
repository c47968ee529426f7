"""A cluster's profiles and nodes: the configuration of the operator that runs there, and no more.

Reads one ConfigMap and the nodes, by the operator's own client, and writes nothing.
"""

import asyncio
from collections.abc import Mapping
from typing import Final

from berth_api import names
from berth_cli import access, profiles
from berth_cli.arguments import Cluster
from berth_cli.errors import InputError
from berth_cli.profiles import Fleet
from berth_operator.cluster import kinds
from berth_operator.cluster.cache import Cache
from berth_operator.cluster.kinds import Kind
from berth_operator.cluster.kubernetes_api import KubernetesApi, connect
from berth_operator.cluster.port import KubeApi
from berth_operator.errors import BerthError
from berth_operator.metrics import Metrics

_CONFIG_MAP: Final = Kind("v1", "ConfigMap", "configmaps")
# The chart's labels of the operator's objects; its names can be changed.
_OPERATORS: Final = f"{names.LABEL_NAME}={names.PART_OF},{names.LABEL_COMPONENT}=operator"
_CONFIG_FILE: Final = "config.yaml"


def read(where: Cluster, environ: Mapping[str, str]) -> Fleet:
    """Raises InputError."""
    try:
        return asyncio.run(_read(where, access.kubeconfig(where.kubeconfig, environ)))
    except BerthError as error:
        raise InputError(
            f"--cluster: {error}; see --kubeconfig, --context and --namespace"
        ) from error


async def _read(where: Cluster, environ: Mapping[str, str]) -> Fleet:
    client = await connect(environ, context=where.context)
    try:
        api = KubernetesApi(client, may_write=lambda: False, metrics=Metrics())
        return await fleet(api, where.namespace)
    finally:
        await client.close()


async def fleet(api: KubeApi, namespace: str) -> Fleet:
    """Of the release in `namespace`. Raises InputError, and what `KubeApi` raises."""
    found = await api.list_all(_CONFIG_MAP, namespace, labels=_OPERATORS)
    texts = [one["data"][_CONFIG_FILE] for one in found if _CONFIG_FILE in one.get("data", {})]
    if not texts:
        raise InputError(
            f"--namespace {namespace}: no ConfigMap of Berth's operator is in it; name the "
            "namespace of its release"
        )
    cache = Cache()
    for node in await api.list_all(kinds.NODE):
        cache.upsert(kinds.NODE, node)
    return Fleet(profiles.parse(texts[0], f"--namespace {namespace}"), cache.nodes())
