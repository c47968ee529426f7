"""One plan on a cluster of a thousand nodes: the operator's loop must not wait for arithmetic."""

import statistics
import time

import builders
from planning import LLAMA_70B_FP8
from planning import spec as asked

from berth_operator.core.accelerators import offers
from berth_operator.core.accelerators.offer import Offer
from berth_operator.core.observed import Node
from berth_operator.core.planner import fit

NODES = 1000
LIMIT_SECONDS = 0.050
# MiB as GPU feature discovery labels them: A10, L40S, H100, H200.
CARDS = ("23028", "46068", "81559", "143771")


def node(number: int) -> Node:
    labels = {f"example.test/label-{i}": "value" for i in range(30)}
    card = {"nvidia.com/gpu.memory": CARDS[number % len(CARDS)], "nvidia.com/gpu.count": "8"}
    return Node(f"node-{number}", labels | card, {"nvidia.com/gpu": "8", "cpu": "96"})


def test_one_plan_on_a_thousand_nodes_takes_under_50_ms() -> None:
    nodes = tuple(node(number) for number in range(NODES))
    nvidia = {
        "name": "nvidia",
        "engineProfile": "vllm",
        "resource": "nvidia.com/gpu",
        "memoryLabel": "nvidia.com/gpu.memory",
    }
    settings = builders.configured(acceleratorProfiles=[nvidia])
    seconds = []
    for _ in range(9):
        start = time.perf_counter()
        found = offers.offers(settings, nodes, asked())
        usable = [one for one in found if isinstance(one, Offer)]
        verdict = fit.choose(LLAMA_70B_FP8, usable, asked())
        seconds.append(time.perf_counter() - start)
        assert isinstance(verdict, fit.Fits)
    assert len(usable) == len(CARDS)
    assert statistics.median(seconds) < LIMIT_SECONDS, seconds
