"""One model on one and on two ranks of real vLLM, on CPU: the same words, from two workers."""

import json
from collections.abc import Iterator

import pytest
from openai import OpenAI

from dev import standin
from dev.installed import Berth

NAMESPACE = "berth-e2e-tensor-parallel"
SERVING_SECONDS = 300
PROMPTS = ("w1 w2 w3", "w200 w17 w5 w9", "w44")
TOKENS = 32
# Each worker by name, with the CPUs that it keeps to. A process's name is cut at 15 characters.
WORKERS = """
import json, os, pathlib
found = {}
for comm in pathlib.Path("/proc").glob("[0-9]*/comm"):
    if comm.read_text().startswith("VLLM::Worker"):
        name = comm.with_name("cmdline").read_text().strip("\\0")
        found[name] = sorted(os.sched_getaffinity(int(comm.parent.name)))
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def hub(berth: Berth, standins: None) -> Iterator[str]:
    with standin.hub(berth, NAMESPACE) as name:
        yield name


@pytest.fixture(scope="module")
def one(berth: Berth, client: OpenAI, hub: str) -> dict:
    return answered(berth, client, ranks=1)


@pytest.fixture(scope="module")
def two(berth: Berth, client: OpenAI, hub: str) -> dict:
    return answered(berth, client, ranks=2)


def answered(berth: Berth, client: OpenAI, ranks: int) -> dict:
    """What a deployment of so many ranks plans, runs and says; it is gone again afterwards."""
    name = f"words-{ranks}"
    berth.apply(deployment(name, ranks))
    try:
        status = berth.wait(
            name,
            lambda s: s.get("phase") == "Serving",
            seconds=SERVING_SECONDS,
            namespace=NAMESPACE,
        )
        said = [say(client, f"{name}.{NAMESPACE}", prompt) for prompt in PROMPTS]
        return {"plan": status["plan"], "workers": workers(berth, name), "said": said}
    finally:
        berth.kubectl("delete", "mdep", name, "-n", NAMESPACE, "--wait")


def deployment(name: str, ranks: int) -> dict:
    """On the chart's own engine, not on the stand-in's."""
    found = standin.model(NAMESPACE, name, "hf://berth/words", parallelism={"tensor": ranks})
    found["spec"]["runtime"] = {"maxModelLen": 1024}
    found["spec"]["resources"]["memory"] = "6Gi"
    return found


def say(client: OpenAI, model: str, prompt: str) -> str:
    reply = client.completions.create(
        model=model,
        prompt=prompt,
        temperature=0,
        max_tokens=TOKENS,
        extra_body={"ignore_eos": True},
    )
    return reply.choices[0].text


def workers(berth: Berth, name: str) -> dict[str, list[int]]:
    (pod,) = berth.all("pods", NAMESPACE, f"berth.dev/model={name},berth.dev/role=engine")
    inside = ("exec", pod["metadata"]["name"], "-n", NAMESPACE, "-c", "engine", "--")
    out = berth.kubectl(*inside, "python3", "-c", WORKERS)
    found: dict[str, list[int]] = json.loads(out.strip().splitlines()[-1])
    return found


def test_two_ranks_are_two_workers_with_cpus_of_their_own(two: dict) -> None:
    assert two["plan"]["tensorParallelSize"] == 2
    assert sorted(two["workers"]) == ["VLLM::Worker_TP0", "VLLM::Worker_TP1"]
    first, second = two["workers"].values()
    assert first
    assert second
    assert set(first).isdisjoint(second)


def test_one_rank_is_one_worker(one: dict) -> None:
    assert one["plan"]["tensorParallelSize"] == 1
    assert len(one["workers"]) == 1


def test_two_ranks_say_what_one_says(one: dict, two: dict) -> None:
    assert two["said"] == one["said"]
    assert len(set(one["said"])) == len(PROMPTS)
    assert all(len(text.split()) == TOKENS for text in one["said"])


def test_each_rank_holds_its_half_of_the_cache(one: dict, two: dict) -> None:
    assert 2 * two["plan"]["kvBytesPerToken"] == one["plan"]["kvBytesPerToken"]
