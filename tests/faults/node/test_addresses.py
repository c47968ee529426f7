"""An address that passes from one model's pod to another's, while a gateway still has it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import engine_page
import pytest
from fault_case import Case, ends, shown
from fault_traffic import PROMPTS, engine_pods, pace_for, short

from bench.cluster.traffic import Clients, Result
from bench.cluster.zero_drop import Scene
from berth_api import names
from dev import standin

SENT_SECONDS = 3.0
# A gateway has an EndpointSlice well within this.
HEARD_SECONDS = 1.0
ASLEEP_SECONDS = 60.0
REFUSES_OUR_KEY = "denied: status 401"


@contextmanager
def stale_address(scene: Scene, model: str, address: str) -> Iterator[None]:
    """An EndpointSlice as it stays for a moment when a pod has gone and another has its address."""
    name = f"{model}-stale"
    scene.berth.apply(
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": name,
                "namespace": scene.namespace,
                "labels": {names.LABEL_MODEL: model},
            },
            "addressType": "IPv4",
            "ports": [{"name": names.PORT_NAME_ENGINE, "port": names.PORT_ENGINE}],
            "endpoints": [
                {
                    "addresses": [address],
                    "conditions": {"ready": True},
                    "targetRef": {"kind": "Pod", "name": f"{model}-gone", "uid": "gone"},
                }
            ],
        }
    )
    try:
        yield
    finally:
        scene.berth.kubectl("delete", "endpointslice", name, "-n", scene.namespace)


async def sent(scene: Scene, model: str) -> list[Result]:
    await asyncio.sleep(HEARD_SECONDS)
    async with Clients(scene.berth.url, scene.berth.key) as clients:
        await pace_for(clients, short(model), SENT_SECONDS)
    return clients.results


@pytest.fixture
def empty(scene: Scene) -> Iterator[str]:
    """A model that is to have no pod."""
    scene.berth.apply(standin.model(scene.namespace, "empty", "hf://berth/tiny", replicas=0))
    scene.berth.wait(
        "empty",
        lambda status: status.get("phase") == "Idle",
        seconds=ASLEEP_SECONDS,
        namespace=scene.namespace,
    )
    yield "empty"
    scene.berth.kubectl("delete", "mdep", "empty", "-n", scene.namespace, "--wait")


def test_fault_28_another_models_pod_at_an_old_address_is_asked_and_never_answers(
    scene: Scene, case: Case, deaf: str
) -> None:
    """Its engine takes its own model's key only, so the request goes on to a pod that is right."""
    case.expected_alarms.append(REFUSES_OUR_KEY)
    page = engine_page.of(scene.berth, deaf, scene.namespace)
    (other, *_) = engine_pods(scene, deaf)
    before = page.read(other, PROMPTS)
    with stale_address(scene, scene.model, other["status"]["podIP"]):
        results = asyncio.run(sent(scene, scene.model))
    assert any(REFUSES_OUR_KEY in line for line in case.lines("gateway"))
    assert ends(results) == {}, shown(results)
    assert page.read(other, PROMPTS) == before


def test_fault_28_with_no_pod_that_is_right_the_client_gets_an_error(
    scene: Scene, case: Case, deaf: str, empty: str
) -> None:
    case.expected_alarms.append(REFUSES_OUR_KEY)
    (other, *_) = engine_pods(scene, deaf)
    with stale_address(scene, empty, other["status"]["podIP"]):
        results = asyncio.run(sent(scene, empty))
    assert {one.detail.split()[0] for one in results} == {"500"}
    assert all("engine_key_refused" in one.detail for one in results), shown(results)
