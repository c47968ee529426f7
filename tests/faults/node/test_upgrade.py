"""A newer Berth restarts no model, neither the one on real vLLM nor any other, and cuts no stream."""

import asyncio
from pathlib import Path

import pytest
from fault_case import ends, shown
from fault_traffic import TRAFFIC

from bench.cluster import zero_drop
from bench.cluster.zero_drop import Scene
from dev import images
from dev.cluster import OwnNode
from dev.installed import CONTROL_IMAGE, SYSTEM, Berth

# The chart's image.repository, and another: building a second tag would forget the first.
CONTROL, NEXT = "berth-control", "berth-control-next"
NEXT_IMAGE = CONTROL_IMAGE.replace(CONTROL, NEXT)


@pytest.fixture
def next_control(own_node: OwnNode, tmp_path: Path) -> str:
    """A control image of another version: other content under another name."""
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text(f"FROM {CONTROL_IMAGE}\nENV BERTH_VERSION=next\n", encoding="utf-8")
    arguments = {"CONTROL": images.fingerprint(images.control())}
    image = images.Image(NEXT_IMAGE, dockerfile, tmp_path, arguments=arguments)
    images.build(own_node.builder, image)
    own_node.load(image)
    return NEXT


def engines(berth: Berth, *models: tuple[str, str]) -> dict[str, int]:
    """Each engine pod of these models and how often its containers have restarted."""
    return {
        pod["metadata"]["uid"]: sum(c["restartCount"] for c in pod["status"]["containerStatuses"])
        for name, namespace in models
        for pod in berth.all("pods", namespace, f"berth.dev/model={name},berth.dev/role=engine")
    }


def images_of(berth: Berth) -> set[str]:
    """Of Berth's own pods."""
    pods = berth.all("pods", SYSTEM, "app.kubernetes.io/name=berth")
    return {pod["spec"]["containers"][0]["image"] for pod in pods}


def test_fault_18_an_upgrade_of_berth_restarts_no_model_and_cuts_no_stream(
    scene: Scene, model: str, next_control: str
) -> None:
    berth = scene.berth
    models = ((model, "default"), (scene.model, scene.namespace))
    before = engines(berth, *models)
    revision = berth.status(model)["updateRevision"]

    async def upgrade(_: Scene) -> None:
        await asyncio.to_thread(berth.helm, f"--set=image.repository={next_control}")
        await asyncio.to_thread(_assert_looked, berth, model)

    try:
        results = asyncio.run(zero_drop.run(scene, TRAFFIC, (upgrade,)))
        assert ends(results) == {}, shown(results)
        assert engines(berth, *models) == before
        assert berth.status(model)["updateRevision"] == revision
    finally:
        berth.helm(f"--set=image.repository={CONTROL}")
    assert engines(berth, *models) == before


def _assert_looked(berth: Berth, model: str) -> None:
    """The newer operator and gateways are the only ones, and the operator has been at the model."""
    berth.wait_until("all are the next", lambda: images_of(berth) == {NEXT_IMAGE}, seconds=60)
    berth.kubectl("label", "mdep", model, "looked=at", "--overwrite")
    scaled = berth.get("modeldeployment", model)["metadata"]["generation"]
    berth.wait(model, lambda s: s.get("observedGeneration") == scaled, seconds=30)
