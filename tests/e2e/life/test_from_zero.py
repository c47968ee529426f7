"""A model that nobody uses costs nothing, and the first request wakes it."""

import asyncio
import time
from collections.abc import Iterator

import pytest
from openai import OpenAI

from bench.cluster.traffic import Ask, Clients, End
from dev import standin
from dev.installed import Berth

NAMESPACE = "berth-e2e-zero"
MODEL = "sleepy"
ASK = [{"role": "user", "content": "What is the capital of France?"}]
WAKE_SECONDS = 240
# keepAlive, the law's own caution, and the drain of an idle pod.
ZERO_SECONDS = 120


@pytest.fixture
def namespace(berth: Berth, standins: None) -> Iterator[str]:
    with standin.hub(berth, NAMESPACE) as name:
        yield name


def auto(keep_alive: str, **scaling: object) -> dict[str, object]:
    return {"keepAlive": keep_alive, "scaling": {"mode": "Auto", "minReplicas": 0, **scaling}}


def pods(berth: Berth, name: str, namespace: str) -> list[dict]:
    return berth.all("pods", namespace, f"berth.dev/model={name},berth.dev/role=engine")


def asleep(berth: Berth, name: str, namespace: str) -> bool:
    idle = berth.status(name, namespace).get("phase") == "Idle"
    return idle and not pods(berth, name, namespace)


def conditions(berth: Berth, name: str, namespace: str) -> dict[str, dict]:
    return {one["type"]: one for one in berth.status(name, namespace)["conditions"]}


def events(berth: Berth, name: str, namespace: str) -> list[str]:
    found = berth.all("events", namespace)
    return [one["reason"] for one in found if one["involvedObject"]["name"] == name]


def test_a_model_sleeps_until_it_is_asked_and_goes_back_to_sleep(
    berth: Berth, namespace: str, client: OpenAI
) -> None:
    berth.apply(standin.model(namespace, MODEL, "hf://berth/tiny", **auto("3s")))
    berth.wait_until(
        "it is planned and asleep", lambda: asleep(berth, MODEL, namespace), seconds=90
    )
    ready = conditions(berth, MODEL, namespace)["Ready"]
    assert (ready["status"], ready["reason"]) == ("True", "ScaledToZero")

    waiting = client.with_options(timeout=WAKE_SECONDS)
    answer = waiting.chat.completions.create(model=MODEL, messages=ASK, max_tokens=4)
    assert answer.choices[0].message.content
    assert len(pods(berth, MODEL, namespace)) == 1

    berth.wait_until("it sleeps", lambda: asleep(berth, MODEL, namespace), seconds=ZERO_SECONDS)
    assert {"ScaledFromZero", "ScaledToZero"} <= set(events(berth, MODEL, namespace))


def test_a_held_stream_tells_how_far_the_model_is(
    berth: Berth, namespace: str, client: OpenAI
) -> None:
    """The stand-in takes twenty seconds to load, so a comment comes before the answer."""
    slow = {"STANDIN_LOAD_SECONDS": "20"}
    berth.apply(standin.model(namespace, "slow", "hf://berth/tiny", slow, **auto("60s")))
    berth.wait_until("it is asleep", lambda: asleep(berth, "slow", namespace), seconds=90)
    began = time.monotonic()
    create = client.with_options(timeout=WAKE_SECONDS).chat.completions.with_streaming_response
    body = {"model": "slow", "messages": ASK, "max_tokens": 4, "stream": True}
    with create.create(**body) as response:
        assert int(response.headers["x-berth-held-seconds"]) >= 10
        assert "x-berth-phase" in response.headers
        lines = [line for line in response.iter_lines() if line]
    assert time.monotonic() - began > 20
    assert lines[0].startswith(": ")
    assert lines[-1] == "data: [DONE]"


def test_a_burst_brings_replicas_and_they_go_again(berth: Berth, namespace: str) -> None:
    scaling = auto("60s", maxReplicas=3, targetQueueDepth=4, scaleDownDelaySeconds=5)
    pace = {"STANDIN_TOKENS_PER_SECOND": "20"}
    berth.apply(standin.model(namespace, "burst", "hf://berth/tiny", pace, **scaling))
    berth.wait_until("it is asleep", lambda: asleep(berth, "burst", namespace), seconds=90)

    async def burst() -> list[End]:
        async with Clients(berth.url, berth.key) as clients:
            asks = [Ask("burst", f"question {n}", 400, stream=True) for n in range(12)]
            results = await asyncio.gather(*(clients.send(ask) for ask in asks))
            return [result.end for result in results]

    assert asyncio.run(burst()) == [End.WHOLE] * 12
    told = [event["message"] for event in berth.all("events", namespace)]
    scaled = berth.status("burst", namespace)["scaling"]
    assert scaled["targetQueueDepth"] == 4, told
    assert (
        "ScaledUp" in events(berth, "burst", namespace) or len(pods(berth, "burst", namespace)) == 3
    )
    berth.wait_until(
        "two of three have gone",
        lambda: len(pods(berth, "burst", namespace)) <= 1,
        seconds=ZERO_SECONDS,
    )


@pytest.fixture
def waking(berth: Berth, model: str) -> Iterator[str]:
    """The demo's model a second time, which sleeps until it is asked."""
    spec = berth.get("modeldeployment", model)["spec"]
    name = "waking"
    metadata = {"name": name, "namespace": "default"}
    kind = {"apiVersion": "berth.dev/v1alpha1", "kind": "ModelDeployment"}
    berth.apply(kind | {"metadata": metadata, "spec": spec | auto("3s")})
    yield name
    berth.kubectl("delete", "mdep", name, "--wait", "--timeout=60s")


def test_real_vllm_wakes_for_its_first_request(berth: Berth, waking: str, client: OpenAI) -> None:
    berth.wait_until("it is asleep", lambda: asleep(berth, waking, "default"), seconds=90)
    patient = client.with_options(timeout=WAKE_SECONDS)
    answer = patient.chat.completions.create(
        model=waking, messages=ASK, max_tokens=12, temperature=0
    )
    assert "Paris" in (answer.choices[0].message.content or "")
    berth.wait_until("it sleeps", lambda: asleep(berth, waking, "default"), seconds=ZERO_SECONDS)
