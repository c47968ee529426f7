"""`KubeApi` on the official client's asyncio half: the only module that imports it.

Raw requests with plain dicts: the typed models drop fields that they do not know, and the dynamic
client's wrapper costs four times the parsing. Every foreign error is mapped here, once.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
import msgspec
from kubernetes.aio import client, config

from berth_api import names
from berth_operator.cluster import kinds
from berth_operator.cluster.body import read_whole
from berth_operator.cluster.kinds import Kind
from berth_operator.cluster.port import Form, Json, Page
from berth_operator.errors import (
    ApiError,
    ConfigurationError,
    Conflict,
    Denied,
    NotFound,
    NotLeading,
    Unavailable,
)
from berth_operator.metrics import Metrics

_FIELDS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_OBJECTS: Final = msgspec.json.Decoder(list[dict[str, msgspec.Raw]] | None)

# A write that began just before leadership was lost should be over before the next leader starts
# (5 s after the renew deadline), and no healthy API server takes longer for one object.
WRITE_TIMEOUT: Final = aiohttp.ClientTimeout(total=5.0, sock_connect=3.0)
READ_TIMEOUT: Final = aiohttp.ClientTimeout(total=30.0, sock_connect=3.0)
PROXY_TIMEOUT: Final = aiohttp.ClientTimeout(total=1.0)
# A stream lives. A watch that is silent for longer than a bookmark's period (60 s) is dead.
STREAM_TIMEOUT: Final = aiohttp.ClientTimeout(total=None, sock_connect=3.0, sock_read=70.0)
# client-go has 500. While it is taken in, a page that is read is in memory parsed: ten times its
# text.
PAGE_OBJECTS: Final = 250
MAX_PROXIED_BYTES: Final = 256 * 1024
_PROBE_MANAGER: Final = "berth-probe"
_JSON: Final = "application/json"
_METADATA: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_METADATA_LIST: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_APPLY: Final = "application/apply-patch+yaml"
_MERGE: Final = "application/merge-patch+json"

_BY_STATUS: Final[Mapping[int, type[ApiError]]] = {
    400: Denied,
    403: Denied,
    404: NotFound,
    405: Denied,
    409: Conflict,
    410: Unavailable,  # a list's page expired; it begins anew
    413: Denied,
    415: Denied,
    422: Denied,
}
# The API server answers 500 to an apply with a field that it does not know. That is a bug of the
# sender: another try will not help.
_SENDERS_FAULT: Final = "failed to create typed patch object"
# A patch with the uid of an object that is gone, where a namesake is: no precondition of its own.
_ANOTHER_ONE: Final = "metadata.uid: Invalid value"


async def connect(environ: Mapping[str, str], context: str | None = None) -> client.ApiClient:
    """By the pod's service account, whose token is read again as it rotates, or by KUBECONFIG.

    `context` is one of the kubeconfig's; None is its current one.
    """
    settings = client.Configuration()
    settings.client_session_kwargs = {"trust_env": _asks_for_a_proxy(environ)}
    try:
        if environ.get("KUBECONFIG"):
            await config.load_kube_config(
                config_file=environ["KUBECONFIG"], context=context, client_configuration=settings
            )
        else:
            config.load_incluster_config(client_configuration=settings)
    except (config.ConfigException, OSError) as error:
        raise ConfigurationError(f"no way to the API server: {error}") from error
    connection = client.ApiClient(settings)
    connection.user_agent = names.MANAGED_BY
    # Beside the API server, packing a list of everything takes more time than it saves.
    connection.set_default_header("Accept-Encoding", "identity")
    return connection


def _asks_for_a_proxy(environ: Mapping[str, str]) -> bool:
    """Else aiohttp need not look for one before every request: a fifth of the operator's CPU."""
    return any(name.lower().endswith("_proxy") and environ[name] for name in environ)


