"""What is kept for one that has waited beyond the bound."""

from dataclasses import replace

from fakes.engines_in_pods import GIB, Told, at, engine, held, idle, pod, pool


def test_the_cards_of_one_beyond_the_bound_are_kept_for_it():
    """Or small ones that fit beside what it waits for would have it wait for ever."""
    things = [engine("pair", cards=2), engine("x"), engine("small"), pod("p", 10, 10)]
    observed = pool(*things, at("x", on="p", ago=5), x=idle(), pair=held(99), small=held(50))
    told = Told(observed)
    assert told.orders("p") == {"x"}
    assert told.waits("pair").because == "MinimumResidency"
    assert (told.waits("small").because, told.waits("small").behind) == ("Reserved", ("pair",))
    patient = replace(observed, demand={**observed.demand, "pair": held(50)})
    assert Told(patient).orders("p") == {"x", "small"}


def test_other_cards_of_the_pod_are_not_kept():
    things = [engine("big", 9), engine("x"), engine("small"), pod("p", 10, 10)]
    told = Told(
        pool(
            *things,
            pod("q", 8),
            at("x", on="p", ago=5),
            at("y", on="p", cards=(1,), ago=2),
            engine("y"),
            x=idle(),
            y=idle(),
            big=held(99),
            small=held(1),
        )
    )
    assert told.ordered("small") == ("q", (0,))


def test_one_whose_own_memory_is_stuck_still_has_its_next_place_kept():
    stuck = at("a", on="p", cards=(1,), state="Failed", withheld=GIB)
    room = [pod("p", 10, 10), at("x", on="p", ago=5), at("y", on="p", cards=(1,), ago=9)]
    things = [engine("a"), engine("x"), engine("y", 2)]
    told = Told(pool(*things, *room, stuck, x=idle(), y=idle(), a=held(99)))
    assert told.waits("a").because == "MinimumResidency"
