"""`scaling.mode: External` with the real HPA controller, by the manifest of examples/scaling."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import external_scaling
import pytest
from external_scaling import MODEL, TARGET, Scene

from dev.controlplane import ControlPlane
from standins import external_metrics

# The HPA controller looks every second here, every 15 by default; it learns of new kinds in 30 s.
SCALE_SECONDS = 90.0
REST_SECONDS = 5.0


@pytest.fixture
def scene(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Scene]:
    with external_scaling.scene(control_plane, namespace, tmp_path, replicas=1) as found:
        yield found


@pytest.fixture
def hpa(control_plane: ControlPlane, scene: Scene) -> Iterator[None]:
    manifest = external_scaling.example("hpa.yaml")
    manifest["spec"]["behavior"]["scaleDown"]["stabilizationWindowSeconds"] = 0
    manifest["spec"]["metrics"][0]["external"]["target"]["averageValue"] = str(TARGET)

    def read(metric: str, labels: Mapping[str, str]) -> float | None:
        return scene.gateway.metric(metric, **labels)

    metric = manifest["spec"]["metrics"][0]["external"]["metric"]["name"]
    authority, kubectl = control_plane.authority, control_plane.kubectl
    with external_metrics.serving(read, metric, authority, kubectl):
        scene.models.apply(manifest)
        yield
        scene.models.delete("hpa", MODEL)


def test_an_hpa_follows_the_gateways_queue_and_the_operator_follows_the_hpa(
    scene: Scene, hpa: None
) -> None:
    scene.ask(5)
    scene.wait_until(3, seconds=SCALE_SECONDS)
    time.sleep(REST_SECONDS)
    assert (scene.asked_for(), scene.made()) == (3, [3])
    assert scene.writers_of_replicas() == {"kube-controller-manager"}
    scene.leave()
    scene.wait_until(1, seconds=SCALE_SECONDS)
    assert scene.writers_of_replicas() == {"kube-controller-manager"}
