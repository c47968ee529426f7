"""Each way to fail has its own reason and fix where a user looks, soon, and heals by itself.

The hub is a stand-in that the real huggingface_hub speaks to; the engine is a stand-in that dies
with vLLM's own words. Everything between them is real.
"""

import base64
import json
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bench.cluster import folders
from berth_operator.cluster.learned import NAME as LEARNED
from dev import standin
from dev.installed import SYSTEM, Berth
from standins.hub import GOOD_TOKEN, POOR_TOKEN

NAMESPACE = "berth-e2e-failures"
# From the cause, which is the end of the container that met it.
TOLD_WITHIN_SECONDS = 10
# From the moment the cause is gone: Kubernetes' own back-off of a crashing container, at worst.
HEALED_WITHIN_SECONDS = 120
APPLIED_SECONDS = 60
# Less than a pod of the stand-in plans for its KV cache.
FREE_BYTES = 128 * 2**20


@pytest.fixture(scope="module")
def namespace(berth: Berth, standins: None) -> Iterator[str]:
    with standin.hub(berth, NAMESPACE) as name:
        yield name


def model(name: str, source: str, env: Mapping[str, str] | None = None, **spec: Any) -> dict:
    return standin.model(NAMESPACE, name, source, env, **spec)


def secret(token: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "hf", "namespace": NAMESPACE},
        "data": {"token": base64.b64encode(token.encode()).decode()},
    }


TOKEN = {"authSecretRef": {"name": "hf", "key": "token"}}


@dataclass(frozen=True)
class Case:
    """What a user applies, what the user is told, and what the user then changes."""

    applied: tuple[dict, ...]
    reason: str
    message: str
    healed: tuple[dict, ...]
    disk: bool = False  # needs the small disk, which is made larger to heal


