"""How long a runtime pod takes to its first token, by phase, beside a plain `vllm serve` pod.

    python3 -m bench.startup [--rounds 3]

Runs on the cluster of `make up`: the demo's model must be there. Variants take turns, so that a
noisy machine is noisy for all; the table shows medians in seconds since the container's start.
Phases of all variants are read from the engine's log by the same rules, and the first token is a
completion of one token, asked for every 100 ms.
"""

import argparse
import datetime as dt
import json
import statistics
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dev import cluster, demo, images, restricted
from dev.kubectl import Kubectl

POLL_SECONDS = 0.1
START_SECONDS = 900.0
POD = "bench-startup"
PORT = 8000
# The engine's own lines at the end of a phase (vLLM 0.32).
MARKS = (
    ("API server imported", "non-default args"),
    ("engine core imported", "Initializing a V1 LLM engine"),
    ("worker imported", "Starting to load model"),
    ("weights loaded", "Loading weights took"),
    ("engine initialised", "init engine (profile"),
    ("server up", "Application startup complete"),
)
FIRST_TOKEN = "first token"  # noqa: S105 -- a column
# What the demo's model is planned with, so that all variants do the same work.
COMMON = ("--dtype=float32", "--max-model-len=2048", "--max-num-seqs=64")


@dataclass(frozen=True)
class Variant:
    """A pod of the runtime image: what is added to `vllm serve`, and its environment."""

    flags: tuple[str, ...]
    env: Mapping[str, str]


VARIANTS = {
    "vllm serve, no bytecode, eager": Variant(
        ("--enforce-eager",),
        # A prefix that holds nothing hides the compiled files of the image.
        {"PYTHONPYCACHEPREFIX": "/nowhere", "PYTHONDONTWRITEBYTECODE": "1"},
    ),
    "vllm serve, compiled": Variant((), {}),
    "vllm serve, eager": Variant(("--enforce-eager",), {}),
}
BERTH = "Berth's pod, eager"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", action="append", choices=[*VARIANTS, BERTH])
    options = parser.parse_args()
    kubectl = cluster.current().kubectl
    names = options.only or [*VARIANTS, BERTH]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for turn in range(options.rounds):
        for name in names:
            marks = _plain(kubectl, VARIANTS[name]) if name in VARIANTS else _berth(kubectl)
            found[name].append(marks)
            print(f"round {turn + 1}: {name}: {marks}", file=sys.stderr, flush=True)
    print(table(found))
    return 0


