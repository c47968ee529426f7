"""Whatever a pool looks like, and whatever happens to it in whatever order."""

import random
from dataclasses import replace

from fakes.engines_in_pods import GIB, NOW, POLICY, carried_out
from hypothesis import given
from hypothesis import strategies as st

from berth_operator.core.residency.law import decide
from berth_operator.core.residency.pool import Demand, Engine, PodRoom, Pool, Resident
from berth_operator.core.residency.rooms import share

NAMES = [f"e{number}" for number in range(7)]

SECONDS = [0.0, 1.0, 29.0, 31.0, 59.0, 61.0, 500.0]


def any_pool(seed: int) -> Pool:
    """By a seed: hypothesis' own draws take fifty times as long as a decision does.

    Residents are anything: also such as no decision would have led to.
    """
    rng = random.Random(seed)
    policy = replace(POLICY, max_engines=rng.choice([None, None, 1, 2]))
    pods = tuple(any_pod(rng, number) for number in range(rng.randint(0, 3)))
    engines = tuple(any_engine(rng, name) for name in NAMES if rng.random() < 0.8)
    made = [any_resident(rng) for _ in range(rng.randint(0, 6))]
    residents = {(one.engine, one.pod): one for one in made}
    demand = {name: any_demand(rng) for name in NAMES}
    return Pool(NOW, policy, pods, engines, tuple(residents.values()), demand)


def any_pod(rng: random.Random, number: int) -> PodRoom:
    cards = rng.choice([(10,), (10, 10), (20, 6), (24, 24, 24)])
    return PodRoom(
        f"p{number}",
        tuple(GIB * size for size in cards),
        ready=rng.random() < 0.85,
        terminating=rng.random() < 0.1,
    )


def any_engine(rng: random.Random, name: str) -> Engine:
    return Engine(
        name,
        rng.choice([(name,), (name,), ()]),
        card_bytes=GIB * rng.randint(1, 12),
        load_seconds=rng.choice([5.0, 20.0, 60.0]),
        cards=rng.choice([1, 1, 1, 2]),
        priority=rng.choice([0, 0, 0, 1]),
        evictable=rng.random() < 0.85,
        pinned_since=rng.choice([None] * 5 + [NOW - rng.choice(SECONDS)]),
        unload_asked=rng.choice([None] * 3 + [NOW - rng.choice(SECONDS)]),
        keep_alive_seconds=rng.choice([None, 0.0, 60.0, 300.0]),
        blocked_until=rng.choice([None, None, None, NOW - 10, NOW + 10]),
        supersedes=rng.choice([None, None, None, *NAMES]),
        paused=rng.random() < 0.15,
    )


def any_demand(rng: random.Random) -> Demand:
    return Demand(
        held=rng.choice([0, 0, 1, 3]),
        oldest_held_seconds=rng.choice(SECONDS),
        in_flight=rng.choice([0, 0, 2]),
        idle_seconds=rng.choice([None, *SECONDS]),
        last_wanted=rng.choice([None, *(NOW - ago for ago in SECONDS)]),
    )


def any_resident(rng: random.Random) -> Resident:
    return Resident(
        rng.choice([*NAMES, "stranger"]),
        rng.choice(["p0", "p1", "p2", "lost"]),
        rng.choice([(0,), (1,), (0, 1)]),
        rng.choice(["Loading", "Serving", "Serving", "Draining", "Failed"]),
        NOW - rng.choice(SECONDS),
        rng.choice([0, GIB]),
    )


seeds = st.integers(0, 2**32)
pools = seeds.map(any_pool)


@given(pools)
def test_no_card_is_promised_twice(pool):
    for orders in decide(pool).pods:
        room = pool.pod[orders.pod]
        if not room.takes_orders:
            continue  # left as it is
        for card, size in enumerate(room.cards):
            assert sum(one.card_bytes for one in orders.engines if card in one.cards) <= size


@given(pools)
def test_no_engine_is_ordered_twice_in_pods_that_take_orders(pool):
    ordered = [
        one.engine
        for orders in decide(pool).pods
        if pool.pod[orders.pod].takes_orders
        for one in orders.engines
    ]
    assert len(ordered) == len(set(ordered))


@given(pools)
def test_deciding_again_on_what_was_decided_changes_nothing(pool):
    first = decide(pool)
    after = carried_out(pool, first)
    second = decide(after)
    assert placed(second) == placed(first)
    assert carried_out(after, second) == after
    assert second.waits == first.waits


@given(pools, seeds)
def test_the_order_of_the_input_changes_nothing(pool, seed):
    rng = random.Random(seed)
    mixed = replace(
        pool,
        pods=tuple(rng.sample(pool.pods, len(pool.pods))),
        engines=tuple(rng.sample(pool.engines, len(pool.engines))),
        residents=tuple(rng.sample(pool.residents, len(pool.residents))),
    )
    assert decide(mixed) == decide(pool)


