"""Requests through roll-outs, scale-downs, pod kills and a restart of the gateway: none is dropped.

    make bench-zero-drop [BENCH_FLAGS='--requests 10000 --engine standin|vllm']

Runs on the cluster of `make up`, with the stand-in engine or with real vLLM. Every third request is
a long stream. The table says how each request ended; the run fails if one failed that another pod
could have answered, if a stream ended in silence, or if two equal requests had different bytes.
"""

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.cluster.traffic import Ask, Clients, End, Result, table
from dev import cluster, environment, places, restricted, standin
from dev.demo import manifest
from dev.installed import RELEASE, SYSTEM, Berth

NAMESPACE = "berth-bench-zero-drop"
MODEL = "steady"
REPLICAS = 3
GATEWAYS = 2
POLL_SECONDS = 0.2
STEP_SECONDS = 300.0  # for any one disturbance to be over, long streams included
# Enough different prompts that no cache answers, few enough that most are asked again.
PROMPTS = 40
# A third of all requests: a stream of ten seconds or so at the stand-in's pace.
LONG_TOKENS = 500
SHORT_TOKENS = 8
TOKENS_PER_SECOND = "50"
# Of a pod of the stand-in; three of them and a fourth for a surge leave room on a small node.
POD_MEMORY = "2400Mi"
# A client hears of its pod's sudden end within this; what is cut later, was cut by something else.
KILL_SECONDS = 5.0
# And a gateway hears within this that the pod is no endpoint any more; the pod itself, which nobody
# has told, serves on until the kubelet ends it.
HEARD_SECONDS = 0.5
# Ends that no request may have, whatever happens to the pods.
FORBIDDEN = (End.REFUSED, End.UNREACHABLE, End.TRUNCATED, End.DIFFERENT)


@dataclass(frozen=True)
class Plan:
    """How much traffic, and on what."""

    requests: int
    per_second: float
    long_tokens: int
    compare_text: bool  # engines that number their answers


@dataclass(frozen=True)
class Kill:
    """Seconds since the traffic began, before the pod's deletion was asked for and after."""

    asked: float
    done: float


@dataclass
class Scene:
    """The cluster and the model that the disturbances act on."""

    berth: Berth
    model: str
    namespace: str
    done: list[tuple[str, float]] = field(default_factory=list)  # disturbance, seconds
    began: float = 0.0  # of the traffic, on the monotonic clock
    kills: list["Kill"] = field(default_factory=list)

    def pods(self) -> list[dict[str, Any]]:
        selector = f"berth.dev/model={self.model},berth.dev/role=engine"
        return self.berth.all("pods", self.namespace, selector)

    def status(self) -> dict[str, Any]:
        return self.berth.status(self.model, self.namespace)

    def patch(self, spec: dict[str, Any]) -> None:
        body = json.dumps({"spec": spec})
        where = f"--namespace={self.namespace}"
        self.berth.kubectl("patch", "mdep", self.model, where, "--type=merge", f"--patch={body}")

    async def settle(self, replicas: int) -> None:
        """Until exactly so many pods are there, all of the newest revision, and ready."""
        deadline = time.monotonic() + STEP_SECONDS
        while not await asyncio.to_thread(self._settled, replicas):
            if time.monotonic() > deadline:
                raise TimeoutError(f"not settled at {replicas}: {json.dumps(self.status())[:2000]}")
            await asyncio.sleep(POLL_SECONDS)

    def _settled(self, replicas: int) -> bool:
        status, pods = self.status(), self.pods()
        generation = self.berth.get("modeldeployment", self.model, self.namespace)["metadata"]
        return (
            status.get("observedGeneration") == generation["generation"]
            and status.get("currentRevision") == status.get("updateRevision")
            and status.get("readyReplicas") == len(pods) == replicas
            and all("deletionTimestamp" not in pod["metadata"] for pod in pods)
        )


Disturbance = Callable[[Scene], Awaitable[None]]


async def roll_out(scene: Scene) -> None:
    """Another annotation on the pods is another revision."""
    turn = {"example.com/turn": str(time.time_ns())}
    await asyncio.to_thread(scene.patch, {"podTemplate": {"annotations": turn}})
    await scene.settle(REPLICAS)


async def roll_out_without_a_spare(scene: Scene) -> None:
    """A pod that asks for all that is left takes the place that a surge would need."""
    with ballast(scene.berth, scene.namespace):
        await roll_out(scene)


async def scale_down_and_up(scene: Scene) -> None:
    await asyncio.to_thread(scene.patch, {"replicas": REPLICAS - 1})
    await scene.settle(REPLICAS - 1)
    await asyncio.to_thread(scene.patch, {"replicas": REPLICAS})
    await scene.settle(REPLICAS)


