"""The sum of what all gateways tell, while they come, fall silent, restart and go."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from berth_api.demand import Demand, ModelDemand
from berth_operator.core.scaling.demand import FIRST_REPORT_SECONDS, SILENCE_GRACE_SECONDS, Ledger

KEY = ("team", "smol")


def told(gateway: str = "g1", *, synced: bool = True, **numbers: Any) -> Demand:
    model = ModelDemand(namespace="team", model="smol", **numbers)
    return Demand(gateway=gateway, synced=synced, models=[model] if numbers else [])


def ledger(*gateways: str, now: float = 0) -> Ledger:
    """With gateways that serve."""
    found = Ledger()
    for gateway in gateways:
        found.serves(gateway, now)
    return found


def test_what_gateways_tell_is_added_up() -> None:
    found = ledger("a", "b")
    found.take("a", told(held=2, oldest_held_seconds=1.5, in_flight={"p1": 3}, arrivals=5), 0)
    found.take("b", told("g2", held=1, oldest_held_seconds=4.0, in_flight={"p1": 1, "p2": 2}), 0)
    load = found.load(KEY, 1)
    assert (load.held, load.oldest_seconds, load.arrivals) == (3, 4.0, 5)
    assert load.in_flight == {"p1": 4, "p2": 2}
    assert (load.gateways, load.complete) == (2, True)


def test_a_line_replaces_the_one_before() -> None:
    found = ledger("a")
    found.take("a", told(held=2), 0)
    found.take("a", told(), 0)
    assert found.load(KEY, 1).held == 0


def test_only_models_of_which_a_line_tells_something_new_are_changed() -> None:
    found = ledger("a")
    found.take("a", told(held=2), 0)
    assert found.changed("a", told(held=2)) == set()
    assert found.changed("a", told(held=3)) == {KEY}
    assert found.changed("a", told()) == {KEY}
    assert found.changed("b", told(held=2)) == {KEY}


def test_a_model_that_rests_is_not_news_each_second() -> None:
    found = ledger("a")
    found.take("a", told(arrivals=1, idle_seconds=1.0), 0)
    assert found.changed("a", told(arrivals=1, idle_seconds=2.0, asked_seconds=3.0)) == set()
    assert found.changed("a", told(arrivals=1, idle_seconds=2.0, keep_alive_seconds=5)) == {KEY}


def test_without_any_gateway_nothing_is_ever_known() -> None:
    found = ledger()
    assert not found.load(KEY, 0).complete
    load = found.load(KEY, 1000)
    assert (load.complete, load.overdue, load.gateways) == (False, True, 0)


def test_a_new_leader_waits_for_every_gateway_that_serves_and_for_ten_seconds_at_most() -> None:
    found = ledger("a", "b")
    found.take("a", told(held=1), 0)
    assert not found.judge(FIRST_REPORT_SECONDS - 0.1)
    assert found.judge(FIRST_REPORT_SECONDS)
    found.take("b", told("g2"), 0)
    assert found.judge(0)


def test_a_gateway_that_has_not_seen_the_cluster_has_not_reported() -> None:
    found = ledger("a")
    found.take("a", told(synced=False), 0)
    assert not found.judge(1)
    found.take("a", told(), 0)
    assert found.judge(1)


def test_one_that_comes_later_is_waited_for_too() -> None:
    found = ledger("a")
    found.take("a", told(), 0)
    found.serves("b", 100)
    assert not found.judge(101)
    assert found.judge(100 + FIRST_REPORT_SECONDS)


def test_one_that_serves_no_more_is_not_waited_for() -> None:
    found = ledger("a", "b")
    found.take("a", told(), 0)
    found.serves_no_more("b")
    assert found.judge(1)


def test_a_silent_gateways_requests_stay_until_the_grace_is_over() -> None:
    found = ledger("a", "b")
    found.take("a", told(held=2), 0)
    found.take("b", told("g2"), 0)
    found.falls_silent("a", 100)
    load = found.load(KEY, 100 + SILENCE_GRACE_SECONDS - 1)
    assert (load.held, load.complete) == (2, False)
    load = found.load(KEY, 100 + SILENCE_GRACE_SECONDS)
    assert (load.held, load.complete, load.gateways) == (0, True, 1)


def test_a_gateway_that_speaks_again_is_believed_again() -> None:
    found = ledger("a")
    found.take("a", told(held=2), 0)
    found.falls_silent("a", 100)
    found.take("a", told(held=1), 101)
    assert (found.load(KEY, 101).held, found.judge(101)) == (1, True)


def test_the_last_gateways_silence_is_no_leave_to_take_anything_away() -> None:
    found = ledger("a")
    found.take("a", told(), 0)
    found.falls_silent("a", 100)
    assert not found.judge(1000)


def test_a_pod_that_is_gone_takes_its_requests_with_it() -> None:
    found = ledger("a", "b")
    found.take("a", told(held=2, arrivals=7, answered=3), 0)
    found.take("b", told("g2"), 0)
    assert found.forget("a") == {KEY}
    load = found.load(KEY, 1)
    assert (load.held, load.arrivals, load.answered, load.complete) == (0, 7, 3, True)
    assert found.forget("never heard") == set()


def test_how_long_it_is_incomplete_begins_anew_after_a_complete_sight() -> None:
    found = ledger("a")
    assert not found.load(KEY, 0).overdue
    found.take("a", told(), 0)
    assert found.load(KEY, 5).complete
    found.falls_silent("a", 50)
    assert not found.load(KEY, 50).overdue
    assert found.load(KEY, 50 + FIRST_REPORT_SECONDS).overdue


def test_a_look_at_no_model_ends_the_time_of_incompleteness_too() -> None:
    found = ledger("a")
    assert not found.load(KEY, 0).overdue
    found.take("a", told(), 5)
    assert found.judge(5)
    found.falls_silent("a", 50)
    assert not found.load(KEY, 50).overdue


def test_a_gateway_heard_after_its_grace_or_for_the_first_time_begins_another_epoch() -> None:
    found = ledger("a", "b")
    found.take("a", told(arrivals=5), 0)
    before = found.load(KEY, 1).epoch
    found.take("b", told("g2", arrivals=100_000), 20)
    late = found.load(KEY, 20).epoch
    found.falls_silent("b", 100)
    found.take("b", told("g2", arrivals=100_200), 100 + SILENCE_GRACE_SECONDS)
    assert len({before, late, found.load(KEY, 140).epoch}) == 3


def test_a_gateway_that_speaks_on_or_was_silent_for_a_moment_begins_no_epoch() -> None:
    found = ledger("a")
    found.take("a", told(arrivals=5), 0)
    before = found.load(KEY, 1).epoch
    found.take("a", told(arrivals=6), 1)
    found.falls_silent("a", 100)
    found.take("a", told(arrivals=7), 100 + SILENCE_GRACE_SECONDS - 1)
    assert found.load(KEY, 130).epoch == before


def test_many_models_are_judged_as_one_is() -> None:
    found = ledger("a")
    found.take("a", told(held=2), 0)
    other = ("team", "other")
    assert found.loads((KEY, other), 1) == {KEY: found.load(KEY, 1), other: found.load(other, 1)}


@given(st.lists(st.tuples(st.sampled_from(("a", "b")), st.booleans(), st.integers(0, 9))))
def test_counters_never_fall_however_gateways_restart(steps: list[tuple[str, bool, int]]) -> None:
    found = ledger("a", "b")
    counts, processes, before = {"a": 0, "b": 0}, {"a": 0, "b": 0}, 0
    for pod, restarts, more in steps:
        if restarts:
            counts[pod], processes[pod] = 0, processes[pod] + 1
        counts[pod] += more
        found.take(pod, told(f"{pod}{processes[pod]}", arrivals=counts[pod]), 0)
        after = found.load(KEY, 1).arrivals
        assert after == before + more
        before = after


def test_a_model_that_is_gone_leaves_no_counters() -> None:
    found = ledger("a")
    found.take("a", told(arrivals=7), 0)
    found.forget("a")
    found.forget_model(KEY)
    assert found.load(KEY, 1).arrivals == 0
