from datetime import UTC, datetime, timedelta

import pytest
from fakes.cluster import FakeCluster, Fault

from berth_operator.cluster import kinds
from berth_operator.cluster.lease import (
    LEASE_SECONDS,
    LOOK_SECONDS,
    RENEW_DEADLINE_SECONDS,
    RETRY_SECONDS,
    SUSPENDED_SECONDS,
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
    assert world.seconds == LEASE_SECONDS


async def test_a_standby_that_looks_just_before_a_renewal_is_late_by_one_look() -> None:
    world = World()
    first, second = world.operator("a"), world.operator("b")
    await first.acquire()
    assert not await second._try()
    world.seconds = 0.1
    assert await first._try()  # its last; seen by the other at the next look
    world.seconds = LOOK_SECONDS
    await second.acquire()
    assert world.holder() == "b"
    assert world.seconds == LEASE_SECONDS + LOOK_SECONDS


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


def never() -> None:
    pytest.fail("leadership was not lost, so it was not regained")


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
    world.cluster.faults.append(Fault(Unavailable("refused"), times=3))
    with pytest.raises(EnoughError):
        await first.hold(never)
    assert first.is_leader()


async def test_without_an_answer_a_leader_stops_writing_and_ends_after_minutes() -> None:
    world = World()
    first = world.operator("a")
    await first.acquire()
    world.cluster.faults.append(Fault(Unavailable("down"), times=10**6))
    with pytest.raises(LeadershipLost, match="was not renewed for 302 s"):
        await first.hold(never)
    assert not first.is_leader()
    assert SUSPENDED_SECONDS < world.seconds <= SUSPENDED_SECONDS + RETRY_SECONDS


async def test_a_leader_goes_on_after_an_outage_in_which_nobody_else_led() -> None:
    world = World()
    first, regained = world.operator("a"), []
    await first.acquire()

    async def sleep_through_an_outage(seconds: float) -> None:
        world.seconds += seconds
        if regained:
            raise EnoughError

    first._sleep = sleep_through_an_outage
    outage = Fault(Unavailable("down"), times=60)
    world.cluster.faults.append(outage)
    with pytest.raises(EnoughError):
        await first.hold(lambda: regained.append(world.seconds))
    assert first.is_leader()
    assert regained[0] > LEASE_SECONDS


async def test_a_leader_that_was_away_does_not_take_back_a_lease_that_another_had() -> None:
    world = World()
    first, second = world.operator("a"), world.operator("b")
    await first.acquire()
    await second.acquire()
    await second.release()
    with pytest.raises(LeadershipLost, match="held by another"):
        await first.hold(never)
    assert world.holder() == ""


async def test_leadership_is_lost_at_once_when_another_holds_the_lease() -> None:
    world = World()
    first = world.operator("a")
    await first.acquire()
    lease = world.cluster.find(kinds.LEASE, "berth-system", "berth-operator")
    assert lease is not None
    world.cluster.put({**lease, "spec": {**lease["spec"], "holderIdentity": "b"}})
    with pytest.raises(LeadershipLost):
        await first.hold(never)
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
