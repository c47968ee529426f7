"""The replica law: what must hold for any load, and what it does with the loads it was made for."""

import time
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from berth_operator.core.scaling.arrivals import CROWDING
from berth_operator.core.scaling.replicas import Decision, Law, Memory, Signal, decide

LAW = Law(
    min_replicas=0,
    max_replicas=16,
    target_queue_depth=48,
    scale_down_delay_seconds=120.0,
    keep_alive_seconds=300.0,
    cold_start_seconds=60.0,
)
ALONE = 6.0  # seconds; at its target of 48 a replica answers 48 / 15 = 3.2 a second
QUIET = Signal(now=0.0, held=0, in_flight=0, arrivals=0, answered=0, ready=1, starting=0)


class Model:
    """A model at one moment after another; replicas are there as soon as they are asked for."""

    def __init__(self, law: Law = LAW, current: int = 1) -> None:
        self.law = law
        self.memory = Memory()
        self.current = current
        self.now = 0.0
        self.arrivals = 0.0
        self.decision = Decision(current, "Steady", "")

    def pass_time(self, seconds: float, *, rate: float = 0.0) -> None:
        """Arrivals at a steady rate, answered as soon as the replicas can."""
        for _ in range(int(seconds)):
            self.now += 1.0
            self.arrivals += rate
            self.look(in_flight=min(self._crowd(rate), int(self.arrivals)))

    def _crowd(self, rate: float) -> int:
        """In flight where an answer takes ALONE, and CROWDING x ALONE more at the target."""
        each = ALONE * rate / max(self.current, 1)
        room = max(1 - CROWDING * each / self.law.target_queue_depth, 0.1)
        return round(each / room * self.current)

    def look(self, **changes: object) -> Decision:
        arrivals = int(self.arrivals)
        in_flight = int(str(changes.get("in_flight", 0)))
        signal = Signal(
            now=self.now,
            held=0,
            in_flight=in_flight,
            arrivals=arrivals,
            answered=arrivals - in_flight,
            ready=self.current,
            starting=0,
        )
        signal = replace(signal, **changes)  # type: ignore[arg-type]
        self.decision = decide(self.law, signal, self.memory, self.current)
        self.memory = self.decision.memory
        self.current = self.decision.replicas
        return self.decision


@st.composite
def laws(draw: st.DrawFn) -> Law:
    most = draw(st.integers(1, 20))
    return Law(
        min_replicas=draw(st.integers(0, most)),
        max_replicas=most,
        target_queue_depth=draw(st.integers(1, 64)),
        scale_down_delay_seconds=draw(st.sampled_from([0.0, 30.0, 300.0])),
        keep_alive_seconds=draw(st.sampled_from([None, 0.0, 20.0, 300.0])),
        cold_start_seconds=draw(st.sampled_from([1.0, 60.0, 600.0])),
        room=draw(st.none() | st.integers(0, 20)),
        headroom=draw(st.sampled_from([0.0, 1.0, 3.0])),
    )


@st.composite
def histories(draw: st.DrawFn) -> list[Signal]:
    """Signals as gateways send them: time goes on, and counts grow but for a restart."""
    now, arrivals, answered = 0.0, 0, 0
    signals = []
    for _ in range(draw(st.integers(1, 25))):
        now += draw(st.sampled_from([0.1, 1.0, 7.0, 90.0, 2_000.0]))
        arrivals += draw(st.integers(0, 400))
        answered = draw(st.integers(answered, arrivals))
        if draw(st.integers(0, 19)) == 0:
            arrivals = answered = 0
        signals.append(
            Signal(
                now=now,
                held=draw(st.integers(0, 300)),
                in_flight=arrivals - answered,
                arrivals=arrivals,
                answered=answered,
                ready=draw(st.integers(0, 8)),
                starting=draw(st.sampled_from([0, 0, 1, 5])),
                complete=draw(st.sampled_from([True, True, True, False])),
                engines_known=draw(st.sampled_from([True, True, True, False])),
                epoch=draw(st.sampled_from([0, 0, 0, 1])),
            )
        )
    return signals


@given(laws(), histories())
def test_whatever_happens_the_bounds_hold_and_nothing_is_taken_in_the_dark(law, signals):
    memory, current = Memory(), law.min_replicas
    for signal in signals:
        decision = decide(law, signal, memory, current)
        assert law.min_replicas <= decision.replicas <= law.max_replicas
        if law.room is not None and decision.replicas > current:
            assert decision.replicas <= max(law.room, law.min_replicas, 1)
        if not signal.complete or not signal.engines_known:
            assert decision.replicas >= current
        if signal.starting:
            assert decision.replicas >= current or decision.reason == "KeepAlive"
        if signal.held and not current:
            assert decision.replicas >= 1
        memory, current = decision.memory, decision.replicas
        assert len(memory.seen.marks) <= 165