async def kill_a_pod(scene: Scene) -> None:
    """At once and without a word to it, as when its node is lost."""
    pod = (await asyncio.to_thread(scene.pods))[0]["metadata"]["name"]
    where = f"--namespace={scene.namespace}"
    flags = ("--grace-period=0", "--force", "--wait=false")
    asked = time.monotonic() - scene.began
    await asyncio.to_thread(scene.berth.kubectl, "delete", "pod", pod, where, *flags)
    scene.kills.append(Kill(asked, time.monotonic() - scene.began))
    await asyncio.sleep(1)
    await scene.settle(REPLICAS)


async def restart_the_gateway(scene: Scene) -> None:
    name, where = f"deployment/{RELEASE}-gateway", f"--namespace={SYSTEM}"
    kubectl = scene.berth.kubectl
    await asyncio.to_thread(kubectl, "rollout", "restart", name, where)
    await asyncio.to_thread(kubectl, "rollout", "status", name, where, "--timeout=420s")


ALL: tuple[Disturbance, ...] = (
    roll_out,
    scale_down_and_up,
    kill_a_pod,
    kill_a_pod,
    scale_down_and_up,
    restart_the_gateway,
    roll_out_without_a_spare,
    kill_a_pod,
    kill_a_pod,
    scale_down_and_up,
    kill_a_pod,
)


async def run(scene: Scene, plan: Plan, disturbances: Iterable[Disturbance]) -> list[Result]:
    """Traffic for as long as the disturbances last, and until enough requests were sent."""
    url, key = scene.berth.url, scene.berth.key
    stop = asyncio.Event()
    async with Clients(url, key, compare_text=plan.compare_text) as clients:
        scene.began = clients.started
        async with asyncio.TaskGroup() as group:
            pace = clients.pace(list(asks(scene.model, plan)), plan.per_second, stop)
            group.create_task(pace)
            try:
                for disturb in disturbances:
                    await _timed(scene, clients, disturb)
                while len(clients.results) + clients.under_way < plan.requests:  # noqa: ASYNC110
                    await asyncio.sleep(POLL_SECONDS)
            finally:
                stop.set()
        return clients.results


async def _timed(scene: Scene, clients: Clients, disturb: Disturbance) -> None:
    began = time.monotonic()
    await disturb(scene)
    lasted = time.monotonic() - began
    scene.done.append((disturb.__name__, lasted))
    bad = sum(result.end is not End.WHOLE for result in clients.results)
    print(
        f"{disturb.__name__}: {lasted:.1f} s; {len(clients.results)} ended, {bad} not whole, "
        f"{clients.under_way} under way",
        file=sys.stderr,
        flush=True,
    )


def asks(model: str, plan: Plan) -> Iterator[Ask]:
    """In turn a long stream, a short stream and a plain answer."""
    for number in range(PROMPTS):
        prompt = f"Say something about the number {number}, and go on about it for long."
        yield Ask(model, prompt, plan.long_tokens, stream=True)
        yield Ask(model, prompt, SHORT_TOKENS, stream=True)
        yield Ask(model, prompt, SHORT_TOKENS, stream=False)


@contextmanager
def ballast(berth: Berth, namespace: str) -> Iterator[None]:
    """A pod that requests all the memory that the node has left, and uses none of it."""
    left = free_memory(berth) - 64 * 2**20
    berth.apply(_ballast_pod(namespace, left))
    try:
        berth.kubectl("wait", "pod/ballast", "-n", namespace, "--for=condition=Ready")
        yield
    finally:
        berth.kubectl("delete", "pod", "ballast", "-n", namespace, "--grace-period=1")


def free_memory(berth: Berth) -> int:
    """Bytes of the one node that no pod requests."""
    (node,) = berth.kubectl.json("get", "nodes")["items"]
    pods = berth.kubectl.json("get", "pods", "--all-namespaces")["items"]
    running = [pod for pod in pods if pod["status"].get("phase") in ("Pending", "Running")]
    return memory_bytes(node["status"]["allocatable"]["memory"]) - sum(
        _requested(pod["spec"]) for pod in running
    )


def _requested(spec: dict[str, Any]) -> int:
    def of(containers: list[dict[str, Any]]) -> list[int]:
        found = (one.get("resources", {}).get("requests", {}) for one in containers)
        return [memory_bytes(one.get("memory", "0")) for one in found]

    return max(sum(of(spec["containers"])), max(of(spec.get("initContainers", [])), default=0))


def memory_bytes(quantity: str) -> int:
    units = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
    unit = quantity[-2:]
    return int(quantity.removesuffix(unit)) * units[unit] if unit in units else int(quantity)


