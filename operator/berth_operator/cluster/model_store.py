"""ModelDeployments of one namespace, written for Ollama's clients: by name, and nothing else.

Written whoever leads: two replicas that carry out one order apply the same object twice. A name of
its own as field manager keeps these fields apart from the operator's and the users'.
"""

from berth_api import names
from berth_api.models_api import Place
from berth_operator.cluster import kinds
from berth_operator.cluster.port import Json, KubeApi
from berth_operator.errors import NotFound


class ModelStore:
    """Raises what `KubeApi` raises."""

    def __init__(self, api: KubeApi, namespace: str) -> None:
        """`api` may write without leading."""
        self._api = api
        self.namespace = namespace

    async def find(self, name: str) -> Json | None:
        try:
            return await self._api.get(kinds.MODEL, self.namespace, name)
        except NotFound:
            return None

    async def write(self, model: Json, over: Json | None) -> Json:
        """Conflict if what is there is not `over` any more, or is anything where that is None."""
        placed = model["metadata"] | {"namespace": self.namespace}
        if over is not None:
            placed |= {"resourceVersion": over["metadata"]["resourceVersion"]}
        return await self._api.apply(
            model | {"metadata": placed},
            manager=names.MODELS_FIELD_MANAGER,
            force=over is not None,
        )

    async def remove(self, place: Place) -> None:
        """Conflict if another one has its name by now."""
        await self._api.delete(kinds.MODEL, self.namespace, place.name, uid=place.uid)
