"""Three models in a pool with room for two, on real vLLM: asked in turn and at random.

    make bench-turns [BENCH_FLAGS='--minutes 10']

Runs on the cluster of `make up`. A client asks for the models in turn and then at random, one
streamed request after the other, with pauses now and then that let a model's keep-alive end.
Beside it everything that the pool says and does is recorded. Bars: every request answered whole;
no engine evicted for another before its minimum residency; what the pool says serves is what its
pod says, whenever both were read while nothing moved; never more than two engines at once.
"""

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from bench.cluster import folders
from bench.cluster.traffic import Ask, Clients, End, Result
from dev import cluster, environment
from dev.installed import Berth

NAMESPACE: Final = "berth-turns"
POOL: Final = "shared"
SOURCE: Final = "oci://localhost/smollm2:dev"
# Engines differ in their context, so that none is shared.
CONTEXTS: Final = {"alpha": 1024, "beta": 1536, "gamma": 2048}
# Two shares of 2.7 to 3 GiB, as the planner has learned, what is the pod's own, and a rest that no
# third fits in.
POOL_MEMORY: Final = "8Gi"
MIN_RESIDENCY_SECONDS: Final = 10
KEEP_ALIVE: Final = "60s"
STATUS_PORT: Final = 8090
PLANNED_SECONDS: Final = 300.0
_POLL_SECONDS: Final = 0.5
_TOKENS: Final = 8
_PAUSE_CHANCE: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 5.0


@dataclass
class Watched:
    """What was seen of the pool while requests ran."""

    disagreements: list[str] = field(default_factory=list)
    most_at_once: int = 0
    loads: list[int] = field(default_factory=list)  # seconds, each load once
    residencies: list[float] = field(default_factory=list)  # seconds, of those that were evicted
    agreements: int = 0
    overfilled: list[str] = field(default_factory=list)  # cards of which more was granted than is
    _serving: dict[str, datetime] = field(default_factory=dict)
    _known: set[tuple[str, str]] = field(default_factory=set)

    def take(self, status: dict[str, Any], pods: Sequence[dict[str, Any]], at: datetime) -> None:
        engines = status.get("engines", [])
        serving = {one["id"]: one for one in engines if one["state"] == "Serving"}
        moving = any(one["state"] in ("Loading", "Draining", "Waiting") for one in engines)
        # One that waits for its room has none of it yet.
        there = [one for pod in pods for one in pod["engines"] if one["phase"] != "Pending"]
        self.overfilled += [
            f"{at}: {card}"
            for pod in pods
            for card in pod["cards"]
            if card["grantedBytes"] > card["totalBytes"]
        ]
        self.most_at_once = max(self.most_at_once, len(there))
        said = {one["id"] for one in there if one["phase"] == "Serving"}
        if not moving and all(pod["sequence"] == status["sequence"] for pod in pods):
            if said == set(serving):
                self.agreements += 1
            else:
                self.disagreements.append(f"{at}: status {sorted(serving)}, pods {sorted(said)}")
        self._note(engines, serving, at)

    def _note(
        self, engines: Sequence[dict[str, Any]], serving: dict[str, dict[str, Any]], at: datetime
    ) -> None:
        for id_, one in serving.items():
            since = datetime.fromisoformat(one["since"])
            self._serving[id_] = since
            if (id_, one["since"]) not in self._known and one.get("loadSeconds"):
                self._known.add((id_, one["since"]))
                self.loads.append(one["loadSeconds"])
        reasons = {one["id"]: one.get("reason") for one in engines}
        for id_ in [known for known in self._serving if known not in serving]:
            since = self._serving.pop(id_)
            if reasons.get(id_) in ("Idle", "Starved"):
                self.residencies.append((at - since).total_seconds())


@dataclass(frozen=True)
class Played:
    results: Sequence[Result]
    watched: Watched

    @property
    def failures(self) -> list[str]:
        bad = [one for one in self.results if one.end is not End.WHOLE]
        told = [f"{one.ask.model}: {one.end.value} {one.detail}" for one in bad]
        told += [*self.watched.disagreements, *self.watched.overfilled]
        if self.watched.most_at_once > len(CONTEXTS) - 1:
            told.append(f"{self.watched.most_at_once} engines at once, with room for two")
        # The pool's moments are whole seconds.
        early = [one for one in self.watched.residencies if one < MIN_RESIDENCY_SECONDS - 1]
        told += [f"evicted after {one:.1f} s" for one in early]
        return told


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    here = cluster.current()
    berth = Berth(here.kubectl, environment.url(here), environment.api_key(here), None)
    with tempfile.TemporaryDirectory() as folder, models(berth, Path(folder)):
        played = asyncio.run(play(berth, options.minutes * 60, random.Random(options.seed)))  # noqa: S311
    print(table(played))
    return 1 if played.failures else 0


