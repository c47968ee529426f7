"""Clients of the cluster that `real_cluster` gives, and of the demo's model in it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import engine_page
import pytest
from openai import OpenAI

from dev.installed import Berth

HERE = Path(__file__).parent
RIGHTS = HERE / "test_rights.py"
WHOLE_SESSION_ONLY = "test_every_right_was_used_or_has_a_reason"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The rights are judged when everything else has run, and what was not used only if it has."""
    items.sort(key=lambda item: item.path == RIGHTS)
    if {item.path for item in items} >= set(HERE.rglob("test_*.py")):
        return
    left_out = [item for item in items if item.name == WHOLE_SESSION_ONLY]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="session")
def client(berth: Berth) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{berth.url}/v1", api_key=berth.key, max_retries=0, timeout=120) as found:
        yield found


@pytest.fixture(scope="session")
def pod(berth: Berth, model: str) -> dict:
    (found,) = berth.all("pods", selector=f"berth.dev/model={model},berth.dev/role=engine")
    return found


@pytest.fixture(scope="session")
def pod_url(pod: dict) -> str:
    """The engine's own address, around the gateway."""
    return f"http://{pod['status']['podIP']}:8000"


@pytest.fixture
def running(berth: Berth, model: str, pod: dict) -> Callable[[], int]:
    """How many requests the engine works on, by its own gauge."""
    page = engine_page.of(berth, model)
    return lambda: page.read(pod, "vllm:num_requests_running")
