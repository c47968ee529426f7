"""What a node's labels say of its cards: how much memory an engine will see, and of what share.

Memory is read from labels, never from a table of names. NVIDIA's GPU feature discovery and AMD's
node labeller write them; any other label with a size can be named in a profile.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from berth_operator.settings import AcceleratorProfile

_MIB: Final = 2**20
_GIB: Final = 2**30

# What a card's driver reports and an engine never sees: page tables, retired pages, the card's own
# firmware (the row "Reserved" of `nvidia-smi -q`). In MiB, what nvidia-smi and the label say less
# torch's total_memory, as its out-of-memory messages print it: T4 15360-14909, L4 23034-22559,
# L40S 46068-45404, A100 40960-40325 and 81920-81152, H100 81559-81008, H200 143771-143073,
# B200 183359-182630; MI300X 192 GiB-191.69. It differs by driver too, so this is the largest: no
# plan may go beyond the card.
DRIVER_BYTES: Final = 768 * _MIB
# A declared size is a name, and a card has up to a two-hundredth less than its name: 81559 MiB of
# 80 GiB, 143771 of 141, 183359 of 180; MIG slices lack as much as a card's driver takes (9728 MiB
# of 10 GiB, 40192 of 40). GDDR memory with ECC has a sixteenth less (46068 MiB of 48 GiB), which no
# name tells: the nodes' labels correct it, else whoever declares it.
NAME_SHORTFALL: Final = 200

# NVIDIA (k8s-device-plugin, internal/lm/resource.go): <resource>.memory in MiB, of one slice where
# the card is cut; <resource>.replicas, the pods on one card that is shared by time-slicing or MPS
# (0 or 1: whole); <resource>.slices.gi, of MIG slices only. A resource that is renamed because it
# is shared keeps the labels of its old name.
_NVIDIA: Final = "nvidia.com/"
_RENAMED: Final = ".shared"
_MIG_RESOURCE: Final = "nvidia.com/mig-"
# AMD (ROCm/k8s-device-plugin, cmd/k8s-node-labeller): GiB rounded to a whole number, as "192G", of
# one partition where the card is cut. Older ones, and those on a node whose cards differ, have the
# size in the label's name and the number of cards as its value.
_AMD: Final = "amd.com/"
_AMD_VRAM: Final = ("amd.com/gpu.vram", "beta.amd.com/gpu.vram")
_AMD_SIZE_IN_NAME: Final = tuple(f"{label}." for label in _AMD_VRAM)
_AMD_PARTITION: Final = "amd.com/compute-memory-partition"
_AMD_WHOLE: Final = "spx"  # as in "spx_nps1": a card in one part

# The compute capability, as GPU feature discovery labels it.
_COMPUTE: Final = ("nvidia.com/gpu.compute.major", "nvidia.com/gpu.compute.minor")

_KINDS_OF_CARDS: Final = 256  # more than any cluster has

_SIZE: Final = re.compile(r"([0-9]{1,9})(M|Mi|MB|MiB|G|Gi|GB|GiB)?")


@dataclass(frozen=True)
class Card:
    """One card as a pod gets it. Equal for nodes whose cards are alike."""

    memory_bytes: int | None  # as the engine sees it; None: no label says
    tenants: int = 1  # pods on one card, none of them held to its part
    sliced: bool = False  # a slice or a shared card: no two of them work on one model
    capability: tuple[int, int] | None = None  # NVIDIA's compute capability
    selector: tuple[tuple[str, str], ...] = ()  # labels that only nodes with such cards have


def of_node(profile: AcceleratorProfile, labels: Mapping[str, str]) -> Card:
    """The cards of a node that offers `profile.resource`."""
    resource = (profile.resource or "").removesuffix(_RENAMED)
    told = tuple((name, labels[name]) for name in _names(profile, resource, labels))
    return _card(profile.memory_label, resource, told)


def _names(profile: AcceleratorProfile, resource: str, labels: Mapping[str, str]) -> Iterator[str]:
    """Of the labels that say anything of the card."""
    for name in (*_memory_labels(profile.memory_label, resource), *_marks(resource)):
        if name in labels:
            yield name
    if resource.startswith(_AMD):
        yield from (one for one in labels if one.startswith(_AMD_SIZE_IN_NAME))


def _marks(resource: str) -> tuple[str, ...]:
    return (f"{resource}.replicas", f"{resource}.slices.gi", _AMD_PARTITION, *_COMPUTE)


@lru_cache(maxsize=_KINDS_OF_CARDS)
def _card(memory_label: str | None, resource: str, told: tuple[tuple[str, str], ...]) -> Card:
    """Remembered: a hundred nodes are looked at for each new model, and most are alike."""
    labels = dict(told)
    size = _size(memory_label, resource, labels)
    if size is None:
        return Card(None)
    name, value, stated = size
    tenants = _tenants(labels.get(f"{resource}.replicas", ""))
    marks = _marks(resource)
    selector = {name: value} | {mark: labels[mark] for mark in marks if mark in labels}
    mig = is_slice(resource) or f"{resource}.slices.gi" in labels
    # The size of a MIG slice is what the engine sees: 19968 MiB by label, 19.50 GiB by torch.
    seen = stated if mig else stated - DRIVER_BYTES
    return Card(
        memory_bytes=max(0, seen),
        tenants=tenants,
        sliced=mig or tenants > 1 or _is_partition(resource, labels),
        capability=_capability(labels),
        selector=tuple(sorted(selector.items())),
    )


def declared_bytes(profile: AcceleratorProfile) -> int | None:
    """What an engine sees at least of a card that the profile declares by its name."""
    if profile.memory_bytes is None:
        return None
    if profile.resource is None:
        return profile.memory_bytes
    named = profile.memory_bytes
    return max(0, named - named // NAME_SHORTFALL - DRIVER_BYTES)


def is_slice(resource: str) -> bool:
    """Whether the resource's name alone says that it is a slice."""
    return resource.startswith(_MIG_RESOURCE)


