from datetime import UTC, datetime, timedelta

import pytest
from fakes.cluster import FakeCluster, Fault

from berth_operator.cluster import kinds
from berth_operator.cluster.lease import (
    LEASE_SECONDS,
    RENEW_DEADLINE_SECONDS,
    RETRY_SECONDS,
    LeaderLease,
    NoElection,
)
from berth_operator.errors import LeadershipLost, Unavailable

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class World:
    """One API server and one clock for all; `skew` is how wrong a node's wall clock is."""

    def __init__(self) -> None:
        self.cluster = FakeCluster()
        self.seconds = 0.0

    def operator(self, identity: str, skew: timedelta = timedelta()) -> LeaderLease:
        return LeaderLease(
            self.cluster,
            namespace="berth-system",
            name="berth-operator",
            identity=identity,
            clock=lambda: self.seconds,
            wall_clock=lambda: START + timedelta(seconds=self.seconds) + skew,
            sleep=self.sleep,
        )

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds

    def holder(self) -> str:
        lease = self.cluster.find(kinds.LEASE, "berth-system", "berth-operator")
        assert lease is not None
        found: str = lease["spec"]["holderIdentity"]
        return found


async def test_the_first_operator_creates_the_lease_and_leads() -> None:
    world = World()
    first = world.operator("a")
    assert not first.is_leader()
    await first.acquire()
    assert first.is_leader()
    assert world.holder() == "a"


@pytest.mark.parametrize("skew", [timedelta(), timedelta(hours=-8), timedelta(hours=8)])
async def test_a_standby_leads_only_after_the_promised_silence(skew: timedelta) -> None:
    world = World()
    await world.operator("a").acquire()
    await world.operator("b", skew).acquire()
    assert world.holder() == "b"
    assert LEASE_SECONDS < world.seconds <= LEASE_SECONDS + 2 * RETRY_SECONDS


async def test_a_leader_has_stopped_writing_before_a_standby_can_lead() -> None:
    world = World()
    first = world.operator("a")
    await first.acquire()
    world.seconds = RENEW_DEADLINE_SECONDS
    assert not first.is_leader()
    assert world.seconds < LEASE_SECONDS


async def test_a_leader_that_renews_keeps_the_standby_waiting() -> None:
    world = World()
    first, second = world.operator("a"), world.operator("b")
    await first.acquire()
    for _ in range(30):
        await world.sleep(RETRY_SECONDS)
        assert await first._try()
        assert not await second._try()
    assert (first.is_leader(), second.is_leader()) == (True, False)


class EnoughError(Exception):
    """The test has seen enough of a loop that never ends."""


async def test_hiccups_within_the_deadline_do_not_end_leadership() -> None:
    world = World()

    async def sleep_for_a_minute(seconds: float) -> None:
        world.seconds += seconds
        if world.seconds > 60:
            raise EnoughError

    first = world.operator("a")
    await first.acquire()
    first._sleep = sleep_for_a_minute
    world.cluster.faults.append(Fault(Unavailable("refused"), times=4))
    with pytest.raises(EnoughError):
        await first.hold()
    assert first.is_leader()


async def test_leadership_is_lost_when_the_deadline_passes_without_an_answer() -> None:
    world = World()
    first = world.operator("a")
    await first.acquire()
    world.cluster.faults.append(Fault(Unavailable("down"), times=10**6))
    with pytest.raises(LeadershipLost):
        await first.hold()
    assert world.seconds == RENEW_DEADLINE_SECONDS


async def test_leadership_is_lost_at_once_when_another_holds_the_lease() -> None:
    world = World()
    first = world.operator("a")
    await first.acquire()
    lease = world.cluster.find(kinds.LEASE, "berth-system", "berth-operator")
    assert lease is not None
    world.cluster.put({**lease, "spec": {**lease["spec"], "holderIdentity": "b"}})
    with pytest.raises(LeadershipLost):
        await first.hold()
    assert not first.is_leader()


async def test_a_released_lease_is_taken_at_once_and_counted() -> None:
    world = World()
    first = world.operator("a")
    await first.acquire()
    await first.release()
    assert not first.is_leader()
    await world.operator("b").acquire()
    assert world.seconds == 0
    lease = world.cluster.find(kinds.LEASE, "berth-system", "berth-operator")
    assert lease is not None
    assert (lease["spec"]["holderIdentity"], lease["spec"]["leaseTransitions"]) == ("b", 1)


async def test_two_that_race_for_a_free_lease_do_not_both_lead() -> None:
    world = World()
    first, second = world.operator("a"), world.operator("b")
    await first.acquire()
    await first.release()
    stale = await world.cluster.get(kinds.LEASE, "berth-system", "berth-operator")
    await second.acquire()
    world.cluster.get = lambda *_: _answer(stale)  # type: ignore[assignment, method-assign]
    assert not await first._try()


async def _answer(stale: dict[str, object]) -> dict[str, object]:
    return stale


async def test_a_failed_release_only_costs_time() -> None:
    world = World()
    first = world.operator("a")
    await first.acquire()
    world.cluster.faults.append(Fault(Unavailable("down")))
    await first.release()
    assert not first.is_leader()


async def test_without_election_the_only_operator_leads() -> None:
    alone = NoElection()
    assert await alone.acquire()
    assert alone.is_leader()
    await alone.release()
