from hypothesis import given
from hypothesis import strategies as st

from berth_server import stall
from berth_server.metrics import Gauges

BUSY = Gauges(running=1.0, waiting=0.0, progress=7.0)


def test_work_without_progress_is_a_stall():
    watch = stall.observe(stall.Watch(0.0), 1.0, 1, BUSY)
    for now in (30.0, 60.0, 121.0):
        watch = stall.observe(watch, now, 1, BUSY)
    assert stall.stalled_seconds(watch, 121.0) == 120.0


def test_any_step_starts_the_clock_anew():
    watch = stall.observe(stall.Watch(0.0, 7.0), 50.0, 1, Gauges(running=1.0, progress=8.0))
    assert stall.stalled_seconds(watch, 60.0) == 10.0


def test_an_idle_engine_owes_no_progress():
    idle = Gauges(running=0.0, waiting=0.0, progress=7.0)
    watch = stall.observe(stall.Watch(0.0, 7.0), 500.0, 0, idle)
    assert stall.stalled_seconds(watch, 500.0) == 0.0


def test_a_request_held_before_the_engine_counts_as_work():
    idle = Gauges(running=0.0, waiting=0.0, progress=7.0)
    watch = stall.observe(stall.Watch(0.0, 7.0), 500.0, 3, idle)
    assert stall.stalled_seconds(watch, 500.0) == 500.0


def test_an_engine_that_does_not_answer_makes_no_progress():
    watch = stall.observe(stall.Watch(0.0, 7.0), 90.0, 0, None)
    assert stall.stalled_seconds(watch, 90.0) == 90.0


def test_a_page_without_the_counters_proves_nothing():
    watch = stall.observe(stall.Watch(0.0), 90.0, 5, Gauges())
    assert stall.stalled_seconds(watch, 90.0) == 0.0


@given(st.lists(st.tuples(st.floats(0.1, 60), st.booleans()), min_size=1, max_size=40))
def test_a_stall_is_never_longer_than_since_the_last_step(looks):
    now, steps, last = 0.0, 0, 0.0
    watch = stall.observe(stall.Watch(0.0), 0.0, 1, Gauges(running=1.0, progress=0.0))
    for wait, stepped in looks:
        now += wait
        if stepped:
            steps, last = steps + 1, now
        watch = stall.observe(watch, now, 1, Gauges(running=1.0, progress=float(steps)))
        assert stall.stalled_seconds(watch, now) == now - last
