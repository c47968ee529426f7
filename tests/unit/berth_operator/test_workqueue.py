import asyncio
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from berth_operator.errors import Unavailable
from berth_operator.workqueue import BACKOFF_BASE_SECONDS, BACKOFF_CAP_SECONDS, WorkQueue


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def queue_at(clock: Clock) -> WorkQueue[str]:
    return WorkQueue(clock=clock, chance=random.Random(7))


async def taken(queue: WorkQueue[str]) -> str | None:
    """The next key, or None if there is none now."""
    try:
        async with asyncio.timeout(0.01):
            return await queue.get()
    except TimeoutError:
        return None


async def test_many_reasons_become_one_look() -> None:
    queue = queue_at(Clock())
    for _ in range(3):
        queue.add("a")
    assert await taken(queue) == "a"
    queue.done("a")
    assert await taken(queue) is None


async def test_keys_are_handed_out_in_the_order_of_arrival() -> None:
    queue = queue_at(Clock())
    for key in "bca":
        queue.add(key)
    assert [await taken(queue) for _ in range(3)] == ["b", "c", "a"]


async def test_a_key_that_comes_back_while_in_work_is_looked_at_again_afterwards() -> None:
    queue = queue_at(Clock())
    queue.add("a")
    assert await taken(queue) == "a"
    queue.add("a")
    assert await taken(queue) is None
    queue.done("a")
    assert await taken(queue) == "a"


async def test_a_delayed_key_waits_for_its_time() -> None:
    clock = Clock()
    queue = queue_at(clock)
    queue.add_after("a", 5)
    assert await taken(queue) is None
    clock.now += 5
    assert await taken(queue) == "a"


async def test_the_latest_appointment_counts() -> None:
    clock = Clock()
    queue = queue_at(clock)
    queue.add_after("a", 5)
    queue.add_after("a", 60)
    clock.now += 6
    assert await taken(queue) is None
    clock.now += 60
    assert await taken(queue) == "a"


async def test_a_look_without_a_next_one_voids_the_earlier_appointment() -> None:
    clock = Clock()
    queue = queue_at(clock)
    queue.add_after("a", 5)
    queue.add("a")
    assert await taken(queue) == "a"
    queue.done("a")
    clock.now += 10
    assert await taken(queue) is None


async def test_a_waiting_worker_wakes_for_a_new_key_and_for_an_earlier_appointment() -> None:
    queue: WorkQueue[str] = WorkQueue(
        clock=asyncio.get_running_loop().time, chance=random.Random(7)
    )
    queue.add_after("late", 60)
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add_after("soon", 0.01)
    assert await asyncio.wait_for(waiting, 1) == "soon"


def test_backoff_grows_with_full_jitter_up_to_its_cap() -> None:
    queue = queue_at(Clock())
    delays = [queue.backoff("a") for _ in range(40)]
    ceilings = [min(BACKOFF_CAP_SECONDS, BACKOFF_BASE_SECONDS * 2**n) for n in range(40)]
    assert all(0 <= delay <= ceiling for delay, ceiling in zip(delays, ceilings, strict=True))
    assert max(delays) > BACKOFF_CAP_SECONDS / 2


def test_success_resets_the_backoff() -> None:
    queue = queue_at(Clock())
    for _ in range(10):
        queue.backoff("a")
    queue.forget("a")
    assert queue.backoff("a") <= BACKOFF_BASE_SECONDS


async def test_ages_tell_how_long_keys_wait_and_are_in_work() -> None:
    clock = Clock()
    queue = queue_at(clock)
    assert (queue.waiting_seconds(), queue.working_seconds()) == (0, 0)
    queue.add("a")
    queue.add("b")
    clock.now += 3
    await taken(queue)
    clock.now += 4
    assert (queue.depth, queue.waiting_seconds(), queue.working_seconds()) == (1, 7, 4)


@pytest.mark.parametrize("error", [Unavailable("down"), ValueError("a bug")])
async def test_a_failed_look_is_repeated_and_stops_nobody(error: Exception) -> None:
    queue: WorkQueue[str] = WorkQueue(
        clock=asyncio.get_running_loop().time, chance=random.Random(7)
    )
    looks: Counter[str] = Counter()

    async def process(key: str) -> None:
        looks[key] += 1
        if key == "bad" and looks[key] == 1:
            raise error
        if looks["bad"] == 2 and looks["good"]:
            queue.close()

    queue.backoff = lambda key: 0.001  # type: ignore[method-assign]
    queue.add("bad")
    queue.add("good")
    await asyncio.wait_for(queue.run(process, workers=2), 1)
    assert looks == {"bad": 2, "good": 1}


async def test_the_server_may_ask_for_a_longer_pause_than_the_backoff() -> None:
    clock = Clock()
    queue = queue_at(clock)

    async def process(key: str) -> None:
        raise Unavailable("too many requests", retry_after_seconds=30)

    assert await queue._attempt(process, "a") == 30


async def test_what_waits_after_a_failure_is_looked_at_once_its_cause_has_gone() -> None:
    queue = queue_at(Clock())
    queue.backoff("failed")
    queue.add_after("failed", 300.0)
    queue.add_after("well", 300.0)
    queue.retry_failed()
    assert await queue.get() == "failed"
    assert queue.depth == 0


