"""Orders of Ollama's clients, from the first check to the last line; a test is the reconciler."""

import asyncio
from typing import Any

import pytest
from fakes.cluster import FakeCluster, Fault

from berth_api.models_api import ModelOrder, Place
from berth_operator.cluster import kinds
from berth_operator.cluster.model_store import ModelStore
from berth_operator.errors import NotFound, OrderRefused, Unavailable
from berth_operator.managing import PATIENCE_SECONDS, Managing

SOURCE = "hf://a/b"
SUCCESS = {"status": "success"}
READING = {"status": "pulling manifest"}


class Site:
    """A namespace, and a clock that goes on by a second at each look."""

    def __init__(self, *told: tuple[str, str]) -> None:
        """Of the Planned condition: what each look finds, the last one for ever."""
        self.cluster = FakeCluster()
        self.seconds = 0.0
        self._told = list(told)
        store = ModelStore(self.cluster, "team")
        self.managing = Managing(store, clock=self._clock, look_seconds=0.0)

    def _clock(self) -> float:
        self.seconds += 1.0
        if self._told:
            truth, message = self._told.pop(0) if len(self._told) > 1 else self._told[0]
            for one in self.cluster.of_kind(kinds.MODEL):
                self.cluster.put(planned(one, truth, message))
        return self.seconds

    def put(self, name: str = "qwen3", **metadata: Any) -> Place:
        placed = {"name": name, "namespace": "team"} | metadata
        made = self.cluster.put(
            {
                "apiVersion": "berth.dev/v1alpha1",
                "kind": "ModelDeployment",
                "metadata": placed,
                "spec": {"model": {"source": SOURCE, "aliases": ["nickname"]}, "replicas": 2},
            }
        )
        return Place(namespace=placed["namespace"], name=name, uid=made["metadata"]["uid"])

    def model(self, name: str) -> dict[str, Any] | None:
        return self.cluster.find(kinds.MODEL, "team", name)


def planned(model: dict[str, Any], truth: str, message: str) -> dict[str, Any]:
    condition = {
        "type": "Planned",
        "status": truth,
        "message": message,
        "observedGeneration": model["metadata"]["generation"],
    }
    return model | {"status": {"conditions": [condition], "phase": "Idle"}}


async def told(lines: Any) -> list[dict[str, Any]]:
    async with asyncio.timeout(5):
        return [line async for line in lines]


def create(name: str = "mario", **more: Any) -> ModelOrder:
    fields = {"from": SOURCE} | more.pop("fields", {})
    return ModelOrder(name=name, document=fields, **more)


async def refused(order: Any) -> OrderRefused:
    with pytest.raises(OrderRefused) as found:
        await order
    return found.value


async def test_a_model_is_created_and_followed_until_it_can_be_asked() -> None:
    site = Site(("Unknown", ""), ("Unknown", ""), ("True", "fits"))
    lines = await site.managing.create(create(fields={"parameters": {"num_gpu": 1}}))
    first, *rest = await told(lines)

    assert first["status"].startswith("PARAMETER num_gpu 1: ")
    assert rest[0] == READING
    assert rest[-1] == SUCCESS
    assert site.model("mario")["spec"]["scaling"]["mode"] == "Auto"


async def test_a_model_is_made_of_another_by_any_of_its_names() -> None:
    site = Site(("True", "fits"))
    source = site.put()
    await told(await site.managing.create(create(fields={"from": "nickname"}, source=source)))

    assert site.model("mario")["spec"]["model"] == {"source": SOURCE}


async def test_what_was_created_before_is_created_anew() -> None:
    site = Site(("True", "fits"))
    await told(await site.managing.create(create(fields={"system": "Be brief."})))
    uid = site.model("mario")["metadata"]["uid"]
    place = Place(namespace="team", name="mario", uid=uid)
    await told(await site.managing.create(create(place=place)))

    found = site.model("mario")
    assert "defaults" not in found["spec"]
    assert found["metadata"]["uid"] == uid


async def test_what_others_made_is_not_written_over() -> None:
    site = Site()
    place = site.put()
    assert (await refused(site.managing.create(create("qwen3", place=place)))).status == 409
    assert site.cluster.writes == []


