"""An API server in a dict, for the operator's edges: what they rely on of the real one, and faults.

Enough of server-side apply (a manager's dropped fields go, others' stay, a repetition changes
nothing), uids and their preconditions, the status subresource, deletion of what a deleted object
owned, and events to whoever watches. The integration tests hold it against a real API server.
"""

import asyncio
import copy
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec

from berth_api import names
from berth_operator.cluster import kinds
from berth_operator.cluster.kinds import Kind
from berth_operator.cluster.port import Form, Page
from berth_operator.errors import Conflict, NotFound

Json = dict[str, Any]
Watcher = Callable[[Kind, Json], None]
READS = frozenset({"get", "list", "owners", "proxy", "watch"})
Obey = Callable[[Json, Mapping[str, str]], tuple[int, bytes]]
"""What a pod answers to a PUT with this body and these headers."""
_CREATED = "2026-01-02T03:04:05Z"


@dataclass(frozen=True)
class Call:
    """One request, as a test asks for it: `Call("apply", "Deployment", "smol-1")`."""

    verb: str
    kind: str
    name: str


@dataclass
class Fault:
    """Fails `times` matching requests, after letting `skip` pass.

    With `after` they are carried out all the same, and only the answer is lost.
    """

    error: Exception
    verb: str | None = None
    kind: str | None = None
    times: int = 1
    after: bool = False
    skip: int = 0

    def hits(self, call: Call) -> bool:
        """Counts the request, if it matches."""
        if self.verb not in (None, call.verb) or self.kind not in (None, call.kind):
            return False
        self.skip -= 1
        if self.skip >= 0 or self.times <= 0:
            return False
        self.times -= 1
        return True


