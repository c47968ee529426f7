import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from fakes.cluster import FakeCluster, Fault

from berth_api import names
from berth_operator.cluster import kinds, reflector
from berth_operator.cluster.cache import Cache, ModelKey
from berth_operator.cluster.reflector import Reflector
from berth_operator.errors import Denied, Unavailable

KEY = ModelKey("team", "smol")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reflector, "FIRST_WAIT_SECONDS", 0.001)


def service(name: str = "smol", namespace: str = "team", **labels: str) -> dict:
    owned = {names.LABEL_MODEL: "smol"}
    metadata = {"name": name, "namespace": namespace, "labels": owned | labels}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata}


class Kept:
    """A cache that a reflector of Services keeps, and the models that were reported."""

    def __init__(self, api: FakeCluster, namespace: str | None = None) -> None:
        self.cache = Cache()
        self.reported: list[ModelKey] = []
        self.reflector = Reflector(
            api,
            self.cache,
            kinds.SERVICE,
            namespace,
            labels=names.LABEL_MODEL,
            report=self.reported.extend,
            chance=random.Random(0),
        )

    def __len__(self) -> int:
        return len(self.cache.uids(kinds.SERVICE))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.reflector.run())
        try:
            yield
        finally:
            task.cancel()

    async def until(self, count: int) -> None:
        for _ in range(2000):
            if len(self) == count:
                return
            await asyncio.sleep(0.001)
        raise AssertionError(f"{len(self)} objects and not {count}")


async def test_the_first_list_is_all_that_carries_the_label() -> None:
    api = FakeCluster()
    api.put(service())
    api.put({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "db", "namespace": "t"}})
    kept = Kept(api)
    await kept.reflector.fill()
    assert len(kept) == 1
    assert kept.reported == [KEY]


async def test_events_go_on_where_the_list_ended_without_another_list() -> None:
    api = FakeCluster()
    api.put(service())
    kept = Kept(api)
    await kept.reflector.fill()
    async with kept.running():
        await asyncio.sleep(0.01)
        kept.reported.clear()
        api.put(service("second"))
        await kept.until(2)
        api.remove(kinds.SERVICE, "team", "smol")
        await kept.until(1)
    assert set(kept.reported) == {KEY}


async def test_what_was_deleted_during_a_gap_is_found_by_the_list_that_follows() -> None:
    api = FakeCluster()
    api.put(service())
    kept = Kept(api)
    await kept.reflector.fill()
    kept.reported.clear()
    api.remove(kinds.SERVICE, "team", "smol")
    api.faults.append(Fault(Unavailable("too old resource version", status=410), "watch"))
    async with kept.running():
        await kept.until(0)
    assert kept.reported == [KEY]


async def test_a_version_that_the_server_never_heard_of_is_given_up_after_some_failures() -> None:
    api = FakeCluster()
    api.put(service())
    kept = Kept(api)
    await kept.reflector.fill()
    api.remove(kinds.SERVICE, "team", "smol")
    fault = Fault(
        Unavailable("unknown", status=500), "watch", times=reflector.RELIST_AFTER_FAILURES
    )
    api.faults.append(fault)
    async with kept.running():
        await kept.until(0)


@pytest.mark.parametrize("error", [Unavailable("down"), Denied("no right to watch", status=403)])
async def test_no_refusal_ends_it_and_each_is_told(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    api = FakeCluster()
    api.faults += [Fault(error, "list", times=3), Fault(error, "watch", times=3)]
    kept = Kept(api)
    async with kept.running():
        await asyncio.sleep(0.05)
        api.put(service())
        await kept.until(1)
    assert caplog.text.count(str(error)) == 6
    assert "watch of services" in caplog.text


async def test_a_bug_ends_it_so_that_the_process_ends() -> None:
    api = FakeCluster()
    api.faults.append(Fault(KeyError("metadata"), "list"))
    with pytest.raises(KeyError):
        await Kept(api).reflector.run()


async def test_a_list_of_one_namespace_says_nothing_of_another() -> None:
    api = FakeCluster()
    kept = Kept(api, namespace="team")
    kept.cache.upsert(kinds.SERVICE, api.put(service("theirs", "other")))
    api.put(service())
    await kept.reflector.fill()
    assert len(kept) == 2


def test_pauses_grow_and_stay_short() -> None:
    kept = Kept(FakeCluster())
    kept.reflector._failures = 100
    assert kept.reflector._wait_seconds() <= reflector.MAX_WAIT_SECONDS