@given(pools)
def test_none_that_is_protected_is_evicted(pool):
    served = {(one.engine, one.pod): one for one in pool.residents}
    for one in decide(pool).leaves:
        if one.room_for is None or one.because == "GivesWay":
            continue
        victim, engine = served[one.engine, one.pod], pool.engine[one.engine]
        assert not engine.pinned
        assert not engine.paused
        assert engine.evictable
        assert engine.priority <= pool.engine[one.room_for].priority
        assert victim.state == "Serving"
        assert pool.now - victim.since >= pool.policy.min_residency_seconds


@given(pools)
def test_a_paused_one_goes_for_nobody_and_by_no_time_and_keeps_its_share(pool):
    decision = decide(pool)
    kept = {(one.engine, at.pod): one for at in decision.pods for one in at.engines}
    cannot_stay = {"PodGone", "Failed", "Draining", "Duplicate", "Oversized"}
    gone = {(one.engine, one.pod) for one in decision.leaves if one.because in cannot_stay}
    for one in pool.residents:
        if one.stays and one.engine in pool.engine and pool.engine[one.engine].paused:
            assert (one.engine, one.pod) in gone | kept.keys()
    for one in decision.leaves:
        if one.engine in pool.engine and pool.engine[one.engine].paused:
            assert one.because in cannot_stay
            assert one.room_for is None


@given(pools)
def test_none_that_is_busy_is_evicted_before_the_other_has_waited_to_the_bound(pool):
    for one in decide(pool).leaves:
        if one.room_for is None or not pool.asked(one.engine).busy or one.because == "GivesWay":
            continue
        wants, asked = pool.engine[one.room_for], pool.asked(one.room_for)
        waited = [asked.oldest_held_seconds] if asked.held else []
        waited += [pool.now - wants.pinned_since] if wants.pinned_since is not None else []
        assert max(waited) >= pool.policy.starvation_seconds


@given(pools)
def test_only_what_serves_and_stays_is_sent_requests(pool):
    serves = {(one.engine, one.pod) for one in pool.residents if one.state == "Serving"}
    decision = decide(pool)
    routed = {(one.engine, at.pod) for at in decision.pods for one in at.engines if one.routed}
    assert routed <= serves
    assert routed.isdisjoint((one.engine, one.pod) for one in decision.leaves)


@given(pools)
def test_every_wanted_engine_is_ordered_or_told_why_not(pool):
    decision = decide(pool)
    told = {one.engine for at in decision.pods for one in at.engines}
    told |= {one.engine for one in decision.waits}
    wanted = {one.id for one in pool.engines if one.models and pool.asked(one.id).held}
    assert wanted <= told
    assert all(one.message for one in (*decision.waits, *decision.leaves))


@given(pools)
def test_nothing_that_fits_beside_all_others_is_kept_waiting(pool):
    """But for what is kept for one beyond the bound, and in a pod that it has to leave first."""
    pool = replace(pool, policy=replace(pool.policy, starvation_seconds=1e9))
    decision = decide(pool)
    after = carried_out(pool, decision)
    for one in decision.waits:
        engine = pool.engine[one.engine]
        if getattr(one, "because", "BackOff") in {"BackOff", "Draining"} or engine.cards > 1:
            continue
        for at in decision.pods:
            room = pool.pod[at.pod]
            drains = any(
                each.pod == at.pod and each.drains_of(engine.id) for each in after.residents
            )
            places = (pool.policy.max_engines or 99) - len(at.engines)
            if room.takes_orders and places > 0 and not drains:
                for card, size in enumerate(room.cards):
                    used = sum(
                        share(after, each)
                        for each in after.residents
                        if each.pod == at.pod
                        and card in each.cards
                        and (each.stays or each.state == "Failed")
                    )
                    assert size - used < engine.card_bytes


@given(pools, seeds)
def test_no_card_is_promised_twice_by_any_row_of_decisions(pool, seed):
    rng = random.Random(seed)
    for _ in range(8):
        decision = decide(pool)
        for orders in decision.pods:
            room = pool.pod[orders.pod]
            for card, size in enumerate(room.cards if room.takes_orders else ()):
                assert sum(one.card_bytes for one in orders.engines if card in one.cards) <= size
        pool = moved_on(carried_out(pool, decision), rng.choice(SECONDS))
        asked = any_demand(rng)
        pool = replace(pool, demand={**pool.demand, rng.choice(NAMES): asked})


def moved_on(pool: Pool, passed: float) -> Pool:
    """Loads end, what drains is gone, and time has passed."""
    now = pool.now + passed
    residents = [
        replace(one, state="Serving", since=now, withheld=GIB) if one.state == "Loading" else one
        for one in pool.residents
        if one.state != "Draining"
    ]
    return replace(pool, now=now, residents=tuple(residents))


def placed(decision):
    return [
        (at.pod, [(one.engine, one.cards, one.card_bytes, one.routed) for one in at.engines])
        for at in decision.pods
    ]