@dataclass
class FakeCluster:
    objects: dict[tuple[Kind, str, str], Json] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    watchers: list[Watcher] = field(default_factory=list)
    proxied: dict[str, bytes] = field(default_factory=dict)  # by pod name
    obeying: dict[str, Obey] = field(default_factory=dict)  # by pod name
    _applied: dict[tuple[str, str], Json] = field(default_factory=dict)  # by uid and manager
    _serial: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def writes(self) -> list[Call]:
        return [call for call in self.calls if call.verb not in READS]

    def find(self, kind: Kind, namespace: str, name: str) -> Json | None:
        return copy.deepcopy(self.objects.get((kind, namespace, name)))

    def of_kind(self, kind: Kind) -> list[Json]:
        return [copy.deepcopy(obj) for (one, _, _), obj in self.objects.items() if one is kind]

    def put(self, obj: Json) -> Json:
        """As another client: creates or replaces the object."""
        key = _key(obj)
        metadata = {"uid": f"uid-{next(self._serial)}", "creationTimestamp": _CREATED}
        kept = self.objects.get(key, {}).get("metadata", metadata)
        merged = {
            **obj,
            "metadata": {**metadata, **{n: kept[n] for n in metadata}, **obj["metadata"]},
        }
        return self._store(key, merged)

    def remove(self, kind: Kind, namespace: str, name: str) -> None:
        """As another client: deletes the object, and the garbage collector what it owned."""
        gone = self.objects.pop((kind, namespace, name))
        self._tell(kind, "DELETED", gone)
        for other, space, child in list(self.objects):
            found = self.objects.get((other, space, child))
            owners = (found or {}).get("metadata", {}).get("ownerReferences", [])
            if any(owner["uid"] == gone["metadata"]["uid"] for owner in owners):
                self.remove(other, space, child)

    async def get(self, kind: Kind, namespace: str | None, name: str) -> Json:
        with self._request("get", kind, name):
            return copy.deepcopy(self._live(kind, namespace, name))

    async def list_all(
        self,
        kind: Kind,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
        limit: int | None = None,
    ) -> list[Json]:
        with self._request("list", kind, ""):
            found = [
                copy.deepcopy(obj)
                for (of, space, _), obj in self.objects.items()
                if of is kind
                and namespace in (None, space)
                and _labelled(obj, labels)
                and _matches(obj, fields)
            ]
        return found[:limit]

    async def pages(
        self,
        kind: Kind,
        namespace: str | None = None,
        *,
        labels: str = "",
        form: Form = Form.PARSED,
    ) -> AsyncIterator[Page]:
        """One object a page."""
        version = str(next(self._serial))
        for obj in await self.list_all(kind, namespace, labels=labels):
            yield Page([_formed(obj, form)], version)
        yield Page([], version)

    async def apply(
        self, obj: Json, *, manager: str = names.FIELD_MANAGER, force: bool = True
    ) -> Json:
        del force  # nobody here owns a field
        return self._apply(obj, manager, "apply")

    async def apply_status(self, obj: Json) -> Json:
        kind, _, name = _key(obj)
        with self._request("apply_status", kind, name):
            live = self._live(*_key(obj))
            version = live["metadata"]["resourceVersion"]
            if obj["metadata"].get("resourceVersion", version) != version:
                raise Conflict("the object has been modified", status=409)
            return self._store(_key(obj), {**live, "status": copy.deepcopy(obj["status"])})

    async def owners(self, kind: Kind, namespace: str, name: str) -> list[Json] | None:
        with self._request("owners", kind, name):
            live = self.objects.get((kind, namespace, name))
            return None if live is None else list(live["metadata"].get("ownerReferences", []))

    async def create(self, obj: Json) -> Json:
        kind, _, name = key = _key(obj)
        with self._request("create", kind, name):
            if key in self.objects:
                raise Conflict(f"{name} already exists", status=409, reason="AlreadyExists")
            return self.put(obj)

    async def replace(self, obj: Json) -> Json:
        kind, _, name = _key(obj)
        with self._request("replace", kind, name):
            live = self._live(*_key(obj))
            if obj["metadata"]["resourceVersion"] != live["metadata"]["resourceVersion"]:
                raise Conflict("the object has been modified", status=409)
            return self._store(_key(obj), copy.deepcopy(obj))

    async def patch(self, kind: Kind, namespace: str, name: str, change: Json) -> Json:
        with self._request("patch", kind, name):
            live = self._live(kind, namespace, name)
            uid = live["metadata"]["uid"]
            if change.get("metadata", {}).get("uid", uid) != uid:
                raise Conflict("the uid is another one", status=409)
            return self._store((kind, namespace, name), merge_patched(live, change))

    async def delete(self, kind: Kind, namespace: str | None, name: str, *, uid: str) -> None:
        with self._request("delete", kind, name):
            if self._live(kind, namespace, name)["metadata"]["uid"] != uid:
                raise Conflict("the uid is another one", status=409)
            self.remove(kind, namespace or "", name)

    async def proxy_get(self, namespace: str, pod: str, port: int, path: str) -> bytes:
        with self._request("proxy", kinds.POD, pod):
            if pod not in self.proxied:
                raise NotFound(f"no answer from {pod}:{port}{path} in {namespace}", status=404)
            return self.proxied[pod]

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
        with self._request("proxy_put", kinds.POD, pod):
            if pod not in self.obeying:
                raise NotFound(f"no answer from {pod}:{port}{path} in {namespace}", status=404)
            return self.obeying[pod](copy.deepcopy(body), headers)

    @asynccontextmanager
    async def proxy_stream(
        self, namespace: str, pod: str, port: int, path: str
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Nothing beyond what `proxy_get` would answer, and then its end."""
        body = await self.proxy_get(namespace, pod, port, path)
        yield _once(body)

    async def watch(
        self, kind: Kind, namespace: str | None, *, labels: str, seconds: int, since: str = ""
    ) -> AsyncGenerator[Json, None]:
        events: asyncio.Queue[Json] = asyncio.Queue()
        with self._request("watch", kind, ""):
            for obj in await self.list_all(kind, namespace, labels=labels):
                if not since or int(obj["metadata"]["resourceVersion"]) > int(since):
                    events.put_nowait({"type": "ADDED", "object": obj})

        def tell(of: Kind, event: Json) -> None:
            if of is kind and _labelled(event["object"], labels):
                events.put_nowait(event)

        self.watchers.append(tell)
        try:
            async with asyncio.timeout(seconds):
                while True:
                    yield await events.get()
        except TimeoutError:
            return
        finally:
            self.watchers.remove(tell)

    def _apply(self, obj: Json, manager: str, verb: str) -> Json:
        kind, _, name = key = _key(obj)
        with self._request(verb, kind, name):
            live = self.objects.get(key) or self.put({**obj, "metadata": dict(obj["metadata"])})
            version = live["metadata"]["resourceVersion"]
            if obj["metadata"].get("resourceVersion", version) != version:
                raise Conflict("the object has been modified", status=409)
            uid = live["metadata"]["uid"]
            before = self._applied.get((uid, manager), {})
            self._applied[uid, manager] = copy.deepcopy(obj)
            return self._store(key, _merged(_without(live, before, obj), obj))

    def _request(self, verb: str, kind: Kind, name: str) -> "_Request":
        call = Call(verb, kind.kind, name)
        self.calls.append(call)
        fault = next((one for one in self.faults if one.hits(call)), None)
        return _Request(fault)

    def _live(self, kind: Kind, namespace: str | None, name: str) -> Json:
        found = self.objects.get((kind, namespace or "", name))
        if found is None:
            raise NotFound(f'{kind.plural} "{name}" not found', status=404, reason="NotFound")
        return found

    def _store(self, key: tuple[Kind, str, str], obj: Json) -> Json:
        """Keeps the resource version, and is silent, when nothing changes."""
        old = self.objects.get(key)
        if old is not None and _content(old) == _content(obj):
            return copy.deepcopy(old)
        grown = int(old is not None and old.get("spec") != obj.get("spec"))
        generation = (old or obj)["metadata"].get("generation", 1) + grown
        version = {"resourceVersion": str(next(self._serial)), "generation": generation}
        stored = {**obj, "metadata": {**obj["metadata"], **version}}
        self.objects[key] = copy.deepcopy(stored)
        self._tell(key[0], "MODIFIED" if old else "ADDED", stored)
        return copy.deepcopy(stored)

    def _tell(self, kind: Kind, event: str, obj: Json) -> None:
        for watcher in self.watchers:
            watcher(kind, {"type": event, "object": copy.deepcopy(obj)})


@dataclass
class _Request:
    """Raises the fault before the request, or after it has been carried out."""

    fault: Fault | None

    def __enter__(self) -> None:
        if self.fault is not None and not self.fault.after:
            raise self.fault.error

    def __exit__(self, *raised: object) -> None:
        if self.fault is not None and raised[0] is None:
            raise self.fault.error


def _formed(obj: Json, form: Form) -> Json:
    if form is Form.PARSED:
        return obj
    told = {name: obj[name] for name in ("apiVersion", "kind", "metadata")}
    if form is Form.METADATA:
        return told
    return {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in obj.items()} | told


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _key(obj: Mapping[str, Any]) -> tuple[Kind, str, str]:
    metadata = obj["metadata"]
    return kinds.of(obj), metadata.get("namespace", ""), metadata["name"]


def _content(obj: Json) -> Json:
    volatile = ("resourceVersion", "generation")
    metadata = {name: value for name, value in obj["metadata"].items() if name not in volatile}
    return {**obj, "metadata": metadata}


def _labelled(obj: Json, selector: str) -> bool:
    labels = obj["metadata"].get("labels", {})
    parts = [part.partition("=") for part in selector.split(",") if part]
    return all(labels.get(name) == value if eq else name in labels for name, eq, value in parts)


def _matches(obj: Json, fields: str) -> bool:
    return all(
        obj.get(part.split("=")[0]) == part.split("=")[1] for part in fields.split(",") if part
    )


def merge_patched(live: Any, change: Any) -> Any:
    """RFC 7386."""
    if not isinstance(change, dict):
        return copy.deepcopy(change)
    kept = dict(live) if isinstance(live, dict) else {}
    for name, value in change.items():
        if value is None:
            kept.pop(name, None)
        else:
            kept[name] = merge_patched(kept.get(name), value)
    return kept


def _merged(live: Any, wanted: Any) -> Any:
    if isinstance(live, dict) and isinstance(wanted, dict):
        return live | {name: _merged(live.get(name), value) for name, value in wanted.items()}
    return copy.deepcopy(wanted)


def _without(live: Any, before: Any, wanted: Any) -> Any:
    """`live` without what the manager applied before and no longer does."""
    if not (isinstance(live, dict) and isinstance(before, dict) and isinstance(wanted, dict)):
        return live
    return {
        name: _without(value, before.get(name), wanted.get(name))
        for name, value in live.items()
        if name in wanted or name not in before
    }
