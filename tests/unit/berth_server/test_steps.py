from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth_server.ledger import Share
from berth_server.steps import Do, Held, Situation, Stage, Step, Wanted, next_steps

GIB = 2**30
TOTALS = {0: 16 * GIB, 1: 16 * GIB}
FREE = dict(TOTALS)


def share(gib=4, cards=(0,)) -> Share:
    return Share(cards, gib * GIB)


def wanted(name, gib=4, cards=(0,), *, attempt=0, port=None) -> Wanted:
    return Wanted(name, share(gib, cards), port or 8000 + ord(name[0]), attempt)


def held(name, stage, gib=4, cards=(0,), *, attempt=0, idle=False, port=None) -> Held:
    return Held(name, share(gib, cards), port or 8000 + ord(name[0]), stage, attempt, idle)


def steps(want=(), hold=(), free=FREE, totals=TOTALS) -> list[Step]:
    return list(next_steps(Situation(tuple(want), tuple(hold), totals, free)))


def test_an_engine_that_fits_is_started():
    assert steps([wanted("a")]) == [Step(Do.START, "a")]


def test_at_rest_there_is_nothing_to_do():
    assert steps([wanted("a")], [held("a", Stage.SERVING)]) == []


@pytest.mark.parametrize(
    ("stage", "idle", "does"),
    [
        (Stage.STARTING, False, [Do.STOP]),
        (Stage.SERVING, False, [Do.DRAIN]),
        (Stage.DRAINING, False, []),
        (Stage.DRAINING, True, [Do.STOP]),
        (Stage.STOPPING, False, []),
        (Stage.WITHHELD, False, []),
        (Stage.FAILED, False, [Do.FORGET]),
    ],
)
def test_what_is_no_longer_wanted_leaves_by_draining(stage, idle, does):
    assert [step.do for step in steps([], [held("a", stage, idle=idle)])] == does


@pytest.mark.parametrize(
    ("stage", "does"),
    [
        (Stage.STARTING, []),
        (Stage.SERVING, []),
        (Stage.DRAINING, [Do.RESUME]),
        (Stage.STOPPING, []),
        (Stage.WITHHELD, []),
        (Stage.FAILED, []),
    ],
)
def test_what_is_wanted_again_is_admitted_again_or_waits_for_its_end(stage, does):
    assert [step.do for step in steps([wanted("a")], [held("a", stage, idle=True)])] == does


def test_a_failed_engine_is_started_by_a_greater_attempt_only():
    failed = held("a", Stage.FAILED, attempt=2)
    assert steps([wanted("a", attempt=2)], [failed]) == []
    assert steps([wanted("a", attempt=3)], [failed]) == [Step(Do.START, "a")]


def test_starts_on_one_card_take_turns():
    assert steps([wanted("a"), wanted("b")]) == [
        Step(Do.START, "a"),
        Step(Do.WAIT, "b", "a start on card 0 is under way"),
    ]


def test_starts_on_two_cards_do_not_wait_for_each_other():
    started = steps([wanted("a", cards=(0,)), wanted("b", cards=(1,))])
    assert [step.do for step in started] == [Do.START, Do.START]


def test_an_engine_on_two_cards_waits_for_both():
    told = steps([wanted("a", cards=(0, 1))], [held("b", Stage.STARTING, cards=(1,))])
    assert told == [Step(Do.STOP, "b"), Step(Do.WAIT, "a", "a start on card 1 is under way")]


def test_an_engine_is_not_ended_while_a_neighbour_profiles_its_card():
    told = steps([wanted("b")], [held("a", Stage.DRAINING, idle=True), held("b", Stage.STARTING)])
    assert told == [Step(Do.WAIT, "a", "a start on card 0 is under way")]


def test_nothing_is_started_while_a_neighbour_ends():
    told = steps([wanted("b")], [held("a", Stage.STOPPING)])
    assert told == [Step(Do.WAIT, "b", "the end of an engine on card 0 is under way")]


def test_the_next_engine_waits_until_what_it_replaces_has_gone():
    told = steps([wanted("new", 10)], [held("old", Stage.DRAINING, 10)])
    why = "card 0 has 6.0 GiB left to grant and 10.0 GiB are wanted"
    assert told == [Step(Do.WAIT, "new", why)]