def table(found: Mapping[str, list[dict[str, float]]]) -> str:
    """Medians by variant and mark, in seconds; the number of runs beside them."""
    columns = [*(title for title, _ in MARKS), FIRST_TOKEN]
    lines = [
        "| variant | runs | " + " | ".join(columns) + " |",
        "|---|---:|" + "---:|" * len(columns),
    ]
    for name, runs in found.items():
        cells = [_median([run[column] for run in runs if column in run]) for column in columns]
        lines.append(f"| {name} | {len(runs)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _median(values: list[float]) -> str:
    return f"{statistics.median(values):.1f}" if values else "-"


def _plain(kubectl: Kubectl, variant: Variant) -> dict[str, float]:
    kubectl("delete", "pod", POD, "--ignore-not-found", "--wait")
    kubectl.apply(_pod(variant))
    try:
        return _measure(kubectl, POD, "engine", POD, {})
    finally:
        kubectl("delete", "pod", POD, "--wait")


def _berth(kubectl: Kubectl) -> dict[str, float]:
    """The demo's model's pod is deleted, and Berth's next one is measured."""
    selector = f"--selector=berth.dev/model={demo.MODEL},berth.dev/role=engine"
    kubectl("delete", "pod", selector, "--wait")
    pod = _wait(lambda: _first(kubectl.json("get", "pods", selector)["items"]))
    key = kubectl(
        *("get", "secret", f"{demo.MODEL}-engine-key"),
        "--output=go-template={{.data.engineKey | base64decode}}",
    )
    headers = {"Authorization": f"Bearer {key}"}
    return _measure(kubectl, pod["metadata"]["name"], "engine", demo.MODEL, headers)


def _measure(
    kubectl: Kubectl, pod: str, container: str, model: str, headers: Mapping[str, str]
) -> dict[str, float]:
    started = _wait(lambda: _started(kubectl.json("get", "pod", pod), container))
    address = kubectl.json("get", "pod", pod)["status"]["podIP"]
    body = {"model": model, "prompt": "1, 2, 3,", "max_tokens": 1}
    _wait(lambda: _answers(f"http://{address}:{PORT}/v1/completions", body, headers))
    first = (dt.datetime.now(dt.UTC) - started).total_seconds()
    log = kubectl("logs", pod, "-c", container, "--timestamps")
    return _marks(log, started) | {FIRST_TOKEN: first}


def _marks(log: str, started: dt.datetime) -> dict[str, float]:
    """Seconds from the container's start to the first line that has each mark's words."""
    found: dict[str, float] = {}
    for line in log.splitlines():
        stamp, _, text = line.partition(" ")
        for title, words in MARKS:
            if title not in found and words in text:
                at = dt.datetime.fromisoformat(stamp)
                found[title] = (at - started).total_seconds()
    return found


def _started(pod: Mapping[str, Any], container: str) -> dt.datetime | None:
    for status in pod["status"].get("containerStatuses", []):
        if status["name"] == container and "running" in status["state"]:
            return dt.datetime.fromisoformat(status["state"]["running"]["startedAt"])
    return None


def _answers(url: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> bool:
    request = urllib.request.Request(  # noqa: S310 -- a pod of this cluster
        url,
        json.dumps(body).encode(),
        {"Content-Type": "application/json", **headers},
    )
    try:
        with urllib.request.urlopen(request, timeout=60):  # noqa: S310
            return True
    except (OSError, urllib.error.URLError):
        return False


def _first(items: list[Any]) -> Any:
    return items[0] if items else None


def _wait(ask: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if answer := ask():
            return answer
        time.sleep(POLL_SECONDS)
    raise TimeoutError(f"not within {START_SECONDS:.0f} s")


def _pod(variant: Variant) -> dict[str, Any]:
    """A plain `vllm serve` on the demo's weights, with the resources of Berth's pod."""
    tools = {"name": "tools", "mountPath": "/tools"}
    model = {"name": "model", "mountPath": "/model"}
    shared = {"name": "shm", "mountPath": "/dev/shm"}  # noqa: S108 -- vLLM wants 160 MiB of it
    command = ["vllm", "serve", "/model", f"--served-model-name={POD}", *COMMON, *variant.flags]
    env = {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", **variant.env}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": POD, "namespace": "default"},
        "spec": {
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": restricted.POD,
            "initContainers": [
                {
                    "name": "tools",
                    "image": images.CONTROL,
                    "command": ["/bin/busybox", "cp", "/bin/busybox", "/tools/"],
                    "securityContext": restricted.CONTAINER,
                    "volumeMounts": [tools],
                },
                {
                    "name": "copy",
                    "image": images.WEIGHTS,
                    "command": ["/tools/busybox", "cp", "-r", "/models/.", "/model/"],
                    "securityContext": restricted.CONTAINER,
                    "volumeMounts": [tools, model],
                },
            ],
            "containers": [
                {
                    "name": "engine",
                    "image": images.RUNTIME,
                    "command": command,
                    "env": [{"name": name, "value": value} for name, value in env.items()],
                    "securityContext": restricted.CONTAINER,
                    "volumeMounts": [model, shared],
                }
            ],
            "volumes": [
                {"name": "tools", "emptyDir": {}},
                {"name": "model", "emptyDir": {}},
                {"name": "shm", "emptyDir": {"medium": "Memory"}},
            ],
        },
    }


if __name__ == "__main__":
    sys.exit(main())
