"""Which cards an engine gets, and which none of the pool's pods could give it."""

from dataclasses import replace

from fakes.engines_in_pods import GIB, POLICY, Told, at, busy, engine, held, pod, pool

from berth_operator.core.residency.verdicts import Refused


def test_an_engine_goes_to_the_card_that_it_fills_best():
    told = Told(pool(engine("a"), pod("large", 24), pod("small", 10), a=held()))
    assert told.ordered("a") == ("small", (0,))


def test_two_engines_share_a_card_rather_than_open_another():
    told = Told(
        pool(engine("a", 4), engine("b", 4), pod("p", 10, 10), at("a", on="p"), a=busy(), b=held())
    )
    assert told.ordered("b") == ("p", (0,))


def test_ranks_are_never_split_over_pods():
    told = Told(
        pool(engine("a", cards=2), pod("one", 10), pod("other", 10), pod("pair", 10, 10), a=held())
    )
    assert told.ordered("a") == ("pair", (0, 1))


def test_room_that_is_free_now_comes_before_room_that_drains():
    draining = at("gone", on="p", state="Draining")
    told = Told(pool(engine("a"), engine("gone"), pod("p", 10, 11), draining, a=held()))
    assert told.ordered("a") == ("p", (1,))


def test_room_that_drains_is_claimed_where_there_is_no_other():
    told = Told(pool(engine("a"), engine("gone"), at("gone", state="Draining"), a=held()))
    assert told.ordered("a") == ("pod", (0,))
    assert told.leaves() == {"gone": ("Draining", None)}


def test_no_engine_is_loaded_beyond_the_number_that_a_pod_may_hold():
    policy = replace(POLICY, max_engines=1)
    observed = pool(engine("a", 1), engine("b", 1), at("a"), policy=policy, a=busy(), b=held())
    told = Told(observed)
    assert told.orders() == {"a"}
    assert Told(replace(observed, demand={"b": held()})).orders() == {"b"}


def test_an_engine_larger_than_every_card_is_refused_with_the_bytes_and_a_fix():
    refusal = Told(pool(engine("a", 16), pod("p", 10), a=held())).waits("a")
    assert refusal == Refused("a", 16 * GIB, 1, 10 * GIB, 1)
    assert (
        refusal.message
        == "needs 16.00 GiB of a card; the pool's largest have 10.00 GiB, 6.00 GiB too little"
    )
    assert refusal.fix.startswith("a share that is 6.00 GiB smaller")


def test_an_engine_of_more_ranks_than_a_pod_has_cards_is_refused():
    refusal = Told(pool(engine("a", cards=4), pod("p", 10, 10), pod("q", 10, 10))).waits("a")
    assert refusal.message == "needs 4 cards in one pod; the pool's have 2"
    assert refusal.fix == "tensor: 2, or a pool whose pods have 4 cards"


def test_a_pool_without_pods_refuses_nothing():
    told = Told(replace(pool(engine("a"), a=held()), pods=()))
    assert told.waits("a").because == "NoPod"
