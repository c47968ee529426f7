import time
from typing import Any

from bench.cluster.traffic import Ask, End, Result
from bench.cluster.wake import ENGINE, STEPS, Cycle, marks, passed, table
from bench.cluster.watching import Log, Seen

LABELS = {"labels": {"berth.dev/model": "m"}}


def seen(at: float, kind: str, **fields: Any) -> Seen:
    return Seen(at, kind, "MODIFIED", {"kind": kind, "metadata": LABELS, **fields})


def pod(*conditions: str, started: bool = False, node: bool = True) -> dict[str, Any]:
    state = {"running": {"startedAt": "2026-01-01T00:00:00Z"}} if started else {"waiting": {}}
    return {
        "spec": {"nodeName": "n"} if node else {},
        "status": {
            "conditions": [{"type": one, "status": "True"} for one in conditions],
            "containerStatuses": [{"name": "engine", "state": state}],
        },
    }


def a_wake(asked_at: float) -> Log:
    return Log(
        [
            seen(asked_at + 0.1, "Deployment", spec={"replicas": 0}),
            seen(asked_at + 0.2, "Deployment", spec={"replicas": 1}),
            seen(asked_at + 0.3, "Pod", **pod(node=False)),
            seen(asked_at + 0.4, "Pod", **pod()),
            seen(asked_at + 2.0, "Pod", **pod("Initialized")),
            seen(asked_at + 3.0, "Pod", **pod("Initialized", started=True)),
            seen(asked_at + 13.5, "Pod", **pod("Initialized", "Ready", started=True)),
            seen(asked_at + 13.6, "EndpointSlice", endpoints=[{"conditions": {"ready": True}}]),
        ]
    )


def test_each_step_lasts_from_the_one_before_it() -> None:
    now = time.time()
    result = Result(Ask("m", "p", 1, stream=True), End.WHOLE, 0, 13.7, 14)
    found = marks(a_wake(now), now, "m", result, [{"phase": "Serving", "atSeconds": 10.0}])
    cycle = Cycle(End.WHOLE, found)
    lasted = {step: round(seconds, 2) for step, seconds in cycle.lasted.items()}
    assert lasted == dict(zip(STEPS, (0.2, 0.1, 0.1, 1.6, 1.0, 10.0, 0.5, 0.1, 0.1), strict=True))
    assert round(cycle.beside_the_engine, 2) == 3.7


def cycle(beside: float, end: End = End.WHOLE) -> Cycle:
    before = dict.fromkeys(STEPS[: STEPS.index(ENGINE)], beside)
    after = dict.fromkeys(STEPS[STEPS.index(ENGINE) :], beside + 10)
    return Cycle(end, before | after)


def test_the_bar_is_the_median_and_every_answer() -> None:
    assert passed([cycle(3), cycle(3.5), cycle(9)])
    assert not passed([cycle(3), cycle(4.5), cycle(9)])
    assert not passed([cycle(1), cycle(1, End.REFUSED)])
    assert "1 of 2 first requests" in table([cycle(1), cycle(1, End.REFUSED)])
