"""One ConfigMap, one writer: what is learned of one model never costs another's record."""

import asyncio
import logging
from typing import Any

import pytest
from fakes.cluster import Call, FakeCluster, Fault

from berth_operator.cluster import kinds
from berth_operator.cluster.learned import NAME, Memory
from berth_operator.core.planner import learned
from berth_operator.core.planner.learned import Record
from berth_operator.errors import Conflict, Denied, Unavailable

GIB = 2**30
NAMESPACE = "berth-system"


def record(accelerator: str = "h100", extra_bytes: int = GIB, day: int = 2) -> Record:
    return Record(
        model="hf://a/b",
        shape="a" * 16,
        accelerator=accelerator,
        card_bytes=80 * GIB,
        tensor_parallel=1,
        image="example.test/vllm-openai:1",
        dtype="bfloat16",
        kv_dtype="auto",
        sequences=256,
        tokens=8192,
        arguments="b",
        extra_bytes=extra_bytes,
        at=f"2026-01-{day:02}T03:04:05Z",
    )


def stored(cluster: FakeCluster) -> dict[str, str]:
    found = cluster.find(kinds.CONFIG_MAP, NAMESPACE, NAME)
    assert found is not None
    data: dict[str, str] = found["data"]
    return data


def put(cluster: FakeCluster, data: dict[str, str]) -> None:
    metadata = {"name": NAME, "namespace": NAMESPACE}
    cluster.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})


async def test_the_first_record_makes_the_config_map_and_the_next_goes_beside_it() -> None:
    cluster = FakeCluster()
    memory = Memory(cluster, NAMESPACE)
    await memory.read()
    assert await memory.keep([record("h100")])
    assert await memory.keep([record("l40s")])
    assert set(stored(cluster)) == {record("h100").key, record("l40s").key}
    assert [call.verb for call in cluster.writes] == ["patch", "create", "patch"]


async def test_nothing_is_written_at_rest() -> None:
    cluster = FakeCluster()
    memory = Memory(cluster, NAMESPACE)
    await memory.keep([record()])
    writes = list(cluster.writes)
    assert not await memory.keep([record(day=3)])
    assert not await memory.keep([])
    assert cluster.writes == writes


async def test_two_models_that_learn_at_once_keep_both_records() -> None:
    class Slow(FakeCluster):
        async def patch(self, *arguments: Any) -> Any:
            await asyncio.sleep(0)
            return await super().patch(*arguments)

    cluster = Slow()
    memory = Memory(cluster, NAMESPACE)
    await asyncio.gather(*(memory.keep([record(name)]) for name in ("a", "b", "c")))
    assert set(stored(cluster)) == {record(name).key for name in ("a", "b", "c")}
    assert set(memory.records) == set(stored(cluster))


async def test_a_restart_remembers() -> None:
    cluster = FakeCluster()
    await Memory(cluster, NAMESPACE).keep([record()])
    again = Memory(cluster, NAMESPACE)
    await again.read()
    assert again.records == {record().key: record()}


async def test_a_record_that_was_broken_by_hand_is_told_once_and_swept_with_the_next_write(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cluster = FakeCluster()
    put(cluster, {"note": "hello", record().key: learned.encoded(record())})
    memory = Memory(cluster, NAMESPACE)
    with caplog.at_level(logging.WARNING):
        await memory.read()
        await memory.read()
    assert [one.getMessage().split(":")[0] for one in caplog.records] == [f"ConfigMap {NAME}"]
    assert set(memory.records) == {record().key}
    assert not await memory.keep([record()])
    await memory.keep([record("l40s")])
    assert set(stored(cluster)) == {record().key, record("l40s").key}


async def test_a_config_map_without_data_is_an_empty_memory() -> None:
    cluster = FakeCluster()
    metadata = {"name": NAME, "namespace": NAMESPACE}
    cluster.put({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
    memory = Memory(cluster, NAMESPACE)
    await memory.read()
    assert memory.records == {}
    assert await memory.keep([record()])


async def test_a_config_map_that_was_deleted_is_forgotten_and_made_again() -> None:
    cluster = FakeCluster()
    memory = Memory(cluster, NAMESPACE)
    await memory.keep([record()])
    cluster.remove(kinds.CONFIG_MAP, NAMESPACE, NAME)
    await memory.read()
    assert memory.records == {}
    assert await memory.keep([record()])


async def test_another_that_makes_it_first_is_added_to() -> None:
    cluster = FakeCluster()
    memory = Memory(cluster, NAMESPACE)
    await memory.read()

    class Taken(Fault):
        def hits(self, call: Call) -> bool:
            found = super().hits(call)
            if found:
                put(cluster, {record("l40s").key: learned.encoded(record("l40s"))})
            return found

    cluster.faults.append(Taken(Conflict("exists", status=409), "create"))
    assert await memory.keep([record()])
    assert set(stored(cluster)) == {record().key, record("l40s").key}


@pytest.mark.parametrize("verb", ["get", "patch"])
async def test_without_the_right_models_are_served_all_the_same(
    verb: str, caplog: pytest.LogCaptureFixture
) -> None:
    cluster = FakeCluster(faults=[Fault(Denied("forbidden", status=403), verb)])
    memory = Memory(cluster, NAMESPACE)
    await memory.read()
    assert await memory.keep([record()]) is (verb == "get")
    assert "learned" in caplog.text


async def test_an_api_server_that_is_away_ends_the_look_and_nothing_is_believed_written() -> None:
    cluster = FakeCluster(faults=[Fault(Unavailable("away"), "patch")])
    memory = Memory(cluster, NAMESPACE)
    with pytest.raises(Unavailable):
        await memory.keep([record()])
    assert memory.records == {}
    assert await memory.keep([record()])