@given(laws(), histories())
def test_the_last_replica_goes_only_after_keep_alive(law, signals):
    memory, current, asked = Memory(), law.min_replicas, signals[0].now
    arrivals = 0
    for signal in signals:
        if signal.held or signal.in_flight or signal.arrivals > arrivals:
            asked = signal.now
        arrivals = signal.arrivals
        decision = decide(law, signal, memory, current)
        if current and not decision.replicas:
            assert law.keep_alive_seconds is not None
            assert signal.now - asked >= law.keep_alive_seconds
        memory, current = decision.memory, decision.replicas


@given(laws(), histories(), st.integers(1, 500))
def test_more_held_requests_never_mean_fewer_replicas(law, signals, more):
    memory, current = Memory(), law.min_replicas
    for signal in signals[:-1]:
        decision = decide(law, signal, memory, current)
        memory, current = decision.memory, decision.replicas
    last = signals[-1]
    fewer = decide(law, last, memory, current).replicas
    assert decide(law, replace(last, held=last.held + more), memory, current).replicas >= fewer


@given(laws(), histories())
def test_the_same_moment_is_decided_the_same_way(law, signals):
    memory = Memory()
    for signal in signals:
        assert decide(law, signal, memory, 2) == decide(law, signal, memory, 2)
        memory = decide(law, signal, memory, 2).memory


def test_the_first_held_request_wakes_a_model_at_once():
    model = Model(current=0)
    decision = model.look(held=1, ready=0)
    assert (decision.replicas, decision.reason) == (1, "Activating")


def test_a_held_request_wakes_a_model_even_while_a_gateway_is_missing():
    decision = Model(current=0).look(held=1, ready=0, complete=False)
    assert (decision.replicas, decision.reason) == (1, "DataIncomplete")


def test_the_first_jump_is_sized_by_what_is_held():
    assert Model(current=0).look(held=200, ready=0).replicas >= 5


def test_what_a_replica_takes_is_learned_from_its_answers():
    model = Model(replace(LAW, max_replicas=1))
    model.pass_time(300, rate=2.0)
    assert model.memory.seen.alone is not None
    assert abs(model.memory.seen.alone - ALONE) < 0.1 * ALONE


def test_a_steady_load_moves_nothing():
    model = Model()
    model.pass_time(100, rate=2.0)
    sizes = set()
    for _ in range(600):
        model.pass_time(1, rate=2.0)
        sizes.add(model.current)
    assert len(sizes) == 1
    assert model.decision.reason == "Steady"


def test_a_step_is_sized_within_seconds_and_not_by_its_queue():
    model = Model(replace(LAW, headroom=0.0))
    model.pass_time(200, rate=2.0)
    looks = []
    for second in range(1, 11):
        model.now += 1.0
        model.arrivals += 10.0
        queue = 20 + 8 * second
        looks.append(model.look(in_flight=queue, ready=1, starting=model.current - 1))
    assert model.current >= 3
    assert "Rising" in {look.reason for look in looks}
    assert all(look.replicas <= 9 for look in looks)


def test_a_slow_ramp_is_met_before_it_is_there():
    model = Model()
    model.pass_time(200, rate=2.0)
    met = []
    for second in range(600):
        rate = 2.0 + 8.0 * second / 600
        model.pass_time(1, rate=rate)
        met.append(model.current * 3.2 >= rate)
    assert sum(met) > 0.95 * len(met)


def test_a_pause_in_a_burst_takes_nothing_away():
    model = Model(replace(LAW, scale_down_delay_seconds=0.0))
    model.pass_time(100, rate=2.0)
    model.pass_time(20, rate=12.0)
    high = model.current
    model.pass_time(15, rate=0.0)
    assert high > 1
    assert (model.current, model.decision.reason) == (high, "Panic")


def test_fewer_come_only_after_the_delay_and_one_stays():
    model = Model()
    model.pass_time(300, rate=12.0)
    high = model.current
    model.pass_time(100)
    assert (model.current, model.decision.reason) == (high, "HeldForDelay")
    model.pass_time(150)
    assert 1 <= model.current < high


def test_nobody_asks_and_after_keep_alive_the_last_one_goes():
    model = Model()
    model.pass_time(60, rate=0.5)
    model.pass_time(299)
    assert (model.current, model.decision.reason) == (1, "KeepAlive")
    model.pass_time(3)
    assert (model.current, model.decision.reason) == (0, "KeepAlive")
    assert model.decision.look_again_seconds is None


