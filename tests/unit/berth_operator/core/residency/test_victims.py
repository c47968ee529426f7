"""Who makes room: the set that costs least."""

import itertools
import random

from fakes.engines_in_pods import GIB, Told, at, engine, held, idle, pod, pool


def test_of_idle_ones_the_cheapest_to_bring_back_goes():
    things = [engine("dear", load_seconds=90), engine("cheap", load_seconds=9), engine("b")]
    room = [pod("pod", 10, 10), at("dear"), at("cheap", cards=(1,))]
    told = Told(pool(*things, *room, dear=idle(99), cheap=idle(9), b=held()))
    assert set(told.leaves()) == {"cheap"}


def test_of_equally_cheap_ones_the_least_recently_wanted_goes():
    things = [
        engine("a"),
        engine("b"),
        engine("c"),
        pod("pod", 10, 10),
        at("a"),
        at("b", cards=(1,)),
    ]
    assert set(Told(pool(*things, a=idle(9), b=idle(99), c=held())).leaves()) == {"b"}
    assert set(Told(pool(*things, a=idle(99), b=idle(9), c=held())).leaves()) == {"a"}


def test_of_idle_ones_the_least_important_goes_first():
    things = [engine("vip", priority=2, load_seconds=1), engine("any"), engine("b", priority=2)]
    room = [pod("pod", 10, 10), at("vip"), at("any", cards=(1,))]
    told = Told(pool(*things, *room, vip=idle(), any=idle(), b=held()))
    assert set(told.leaves()) == {"any"}


def test_one_dear_engine_stays_where_two_cheap_ones_make_the_room():
    things = [engine("dear", 8, load_seconds=60)]
    things += [engine(name, 4, load_seconds=20) for name in ("x", "y")]
    room = [pod("pod", 10, 10), at("dear"), at("x", cards=(1,)), at("y", cards=(1,))]
    told = Told(pool(*things, *room, engine("b"), dear=idle(), x=idle(), y=idle(), b=held()))
    assert set(told.leaves()) == {"x", "y"}
    assert told.ordered("b") == ("pod", (1,))


def test_no_more_go_than_the_room_needs():
    things = [engine(name, 3) for name in "xyz"]
    observed = pool(
        *things,
        engine("b", 4),
        *(at(name) for name in "xyz"),
        x=idle(1),
        y=idle(2),
        z=idle(3),
        b=held(),
    )
    assert len(Told(observed).leaves()) == 1


def test_both_cards_of_a_pair_are_freed_for_a_pair_of_ranks():
    things = [engine("x"), engine("y"), engine("pair", cards=2), pod("p", 10, 10)]
    room = [at("x", on="p"), at("y", on="p", cards=(1,))]
    told = Told(pool(*things, *room, x=idle(), y=idle(), pair=held()))
    assert told.ordered("pair") == ("p", (0, 1))
    assert set(told.leaves()) == {"x", "y"}


def test_room_is_found_among_more_than_are_searched_exactly():
    things = [engine(f"e{number:02}", 1) for number in range(20)]
    there = [at(one.id, withheld=GIB) for one in things]
    demand = {one.id: idle(number + 1) for number, one in enumerate(things)}
    told = Told(pool(pod("pod", 20), *things, *there, engine("big", 15), **demand, big=held()))
    assert "big" in told.orders()
    assert len(told.leaves()) == 15


def test_the_set_of_victims_costs_no_more_than_any_other():
    rng = random.Random(7)
    for _ in range(60):
        sizes = {f"e{n}": rng.randint(1, 6) for n in range(6)}
        loads = {name: float(rng.randint(1, 9)) for name in sizes}
        cards, need = [24, 24], rng.randint(8, 22)
        on = {name: number % 2 for number, name in enumerate(sizes)}
        things = [engine(name, sizes[name], load_seconds=loads[name]) for name in sizes]
        there = [at(name, cards=(on[name],), withheld=sizes[name] * GIB) for name in sizes]
        demand = {name: idle(5) for name in sizes}
        told = Told(
            pool(pod("pod", *cards), *things, *there, engine("big", need), **demand, big=held())
        )
        used = {card: sum(sizes[n] for n in sizes if on[n] == card) for card in (0, 1)}
        least = min(
            sum(loads[name] for name in some)
            for count in range(7)
            for some in itertools.combinations(sizes, count)
            if any(
                cards[c] - used[c] + sum(sizes[n] for n in some if on[n] == c) >= need
                for c in (0, 1)
            )
        )
        assert sum(loads[name] for name in told.leaves()) == least
