"""The step model in real time: who asks gets tokens when the step that made them has passed.

A loop that has fallen behind computes several steps before it lets anyone write, so each stream
then gets its tokens in one write: the rate of tokens holds and only the writes become fewer.
"""

import asyncio
from collections.abc import Callable

from standins.engine_metrics import Measured, Times
from standins.engine_steps import Asked, Scheduler, Step

# A loop later than this was stopped, not slow: it goes on from now.
_STOPPED_SECONDS = 1.0


class Refused(Exception):
    """The engine's own queue limit: the request came in while others took the last places."""


class Aborted(Exception):
    """SIGTERM or a crash took the engine away under the request."""


class Gone(Exception):
    """The client has closed its connection."""


class Answer:
    """The tokens of one request, as they come."""

    def __init__(self, asked: Asked, times: Times, reason: str) -> None:
        self.asked = asked
        self.times = times
        self.reason = reason
        self.ready = 0  # tokens; a step's are in `asked.produced` as soon as it begins
        self._failed: Exception | None = None
        self._told: asyncio.Future[None] | None = None

    async def more(self, seen: int) -> int:
        """How many tokens there are, once they are more than `seen`. Refused, Aborted, Gone."""
        while self.ready <= seen:
            if self._failed:
                raise self._failed
            self._told = asyncio.get_running_loop().create_future()
            await self._told
        return self.ready

    def tell(self, failed: Exception | None = None) -> None:
        self._failed = failed or self._failed
        if self._told is not None and not self._told.done():
            self._told.set_result(None)


class Loop:
    """Owns the scheduler; everything here runs in one event loop."""

    def __init__(
        self,
        scheduler: Scheduler,
        measured: Measured,
        clock: Callable[[], float],
        max_in_flight: int | None = None,
    ) -> None:
        self.scheduler = scheduler
        self.measured = measured
        self.frozen_until = 0.0  # in the clock's seconds: no step before
        self._clock = clock
        self._max_in_flight = max_in_flight
        self._answers: dict[int, Answer] = {}  # by the identity of what was asked
        self._inbox: list[Answer] = []
        self._work = asyncio.Event()
        self._aborted = False

    @property
    def arriving(self) -> int:
        return len(self._inbox)

    @property
    def in_flight(self) -> int:
        return len(self._answers)

    @property
    def full(self) -> bool:
        """As it looks at the door: what has not reached the engine yet is not counted."""
        return self._max_in_flight is not None and self.in_flight >= self._max_in_flight

    def ask(self, asked: Asked, reason: str = "length") -> Answer:
        """`reason` is why it will finish. Aborted once the engine is gone."""
        if self._aborted:
            raise Aborted
        answer = Answer(asked, Times(arrived=self._clock()), reason)
        self._inbox.append(answer)
        self._work.set()
        return answer

    def leave(self, answer: Answer) -> None:
        """The client has gone, or has everything."""
        if answer in self._inbox:
            self._inbox.remove(answer)
        if self._answers.pop(id(answer.asked), None):
            self.scheduler.cancel(answer.asked)

    def abort(self) -> None:
        self._aborted = True
        for answer in [*self._answers.values(), *self._inbox]:
            answer.tell(Aborted())

    async def run(self) -> None:
        due = self._clock()
        while not self._aborted:
            self._take_in()
            if not self.scheduler.busy:
                self._work.clear()
                await self._work.wait()
                due = self._clock()
                continue
            if self._clock() < self.frozen_until:
                await asyncio.sleep(min(self.frozen_until - self._clock(), _STOPPED_SECONDS))
                due = self._clock()
                continue
            due = await self._steps(max(due, self._clock() - _STOPPED_SECONDS))

    async def _steps(self, due: float) -> float:
        """One step, or as many as are overdue; when the last of them ended."""
        written: set[Answer] = set()
        while step := self.scheduler.step():
            due += step.seconds
            late = self._clock() - due
            if late < 0:
                await asyncio.sleep(-late)
            if self._aborted:
                return due
            written |= self._deliver(step, due)
            if self._clock() <= due + step.seconds or self._inbox:
                break
        for answer in written:
            answer.tell()
        await asyncio.sleep(0)
        return due

    def _take_in(self) -> None:
        """The second check of the queue limit, which vLLM makes behind the headers."""
        inbox, self._inbox = self._inbox, []
        for answer in inbox:
            if self.full:
                self.measured.rejected["max_num_queued_reqs"] += 1
                answer.tell(Refused())
                continue
            self._answers[id(answer.asked)] = answer
            self.scheduler.add(answer.asked)

    def _deliver(self, step: Step, now: float) -> set[Answer]:
        self.measured.stepped(step)
        for asked in step.started:
            if answer := self._answers.get(id(asked)):
                answer.times.started = now - step.seconds
        told: set[Answer] = set()
        gaps: dict[float, int] = {}
        for asked in step.emitted:
            answer = self._answers.get(id(asked))
            if answer is None:
                continue  # its client left while the step ran
            times = answer.times
            if times.first:
                gap = now - times.last
                gaps[gap] = gaps.get(gap, 0) + 1
            else:
                times.first = now
                self.measured.observe("time_to_first_token_seconds", now - times.arrived)
            times.last = now
            answer.ready += 1
            told.add(answer)
        for gap, count in gaps.items():
            self.measured.observe("inter_token_latency_seconds", gap, count)
        for asked in step.finished:
            if answer := self._answers.pop(id(asked), None):
                self.measured.ended(asked, answer.times, answer.reason)
        return told
