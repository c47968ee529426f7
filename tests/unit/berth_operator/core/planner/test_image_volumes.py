"""Whether an image is mounted as a volume or copied: by every node's versions, or as it was set."""

import builders
import pytest

from berth_operator.core.observed import Node
from berth_operator.core.planner.image_volumes import image_volumes


def node(kubelet: str = "v1.35.0", runtime: str = "containerd://2.1.4") -> Node:
    return Node("n", {}, {}, kubelet_version=kubelet, runtime_version=runtime)


VERSIONS = {
    "the first that can": (node(), True),
    "a later one": (node("v1.36.2+k3s1", "containerd://2.2.0-rc.1"), True),
    "CRI-O": (node(runtime="cri-o://1.33.0"), True),
    "an older kubelet": (node("v1.34.9"), False),
    "an older containerd": (node(runtime="containerd://2.0.5"), False),
    "an older CRI-O": (node(runtime="cri-o://1.32.1"), False),
    "a runtime that is not known": (node(runtime="docker://29.0.0"), False),
    "a version that is none": (node("unknown"), False),
    "a node that has said nothing yet": (Node("n", {}, {}), False),
}


@pytest.mark.parametrize(("one", "mounts"), VERSIONS.values(), ids=VERSIONS)
def test_a_node_mounts_images_by_its_versions(one: Node, *, mounts: bool) -> None:
    assert image_volumes(builders.configured(), (one,)) is mounts


def test_one_node_that_cannot_is_enough_to_copy() -> None:
    assert not image_volumes(builders.configured(), (node(), node("v1.34.0")))
    assert not image_volumes(builders.configured(), ())


@pytest.mark.parametrize(("value", "mounts"), [("Always", True), ("Never", False)])
def test_what_the_administrator_says_counts_more(value: str, *, mounts: bool) -> None:
    settings = builders.configured(imageVolumes=value)
    assert image_volumes(settings, (node("v1.30.0"),)) is mounts
    assert image_volumes(settings, (node(),)) is mounts
