"""A user's way into a cluster: the kubeconfig as kubectl finds it, and the official client on it.

The operator's own client does the work. What only a user does is added to it here: writes go under
the terminal's own field manager and force nothing upon others.
"""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import aiohttp
import yaml

from berth_cli.commands import Site
from berth_cli.errors import InputError, Refused, TerminalError
from berth_operator.cluster import kinds
from berth_operator.cluster.kubernetes_api import STREAM_TIMEOUT, KubernetesApi, connect
from berth_operator.cluster.port import Json, KubeApi
from berth_operator.errors import BerthError, Conflict, Denied, NotFound
from berth_operator.metrics import Metrics

FIELD_MANAGER: Final = "berth-cli"
KUBECONFIG: Final = "KUBECONFIG"
_USUAL_KUBECONFIG: Final = Path(".kube", "config")  # below the home folder, as kubectl has it
_USUAL_NAMESPACE: Final = "default"
_APPLY: Final = "application/apply-patch+yaml"
_MERGE: Final = "application/merge-patch+json"
_PORT_FORWARD: Final = "v4.channel.k8s.io"
_SEE: Final = "see --kubeconfig, --context and --namespace"


class Cluster(KubeApi, Protocol):
    """What the terminal asks of an API server; raises what `KubeApi` raises."""

    async def submit(self, obj: Json) -> Json:
        """Server-side apply under the terminal's name; Conflict where others own a field."""
        ...

    async def scale(self, namespace: str, name: str, replicas: int) -> None:
        """Through the scale subresource of a ModelDeployment."""
        ...

    async def set_keep_alive(self, namespace: str, name: str, keep_alive: str) -> None: ...

    async def annotate(self, namespace: str, name: str, annotation: str, value: str) -> None:
        """A ModelDeployment."""
        ...

    def log(
        self, namespace: str, pod: str, *, follow: bool, previous: bool
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Of the engine's container."""
        ...

    async def forward(self, namespace: str, pod: str, port: int) -> aiohttp.ClientWebSocketResponse:
        """One connection to a pod's port, in frames of Kubernetes' port-forward."""
        ...


@dataclass(frozen=True)
class Session:
    api: Cluster
    namespace: str  # of the models
    release: str


@asynccontextmanager
async def session(site: Site, environ: Mapping[str, str]) -> AsyncIterator[Session]:
    """Raises InputError where no cluster is named; what it raises later, `told` maps."""
    found = kubeconfig(site.kubeconfig, environ)
    client = await connect(found, context=site.context)
    try:
        namespace = site.namespace or _namespace(found[KUBECONFIG], site.context)
        yield Session(ClusterApi(client), namespace, site.release)
    finally:
        await client.close()


def told(error: BerthError) -> TerminalError:
    """The client's errors as the terminal's: a no is another thing than no answer."""
    if isinstance(error, Conflict):
        return Refused(f"{error}; another owner of that field keeps it: change it there")
    if isinstance(error, (Denied, NotFound)):
        return Refused(str(error))
    return InputError(f"{error}; {_SEE}")


def kubeconfig(given: Path | None, environ: Mapping[str, str]) -> dict[str, str]:
    """The variable that names it, as kubectl finds it. Raises InputError."""
    if given is None and environ.get(KUBECONFIG):
        return {KUBECONFIG: environ[KUBECONFIG]}
    path = given or Path(environ.get("HOME", "."), _USUAL_KUBECONFIG)
    if not path.is_file():
        raise InputError(
            f"--kubeconfig {path}: there is no such file; name one, or set {KUBECONFIG}"
        )
    return {KUBECONFIG: str(path)}


def _namespace(paths: str, context: str | None) -> str:
    """Of the context. The client has read the files by now, and does not tell it."""
    files = [path for one in paths.split(os.pathsep) if one and (path := Path(one)).is_file()]
    known: list[Any] = [yaml.safe_load(path.read_text(encoding="utf-8")) or {} for path in files]
    name = context or next(
        (one["current-context"] for one in known if "current-context" in one), ""
    )
    contexts = [one for file in known for one in file.get("contexts") or () if one["name"] == name]
    found: str | None = contexts[0]["context"].get("namespace") if contexts else None
    return found or _USUAL_NAMESPACE


class ClusterApi(KubernetesApi):
    """`Cluster`, on the official client."""

    def __init__(self, client: Any) -> None:
        super().__init__(client, may_write=lambda: True, metrics=Metrics())

    async def submit(self, obj: Json) -> Json:
        kind, metadata = kinds.of(obj), obj["metadata"]
        path = kind.path(metadata["namespace"], metadata["name"])
        query = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
        return await self._write("PATCH", kind, path, query, obj, content=_APPLY)

    async def scale(self, namespace: str, name: str, replicas: int) -> None:
        change = {"spec": {"replicas": replicas}}
        await self._merge(kinds.MODEL.path(namespace, name, "scale"), change)

    async def set_keep_alive(self, namespace: str, name: str, keep_alive: str) -> None:
        change = {"spec": {"keepAlive": keep_alive}}
        await self._merge(kinds.MODEL.path(namespace, name), change)

    async def annotate(self, namespace: str, name: str, annotation: str, value: str) -> None:
        change = {"metadata": {"annotations": {annotation: value}}}
        await self._merge(kinds.MODEL.path(namespace, name), change)

    async def _merge(self, path: str, change: Json) -> None:
        query = {"fieldManager": FIELD_MANAGER}
        await self._write("PATCH", kinds.MODEL, path, query, change, content=_MERGE)

    @asynccontextmanager
    async def log(
        self, namespace: str, pod: str, *, follow: bool, previous: bool
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        chosen = {"follow": follow, "previous": previous}
        query = {"container": "engine"} | {name: "true" for name, on in chosen.items() if on}
        target = kinds.POD.path(namespace, pod, "log")
        # An engine at rest writes nothing for hours.
        patient = aiohttp.ClientTimeout(total=None, sock_connect=STREAM_TIMEOUT.sock_connect)
        response = await self._send("GET", target, query, timeout=patient)
        async with response:
            if not response.ok:
                raise self._refused("GET", target, response, await response.read())
            try:
                yield response.content.iter_any()
            except (aiohttp.ClientError, OSError) as error:
                raise self._unreachable("GET", target, error) from error

    async def forward(self, namespace: str, pod: str, port: int) -> aiohttp.ClientWebSocketResponse:
        target = kinds.POD.path(namespace, pod, "portforward")
        rest, headers = self._client.rest_client, dict(self._client.default_headers)
        await self._client.update_params_for_auth(headers, [], ["BearerToken"], target, "GET", None)
        if rest.pool_manager is None:
            rest.pool_manager = rest._create_pool_manager()  # noqa: SLF001 -- as its own ws client
        address = f"{self._client.configuration.host}{target}?ports={port}"
        try:
            found: aiohttp.ClientWebSocketResponse = await rest.pool_manager.ws_connect(
                address, headers=headers, protocols=(_PORT_FORWARD,), max_msg_size=0
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreachable("GET", target, error) from error
        return found
