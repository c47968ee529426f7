"""`scaling.mode: External` with the real KEDA, by the manifest of examples/scaling."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import external_scaling
import pytest
from external_scaling import METRIC, MODEL, TARGET, Scene

from dev import progress
from dev.controlplane import ControlPlane

SCALE_SECONDS = 90.0
REST_SECONDS = 5.0


@pytest.fixture
def scene(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Scene]:
    with external_scaling.scene(control_plane, namespace, tmp_path, replicas=0) as found:
        yield found


@pytest.fixture
def scaled(scene: Scene) -> Scene:
    scene.models.apply(_manifest(scene))

    def ready() -> bool:
        status = scene.models.get("scaledobject", MODEL).get("status", {})
        states = {one["type"]: one["status"] for one in status.get("conditions", [])}
        return states.get("Ready") == "True"

    scene.models.wait_for("KEDA", ready, seconds=SCALE_SECONDS)
    return scene


def _manifest(scene: Scene) -> dict[str, Any]:
    """One gateway on loopback, where no EndpointSlice may lead; and no patience."""
    manifest = external_scaling.example("keda.yaml")
    manifest["spec"] |= {"pollingInterval": 1, "cooldownPeriod": 2}
    behavior = manifest["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    behavior["scaleDown"]["stabilizationWindowSeconds"] = 0
    asked = manifest["spec"]["triggers"][0]["metadata"]
    assert asked["valueLocation"] == f'{METRIC}{{namespace="default",model="{MODEL}"}}'
    asked |= {
        "url": scene.gateway.metrics_url,
        "valueLocation": f'{METRIC}{{namespace="{scene.models.namespace}",model="{MODEL}"}}',
        "targetValue": str(TARGET),
        "aggregateFromKubeServiceEndpoints": "false",
    }
    return manifest


def test_keda_wakes_a_model_follows_its_queue_and_puts_it_to_sleep(scaled: Scene) -> None:
    began = time.monotonic()

    def passed(what: str) -> None:
        progress.say(f"  {time.monotonic() - began:5.1f} s: {what}")

    scaled.ask(5)
    scaled.models.wait_for("a replica", lambda: scaled.asked_for() >= 1, seconds=SCALE_SECONDS)
    passed("the first replica is asked for")
    scaled.wait_until(3, seconds=SCALE_SECONDS)
    passed("5 requests, 2 a replica: 3 replicas asked for and made")
    time.sleep(REST_SECONDS)
    assert (scaled.asked_for(), scaled.made()) == (3, [3])
    scaled.leave()
    began = time.monotonic()
    scaled.wait_until(0, seconds=SCALE_SECONDS)
    passed("after the clients have left: none")
    assert not {one for one in scaled.writers_of_replicas() if one.startswith("berth")}
