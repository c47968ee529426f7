import asyncio
import base64
import hashlib
from typing import Any

import pytest
from fakes.cluster import FakeCluster

from berth_api import names
from berth_operator.cluster import bootstrap, kinds
from berth_operator.errors import ConfigurationError, NotFound, Unavailable

SPACE = "berth-system"


def fixed(letter: bytes) -> bootstrap.RandomBytes:
    return lambda count: letter * count


def value(cluster: FakeCluster, secret: str, field: str) -> bytes:
    found = cluster.find(kinds.SECRET, SPACE, secret)
    assert found is not None
    return base64.b64decode(found["data"][field])


async def test_the_first_start_makes_all_three_secrets() -> None:
    cluster = FakeCluster()
    master = await bootstrap.prepare(cluster, SPACE, fixed(b"a"))
    assert master == b"a" * 32
    plain = value(cluster, names.SECRET_FIRST_API_KEY, names.FIRST_API_KEY_FIELD)
    assert plain.startswith(b"sk-berth-")
    assert len(base64.urlsafe_b64decode(plain.removeprefix(b"sk-berth-") + b"=")) == 32
    assert_keys_match(cluster)


async def test_no_later_start_writes_anything() -> None:
    cluster = FakeCluster()
    first = await bootstrap.prepare(cluster, SPACE, fixed(b"a"))
    writes = list(cluster.writes)
    assert await bootstrap.prepare(cluster, SPACE, fixed(b"b")) == first
    assert cluster.writes == writes


async def test_a_first_key_that_the_administrator_took_away_stays_away() -> None:
    cluster = FakeCluster()
    await bootstrap.prepare(cluster, SPACE, fixed(b"a"))
    cluster.remove(kinds.SECRET, SPACE, names.SECRET_FIRST_API_KEY)
    await bootstrap.prepare(cluster, SPACE, fixed(b"b"))
    assert cluster.find(kinds.SECRET, SPACE, names.SECRET_FIRST_API_KEY) is None


class SlowCluster(FakeCluster):
    """Lets others go first between a read and what follows from it."""

    async def get(self, kind: kinds.Kind, namespace: str | None, name: str) -> dict[str, Any]:
        try:
            return await super().get(kind, namespace, name)
        finally:
            await asyncio.sleep(0)


async def test_two_that_start_at_once_agree_on_the_keys() -> None:
    cluster = SlowCluster()
    first, second = await asyncio.gather(
        *(bootstrap.prepare(cluster, SPACE, fixed(letter)) for letter in (b"a", b"b"))
    )
    assert first == second
    assert_keys_match(cluster)


def assert_keys_match(cluster: FakeCluster) -> None:
    plain = value(cluster, names.SECRET_FIRST_API_KEY, names.FIRST_API_KEY_FIELD)
    digest = value(cluster, names.SECRET_API_KEYS, bootstrap.FIRST_KEY_ID)
    assert digest == hashlib.sha256(plain).hexdigest().encode()


@pytest.mark.parametrize("killed_before_create", [1, 2])
async def test_a_start_that_was_cut_off_is_completed_by_the_next(killed_before_create: int) -> None:
    cluster = FakeCluster()
    await _cut_off(cluster, after_creates=killed_before_create)
    await bootstrap.prepare(cluster, SPACE, fixed(b"b"))
    assert_keys_match(cluster)


async def _cut_off(cluster: FakeCluster, *, after_creates: int) -> None:
    create, done = cluster.create, 0

    async def limited(obj: dict[str, object]) -> dict[str, object]:
        nonlocal done
        if done == after_creates:
            raise Unavailable("killed")
        done += 1
        return await create(obj)

    cluster.create = limited  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        await bootstrap.prepare(cluster, SPACE, fixed(b"a"))
    cluster.create = create  # type: ignore[method-assign]


async def test_a_master_key_that_is_too_short_is_refused() -> None:
    cluster = FakeCluster()
    cluster.put(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": names.SECRET_ENGINE_MASTER, "namespace": SPACE},
            "data": {names.MASTER_KEY_FIELD: base64.b64encode(b"short").decode()},
        }
    )
    with pytest.raises(ConfigurationError, match="at least 32 bytes"):
        await bootstrap.prepare(cluster, SPACE, fixed(b"a"))


async def test_a_standby_reads_the_master_key_that_the_leader_made() -> None:
    cluster = FakeCluster()
    with pytest.raises(NotFound):
        await bootstrap.master_key(cluster, SPACE)
    made = await bootstrap.prepare(cluster, SPACE, fixed(b"a"))
    assert await bootstrap.master_key(cluster, SPACE) == made
