"""A newer Berth restarts no model: neither the one on real vLLM nor any other."""

from pathlib import Path

import pytest

from dev import cluster, images
from dev.installed import CONTROL_IMAGE, SYSTEM, Berth

NEXT = "next"


@pytest.fixture
def next_control(tmp_path: Path) -> str:
    """A control image of another version: other content under another tag."""
    here = cluster.current()
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text(f"FROM {CONTROL_IMAGE}\nENV BERTH_VERSION={NEXT}\n", encoding="utf-8")
    reference = CONTROL_IMAGE.replace(":dev", f":{NEXT}")
    arguments = {"CONTROL": images.fingerprint(images.control())}
    image = images.Image(reference, dockerfile, tmp_path, arguments=arguments)
    images.build(here.builder, image)
    here.load(image)
    return NEXT


def engines(berth: Berth) -> dict[str, int]:
    """Each engine pod and how often its containers have restarted."""
    return {
        pod["metadata"]["uid"]: sum(c["restartCount"] for c in pod["status"]["containerStatuses"])
        for pod in berth.all("pods", selector="berth.dev/role=engine")
    }


def operator_images(berth: Berth) -> set[str]:
    pods = berth.all("pods", SYSTEM, "app.kubernetes.io/component=operator")
    return {pod["spec"]["containers"][0]["image"] for pod in pods}


def test_an_upgrade_of_berth_restarts_no_model(berth: Berth, model: str, next_control: str) -> None:
    before = engines(berth)
    revision = berth.status(model)["updateRevision"]
    berth.helm(f"--set=image.tag={next_control}")
    try:
        berth.wait_until(
            "the operator is the next one",
            lambda: operator_images(berth) == {CONTROL_IMAGE.replace(":dev", f":{NEXT}")},
            seconds=60,
        )
        # A change that needs the new operator's hands, so that it has surely looked.
        berth.kubectl("label", "mdep", model, "looked=at", "--overwrite")
        scaled = berth.get("modeldeployment", model)["metadata"]["generation"]
        berth.wait(model, lambda s: s.get("observedGeneration") == scaled, seconds=30)
        assert engines(berth) == before
        assert berth.status(model)["updateRevision"] == revision
    finally:
        berth.helm("--set=image.tag=dev")
    assert engines(berth) == before
