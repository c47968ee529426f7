"""From zero: a model that nobody uses is asked, and every step until the first token is timed.

    make bench-wake [BENCH_FLAGS='--cycles 20 --model smollm2']

Runs on the cluster of `make up`, with real vLLM. Each cycle waits until the model has gone to zero
and its pod is gone, sends one streamed request, and waits for the answer. `engine` is the engine's
own start, from the exec of its container to the first token that it generated, as the runtime
server tells it; everything else is what Kubernetes and Berth add.
"""

import argparse
import asyncio
import datetime as dt
import json
import statistics
import sys
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.cluster.traffic import Ask, Clients, End, Result
from bench.cluster.watching import Log, Seen, watching
from dev import cluster, demo, environment
from dev.kubectl import Kubectl

NAMESPACE = "default"
STATUS_PORT = 8090
POLL_SECONDS = 0.2
ZERO_SECONDS = 300.0
PROMPT = "What is the capital of France?"
# The bar: what is not the engine's own start.
LIMIT_SECONDS = 4.0
# In the order in which they happen; each lasts from the step before it to its own moment.
STEPS = (
    "decided",  # the Deployment's replicas are raised
    "pod made",
    "scheduled",
    "files ready",  # the init containers have ended
    "engine container up",
    "engine",  # its own start, to the first generated token
    "ready",  # the kubelet has noticed
    "routed",  # the address is in an EndpointSlice
    "first token",  # at the client
)
ENGINE = "engine"


@dataclass(frozen=True)
class Cycle:
    """Seconds since the request was sent at which each step was reached."""

    end: End
    marks: dict[str, float] = field(default_factory=dict)

    @property
    def lasted(self) -> dict[str, float]:
        """Seconds of each step. A step that was noticed late or early takes from its neighbour."""
        found: dict[str, float] = {}
        last = 0.0
        for step in STEPS:
            reached = max(last, self.marks[step])
            found[step] = reached - last
            last = reached
        return found

    @property
    def beside_the_engine(self) -> float:
        return self.marks[STEPS[-1]] - self.lasted[ENGINE]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", type=int, default=20)
    parser.add_argument("--model", default=demo.MODEL)
    parser.add_argument("--out", type=Path, help="raw figures, as JSON")
    options = parser.parse_args()
    here = cluster.current()
    scale_from_zero(here.kubectl, options.model)
    cycles = []
    for number in range(options.cycles):
        wait_for_zero(here.kubectl, options.model)
        cycle = asyncio.run(
            wake(here.kubectl, options.model, environment.url(here), environment.api_key(here))
        )
        cycles.append(cycle)
        print(f"cycle {number + 1}: {cycle.end.value}: {shown(cycle)}", file=sys.stderr, flush=True)
    print(table(cycles))
    if options.out:
        raw = [{"end": one.end.name, "marks": one.marks} for one in cycles]
        options.out.write_text(json.dumps(raw, indent=1), encoding="utf-8")
    return 0 if passed(cycles) else 1


def scale_from_zero(kubectl: Kubectl, model: str) -> None:
    """The model follows its queue, and is given up a few seconds after its last answer."""
    spec = {"keepAlive": "5s", "scaling": {"mode": "Auto", "minReplicas": 0, "maxReplicas": 1}}
    patch = json.dumps({"spec": spec})
    kubectl("patch", "mdep", model, f"--namespace={NAMESPACE}", "--type=merge", f"--patch={patch}")


def wait_for_zero(kubectl: Kubectl, model: str) -> None:
    deadline = time.monotonic() + ZERO_SECONDS
    while time.monotonic() < deadline:
        if not engine_pods(kubectl, model) and told_phase(kubectl, model) == "Idle":
            return
        time.sleep(POLL_SECONDS)
    raise TimeoutError(f"{model} is not at zero after {ZERO_SECONDS:.0f} s")


def engine_pods(kubectl: Kubectl, model: str) -> list[dict[str, Any]]:
    selector = f"--selector=berth.dev/model={model},berth.dev/role=engine"
    found: list[dict[str, Any]] = kubectl.json("get", "pods", f"--namespace={NAMESPACE}", selector)[
        "items"
    ]
    return found


def told_phase(kubectl: Kubectl, model: str) -> str:
    status = kubectl.json("get", "mdep", model, f"--namespace={NAMESPACE}").get("status", {})
    return str(status.get("phase", ""))