class KubernetesApi:
    def __init__(
        self, api_client: client.ApiClient, *, may_write: Callable[[], bool], metrics: Metrics
    ) -> None:
        """`may_write` is asked just before every write; on False the write raises NotLeading."""
        self._client = api_client
        self._may_write = may_write
        self._metrics = metrics

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Json:
        found: Json = _parsed(await self._read(kind.path(namespace, name)))
        return found

    async def list_all(
        self,
        kind: Kind,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
        limit: int | None = None,
    ) -> list[Json]:
        query = {"labelSelector": labels, "fieldSelector": fields, "limit": limit or PAGE_OBJECTS}
        found: list[Json] = []
        async for page in self._pages(kind, namespace, query, Form.PARSED):
            found += page.items
            if limit is not None:
                break
        return found

    async def pages(
        self,
        kind: Kind,
        namespace: str | None = None,
        *,
        labels: str = "",
        form: Form = Form.PARSED,
    ) -> AsyncIterator[Page]:
        query = {"labelSelector": labels, "limit": PAGE_OBJECTS}
        async for page in self._pages(kind, namespace, query, form):
            yield page

    async def _pages(
        self, kind: Kind, namespace: str | None, query: dict[str, Any], form: Form
    ) -> AsyncIterator[Page]:
        accept = _METADATA_LIST if form is Form.METADATA else _JSON
        parse = _unread_list if form is Form.UNREAD else _parsed
        while True:
            page = parse(await self._read(kind.path(namespace), query, accept=accept))
            told = page["metadata"]
            items = [_typed(kind, item) for item in page["items"] or []]
            yield Page(items, told.get("resourceVersion", ""))
            query = {**query, "continue": told.get("continue", "")}
            if not query["continue"]:
                return

    async def apply(
        self, obj: Json, *, manager: str = names.FIELD_MANAGER, force: bool = True
    ) -> Json:
        return await self._apply(kinds.of(obj), obj, manager=manager, force=force)

    async def apply_status(self, obj: Json) -> Json:
        return await self._apply(
            kinds.of(obj), obj, manager=names.STATUS_FIELD_MANAGER, subresource="status"
        )

    async def owners(self, kind: Kind, namespace: str, name: str) -> list[Json] | None:
        """By a dry run of an empty apply: it tells the object's metadata, and changes nothing.

        No more than metadata is asked for: the object may be someone else's Secret.
        """
        identity = {"name": name, "namespace": namespace}
        body = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": identity}
        query = {"fieldManager": _PROBE_MANAGER, "dryRun": "All"}
        path = kind.path(namespace, name)
        status, answer = await self._request(
            "PATCH",
            path,
            query,
            body=body,
            content=_APPLY,
            accept=_METADATA,
            timeout=WRITE_TIMEOUT,
        )
        if status == HTTPStatus.CREATED:
            return None
        owners: list[Json] = _parsed(answer)["metadata"].get("ownerReferences", [])
        return owners

    async def create(self, obj: Json) -> Json:
        kind = kinds.of(obj)
        path = kind.path(obj["metadata"].get("namespace"))
        return await self._write("POST", kind, path, {"fieldManager": names.FIELD_MANAGER}, obj)

    async def replace(self, obj: Json) -> Json:
        kind = kinds.of(obj)
        path = kind.path(obj["metadata"].get("namespace"), obj["metadata"]["name"])
        return await self._write("PUT", kind, path, {"fieldManager": names.FIELD_MANAGER}, obj)

    async def patch(self, kind: Kind, namespace: str, name: str, change: Json) -> Json:
        query = {"fieldManager": names.FIELD_MANAGER}
        path = kind.path(namespace, name)
        return await self._write("PATCH", kind, path, query, change, content=_MERGE)

    async def delete(self, kind: Kind, namespace: str | None, name: str, *, uid: str) -> None:
        body = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        await self._write("DELETE", kind, kind.path(namespace, name), {}, body)

    async def proxy_get(self, namespace: str, pod: str, port: int, path: str) -> bytes:
        target = kinds.POD.path(namespace, f"{pod}:{port}", f"proxy{path}")
        response = await self._send("GET", target, {}, timeout=PROXY_TIMEOUT)
        async with response:
            if response.status != HTTPStatus.OK:
                raise Unavailable(f"{target} answered {response.status}", status=response.status)
            try:
                body = await read_whole(response.content, MAX_PROXIED_BYTES)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise self._unreachable("GET", target, error) from error
        if body is None:
            raise Unavailable(f"{target} answered more than {MAX_PROXIED_BYTES} bytes")
        return body

    async def proxy_put(
        self,
        namespace: str,
        pod: str,
        port: int,
        path: str,
        *,
        body: Json,
        headers: Mapping[str, str],
    ) -> tuple[int, bytes]:
        target = kinds.POD.path(namespace, f"{pod}:{port}", f"proxy{path}")
        if not self._may_write():
            raise NotLeading(f"not leading: PUT {target} is held back")
        sent = {"Content-Type": _JSON, **headers}
        response = await self._send(
            "PUT", target, {}, headers=sent, body=body, timeout=PROXY_TIMEOUT
        )
        async with response:
            try:
                answer = await read_whole(response.content, MAX_PROXIED_BYTES)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise self._unreachable("PUT", target, error) from error
        return response.status, answer or b""

    @asynccontextmanager
    async def proxy_stream(
        self, namespace: str, pod: str, port: int, path: str
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        target = kinds.POD.path(namespace, f"{pod}:{port}", f"proxy{path}")
        async with self._stream(target, {}) as response:
            yield response.content.iter_any()

    async def watch(
        self, kind: Kind, namespace: str | None, *, labels: str, seconds: int, since: str = ""
    ) -> AsyncGenerator[Json, None]:
        query = {
            "watch": "true",
            "labelSelector": labels,
            "timeoutSeconds": seconds,
            "allowWatchBookmarks": "true",
            "resourceVersion": since,
        }
        path = kind.path(namespace)
        async with self._stream(path, query) as response:
            while line := await response.content.readline():
                event = _parsed(line)
                if event["type"] == "ERROR":
                    said = event["object"]
                    code = said.get("code") or HTTPStatus.INTERNAL_SERVER_ERROR
                    raise mapped_error(code, {}, json.dumps(said).encode(), what=f"WATCH {path}")
                yield event

    @asynccontextmanager
    async def _stream(
        self, target: str, query: Mapping[str, Any]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer whose body has no end. Raises the mapped error, also while it is read."""
        response = await self._send("GET", target, query, timeout=STREAM_TIMEOUT)
        try:
            async with response:
                if response.status >= HTTPStatus.BAD_REQUEST:
                    raise self._refused("GET", target, response, await response.read())
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise self._unreachable("GET", target, error) from error

    async def _apply(
        self,
        kind: Kind,
        obj: Json,
        *,
        manager: str,
        force: bool = True,
        subresource: str | None = None,
    ) -> Json:
        metadata = obj["metadata"]
        path = kind.path(metadata.get("namespace"), metadata["name"], subresource)
        query = {"fieldManager": manager, "force": str(force).lower()}
        return await self._write("PATCH", kind, path, query, obj, content=_APPLY)

    async def _read(
        self, path: str, query: Mapping[str, Any] | None = None, *, accept: str = _JSON
    ) -> bytes:
        _, answer = await self._request(
            "GET", path, query or {}, accept=accept, timeout=READ_TIMEOUT
        )
        return answer

    async def _write(
        self,
        method: str,
        kind: Kind,
        path: str,
        query: Mapping[str, Any],
        body: Json,
        *,
        content: str = _JSON,
    ) -> Json:
        if not self._may_write():
            raise NotLeading(f"not leading: {method} {path} is held back")
        _, answer = await self._request(
            method, path, query, body=body, content=content, timeout=WRITE_TIMEOUT
        )
        self._metrics.writes.labels(kind=kind.kind, method=method).inc()
        written: Json = _parsed(answer)
        return written

    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any],
        *,
        timeout: aiohttp.ClientTimeout,
        body: Json | None = None,
        content: str = _JSON,
        accept: str = _JSON,
    ) -> tuple[int, bytes]:
        """Status and body of an answer below 400; else raises the mapped error."""
        headers = {"Accept": accept, "Content-Type": content}
        response = await self._send(
            method, path, query, headers=headers, body=body, timeout=timeout
        )
        try:
            async with response:
                text = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreachable(method, path, error) from error
        if response.status >= HTTPStatus.BAD_REQUEST:
            raise self._refused(method, path, response, text)
        return response.status, text

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any],
        *,
        timeout: aiohttp.ClientTimeout,
        headers: Mapping[str, str] | None = None,
        body: Json | None = None,
    ) -> aiohttp.ClientResponse:
        given = {name: value for name, value in query.items() if value not in ("", None)}
        target = f"{self._client.configuration.host}{path}{'?' if given else ''}{urlencode(given)}"
        sent = {**self._client.default_headers, **(headers or {})}
        try:
            # Not `param_serialize`: it copies every body, for models that are not used here.
            await self._client.update_params_for_auth(sent, [], ["BearerToken"], path, method, body)
            answer = await self._client.rest_client.request(
                method, target, headers=sent, body=body, _request_timeout=timeout
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unreachable(method, path, error) from error
        response: aiohttp.ClientResponse = answer.response
        return response

    def _unreachable(self, method: str, path: str, error: Exception) -> Unavailable:
        self._metrics.api_errors.labels(reason="Unreachable").inc()
        return Unavailable(
            f"{method} {path}: no answer: {str(error) or type(error).__name__}",
            reason="Unreachable",
        )

    def _refused(
        self, method: str, path: str, response: aiohttp.ClientResponse, text: bytes
    ) -> ApiError:
        error = mapped_error(response.status, response.headers, text, what=f"{method} {path}")
        self._metrics.api_errors.labels(reason=error.reason).inc()
        return error


def mapped_error(status: int, headers: Mapping[str, str], text: bytes, *, what: str) -> ApiError:
    """The error for an answer of 400 and above; its message is the API server's own."""
    said = _status_object(text)
    message = said.get("message") or f"{what}: HTTP {status}"
    kind = _BY_STATUS.get(status, Unavailable)
    if _SENDERS_FAULT in message:
        kind = Denied
    elif _ANOTHER_ONE in message:
        kind = Conflict
    return kind(
        message,
        status=status,
        reason=said.get("reason") or f"HTTP{status}",
        retry_after_seconds=_seconds(headers.get("Retry-After")),
    )


def _status_object(text: bytes) -> Json:
    """The Kubernetes Status in an error's body; a proxy in between may have sent HTML instead."""
    try:
        said = _parsed(text)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _parsed(text: bytes) -> Any:
    """ValueError if it is no JSON. A list of everything is parsed in a third of json's time."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from error


def _unread_list(text: bytes) -> Json:
    """A list, of whose objects only the metadata is parsed, and of that no managedFields."""
    try:
        page = _FIELDS.decode(text)
        items = _OBJECTS.decode(page["items"]) or ()
        told = msgspec.json.decode(page["metadata"])
        return {"metadata": told, "items": [_unread(item) for item in items]}
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from error


def _unread(item: Mapping[str, msgspec.Raw]) -> Json:
    metadata = {
        name: msgspec.json.decode(value)
        for name, value in _FIELDS.decode(item["metadata"]).items()
        if name != "managedFields"
    }
    return {**item, "metadata": metadata}


def _seconds(header: str | None) -> float | None:
    return float(header) if header is not None and header.isdigit() else None


def _typed(kind: Kind, item: Json) -> Json:
    """Items of a list come without their kind, or with PartialObjectMetadata's."""
    return {**item, "apiVersion": kind.api_version, "kind": kind.kind}