def _ballast_pod(namespace: str, memory: int) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "ballast", "namespace": namespace},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "securityContext": restricted.POD,
            "containers": [
                {
                    "name": "ballast",
                    "image": standin.IMAGE,
                    "command": ["/bin/busybox", "sleep", "3600"],
                    "resources": {"requests": {"memory": str(memory)}},
                    "securityContext": restricted.CONTAINER,
                }
            ],
        },
    }


@contextmanager
def on_standins(berth: Berth) -> Iterator[Scene]:
    """Where `standin.install` has been called."""
    with standin.hub(berth, NAMESPACE):
        variables = {"STANDIN_DETERMINISTIC": "1", "STANDIN_TOKENS_PER_SECOND": TOKENS_PER_SECOND}
        berth.apply(
            standin.model(
                NAMESPACE,
                MODEL,
                "hf://berth/tiny",
                variables,
                replicas=REPLICAS,
                resources={"memory": POD_MEMORY},
                rollout={"drainTimeoutSeconds": 120},
            )
        )
        yield Scene(berth, MODEL, NAMESPACE)


@contextmanager
def on_vllm(berth: Berth) -> Iterator[Scene]:
    """The demo's model, at one replica: two vLLM are all that two cores can start in time."""
    berth.kubectl("apply", "-f", str(manifest()))
    scene = Scene(berth, "smollm2", "default")
    scene.patch({"scaling": None, "keepAlive": None, "replicas": 1})  # as others may have left it
    yield scene


async def roll_out_of_one(scene: Scene) -> None:
    turn = {"example.com/turn": str(time.time_ns())}
    await asyncio.to_thread(scene.patch, {"podTemplate": {"annotations": turn}})
    await scene.settle(1)


def failures(results: Sequence[Result], kills: Sequence[Kill]) -> list[str]:
    """Sentences about what must not be. Only a killed pod may cut streams, and it tells of it."""
    found = [
        f"{sum(result.end is end for result in results)} requests were {end.value}"
        for end in FORBIDDEN
        if any(result.end is end for result in results)
    ]
    cut = [result for result in results if result.end is End.TOLD]
    unexplained = sum(not _killed(result, kills) for result in cut)
    if unexplained:
        found.append(f"{unexplained} of {len(cut)} cut streams were not on a pod that was killed")
    return found


def _killed(result: Result, kills: Sequence[Kill]) -> bool:
    """Whether it may have been on a pod when that was killed, and ended with it."""
    ended = result.at + result.total
    return any(
        result.at <= kill.done + HEARD_SECONDS and kill.asked <= ended <= kill.done + KILL_SECONDS
        for kill in kills
    )


def report(scene: Scene, results: Sequence[Result]) -> tuple[str, bool]:
    lines = [table(results), "", "| disturbance | seconds |", "|---|---:|"]
    lines += [f"| {name} | {seconds:.1f} |" for name, seconds in scene.done]
    held = [result.held for result in results if result.held > 0]
    longest = max(held, default=0)
    lines += ["", f"{len(results)} requests; {len(held)} were held, for at most {longest:.0f} s."]
    wrong = failures(results, scene.kills)
    lines += [f"FAIL: {one}" for one in wrong] or ["pass"]
    examples = [r for r in results if r.end in FORBIDDEN][:5]
    lines += [f"  {r.end.value} at {r.at:.1f} s: {r.detail}" for r in examples]
    return "\n".join(lines), not wrong


def installed() -> Berth:
    here = cluster.current()
    audit = places.state_dir() / "audit.log"
    return Berth(here.kubectl, environment.url(here), environment.api_key(here), audit)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--per-second", type=float, default=25.0)
    parser.add_argument("--engine", choices=("standin", "vllm"), default="standin")
    parser.add_argument("--out", type=Path, help="one line of JSON per request")
    options = parser.parse_args()
    berth = installed()
    berth.helm(f"--set=gateway.replicas={GATEWAYS}")
    real = options.engine == "vllm"
    if not real:
        standin.install(berth)
    plan = Plan(options.requests, options.per_second, 64 if real else LONG_TOKENS, real)
    disturbances = (roll_out_of_one,) if real else ALL
    with (on_vllm if real else on_standins)(berth) as scene:
        asyncio.run(scene.settle(1 if real else REPLICAS))
        results = asyncio.run(run(scene, plan, disturbances))
    text, good = report(scene, results)
    print(text)
    if options.out:
        _write(options.out, results)
    return 0 if good else 1


def _write(path: Path, results: Sequence[Result]) -> None:
    rows = (
        {"stream": r.ask.stream, "end": r.end.name, "at": r.at, "first": r.first_byte}
        | {"total": r.total, "held": r.held, "detail": r.detail}
        for r in results
    )
    path.write_text("".join(json.dumps(row) + os.linesep for row in rows), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