async def wake(kubectl: Kubectl, model: str, url: str, key: str) -> Cycle:
    kinds = ("deployments", "pods", "endpointslices")
    with watching(kubectl, NAMESPACE, kinds) as log:
        async with Clients(url, key, compare_text=True) as clients:
            asked_at = time.time()
            result = await clients.send(Ask(model, PROMPT, max_tokens=8, stream=True))
        timeline = await asyncio.to_thread(pod_timeline, kubectl, model)
    return Cycle(result.end, marks(log, asked_at, model, result, timeline))


def pod_timeline(kubectl: Kubectl, model: str) -> list[dict[str, Any]]:
    """The wrapper's own marks: phases, in seconds since its container's start."""
    (pod,) = engine_pods(kubectl, model)
    address = pod["status"]["podIP"]
    with urllib.request.urlopen(f"http://{address}:{STATUS_PORT}/status", timeout=5) as answer:
        found: list[dict[str, Any]] = json.load(answer)["timeline"]
    return found


def marks(
    log: Log, asked_at: float, model: str, result: Result, timeline: Sequence[dict[str, Any]]
) -> dict[str, float]:
    """When each step was reached, in seconds after `asked_at`."""
    mine = [
        one
        for one in log.since(asked_at)
        if one.object["metadata"].get("labels", {}).get("berth.dev/model") == model
    ]

    def first(kind: str, true: Any) -> float:
        return next(one.at for one in mine if one.kind == kind and true(one)) - asked_at

    started = first("Pod", lambda one: _engine_started(one) is not None)
    serving = next(mark["atSeconds"] for mark in timeline if mark["phase"] == "Serving")
    return {
        "decided": first("Deployment", lambda one: one.object["spec"].get("replicas")),
        "pod made": first("Pod", lambda _: True),
        "scheduled": first("Pod", lambda one: "nodeName" in one.object["spec"]),
        "files ready": first("Pod", _initialised),
        "engine container up": started,
        ENGINE: started + serving,
        "ready": first("Pod", _is_ready),
        "routed": first("EndpointSlice", _has_ready_endpoint),
        "first token": result.first_byte or result.total,
    }


def _condition(pod: dict[str, Any], kind: str) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    return any(one["type"] == kind and one["status"] == "True" for one in conditions)


def _initialised(seen: Seen) -> bool:
    return _condition(seen.object, "Initialized")


def _is_ready(seen: Seen) -> bool:
    return _condition(seen.object, "Ready")


def _engine_started(seen: Seen) -> dt.datetime | None:
    for status in seen.object.get("status", {}).get("containerStatuses", []):
        if status["name"] == "engine" and "running" in status["state"]:
            return dt.datetime.fromisoformat(status["state"]["running"]["startedAt"])
    return None


def _has_ready_endpoint(seen: Seen) -> bool:
    endpoints = seen.object.get("endpoints") or []
    return any(one.get("conditions", {}).get("ready") for one in endpoints)


def shown(cycle: Cycle) -> str:
    return ", ".join(f"{step} {seconds:.2f}" for step, seconds in cycle.lasted.items())


def table(cycles: Sequence[Cycle]) -> str:
    """Each step's median, shortest and longest, in seconds; and the bar."""
    lines = ["| step | median s | shortest | longest |", "|---|---:|---:|---:|"]
    rows = {step: [cycle.lasted[step] for cycle in cycles] for step in STEPS}
    rows["all of it"] = [cycle.marks[STEPS[-1]] for cycle in cycles]
    rows["beside the engine's own start"] = [cycle.beside_the_engine for cycle in cycles]
    for name, values in rows.items():
        middle = statistics.median(values)
        lines.append(f"| {name} | {middle:.2f} | {min(values):.2f} | {max(values):.2f} |")
    whole = sum(cycle.end is End.WHOLE for cycle in cycles)
    verdict = "pass" if passed(cycles) else "FAIL"
    lines += ["", f"{whole} of {len(cycles)} first requests were answered whole.", f"{verdict}"]
    return "\n".join(lines)


def passed(cycles: Sequence[Cycle]) -> bool:
    answered = all(cycle.end is End.WHOLE for cycle in cycles)
    return answered and statistics.median(c.beside_the_engine for c in cycles) < LIMIT_SECONDS


if __name__ == "__main__":
    sys.exit(main())
