"""Which accelerators this cluster has, by the administrator's profiles and the nodes' own words.

A profile that declares its memory and cards can be planned for while its pool is at zero nodes.
"""

from dataclasses import dataclass
from typing import Final

from berth_api.quantity import parse
from berth_api.types import Spec
from berth_operator.core.fit import Offer
from berth_operator.core.observed import Node
from berth_operator.settings import AcceleratorProfile, EngineProfile, Settings

_MIB: Final = 2**20


@dataclass(frozen=True)
class NoOffer:
    """Why no accelerator can be planned for."""

    message: str
    fix: str


def offers(settings: Settings, nodes: tuple[Node, ...], spec: Spec) -> tuple[Offer, ...] | NoOffer:
    """The offers that this model may be planned on, in order of preference; never empty."""
    profiles = _wanted(settings, spec)
    if isinstance(profiles, NoOffer):
        return profiles
    found = [_offer(settings, profile, nodes, spec) for profile in profiles]
    usable = tuple(offer for offer in found if isinstance(offer, Offer))
    return usable or next(why for why in found if isinstance(why, NoOffer))


def _wanted(settings: Settings, spec: Spec) -> tuple[AcceleratorProfile, ...] | NoOffer:
    profiles = tuple(settings.accelerator_profiles)
    if not spec.accelerators:
        return profiles
    name = spec.accelerators[0].profile
    chosen = tuple(profile for profile in profiles if profile.name == name)
    known = ", ".join(profile.name for profile in profiles)
    return chosen or NoOffer(
        f"spec.accelerators[0].profile {name} is not an accelerator profile of this cluster",
        f"use one of {known}, or add it to acceleratorProfiles in the chart's values",
    )


def _offer(
    settings: Settings, profile: AcceleratorProfile, nodes: tuple[Node, ...], spec: Spec
) -> Offer | NoOffer:
    asked = spec.runtime.engine_profile
    name = profile.engine_profile if asked == "auto" else asked
    engine = settings.engine_profile(name)
    if engine is None:
        known = ", ".join(one.name for one in settings.engine_profiles)
        return NoOffer(
            f"engine profile {name} does not exist",
            f"set spec.runtime.engineProfile to one of {known}",
        )
    usual = settings.engine_profile(profile.engine_profile)
    if usual is not None and usual.device is not engine.device:
        return NoOffer(
            f"engine profile {name} is for {engine.device.value}, and accelerator profile "
            f"{profile.name} is {usual.device.value}",
            "set spec.accelerators to a profile of that device, or engineProfile to auto",
        )
    if profile.resource is None:
        return _cpu_offer(profile, nodes, engine)
    cards = profile.gpus_per_node or max((_cards(node, profile) for node in nodes), default=0)
    memory = profile.memory_bytes or _labelled_memory(profile, nodes)
    if not cards or not memory:
        return NoOffer(
            f"no node offers {profile.resource} for accelerator profile {profile.name}",
            "add a node with it, or declare memory and gpusPerNode in the profile",
        )
    return Offer(profile, engine, memory, cards)


def _cpu_offer(
    profile: AcceleratorProfile, nodes: tuple[Node, ...], engine: EngineProfile
) -> Offer | NoOffer:
    memory = profile.memory_bytes or max(
        (int(parse(node.allocatable.get("memory", "0"))) for node in _matching(profile, nodes)),
        default=0,
    )
    if not memory:
        return NoOffer(
            f"no node matches accelerator profile {profile.name}",
            "declare memory in the profile, or mend its nodeSelector",
        )
    return Offer(profile, engine, memory, 0)


def _matching(profile: AcceleratorProfile, nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    wanted = profile.node_selector.items()
    return tuple(node for node in nodes if wanted <= node.labels.items())


def _cards(node: Node, profile: AcceleratorProfile) -> int:
    if not profile.node_selector.items() <= node.labels.items():
        return 0
    return int(parse(node.allocatable.get(profile.resource or "", "0")))


def _labelled_memory(profile: AcceleratorProfile, nodes: tuple[Node, ...]) -> int | None:
    """Bytes per card by node label, the smallest of the nodes that offer the card."""
    if profile.memory_label is None:
        return None
    values = [
        int(node.labels[profile.memory_label]) * _MIB
        for node in nodes
        if _cards(node, profile) and node.labels.get(profile.memory_label, "").isdigit()
    ]
    return min(values, default=None)