CASES = {
    "not-found": Case(
        (model("not-found", "hf://berth/absent"),),
        "NotFound",
        "berth/absent",
        (model("not-found", "hf://berth/tiny"),),
    ),
    "gated": Case(
        (secret(POOR_TOKEN), model("gated", "hf://berth/gated", model=TOKEN)),
        "GatedModel",
        "berth/gated",
        (secret(GOOD_TOKEN),),
    ),
    "wrong-token": Case(
        (secret("hf_wrong"), model("wrong-token", "hf://berth/gated", model=TOKEN)),
        "AuthFailed",
        f"{NAMESPACE}/hf",
        (secret(GOOD_TOKEN),),
    ),
    "no-secret": Case(
        (
            model(
                "no-secret",
                "hf://berth/tiny",
                model={"authSecretRef": {"name": "absent", "key": "token"}},
            ),
        ),
        "AuthFailed",
        "absent",
        ({**secret(GOOD_TOKEN), "metadata": {"name": "absent", "namespace": NAMESPACE}},),
    ),
    "no-safetensors": Case(
        (model("no-safetensors", "hf://berth/pickles"),),
        "NoSafetensors",
        "safetensors",
        (model("no-safetensors", "hf://berth/tiny"),),
    ),
    "does-not-fit": Case(
        (model("does-not-fit", "hf://berth/tiny", resources={"memory": "1Gi"}),),
        "DoesNotFit",
        "too much",
        (model("does-not-fit", "hf://berth/tiny", resources={"memory": "2500Mi"}),),
    ),
    "crash": Case(
        (model("crash", "hf://berth/tiny", {"STANDIN_CRASH": "kv"}),),
        "KVCacheTooSmall",
        "75776",
        (model("crash", "hf://berth/tiny"),),
    ),
    "no-room": Case(
        (model("no-room", "hf://berth/tiny", model={"cache": {"claimName": "small"}}),),
        "NoSpace",
        "KiB",
        (),
        disk=True,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_failure_has_its_reason_and_fix_and_heals(
    berth: Berth, namespace: str, name: str, tmp_path: Path
) -> None:
    case = CASES[name]
    with _small_disk(berth, tmp_path) if case.disk else _no_disk() as enlarge:
        berth.apply(*case.applied)
        told = berth.wait(
            name,
            lambda status: status.get("reason") == case.reason,
            seconds=APPLIED_SECONDS,
            namespace=namespace,
        )
        assert case.message in told["message"]
        assert "Fix: " in told["message"]
        _assert_told_soon(berth, name, told)
        _assert_in_columns_and_events(berth, name, case.reason)
        enlarge()
        if case.healed:
            berth.apply(*case.healed)
        berth.wait(
            name,
            lambda status: status.get("phase") == "Serving",
            seconds=HEALED_WITHIN_SECONDS,
            namespace=namespace,
        )
        berth.kubectl("delete", "mdep", name, "-n", namespace, "--wait")


def test_memory_that_lacked_is_planned_around_once_and_known_to_the_next(
    berth: Berth, namespace: str
) -> None:
    """The stand-in refuses a KV cache above its free memory, as vLLM's CPU worker does."""
    lacking = {"STANDIN_FREE_BYTES": str(FREE_BYTES)}
    _forget(berth)
    try:
        served = _served(berth, model("learns", "hf://berth/tiny", lacking))
        assert served["plan"]["kvCacheBytes"] <= FREE_BYTES
        assert served["plan"]["learnedFrom"].startswith("the failure of revision ")
        assert served["lastFailure"]["reason"] == "KVCacheTooSmall"
        following = _served(berth, model("knows", "hf://berth/tiny", lacking))
        assert following["plan"]["kvCacheBytes"] == served["plan"]["kvCacheBytes"]
        assert "lastFailure" not in following
        records = berth.get("configmap", LEARNED, SYSTEM)["data"].values()
        assert "KVCacheTooSmall" in {json.loads(text)["reason"] for text in records}
    finally:
        berth.kubectl("delete", "mdep", "learns", "knows", "-n", namespace, "--ignore-not-found")
        _forget(berth)


def _forget(berth: Berth) -> None:
    """What an earlier run taught: the record, and the operator's copy of it."""
    berth.kubectl("delete", "configmap", LEARNED, "-n", SYSTEM, "--ignore-not-found")
    berth.kubectl("rollout", "restart", "deployment/berth-operator", "-n", SYSTEM)
    berth.kubectl("rollout", "status", "deployment/berth-operator", "-n", SYSTEM, "--timeout=60s")


def _served(berth: Berth, wanted: dict[str, Any]) -> dict[str, Any]:
    berth.apply(wanted)
    return berth.wait(
        wanted["metadata"]["name"],
        lambda status: status.get("phase") == "Serving",
        seconds=HEALED_WITHIN_SECONDS,
        namespace=NAMESPACE,
    )


def _assert_told_soon(berth: Berth, name: str, told: Mapping[str, Any]) -> None:
    """The status says it no later than a few seconds after the first container failed."""
    ended = [
        datetime.fromisoformat(state["terminated"]["finishedAt"])
        for pod in berth.all("pods", NAMESPACE, f"berth.dev/model={name}")
        for status in _containers(pod)
        for state in (status.get("state", {}), status.get("lastState", {}))
        if state.get("terminated", {}).get("exitCode", 0) != 0
    ]
    if not ended:  # none failed: the kubelet or the planner said it
        return
    failed_at = datetime.fromisoformat(told["lastFailure"]["time"]).astimezone(UTC)
    assert (failed_at - min(ended)).total_seconds() <= TOLD_WITHIN_SECONDS


def _containers(pod: Mapping[str, Any]) -> list[dict[str, Any]]:
    status = pod["status"]
    return status.get("initContainerStatuses", []) + status.get("containerStatuses", [])


def _assert_in_columns_and_events(berth: Berth, name: str, reason: str) -> None:
    assert reason in berth.kubectl("get", "mdep", name, "-n", NAMESPACE)

    def described() -> str:
        return berth.kubectl("describe", "mdep", name, "-n", NAMESPACE)

    event = re.compile(rf"Warning\s+{reason}\s")
    berth.wait_until("its event", lambda: event.search(described()) is not None, seconds=5)
    assert "Fix: " in described()


@contextmanager
def _no_disk() -> Iterator[Callable[[], None]]:
    yield lambda: None


@contextmanager
def _small_disk(berth: Berth, tmp_path: Path) -> Iterator[Callable[[], None]]:
    """A claim on 64 KiB of memory; the yielded function makes it 512 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    _mount("size=64k,uid=65532,gid=65532", disk, "-t", "tmpfs", "berth-e2e-disk")
    try:
        folders.claim(berth, NAMESPACE, "small", disk)
        yield lambda: _mount("remount,size=512m", disk)
    finally:
        berth.kubectl("delete", "mdep", "no-room", "-n", NAMESPACE, "--ignore-not-found")
        folders.release(berth, NAMESPACE, "small")
        subprocess.run(["umount", str(disk)], check=True)


def _mount(options: str, directory: Path, *arguments: str) -> None:
    subprocess.run(["mount", "-o", options, *arguments, str(directory)], check=True)