def _size(
    memory_label: str | None, resource: str, labels: Mapping[str, str]
) -> tuple[str, str, int] | None:
    """The label that says the memory, its value, and bytes."""
    for name in _memory_labels(memory_label, resource):
        stated = _bytes(labels.get(name, ""))
        if stated:
            return name, labels[name], stated
    if memory_label is None and resource.startswith(_AMD):
        return _smallest_by_name(labels)
    return None


def _memory_labels(given: str | None, resource: str) -> tuple[str, ...]:
    if given is not None:
        return (given,)
    if resource.startswith(_NVIDIA):
        return (f"{resource}.memory",)
    return _AMD_VRAM if resource.startswith(_AMD) else ()


def _smallest_by_name(labels: Mapping[str, str]) -> tuple[str, str, int] | None:
    found = (
        (name, value, stated)
        for name, value in labels.items()
        for prefix in _AMD_SIZE_IN_NAME
        if name.startswith(prefix) and (stated := _bytes(name.removeprefix(prefix)))
    )
    return min(found, key=lambda one: (one[2], one[0]), default=None)


def _bytes(text: str) -> int:
    """MiB unless a unit says GiB; labellers write G and mean GiB. 0 if it is no size."""
    match = _SIZE.fullmatch(text)
    if match is None:
        return 0
    number, unit = match.groups()
    return int(number) * (_GIB if unit and unit.startswith("G") else _MIB)


def _tenants(text: str) -> int:
    return max(1, int(text)) if text.isdecimal() else 1


def _is_partition(resource: str, labels: Mapping[str, str]) -> bool:
    partition = labels.get(_AMD_PARTITION, _AMD_WHOLE)
    return resource.startswith(_AMD) and not partition.startswith(_AMD_WHOLE)


def _capability(labels: Mapping[str, str]) -> tuple[int, int] | None:
    major, minor = (labels.get(name, "") for name in _COMPUTE)
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else None
