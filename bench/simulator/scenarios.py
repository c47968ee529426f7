"""Who is measured on what: the workloads, the laws with their settings, and the seeds."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from berth_operator.core.scaling.replicas import Law

from . import workloads
from .engine import H100, L4, Request
from .fleet import Scaler, Setup
from .laws import hpa, knative, kubeai, oracle, wva
from .laws.berth import Berth
from .workloads import Workload

# The largest concurrency at which four replicas give 99 of 100 their first token in time, under
# Poisson arrivals of the trace's lengths (`python3 -m bench.simulator target`).
L4_TARGET = 48
H100_TARGET = 7
# Each trace so many times over itself: five to nine replicas' work instead of three or four.
FACTOR = 2


@dataclass(frozen=True)
class Case:
    """One workload with the size it begins at, which is what its beginning needs."""

    workload: Workload
    initial: int


@dataclass(frozen=True)
class Occasion:
    """What a law is told before it begins. Only the clairvoyant reads the requests."""

    case: Case
    setup: Setup
    requests: Sequence[Request]
    rng: random.Random

    @property
    def target(self) -> int:
        return self.case.workload.target


@dataclass(frozen=True)
class Contender:
    name: str
    kind: str  # peer, tuned, berth or oracle
    make: Callable[[Occasion], Scaler]


def cases(conversation: Path, mooncake: Path) -> dict[str, Case]:
    chat, long = workloads.read(conversation), workloads.read(mooncake)
    on_l4 = partial(Workload, engine=L4, target=L4_TARGET)
    found = {
        "conversation": Case(on_l4("conversation", draw=partial(_replay, chat)), 6),
        "mooncake": Case(
            Workload("mooncake", H100, H100_TARGET, partial(_replay, long)),
            8,
        ),
    }
    for name, shape in (
        ("step", workloads.step),
        ("ramp", workloads.ramp),
        ("flash crowd", workloads.flash),
    ):
        found[name] = Case(on_l4(name, draw=partial(_shape, shape, chat)), 2)
    return found


def _replay(rows: Sequence[workloads.Row], rng: random.Random) -> list[Request]:
    return workloads.replay(rows, FACTOR, rng)


def _shape(
    shape: Callable[[random.Random, Sequence[workloads.Row]], list[Request]],
    rows: Sequence[workloads.Row],
    rng: random.Random,
) -> list[Request]:
    return shape(rng, rows)


def contenders() -> list[Contender]:
    return [
        *(Contender(name, "peer", make) for name, make in PEERS.items()),
        *(Contender(name, "tuned", make) for name, make in TUNED.items()),
        *(_berth(headroom, delay) for headroom, delay in POINTS),
        *(_oracle("clairvoyant", fill, ahead=True) for fill in (0.8, 0.95)),
        *(_oracle("knows the present", fill, ahead=False) for fill in (0.8, 0.95)),
    ]


# With their published defaults, and the target of all where they have one.
PEERS: dict[str, Callable[[Occasion], Scaler]] = {
    "KubeAI": lambda one: kubeai.KubeAI(kubeai.Settings(one.target)),
    "KEDA+HPA": lambda one: hpa.KedaHpa(hpa.Settings(one.target), one.rng.random()),
    "Knative": lambda one: knative.Knative(knative.Settings(one.target), one.case.initial),
    "WVA": lambda one: wva.Wva(wva.Settings(), one.setup.engine),
}
# What an operator who knows this load might set instead; and the trigger most often shown for vLLM.
TUNED: dict[str, Callable[[Occasion], Scaler]] = {
    "KubeAI, window 60 s, delay 300 s": lambda one: kubeai.KubeAI(
        kubeai.Settings(one.target, window_seconds=60.0, scale_down_delay_seconds=300.0)
    ),
    "Knative, scale-down-delay 300 s": lambda one: knative.Knative(
        knative.Settings(one.target, scale_down_delay_seconds=300.0), one.case.initial
    ),
    "KEDA+HPA on 5 waiting": lambda one: hpa.KedaHpa(
        hpa.Settings(5, waiting_only=True), one.rng.random()
    ),
}
# Berth's curve: headroom in replicas, and the seconds of the scale-down delay.
POINTS = ((0.0, 120.0), (1.0, 120.0), (2.0, 120.0), (3.0, 200.0), (3.0, 300.0))


def _berth(headroom: float, delay: float) -> Contender:
    def make(one: Occasion) -> Scaler:
        law = Law(
            min_replicas=one.setup.min_replicas,
            max_replicas=one.setup.max_replicas,
            target_queue_depth=one.target,
            scale_down_delay_seconds=delay,
            keep_alive_seconds=None,
            cold_start_seconds=one.setup.cold_start_seconds,
            headroom=headroom,
        )
        return Berth(law)

    return Contender(f"Berth, headroom {headroom:g}, delay {delay:g} s", "berth", make)


def _oracle(name: str, fill: float, *, ahead: bool) -> Contender:
    def make(one: Occasion) -> Scaler:
        settings = oracle.Settings(one.setup.cold_start_seconds, fill, one.target, ahead=ahead)
        return oracle.Oracle(oracle.plan(one.requests, one.setup.engine, settings))

    return Contender(f"{name}, {fill:.0%} full", "oracle", make)
