"""Orders of Ollama's clients, carried out: check, write, and follow what comes of it.

Each order is judged by what the API server has now, so any replica may serve it, and serving it
twice does no harm.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from berth_api.modelfile import document
from berth_api.modelfile.grammar import ModelfileError
from berth_api.models_api import ModelOrder, Place
from berth_operator.cluster.model_store import ModelStore
from berth_operator.cluster.port import Json
from berth_operator.core.managed import following, making
from berth_operator.core.managed.following import SUCCESS, Done, Failed, Line
from berth_operator.core.managed.making import Made, Refused
from berth_operator.errors import BerthError, NotFound, OrderRefused, Unavailable

# A person looks at it; Ollama's terminal draws ten times as often, and from less far away.
LOOK_SECONDS: Final = 1.0
# A Job of a new image on a new node reads a model's files within it. It goes on afterwards.
PATIENCE_SECONDS: Final = 600.0

Lines = AsyncIterator[Line]


@dataclass(frozen=True)
class Managing:
    store: ModelStore
    clock: Callable[[], float] = time.monotonic
    look_seconds: float = LOOK_SECONDS

    async def create(self, order: ModelOrder) -> Lines:
        """Raises OrderRefused and what `KubeApi` raises; the lines raise nothing."""
        try:
            read = document.modelfile(order.document)
        except ModelfileError as error:
            raise OrderRefused(HTTPStatus.BAD_REQUEST, str(error)) from error
        base = None if order.source is None else await self._there(order.source)
        made = making.created(order, read, base)
        return await self._make(order, made)

    async def pull(self, order: ModelOrder) -> Lines:
        """Of a model that exists: how far it is. As `create` else."""
        place = order.place
        if place is None:
            return await self._make(order, making.pulled(order))
        if place.namespace != self.store.namespace:  # served, and not to be seen from here
            return _only(SUCCESS)
        return self._follow(await self._there(place), new=False)

    async def copy(self, order: ModelOrder) -> None:
        """Raises as `create`."""
        if order.source is None:
            raise OrderRefused(HTTPStatus.NOT_FOUND, "the source of the copy was not found")
        made = making.copied(order, await self._there(order.source))
        await self._write(order, made)

    async def delete(self, order: ModelOrder) -> None:
        """Raises as `create`."""
        place = order.place
        if place is None:
            raise _missing(order.name)
        self._check_namespace(place)
        try:
            await self.store.remove(place)
        except NotFound as error:
            raise _missing(order.name) from error

    async def _make(self, order: ModelOrder, made: Made | Refused) -> Lines:
        live, new = await self._write(order, made)
        remarks = made.remarks if isinstance(made, Made) else ()
        return self._follow(live, *remarks, new=new)

    async def _write(self, order: ModelOrder, made: Made | Refused) -> tuple[Json, bool]:
        """The object as it is stored, and whether there was none before."""
        if isinstance(made, Refused):
            raise OrderRefused(made.status, made.reason)
        found = await self.store.find(made.model["metadata"]["name"])
        refused = making.refused_name(order, self.store.namespace, found)
        if refused is not None:
            raise OrderRefused(refused.status, refused.reason)
        return await self.store.write(made.model, found), found is None

    async def _there(self, place: Place) -> Json:
        self._check_namespace(place)
        found = await self.store.find(place.name)
        if found is None or found["metadata"]["uid"] != place.uid:
            raise _missing(place.name)
        return found

    def _check_namespace(self, place: Place) -> None:
        """Claims and Secrets that a model names are of its own namespace."""
        if place.namespace != self.store.namespace:
            raise OrderRefused(
                HTTPStatus.BAD_REQUEST,
                f"model {place.name} is in namespace {place.namespace}, and this API manages those "
                f"in {self.store.namespace} alone; use kubectl",
            )

    async def _follow(self, model: Json, *remarks: str, new: bool) -> Lines:
        for remark in remarks:
            yield {"status": remark}
        try:
            async for line in self._watched(model, new=new):
                yield line
        except BerthError as error:
            yield _error(str(error))

    async def _watched(self, model: Json, *, new: bool) -> Lines:
        """One that is refused is taken away again, if this order made it."""
        name, uid = model["metadata"]["name"], model["metadata"]["uid"]
        end = self.clock() + PATIENCE_SECONDS
        while self.clock() < end:
            match following.progress(model):
                case Done():
                    yield SUCCESS
                    return
                case Failed(reason):
                    if new:
                        await self.store.remove(_place(model))
                    yield _error(reason)
                    return
                case following.UnderWay(line):
                    yield line
            await asyncio.sleep(self.look_seconds)
            found = await self._looked_at(name) or model
            if found["metadata"]["uid"] != uid:
                break
            model = found
        yield _error(f"what becomes of model {name} is not known yet; pull it to look again")

    async def _looked_at(self, name: str) -> Json | None:
        """None while the API server is away; NotFound once somebody has deleted it."""
        try:
            found = await self.store.find(name)
        except Unavailable:
            return None
        if found is None:
            raise _missing(name)
        return found


async def _only(line: Line) -> Lines:
    yield line


def _place(model: Json) -> Place:
    return Place.model_validate(model["metadata"])


def _error(reason: str) -> Line:
    return {"error": reason}


def _missing(name: str) -> OrderRefused:
    return OrderRefused(HTTPStatus.NOT_FOUND, f"model '{name}' not found")
