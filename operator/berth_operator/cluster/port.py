"""What the operator asks of an API server: the seam between its edges and the real client.

Objects are plain JSON. Every call raises the errors of `berth_operator.errors` and no others:
NotFound, Conflict, Denied (will not help again), Unavailable (may), NotLeading (before a write).
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from enum import Enum
from typing import Any, NamedTuple, Protocol

from berth_api import names
from berth_operator.cluster.kinds import Kind

Json = dict[str, Any]


class Form(Enum):
    """In which form the objects of a list come."""

    PARSED = "parsed"
    METADATA = "metadata"
    """Parsed, and without anything else."""
    UNREAD = "unread"
    """Text (msgspec.Raw), but for the metadata, which is without managedFields."""


class Page(NamedTuple):
    """A part of a list; a watch that goes on from `version` misses nothing."""

    items: list[Json]
    version: str


class KubeApi(Protocol):
    async def get(self, kind: Kind, namespace: str | None, name: str) -> Json: ...

    async def list_all(
        self,
        kind: Kind,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
        limit: int | None = None,
    ) -> list[Json]:
        """All objects that match, read in pages; with `limit` the first page of so many.

        `namespace` None is every namespace.
        """
        ...

    def pages(
        self,
        kind: Kind,
        namespace: str | None = None,
        *,
        labels: str = "",
        form: Form = Form.PARSED,
    ) -> AsyncIterator[Page]:
        """The same, page by page: a list of everything need never be in memory at once."""
        ...

    async def apply(
        self, obj: Json, *, manager: str = names.FIELD_MANAGER, force: bool = True
    ) -> Json:
        """Server-side apply; returns the live object.

        Conflict without `force` where others own a field, and where `metadata.resourceVersion`, if
        given, is not the live one's.
        """
        ...

    async def apply_status(self, obj: Json) -> Json:
        """The same on the status subresource, as names.STATUS_FIELD_MANAGER.

        Conflict unless `metadata.resourceVersion`, if given, is the live one's.
        """
        ...

    async def owners(self, kind: Kind, namespace: str, name: str) -> list[Json] | None:
        """Owner references of an object that the operator may not read; None if absent."""
        ...

    async def create(self, obj: Json) -> Json:
        """Conflict if an object of that name exists."""
        ...

    async def replace(self, obj: Json) -> Json:
        """Conflict unless `metadata.resourceVersion` is the live one's."""
        ...

    async def patch(self, kind: Kind, namespace: str, name: str, change: Json) -> Json:
        """JSON merge patch: keys with None go, others are set; NotFound without an object.

        Conflict unless `metadata.uid`, if given, is the live one's.
        """
        ...

    async def delete(self, kind: Kind, namespace: str | None, name: str, *, uid: str) -> None:
        """Conflict if the live object is another one; dependants go with it, in the background."""
        ...

    async def proxy_get(self, namespace: str, pod: str, port: int, path: str) -> bytes:
        """GET on a pod's port through the API server; Unavailable beyond MAX_PROXIED_BYTES."""
        ...

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
        """PUT on a pod's port through the API server: the pod's status code and answer."""
        ...

    def proxy_stream(
        self, namespace: str, pod: str, port: int, path: str
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The same for an answer without end: its body as it comes."""
        ...

    def watch(
        self, kind: Kind, namespace: str | None, *, labels: str, seconds: int, since: str = ""
    ) -> AsyncGenerator[Json, None]:
        """Events of a watch that the server ends after `seconds`, BOOKMARKs among them.

        All after the version `since`; without it first ADDED for what is there, and what was
        deleted before is not told. An error with status 410: the version is too old.
        """
        ...
