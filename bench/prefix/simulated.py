"""The same conversations in simulated time, on as many engines as one likes.

    python3 -m bench.prefix.simulated [--replicas 2,4,8] [--seeds 30] [--opening]

The engines are the stand-in's steps, with caches of the same share of the conversations as those of
the real ones, and their speed: some 1,000 tokens/s of prefill. The policies are the gateway's own
functions. Six users a replica. What two real engines show in minutes and with noise, many show here
in seconds and without; that it is so is for `bench.prefix` to say.
"""

import argparse
import heapq
import json
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from bench.prefix import conversations
from bench.prefix.conversations import ANSWER_TOKENS, BLOCK_TOKENS, Workload
from bench.prefix.play import Turn
from bench.prefix.policies import POLICIES, Policy
from bench.prefix.results import Cache, Round, quantile
from berth_gateway.routing.pick import Picked, View
from berth_gateway.routing.prefix import Memory
from berth_gateway.routing.snapshot import Endpoint
from standins.engine_steps import Asked, Costs, Limits, Scheduler, Step

USERS: Final = 6  # of one replica
COSTS: Final = Costs(step=0.02, prefill_token=0.001, sequence=0.004)
_ANSWER: Final = " ".join(["w1"] * ANSWER_TOKENS)


@dataclass(eq=False)
class _Request:
    conversation: int
    turn: int
    asked: Asked
    picked: Picked
    since: float
    first: float | None = None


@dataclass
class _Replica:
    endpoint: Endpoint
    scheduler: Scheduler
    running: bool = False
    requests: dict[int, _Request] = field(default_factory=dict)  # by the identity of what was asked


class Play:
    """Once through a workload with one policy, from empty caches."""

    def __init__(self, policy: Policy, workload: Workload, replicas: int) -> None:
        blocks = conversations.cache_blocks()
        limits = Limits(max_num_seqs=32, block_tokens=BLOCK_TOKENS, blocks=blocks)
        # Other names for other seeds, or a home would be the same in all.
        names = [f"{workload.conversations[0].system[:20]} {number}" for number in range(replicas)]
        self._replicas = {
            name: _Replica(Endpoint(name, f"http://{name}", name), Scheduler(limits, COSTS))
            for name in names
        }
        self._endpoints = [one.endpoint for one in self._replicas.values()]
        self._policy = policy
        self._conversations = workload.conversations
        self._memory = Memory()
        self._in_flight = Counter[str]()
        self._computing = Counter[str]()
        self._now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._turns: list[Turn] = []

    def run(self) -> Round:
        for number, one in enumerate(self._conversations):
            self._at(one.pauses[0], lambda number=number: self._ask(number, 0))
        while self._events:
            self._now, _, happen = heapq.heappop(self._events)
            happen()
        totals = [one.scheduler.totals for one in self._replicas.values()]
        caches = tuple(Cache(one.cached, one.prompt) for one in totals)
        return Round(tuple(self._turns), caches, self._now)

    def _at(self, when: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), happen))

    def _ask(self, number: int, turn: int) -> None:
        messages = self._conversations[number].messages(turn, [_ANSWER] * turn)
        prompt = sum(len(message["content"].split()) for message in messages)
        affinity = self._policy.affinity(json.dumps(messages).encode())
        view = View(+self._in_flight, turn=next(self._order), computing=self._computing)
        picked = self._policy.pick(self._endpoints, view, affinity, self._memory)
        assert isinstance(picked, Picked)  # noqa: S101 -- nothing is full here
        key = picked.endpoint.key
        self._memory.learn(affinity, key)
        self._in_flight[key] += 1
        self._computing[key] += picked.unseen
        asked = Asked(prompt, ANSWER_TOKENS, _blocks(number, prompt + ANSWER_TOKENS))
        replica = self._replicas[key]
        replica.scheduler.add(asked)
        replica.requests[id(asked)] = _Request(number, turn, asked, picked, self._now)
        if not replica.running:
            self._step(replica)

    def _step(self, replica: _Replica) -> None:
        step = replica.scheduler.step()
        replica.running = step is not None
        if step is not None:
            self._at(self._now + step.seconds, lambda: self._stepped(replica, step))

    def _stepped(self, replica: _Replica, step: Step) -> None:
        key = replica.endpoint.key
        for one in step.emitted:
            request = replica.requests[id(one)]
            if request.first is None:
                request.first = self._now - request.since
                self._computing[key] -= request.picked.unseen
        for one in step.finished:
            request = replica.requests.pop(id(one))
            self._in_flight[key] -= 1
            whole = self._now - request.since
            self._turns.append(Turn(request.turn, request.first, whole))
            self._go_on(request)
        self._step(replica)

    def _go_on(self, request: _Request) -> None:
        number, turn = request.conversation, request.turn + 1
        pauses = self._conversations[number].pauses
        if turn < len(pauses):
            self._at(self._now + pauses[turn], lambda: self._ask(number, turn))


def _blocks(number: int, tokens: int) -> list[tuple[str, int]]:
    """Names of the full blocks: the first is the system prompt, which all share."""
    own = [(f"conversation {number}", place) for place in range(1, tokens // BLOCK_TOKENS)]
    return [("system", 0), *own]


def rounds(replicas: int, seeds: Sequence[int], *, opening: bool) -> Mapping[str, list[Round]]:
    users = USERS * replicas
    workloads = [conversations.workload(one, opening=opening, users=users) for one in seeds]
    return {
        name: [Play(policy, workload, replicas).run() for workload in workloads]
        for name, policy in POLICIES.items()
    }


def table(found: Mapping[str, Sequence[Round]]) -> str:
    head = "| policy | hit rate | first token mean, s | p50 | p90 |\n|---|---:|---:|---:|---:|"
    return "\n".join([head, *(_line(name, played) for name, played in found.items())])


def _line(name: str, played: Sequence[Round]) -> str:
    served = sorted(first for one in played for first in one.served)
    hits = statistics.mean(one.hit_rate for one in played)
    return (
        f"| {name} | {hits:.1%} | {statistics.mean(served):.3f} "
        f"| {quantile(served, 0.5):.3f} | {quantile(served, 0.9):.3f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicas", default="2,4,8")
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--opening", action="store_true", help="all first messages begin alike")
    options = parser.parse_args()
    for replicas in map(int, options.replicas.split(",")):
        seeds = range(100, 100 + options.seeds)
        print(f"{replicas} replicas, {USERS * replicas} users, {options.seeds} seeds\n")
        print(table(rounds(replicas, seeds, opening=options.opening)), end="\n\n")


if __name__ == "__main__":
    main()