async def test_what_a_modelfile_asks_for_and_cannot_be_served_is_400() -> None:
    site = Site()
    assert (await refused(site.managing.create(create(fields={"template": "x"})))).status == 400
    assert (await refused(site.managing.create(create(fields={"files": {"a": "b"}})))).status == 400
    assert site.cluster.writes == []


async def test_a_pull_makes_a_model_that_waits_for_its_first_request() -> None:
    site = Site(("True", "fits"))
    lines = await told(await site.managing.pull(ModelOrder(name="hf.co/a/b")))

    assert lines[-1] == SUCCESS
    assert site.model("hf-co-a-b")["spec"]["model"] == {"source": SOURCE, "name": "hf.co/a/b"}


async def test_a_pull_of_what_cannot_be_had_leaves_nothing_behind() -> None:
    site = Site(("Unknown", ""), ("False", "there is no a/b"))
    lines = await told(await site.managing.pull(ModelOrder(name="hf.co/a/b")))

    assert lines[-1] == {"error": "there is no a/b"}
    assert site.model("hf-co-a-b") is None


async def test_a_pull_of_a_model_that_exists_tells_how_far_it_is_and_writes_nothing() -> None:
    site = Site(("Unknown", ""), ("False", "no room"))
    place = site.put()
    lines = await told(await site.managing.pull(ModelOrder(name="nickname", place=place)))

    assert lines[-1] == {"error": "no room"}
    assert site.model("qwen3") is not None
    assert site.cluster.writes == []


async def test_a_model_of_another_namespace_is_there_and_that_is_all() -> None:
    site = Site()
    place = Place(namespace="elsewhere", name="x", uid="1")
    assert await told(await site.managing.pull(ModelOrder(name="x", place=place))) == [SUCCESS]


async def test_a_copy_is_there_when_it_is_answered() -> None:
    site = Site()
    await site.managing.copy(ModelOrder(name="mario", source=site.put()))

    found = site.model("mario")["spec"]
    assert found["model"] == {"source": SOURCE}
    assert "replicas" not in found


async def test_a_deletion_is_of_the_object_that_was_meant() -> None:
    site = Site()
    place = site.put()
    await site.managing.delete(ModelOrder(name="nickname", place=place))

    assert site.model("qwen3") is None
    assert (await refused(site.managing.delete(ModelOrder(name="x", place=place)))).status == 404
    assert (await refused(site.managing.delete(ModelOrder(name="x")))).status == 404


async def test_models_of_other_namespaces_are_not_managed() -> None:
    site = Site()
    place = Place(namespace="elsewhere", name="x", uid="1")
    orders = [
        site.managing.delete(ModelOrder(name="x", place=place)),
        site.managing.copy(ModelOrder(name="y", source=place)),
        site.managing.create(create(fields={"from": "x"}, source=place)),
    ]
    for order in orders:
        found = await refused(order)
        assert (found.status, "namespace elsewhere" in str(found)) == (400, True)


async def test_a_source_that_went_and_came_back_is_another_one() -> None:
    site = Site()
    place = site.put().model_copy(update={"uid": "another"})
    assert (await refused(site.managing.copy(ModelOrder(name="y", source=place)))).status == 404
    assert (await refused(site.managing.copy(ModelOrder(name="y")))).status == 404


async def test_an_api_server_that_is_away_for_a_look_ends_nothing() -> None:
    site = Site(("Unknown", ""), ("Unknown", ""), ("True", "fits"))
    lines = await site.managing.create(create())
    site.cluster.faults.append(Fault(Unavailable("away"), verb="get"))
    assert (await told(lines))[-1] == SUCCESS


async def test_a_model_that_somebody_deletes_meanwhile_is_told() -> None:
    site = Site(("Unknown", ""))
    lines = await site.managing.create(create())
    site.cluster.faults.append(Fault(NotFound("gone"), verb="get"))
    assert (await told(lines))[-1] == {"error": "model 'mario' not found"}


async def test_nobody_waits_for_ever() -> None:
    site = Site(("Unknown", ""))
    lines = await told(await site.managing.create(create()))
    assert "not known yet" in lines[-1]["error"]
    assert site.seconds <= PATIENCE_SECONDS + 2
    assert site.model("mario") is not None
