import asyncio

import pytest

from standins.engine_loop import Aborted, Gone, Loop, Refused
from standins.engine_metrics import Measured
from standins.engine_steps import Asked, Costs, Limits, Scheduler

STEP = 0.005


@pytest.fixture
async def loop():
    """`loop(...)` makes one that steps until the test has ended."""
    tasks = []

    def start(step=STEP, max_in_flight=None, **limits):
        scheduler = Scheduler(Limits(**limits), Costs(step))
        clock = asyncio.get_running_loop().time
        made = Loop(scheduler, Measured(2048, 0), clock, max_in_flight)
        tasks.append(asyncio.create_task(made.run()))
        return made

    yield start
    for task in tasks:
        task.cancel()


async def test_tokens_come_one_step_after_another(loop):
    made = loop()
    clock = asyncio.get_running_loop().time
    began = clock()
    answer = made.ask(Asked(prompt=5, output=4))
    seen = 0
    while seen < 4:  # on a machine that is late, several at once; never one too early
        seen = await answer.more(seen)
        assert clock() - began >= seen * STEP
    assert seen == 4
    assert made.in_flight == 0


async def test_a_late_loop_gives_several_tokens_at_once_and_loses_none(loop):
    made = loop(step=1e-6)
    answer = made.ask(Asked(prompt=5, output=2000))
    seen, waits = 0, 0
    while seen < 2000:
        seen, waits = await answer.more(seen), waits + 1
    assert waits < 2000


async def test_a_burst_passes_the_door_and_the_engine_refuses_what_is_too_much(loop):
    made = loop(max_in_flight=2)
    answers = [made.ask(Asked(prompt=1, output=3)) for _ in range(5) if not made.full]
    assert len(answers) == 5
    outcomes = await asyncio.gather(*(one.more(2) for one in answers), return_exceptions=True)
    assert [type(one) for one in outcomes] == [int, int, Refused, Refused, Refused]
    assert made.measured.rejected["max_num_queued_reqs"] == 3


async def test_a_full_engine_is_full_at_the_door(loop):
    made = loop(max_in_flight=1)
    await made.ask(Asked(prompt=1, output=100)).more(0)
    assert made.full


async def test_whoever_leaves_is_forgotten(loop):
    made = loop()
    answer = made.ask(Asked(prompt=1, output=1000))
    await answer.more(0)
    answer.tell(Gone())
    with pytest.raises(Gone):
        await answer.more(answer.ready)
    made.leave(answer)
    assert (made.in_flight, made.scheduler.cache.held) == (0, 0)


async def test_an_abort_ends_all_that_run_or_wait_and_takes_no_more(loop):
    made = loop(max_num_seqs=1)
    running, waiting = (made.ask(Asked(prompt=1, output=1000)) for _ in range(2))
    await running.more(0)
    made.abort()
    for one in (running, waiting):
        with pytest.raises(Aborted):
            await one.more(one.ready)
    with pytest.raises(Aborted):
        made.ask(Asked(prompt=1, output=1))


async def test_a_frozen_loop_takes_requests_and_steps_no_more_until_the_time_is_over(loop):
    made = loop()
    clock = asyncio.get_running_loop().time
    made.frozen_until = clock() + 0.1
    began = clock()
    await made.ask(Asked(prompt=1, output=1)).more(0)
    assert clock() - began >= 0.1
