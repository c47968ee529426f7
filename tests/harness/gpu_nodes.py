"""Nodes with cards, labelled as NVIDIA's GPU feature discovery and AMD's node labeller label them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from berth_operator.core.observed import Node

H100 = 81559  # MiB, as the driver reports them
L40S = 46068
L4 = 23034
MIG_1G_10GB = 9984
MIG_3G_40GB = 40448
HOPPER = {"compute.major": "9", "compute.minor": "0"}
ADA = {"compute.major": "8", "compute.minor": "9"}


@dataclass(frozen=True)
class GpuNode:
    """Labels, and extended resources with their counts."""

    name: str
    labels: Mapping[str, str]
    resources: Mapping[str, int]
    host: Mapping[str, str] = field(default_factory=lambda: {"cpu": "64", "memory": "2Ti"})

    def seen(self) -> Node:
        """As the planner sees it."""
        counts = {name: str(count) for name, count in self.resources.items()}
        return Node(self.name, self.labels, {**self.host, **counts})

    def body(self) -> dict[str, Any]:
        """As the API server stores it."""
        counts = {name: str(count) for name, count in self.resources.items()}
        held = {**self.host, **counts, "pods": "110"}
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self.name, "labels": dict(self.labels)},
            "status": {"capacity": held, "allocatable": held},
        }


def nvidia(name: str, product: str, mebibytes: int, count: int, **labels: str) -> GpuNode:
    """Whole cards; `labels` are more of `nvidia.com/gpu.<name>`."""
    found = {
        "count": str(count),
        "memory": str(mebibytes),
        "product": product,
        "replicas": "1",
        "sharing-strategy": "none",
    } | labels
    named = {f"nvidia.com/gpu.{key}": value for key, value in found.items()}
    return GpuNode(name, named, {"nvidia.com/gpu": count})


def h100(name: str = "h100", count: int = 8) -> GpuNode:
    return nvidia(name, "NVIDIA-H100-80GB-HBM3", H100, count, **HOPPER)


def l40s(name: str = "l40s", count: int = 4) -> GpuNode:
    return nvidia(name, "NVIDIA-L40S", L40S, count, **ADA)


def l4(name: str = "l4", count: int = 1) -> GpuNode:
    return nvidia(name, "NVIDIA-L4", L4, count, **ADA)


def time_sliced(name: str = "shared", *, pods: int = 4) -> GpuNode:
    """One card that `pods` pods share."""
    whole = nvidia(
        name,
        "NVIDIA-L40S-SHARED",
        L40S,
        1,
        **{"replicas": str(pods), "sharing-strategy": "time-slicing"},
    )
    return GpuNode(name, whole.labels, {"nvidia.com/gpu": pods})


def mig_single(name: str = "mig") -> GpuNode:
    """Eight cards, each cut into seven slices that go by the name of a card."""
    product = "NVIDIA-H100-80GB-HBM3-MIG-1g.10gb"
    return nvidia(name, product, MIG_1G_10GB, 56, **{"slices.gi": "1", "slices.ci": "1"})


def mig_mixed(name: str = "mixed") -> GpuNode:
    """Eight cards, each cut into two slices with a resource of their own."""
    labels = {"count": "16", "memory": str(MIG_3G_40GB), "slices.gi": "3", "replicas": "1"}
    named = {f"nvidia.com/mig-3g.40gb.{key}": value for key, value in labels.items()}
    whole = nvidia(name, "NVIDIA-H100-80GB-HBM3", H100, 8, replicas="0")
    return GpuNode(name, {**whole.labels, **named}, {"nvidia.com/mig-3g.40gb": 16})


def mi300x(name: str = "mi300x", *, partition: str = "spx_nps1", vram: str = "192G") -> GpuNode:
    count = 8 if partition.startswith("spx") else 64
    labels = {
        "amd.com/gpu.vram": vram,
        "beta.amd.com/gpu.vram": vram,
        f"beta.amd.com/gpu.vram.{vram}": str(count),
        "amd.com/compute-memory-partition": partition,
    }
    return GpuNode(name, labels, {"amd.com/gpu": count})
