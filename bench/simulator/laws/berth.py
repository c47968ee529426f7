"""Berth: the operator's own law, fed as the operator is.

It looks 100 ms after an enqueue at the latest (the gateway's coalescing) and once a second; what it
decides is carried out 150 ms later (the decision, the write, the Deployment's controller).
"""

from bench.simulator.fleet import View
from berth_operator.core.scaling.replicas import Decision, Law, Memory, Signal, decide


class Berth:
    tick_seconds = 1.0
    delay_seconds = 0.15
    event_driven = True

    def __init__(self, law: Law) -> None:
        self._law = law
        self._memory = Memory()
        self.last: Decision | None = None

    def look(self, view: View, current: int) -> int:
        signal = Signal(
            now=view.now,
            held=view.held,
            in_flight=view.in_flight,
            arrivals=view.arrivals,
            answered=view.answered,
            ready=view.ready,
            starting=view.starting,
        )
        self.last = decide(self._law, signal, self._memory, current)
        self._memory = self.last.memory
        return self.last.replicas