def test_a_queue_that_clears_before_a_new_replica_could_serve_starts_none():
    model = Model(replace(LAW, headroom=0.0), current=3)
    model.pass_time(120, rate=4.0)
    held = model.current
    # 3 replicas at 3.2 requests/s each and 4 a second coming: 250 are gone in 50 s.
    model.now += 0.1
    assert model.look(in_flight=48 * held + 200).replicas == held
    model.now += 0.1
    assert model.look(in_flight=48 * held + 2_000).reason == "Backlog"


def test_counts_that_begin_anew_are_no_burst():
    model = Model()
    model.pass_time(200, rate=2.0)
    size = model.current
    model.look(complete=False)
    model.now += 1.0
    model.arrivals = 1_000_000.0
    assert model.look(in_flight=20).replicas == size
    model.now += 1.0
    model.arrivals = 5.0
    assert model.look(in_flight=5).replicas == size


def test_where_the_accelerators_end_it_says_so():
    crowded = replace(LAW, room=2)
    assert decide(crowded, replace(QUIET, held=1_000), Memory(), 1).reason == "NoRoom"
    assert decide(LAW, replace(QUIET, held=10_000), Memory(), 1).reason == "AtMaximum"
    assert decide(replace(LAW, min_replicas=2), QUIET, Memory(), 1).reason == "AtMinimum"


def test_a_held_request_asks_for_one_even_where_every_accelerator_is_taken():
    full = replace(LAW, room=0)
    woken = decide(full, replace(QUIET, held=1, ready=0), Memory(), 0)
    assert (woken.replicas, woken.reason) == (1, "Activating")
    crowd = decide(full, replace(QUIET, held=500, ready=0), Memory(), 0)
    assert (crowd.replicas, crowd.reason) == (1, "NoRoom")


def test_an_engine_that_tells_nothing_keeps_its_replica_and_stops_no_growth():
    model = Model()
    model.pass_time(60)
    model.now += 301.0
    assert model.look(engines_known=False).reason == "DataIncomplete"
    assert model.current == 1
    assert model.look(held=1_000, engines_known=False).replicas > 1


def test_a_replica_that_has_just_come_and_told_nothing_erases_no_history():
    model = Model()
    model.pass_time(100, rate=2.0)
    before = len(model.memory.seen.marks)
    model.now += 1.0
    model.look(in_flight=12, engines_known=False)
    assert len(model.memory.seen.marks) == before + 1


def test_a_model_sleeps_though_some_of_its_replicas_never_come():
    model = Model(current=4)
    model.look(ready=1, starting=3)
    model.now += LAW.keep_alive_seconds
    decision = model.look(ready=1, starting=3)
    assert (decision.replicas, decision.reason) == (0, "KeepAlive")


def test_the_first_replica_may_start_longer_than_keep_alive_for_who_asks_again():
    model = Model(replace(LAW, keep_alive_seconds=20.0))
    model.look(ready=0, starting=1)
    model.now += 79.0
    assert model.look(ready=0, starting=1).replicas == 1
    model.now += 1.0
    assert model.look(ready=0, starting=1).replicas == 0


def test_a_missing_gateway_does_not_restart_keep_alive():
    model = Model()
    model.pass_time(1)
    for _ in range(30):
        model.now += 10.0
        model.look(complete=False)
    assert model.current == 1
    assert model.look().replicas == 0


def test_requests_that_half_the_truth_shows_restart_keep_alive():
    model = Model()
    model.pass_time(1)
    model.now += 299.0
    model.look(complete=False, in_flight=1, arrivals=1)
    model.now += 2.0
    model.arrivals = 1.0
    assert model.look().replicas == 1


def test_counts_of_another_epoch_are_no_burst():
    model = Model()
    model.pass_time(200, rate=2.0)
    size = model.current
    model.now += 1.0
    model.arrivals += 600.0
    for _ in range(100):
        model.look(in_flight=20, epoch=1)
        model.now += 1.0
        model.arrivals += 2.0
        assert model.current == size


def test_a_busy_model_is_not_taken_for_idle_while_its_counts_begin_anew():
    model = Model(replace(LAW, scale_down_delay_seconds=0.0))
    model.pass_time(200, rate=12.0)
    size = model.current
    assert size > 1
    for _ in range(30):
        model.now += 1.0
        model.arrivals += 12.0
        model.look(in_flight=100, epoch=1)
        assert model.current == size


def test_a_decision_takes_less_than_a_tenth_of_a_millisecond():
    model = Model()
    model.pass_time(300, rate=5.0)
    signal = replace(QUIET, now=model.now, in_flight=50, arrivals=1500, answered=1450)
    memory, fastest = model.memory, 1.0
    for turn in range(300):
        moment = replace(signal, now=signal.now + turn / 10, arrivals=1500 + turn)
        began = time.perf_counter()
        memory = decide(LAW, moment, memory, 3).memory
        fastest = min(fastest, time.perf_counter() - began)
    assert fastest < 100e-6