@contextmanager
def models(berth: Berth, folder: Path) -> Iterator[None]:
    """The pool and its models, planned and fetched; gone again afterwards."""
    folder.chmod(0o777)  # the fetcher's user writes there
    with berth.namespace(NAMESPACE):
        folders.claim(berth, NAMESPACE, "weights", folder)
        try:
            berth.apply(pool(), *(model(name, context) for name, context in CONTEXTS.items()))
            for name in CONTEXTS:
                berth.wait(name, _planned, seconds=PLANNED_SECONDS, namespace=NAMESPACE)
            yield
        finally:
            berth.kubectl("delete", "mdep,mpool", "--all", "-n", NAMESPACE, "--wait")
            folders.release(berth, NAMESPACE, "weights")


def _planned(status: dict[str, Any]) -> bool:
    return status.get("phase") == "Idle"


def pool() -> dict[str, Any]:
    return {
        "apiVersion": "berth.dev/v1alpha1",
        "kind": "ModelPool",
        "metadata": {"name": POOL, "namespace": NAMESPACE},
        "spec": {
            "accelerator": {"profile": "cpu"},
            "resources": {"cpu": "500m", "memory": POOL_MEMORY},
            "cache": {"claimName": "weights"},
            "residency": {
                "minResidencySeconds": MIN_RESIDENCY_SECONDS,
                "starvationSeconds": 30,
            },
        },
    }


def model(name: str, context: int) -> dict[str, Any]:
    return {
        "apiVersion": "berth.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "model": {"source": SOURCE},
            "pool": POOL,
            "keepAlive": KEEP_ALIVE,
            "runtime": {"maxModelLen": context},
        },
    }


async def play(berth: Berth, seconds: float, chance: random.Random) -> Played:
    watched = Watched()
    async with Clients(berth.url, berth.key, compare_text=True) as clients:
        watching = asyncio.create_task(_watch(berth, watched))
        try:
            await _ask(clients, seconds, chance)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
    return Played(clients.results, watched)


async def _ask(clients: Clients, seconds: float, chance: random.Random) -> None:
    """Half of the time in turn, half at random."""
    names, began, number = list(CONTEXTS), time.monotonic(), 0
    while (passed := time.monotonic() - began) < seconds:
        name = names[number % len(names)] if passed < seconds / 2 else chance.choice(names)
        prompt = f"Count to ten, {name}."
        await clients.send(Ask(f"{name}.{NAMESPACE}", prompt, _TOKENS, stream=True))
        number += 1
        if chance.random() < _PAUSE_CHANCE:
            await asyncio.sleep(chance.uniform(0, _LONGEST_PAUSE_SECONDS))


async def _watch(berth: Berth, watched: Watched) -> None:
    while True:
        status, pods = await asyncio.to_thread(_look, berth)
        if pods is not None:
            watched.take(status, pods, datetime.now().astimezone())
        await asyncio.sleep(_POLL_SECONDS)


def _look(berth: Berth) -> tuple[dict[str, Any], list[dict[str, Any]] | None]:
    """The pool's status before and after its pods' own; None if it has changed meanwhile."""
    before = berth.get("modelpool", POOL, NAMESPACE).get("status", {})
    found = berth.all("pods", NAMESPACE, "berth.dev/role=pool")
    try:
        said = [_report(pod["status"]["podIP"]) for pod in found]
    except (OSError, KeyError):
        return before, None
    after = berth.get("modelpool", POOL, NAMESPACE).get("status", {})
    return after, said if before == after else None


def _report(address: str) -> dict[str, Any]:
    url = f"http://{address}:{STATUS_PORT}/status"
    with urllib.request.urlopen(url, timeout=2) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def table(played: Played) -> str:
    results, watched = played.results, played.watched
    held = [one for one in results if one.held > 0]
    firsts = [one.first_byte for one in results if one.first_byte is not None]
    waits = [one.total for one in held]
    lines = [
        "| | |",
        "|---|---:|",
        f"| requests | {len(results)} |",
        f"| answered whole | {sum(one.end is End.WHOLE for one in results)} |",
        f"| held for a load | {len(held)} |",
        f"| median first byte, s | {_median(firsts)} |",
        f"| median of those held, whole, s | {_median(waits)} |",
        f"| longest of those held, s | {max(waits, default=0):.1f} |",
        f"| loads | {len(watched.loads)} |",
        f"| median load, s | {_median(watched.loads)} |",
        f"| evictions | {len(watched.residencies)} |",
        f"| shortest residency, s | {min(watched.residencies, default=0):.1f} |",
        f"| most engines at once | {watched.most_at_once} |",
        f"| looks at rest: status and pods agree | {watched.agreements} |",
        f"| and disagree | {len(watched.disagreements)} |",
    ]
    return "\n".join([*lines, *(f"FAILED: {one}" for one in played.failures)])


def _median(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f}" if values else "-"


if __name__ == "__main__":
    sys.exit(main())
