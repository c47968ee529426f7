"""On its way a model tells where it is: planned, fetching so many percent, loading, serving."""

import time
from collections.abc import Iterator

import pytest

from dev import standin
from dev.installed import Berth

NAMESPACE = "berth-e2e-phases"
SERVING_SECONDS = 120


@pytest.fixture
def namespace(berth: Berth, standins: None) -> Iterator[str]:
    with standin.hub(berth, NAMESPACE) as name:
        yield name


def test_the_columns_follow_the_model(berth: Berth, namespace: str) -> None:
    """48 MiB come at some MiB a second; the stand-in engine takes five seconds to load."""
    slow = standin.model(namespace, "slow", "hf://berth/large", {"STANDIN_LOAD_SECONDS": "5"})
    berth.apply(slow)
    seen: list[tuple[str, str]] = []
    deadline = time.monotonic() + SERVING_SECONDS
    while not seen or seen[-1][0] != "Serving":
        assert time.monotonic() < deadline, seen
        status = berth.status("slow", namespace)
        now = (status.get("phase", ""), status.get("progress", ""))
        if not seen or now != seen[-1]:
            seen.append(now)
        time.sleep(0.2)
    print(seen)
    phases = list(dict.fromkeys(phase for phase, _ in seen if phase))
    order = ["Planning", "Pending", "Fetching", "Starting", "Loading", "Warming", "Serving"]
    assert phases == [phase for phase in order if phase in phases]
    assert {"Planning", "Fetching", "Serving"} <= set(phases)
    percents = [int(p.rstrip("%")) for phase, p in seen if phase == "Fetching" and p]
    assert percents == sorted(percents)
    assert any(0 < percent < 100 for percent in percents)
