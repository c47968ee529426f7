"""The world of a cluster: ModelDeployments, EndpointSlices and two Secrets, joined into a snapshot.

Beside it ModelPools, of which only the page tells.

Never looks at pods: whether one takes traffic is for its EndpointSlice to say. Never asks for a
Secret but the two of its own release, by name.
"""

import asyncio
from collections.abc import Callable
from itertools import chain
from typing import Any, Final, TypeVar

from berth_api import names
from berth_api.keys import models_api_key
from berth_gateway.settings import Settings
from berth_gateway.state.board import Board
from berth_gateway.world import keys, objects
from berth_gateway.world.kube import Json, KubeApi
from berth_gateway.world.reflector import Reflector

# A roll-out changes many objects at once; a snapshot a few times a second is soon enough.
COALESCE_SECONDS: Final = 0.05

Parsed = TypeVar("Parsed")


class ClusterWorld:
    def __init__(self, api: KubeApi, settings: Settings, board: Board) -> None:
        self._board = board
        self._dirty = asyncio.Event()
        spaces = [f"/namespaces/{name}" for name in settings.watch_namespaces] or [""]

        def reflect(
            path: str,
            parse: Callable[[Json], Parsed | None],
            changed: Callable[[], None] = self._dirty.set,
            **query: str,
        ) -> Reflector[Parsed]:
            return Reflector(api, path, query, parse=parse, changed=changed)

        self._models = [
            reflect(f"/apis/{names.API_VERSION}{space}/{names.PLURAL}", objects.model)
            for space in spaces
        ]
        self._slices = [
            reflect(
                f"/apis/discovery.k8s.io/v1{space}/endpointslices",
                objects.endpoint_slice,
                labelSelector=names.LABEL_MODEL,
            )
            for space in spaces
        ]
        # Told to people only: no request waits for them, and no route is made anew for them.
        self._pools = [
            reflect(
                f"/apis/{names.API_VERSION}{space}/{names.PLURAL_POOL}",
                objects.pool,
                self._publish_pools,
            )
            for space in spaces
        ]
        secrets = f"/api/v1/namespaces/{settings.namespace}/secrets"
        self._api_keys, self._master = (
            reflect(secrets, objects.secret, fieldSelector=f"metadata.name={name}")
            for name in (names.SECRET_API_KEYS, names.SECRET_ENGINE_MASTER)
        )

    async def run(self) -> None:
        """For ever; the first task that fails ends all of them, and the caller."""
        async with asyncio.TaskGroup() as tasks:
            for reflector in (*self._routed(), *self._pools):
                tasks.create_task(reflector.run())
            tasks.create_task(self._publish())

    def _routed(self) -> list[Reflector[Any]]:
        return [*self._models, *self._slices, self._api_keys, self._master]

    async def _publish(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            if all(reflector.synced for reflector in self._routed()):
                self._publish_now()
            await asyncio.sleep(COALESCE_SECONDS)

    def _publish_now(self) -> None:
        master = _only(self._master).get(names.MASTER_KEY_FIELD)
        self._board.publish(
            objects.snapshot(_items(self._models), _items(self._slices), master or None)
        )
        self._board.models_key = models_api_key(master) if master else None
        self._board.admit_keys(keys.from_secret(_only(self._api_keys)))
        self._board.synced = True

    def _publish_pools(self) -> None:
        self._board.publish_pools(tuple(_items(self._pools)))


def _items(reflectors: list[Reflector[Parsed]]) -> list[Parsed]:
    return list(chain.from_iterable(reflector.items.values() for reflector in reflectors))


def _only(reflector: Reflector[dict[str, bytes]]) -> dict[str, bytes]:
    return next(iter(reflector.items.values()), {})
