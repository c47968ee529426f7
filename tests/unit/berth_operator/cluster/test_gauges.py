"""Engines that are asked what they run, beside the looks."""

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any

import builders
import pytest

from berth_api import names
from berth_api.server import EngineStatus, Phase, PodStatus
from berth_operator.cluster import gauges, kinds
from berth_operator.cluster.cache import Cache, ModelKey
from berth_operator.cluster.gauges import FRESH_SECONDS, Gauges

KEY = ModelKey("team", "smol")


@dataclass
class Engines:
    """Pods, what they answer, and the looks that their answers lead to."""

    answers: dict[str, bytes | None] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    looks: list[set[ModelKey]] = field(default_factory=list)
    now: float = 0.0
    cache: Cache = field(default_factory=Cache)

    def __post_init__(self) -> None:
        self.gauges = Gauges(
            self.cache,
            self,
            lambda keys: self.looks.append(set(keys)),
            lambda: self.now,
            random.Random(7),
        )

    def add(self, name: str, *, ready: bool = True, **numbers: Any) -> Any:
        pod = builders.engine_pod("r", name=name, ready=ready)
        labels = pod["metadata"]["labels"] | {names.LABEL_MODEL: KEY.name}
        placed = {"namespace": KEY.namespace, "labels": labels, "resourceVersion": "1"}
        self.cache.upsert(kinds.POD, pod | {"metadata": pod["metadata"] | placed})
        self.tell(name, **numbers)
        return pod

    def tell(self, name: str, *, in_flight: int = 0, **numbers: Any) -> None:
        engine = EngineStatus(name="smol", phase=Phase.SERVING, **numbers)
        told = PodStatus(phase=Phase.SERVING, in_flight=in_flight, engines=[engine])
        self.answers[name] = told.wire().encode()

    async def read(self, pod: Any) -> bytes | None:
        name = pod["metadata"]["name"]
        self.asked.append(name)
        return self.answers[name]


async def test_what_an_engine_runs_and_keeps_waiting_is_its_load() -> None:
    engines = Engines()
    pod = engines.add("p", running=3, waiting=2)
    engines.gauges.attend(KEY, wanted=True)
    await engines.gauges.ask()
    assert engines.gauges.engines([pod]) == {"uid-p": 5}


async def test_an_older_server_tells_what_it_has_let_in() -> None:
    engines = Engines()
    pod = engines.add("p", in_flight=4)
    engines.gauges.attend(KEY, wanted=True)
    await engines.gauges.ask()
    assert engines.gauges.engines([pod]) == {"uid-p": 4}


async def test_only_ready_pods_of_models_that_need_it_are_asked() -> None:
    engines = Engines()
    engines.add("starting", ready=False)
    engines.add("ready")
    await engines.gauges.ask()
    assert engines.asked == []
    engines.gauges.attend(KEY, wanted=True)
    await engines.gauges.ask()
    engines.gauges.attend(KEY, wanted=False)
    await engines.gauges.ask()
    assert engines.asked == ["ready"]


async def test_an_answer_grows_old() -> None:
    engines = Engines()
    pod = engines.add("p")
    engines.gauges.attend(KEY, wanted=True)
    await engines.gauges.ask()
    engines.now = FRESH_SECONDS - 1
    engines.answers["p"] = None
    await engines.gauges.ask()
    assert engines.gauges.engines([pod]) == {"uid-p": 0}
    engines.now = FRESH_SECONDS
    assert engines.gauges.engines([pod]) == {}


async def test_only_news_lead_to_a_look() -> None:
    engines = Engines()
    engines.add("p")
    engines.gauges.attend(KEY, wanted=True)
    await engines.gauges.ask()
    assert engines.looks == [{KEY}]
    await engines.gauges.ask()
    assert engines.looks == [{KEY}]
    engines.tell("p", running=1)
    await engines.gauges.ask()
    assert engines.looks == [{KEY}, {KEY}]


@pytest.mark.parametrize("answer", [None, b"", b"{}", b"garbage"])
async def test_a_pod_that_says_nothing_is_not_an_idle_one(answer: bytes | None) -> None:
    engines = Engines()
    pod = engines.add("p")
    engines.answers["p"] = answer
    engines.gauges.attend(KEY, wanted=True)
    await engines.gauges.ask()
    assert engines.gauges.engines([pod]) == {}
    assert engines.looks == []


async def test_what_is_first_needed_is_asked_at_once_and_then_from_time_to_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gauges, "ASK_SECONDS", 0.1)
    engines = Engines()
    engines.add("p")
    running = asyncio.create_task(engines.gauges.run())
    await asyncio.sleep(0)
    engines.gauges.attend(KEY, wanted=True)
    await asyncio.sleep(0.03)
    assert engines.asked == ["p"]
    began = asyncio.get_running_loop().time()
    async with asyncio.timeout(5):
        while len(engines.asked) < 4:  # noqa: ASYNC110 -- nothing tells of it
            await asyncio.sleep(0.01)
    took = asyncio.get_running_loop().time() - began
    running.cancel()
    assert took >= 2 * 0.08  # at least, and not 0.1: each pause has its share of chance