def test_memory_that_is_not_free_is_not_granted_though_nobody_has_it():
    told = steps([wanted("a", 8)], free={0: 3 * GIB, 1: 16 * GIB})
    assert told == [Step(Do.WAIT, "a", "card 0 has 3.0 GiB free and 8.0 GiB are wanted")]


def test_withheld_memory_stops_nobody_who_has_room_beside_it():
    withheld = held("a", Stage.WITHHELD, 8)
    assert steps([wanted("b", 8)], [withheld]) == [Step(Do.START, "b")]
    assert steps([wanted("b", 9)], [withheld])[0].do is Do.WAIT


def test_a_port_is_an_engines_until_it_has_ended():
    told = steps([wanted("b", port=8001)], [held("a", Stage.DRAINING, port=8001)])
    assert told == [Step(Do.WAIT, "b", "port 8001 is a's until it has ended")]


def test_on_cpu_the_pod_is_one_card():
    told = steps([wanted("a", 10), wanted("b", 4)], free=None)
    assert told[1] == Step(Do.WAIT, "b", "a start on this pod is under way")


# A pod that obeys, in simulated time.

names = st.sampled_from("abcde")
shares = st.tuples(
    st.integers(1, 16),
    st.sampled_from([(0,), (1,), (0, 1)]),
)
# One share for each name: what is to run differently has another name.
worlds = st.fixed_dictionaries(dict.fromkeys("abcde", shares))
plans = st.lists(st.sets(names), min_size=1, max_size=4)
MOVING = {Stage.STARTING, Stage.STOPPING}


def possible(plan, world) -> bool:
    return all(
        sum(world[name][0] for name in plan if card in world[name][1]) <= 16 for card in TOTALS
    )


def progress(one: Held, chance) -> Held | None:
    """What an engine does by itself."""
    match one.stage:
        case Stage.STARTING if chance.draw(st.booleans()):
            return replace(one, stage=Stage.SERVING)
        case Stage.DRAINING if chance.draw(st.booleans()):
            return replace(one, idle=True)
        case Stage.STOPPING if chance.draw(st.booleans()):
            return None
    return one


def obey(step: Step, pod: dict[str, Held], plan: dict[str, Wanted]) -> None:
    if step.do is Do.START:
        new = plan[step.id]
        pod[step.id] = Held(new.id, new.share, new.port, Stage.STARTING)
    elif step.do is Do.FORGET:
        del pod[step.id]
    elif step.do is not Do.WAIT:
        stage = {Do.DRAIN: Stage.DRAINING, Do.RESUME: Stage.SERVING, Do.STOP: Stage.STOPPING}
        pod[step.id] = replace(pod[step.id], stage=stage[step.do], idle=False)


def check(pod: dict[str, Held]) -> None:
    for card, total in TOTALS.items():
        on_card = [one for one in pod.values() if card in one.share.cards]
        assert sum(one.share.size for one in on_card) <= total
        assert sum(one.stage in MOVING for one in on_card) <= 1


def look(pod: dict[str, Held], plan: dict[str, Wanted]) -> None:
    for step in next_steps(Situation(tuple(plan.values()), tuple(pod.values()), TOTALS, FREE)):
        before = pod.get(step.id)
        obey(step, pod, plan)
        if step.do is Do.STOP and before is not None and before.stage is Stage.DRAINING:
            assert before.idle  # nothing in flight is ever cut
        check(pod)


@given(worlds, plans, st.data())
def test_whatever_is_ordered_shares_fit_moves_take_turns_and_the_plan_is_reached(
    world, orders, chance
):
    pod: dict[str, Held] = {}
    plan: dict[str, Wanted] = {}
    for asked in orders:
        if not possible(asked, world):
            continue
        plan = {name: wanted(name, *world[name]) for name in sorted(asked)}
        for _ in range(chance.draw(st.integers(0, 4))):
            look(pod, plan)
            pod = {name: new for name, one in pod.items() if (new := progress(one, chance))}
    for _ in range(40):
        look(pod, plan)
        pod = {name: new for name, one in pod.items() if (new := settled(one))}
    assert {name: one.stage for name, one in pod.items()} == dict.fromkeys(plan, Stage.SERVING)


def settled(one: Held) -> Held | None:
    if one.stage is Stage.STOPPING:
        return None
    return (
        replace(one, stage=Stage.SERVING)
        if one.stage is Stage.STARTING
        else replace(one, idle=True)
    )
