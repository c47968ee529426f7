"""Whether this cluster's nodes can mount a model's image as a volume, by their own versions."""

from typing import Final

from berth_operator.core.observed import Node
from berth_operator.settings import ImageVolumes, Settings

# On by default since this Kubernetes; mounted by these runtimes.
_KUBELET: Final = (1, 35)
_RUNTIMES: Final = {"containerd": (2, 1), "cri-o": (1, 33)}


def image_volumes(settings: Settings, nodes: tuple[Node, ...]) -> bool:
    """Whether every node mounts OCI images as volumes."""
    if settings.image_volumes is not ImageVolumes.AUTO:
        return settings.image_volumes is ImageVolumes.ALWAYS
    return bool(nodes) and all(_mounts_images(node) for node in nodes)


def _mounts_images(node: Node) -> bool:
    runtime, _, version = node.runtime_version.partition("://")
    least = _RUNTIMES.get(runtime)
    return (
        least is not None
        and _version(version) >= least
        and _version(node.kubelet_version) >= _KUBELET
    )


def _version(text: str) -> tuple[int, int]:
    parts = text.lstrip("v").split(".")
    numbers = [int(part) for part in parts[:2] if part.isdigit()]
    return (numbers[0], numbers[1]) if len(numbers) == len(parts[:2]) == 2 else (0, 0)  # noqa: PLR2004