async def test_closing_lets_a_look_in_progress_finish() -> None:
    queue = queue_at(Clock())
    started, go_on, finished = asyncio.Event(), asyncio.Event(), []

    async def process(key: str) -> None:
        started.set()
        await go_on.wait()
        finished.append(key)

    queue.add("a")
    queue.add("b")
    running = asyncio.create_task(queue.run(process, workers=1))
    await started.wait()
    queue.close()
    go_on.set()
    await asyncio.wait_for(running, 1)
    assert finished == ["a"]
    queue.add("c")
    assert queue.depth == 1  # only b: nothing is taken in any more


@settings(max_examples=60, deadline=None)
@given(
    arrivals=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=40),
    failures=st.sets(st.integers(0, 60)),
    workers=st.integers(1, 4),
)
def test_no_key_is_lost_and_none_is_in_work_twice(
    arrivals: list[tuple[str, int]], failures: set[int], workers: int
) -> None:
    asyncio.run(_scenario(arrivals, failures, workers))


async def _scenario(arrivals: list[tuple[str, int]], failures: set[int], workers: int) -> None:
    queue: WorkQueue[str] = WorkQueue(
        clock=asyncio.get_running_loop().time, chance=random.Random(7)
    )
    queue.backoff = lambda key: 0.0  # type: ignore[method-assign]
    in_work: set[str] = set()
    seen_at: dict[str, int] = {}
    added_at: dict[str, int] = {}
    step = 0

    async def process(key: str) -> None:
        nonlocal step
        assert key not in in_work
        in_work.add(key)
        step += 1
        seen_at[key], number = step, step
        for _ in range(number % 3):
            await asyncio.sleep(0)
        in_work.discard(key)
        if number in failures:
            seen_at[key] = -1
            raise Unavailable("down")

    running = asyncio.create_task(queue.run(process, workers=workers))
    for key, pause in arrivals:
        step += 1
        added_at[key] = step
        queue.add(key)
        for _ in range(pause):
            await asyncio.sleep(0)
    while queue.depth or in_work or queue._due or queue._again:  # noqa: ASYNC110 -- no event tells
        await asyncio.sleep(0)
    queue.close()
    await asyncio.wait_for(running, 1)
    assert all(seen_at[key] > at for key, at in added_at.items())


def resting_queue(clock: Clock) -> WorkQueue[str]:
    return WorkQueue(clock=clock, chance=random.Random(7), rest_seconds=0.1)


async def looked_at(queue: WorkQueue[str], *, again_after: float | None = None) -> None:
    queue.add("a")
    assert await taken(queue) == "a"
    queue.done("a", again_after=again_after)


async def test_what_comes_soon_after_a_look_waits_for_the_rest() -> None:
    clock = Clock()
    queue = resting_queue(clock)
    await looked_at(queue)
    queue.add("a")
    queue.add("b")
    assert [await taken(queue), await taken(queue)] == ["b", None]
    clock.now += 0.1
    assert [await taken(queue), await taken(queue)] == ["a", None]


async def test_what_came_back_while_in_work_waits_for_the_rest_too() -> None:
    clock = Clock()
    queue = resting_queue(clock)
    queue.add("a")
    assert await taken(queue) == "a"
    queue.add("a")
    queue.done("a")
    assert await taken(queue) is None
    clock.now += 0.1
    assert await taken(queue) == "a"


async def test_a_reason_during_the_rest_puts_no_appointment_off() -> None:
    clock = Clock()
    queue = resting_queue(clock)
    await looked_at(queue, again_after=0.0)
    queue.add("a")
    clock.now += 0.1
    assert [await taken(queue), await taken(queue)] == ["a", None]


async def test_after_the_rest_a_key_is_looked_at_at_once() -> None:
    clock = Clock()
    queue = resting_queue(clock)
    await looked_at(queue)
    clock.now += 0.1
    await looked_at(queue)


async def test_what_somebody_waits_for_comes_first() -> None:
    queue = queue_at(Clock())
    queue.add_all("ab")
    queue.hurry("c")
    assert [await taken(queue) for _ in range(3)] == ["c", "a", "b"]


async def test_what_waits_already_can_become_urgent() -> None:
    queue = queue_at(Clock())
    queue.add_all("ab")
    queue.hurry("b")
    assert [await taken(queue) for _ in range(3)] == ["b", "a", None]


async def test_news_is_not_held_back_for_ever() -> None:
    queue = queue_at(Clock())
    queue.hurry("abcdefgh")
    queue.add_all("12")
    assert [await taken(queue) for _ in range(10)] == list("abc1def2gh")


async def test_urgency_outlasts_a_look_and_a_rest() -> None:
    clock = Clock()
    queue = resting_queue(clock)
    queue.add("a")
    assert await taken(queue) == "a"
    queue.hurry("a")
    queue.done("a")
    queue.add("b")
    clock.now += 0.1
    assert [await taken(queue) for _ in range(3)] == ["a", "b", None]


async def test_who_goes_on_at_once_comes_before_mere_news_and_after_its_rest() -> None:
    clock = Clock()
    queue = resting_queue(clock)
    queue.add("a")
    assert await taken(queue) == "a"
    queue.done("a", again_after=0.0)
    queue.add_all("bc")
    assert await taken(queue) == "b"
    clock.now += 0.1
    assert [await taken(queue) for _ in range(2)] == ["a", "c"]


async def test_urgency_ends_with_the_look() -> None:
    queue = queue_at(Clock())
    queue.hurry("a")
    assert await taken(queue) == "a"
    queue.done("a")
    queue.add_all("ba")
    assert [await taken(queue) for _ in range(2)] == ["b", "a"]
