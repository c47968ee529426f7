"""Which accelerators a model may be planned on: the administrator's profiles, met by the nodes.

A profile that declares its memory and cards can be planned for while its pool is at zero nodes.
Where a profile's nodes have different cards, each kind of card is an offer of its own, the smallest
first, and its pods are held to the nodes of that kind.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from berth_api import engine_versions
from berth_api.quantity import parse
from berth_api.spec import Accelerator, Spec
from berth_operator.core.accelerators import cards
from berth_operator.core.accelerators.cards import Card
from berth_operator.core.accelerators.offer import Offer
from berth_operator.core.node_health import fault, takes_pods
from berth_operator.core.observed import Node
from berth_operator.settings import AcceleratorProfile, EngineProfile, Settings

# Kinds of cards of one profile. A nodeSelector holds pods to one value of a label, so that kinds
# that nearly agree cannot be one; each costs a decision another plan, and a status another line.
MOST_KINDS: Final = 8
# Of nodes that do not count, so many are named: enough to know where to look.
_NODES_NAMED: Final = 3
_QUANTITIES: Final = 1024  # nodes of one kind say the same


@dataclass(frozen=True)
class NoOffer:
    """Why an accelerator cannot be planned for."""

    accelerator: str
    message: str
    fix: str
    reason: str = "InsufficientGPU"


Found = tuple[Offer | NoOffer, ...]


@dataclass(frozen=True)
class _Pool:
    """Nodes whose cards are alike."""

    card: Card
    cards_per_node: int
    nodes: int


def offers(settings: Settings, nodes: tuple[Node, ...], spec: Spec) -> Found:
    """What this model may be planned on and what it may not, in order of preference; never empty.

    One or more for each entry of `spec.accelerators`, or for each profile where there is none.
    """
    profiles = {profile.name: profile for profile in settings.accelerator_profiles}
    wanted = dict.fromkeys(entry.profile for entry in spec.accelerators) or profiles
    of_profile = {
        name: _of_profile(settings, profiles[name], nodes, spec)
        for name in wanted
        if name in profiles
    }
    several = [
        _of_entry(of_profile[entry.profile], index, entry)
        if entry.profile in of_profile
        else (_unknown(settings, index, entry),)
        for index, entry in enumerate(spec.accelerators)
    ]
    return tuple(one for found in several or of_profile.values() for one in found)


def _of_entry(found: Found, index: int, entry: Accelerator) -> Found:
    gpus = entry.gpus_per_replica if isinstance(entry.gpus_per_replica, int) else None
    return tuple(
        replace(one, entry=index, gpus=gpus) if isinstance(one, Offer) else one for one in found
    )


def _unknown(settings: Settings, index: int, entry: Accelerator) -> NoOffer:
    known = ", ".join(profile.name for profile in settings.accelerator_profiles)
    return NoOffer(
        entry.profile,
        f"spec.accelerators[{index}].profile {entry.profile} is not an accelerator profile of this "
        "cluster",
        f"use one of {known}, or add it to acceleratorProfiles in the chart's values",
        reason="InvalidSpec",
    )


def _of_profile(
    settings: Settings, profile: AcceleratorProfile, nodes: tuple[Node, ...], spec: Spec
) -> Found:
    engine = _engine(settings, profile, spec)
    if isinstance(engine, NoOffer):
        return (engine,)
    matching = [node for node in nodes if profile.node_selector.items() <= node.labels.items()]
    usable = [node for node in matching if takes_pods(node)]
    found = _of_nodes(profile, engine, usable)
    return tuple(_less(one, matching) if isinstance(one, NoOffer) else one for one in found)


def _less(none: NoOffer, nodes: Sequence[Node]) -> NoOffer:
    """With the nodes that do not count now: each is cordoned, or has a fault."""
    faults = [(node, fault(node)) for node in nodes if not takes_pods(node)]
    words = [found.message if found else f"node {node.name} is cordoned" for node, found in faults]
    return replace(none, message="; ".join([none.message, *words[:_NODES_NAMED]]))


def _of_nodes(profile: AcceleratorProfile, engine: EngineProfile, nodes: Sequence[Node]) -> Found:
    if profile.resource is None:
        return (_cpu(profile, engine, nodes),)
    pools = _pools(profile, nodes)
    known = [pool for pool in pools if pool.card.memory_bytes is not None]
    if known:
        alone = len(pools) == 1
        return tuple(_of_pool(profile, engine, pool, alone=alone) for pool in _telling(known))
    return (_as_declared(profile, engine, pools),)


def _engine(settings: Settings, profile: AcceleratorProfile, spec: Spec) -> EngineProfile | NoOffer:
    asked = spec.runtime.engine_profile
    name = profile.engine_profile if asked == "auto" else asked
    engine = settings.engine_profile(name)
    if engine is None:
        known = ", ".join(one.name for one in settings.engine_profiles)
        return NoOffer(
            profile.name,
            f"engine profile {name} does not exist",
            f"set spec.runtime.engineProfile to one of {known}",
            reason="InvalidSpec",
        )
    usual = settings.engine_profile(profile.engine_profile)
    if usual is not None and usual.device is not engine.device:
        return NoOffer(
            profile.name,
            f"engine profile {name} is for {engine.device.value}, and accelerator profile "
            f"{profile.name} is {usual.device.value}",
            "set spec.accelerators to a profile of that device, or engineProfile to auto",
            reason="InvalidSpec",
        )
    return _vulnerable(profile, engine, spec.runtime.image) or engine


def _vulnerable(
    profile: AcceleratorProfile, engine: EngineProfile, image: str | None
) -> NoOffer | None:
    """Why the engine is too old to be run; `image` is the user's own instead of the profile's."""
    version = engine_versions.of_image(image) if image else engine.known_version
    why = version and engine_versions.refusal(version)
    if not why or engine.allow_unsupported:
        return None
    named = f"spec.runtime.image {image}" if image else f"engine profile {engine.name}"
    return NoOffer(
        profile.name,
        f"{named}: {why}",
        f"use an image of vLLM {engine_versions.OLDEST} or newer, or have an administrator set "
        f"allowUnsupported in engineProfiles.{engine.name} of the chart's values",
        reason="EngineVulnerable",
    )


def _cpu(
    profile: AcceleratorProfile, engine: EngineProfile, nodes: Sequence[Node]
) -> Offer | NoOffer:
    largest = max((_allocatable(node, "memory") for node in nodes), default=0)
    memory = profile.memory_bytes or largest
    if not memory:
        return NoOffer(
            profile.name,
            f"no node matches accelerator profile {profile.name}",
            "declare memory in the profile, or mend its nodeSelector",
        )
    return Offer(profile, engine, memory, 0, nodes=len(nodes))


def _pools(profile: AcceleratorProfile, nodes: Sequence[Node]) -> tuple[_Pool, ...]:
    """Nodes that offer the card, by kind of card; the least memory first."""
    found: dict[Card, list[int]] = {}
    for node in nodes:
        if count := _allocatable(node, profile.resource or ""):
            found.setdefault(cards.of_node(profile, node.labels), []).append(count)
    pools = [_Pool(card, max(counts), len(counts)) for card, counts in found.items()]
    return tuple(sorted(pools, key=lambda pool: pool.card.memory_bytes or 0))


def _telling(pools: Sequence[_Pool]) -> list[_Pool]:
    """The smallest, the largest and those of the most nodes; at most MOST_KINDS, in their order."""
    if len(pools) <= MOST_KINDS:
        return list(pools)
    between = sorted(pools[1:-1], key=lambda pool: -pool.nodes)[: MOST_KINDS - 2]
    return [pool for pool in pools if pool in (pools[0], pools[-1], *between)]


def _of_pool(
    profile: AcceleratorProfile, engine: EngineProfile, pool: _Pool, *, alone: bool
) -> Offer:
    """Of cards that say their memory; a profile may declare that less of it is to be used."""
    memory = pool.card.memory_bytes or 0
    count = profile.gpus_per_node if alone and profile.gpus_per_node else pool.cards_per_node
    return Offer(
        profile if alone else _held_to(profile, pool.card),
        engine,
        min(memory, profile.memory_bytes or memory),
        1 if pool.card.sliced else count,
        sliced=pool.card.sliced,
        tenants=pool.card.tenants,
        nodes=pool.nodes,
        capability=pool.card.capability,
    )


def _held_to(profile: AcceleratorProfile, card: Card) -> AcceleratorProfile:
    return profile.model_copy(update={"node_selector": profile.node_selector | dict(card.selector)})


def _as_declared(
    profile: AcceleratorProfile, engine: EngineProfile, pools: Sequence[_Pool]
) -> Offer | NoOffer:
    """Of cards that say nothing, or of a pool at zero: an autoscaler may bring such a node."""
    resource = profile.resource or ""
    memory = cards.declared_bytes(profile)
    count = profile.gpus_per_node or max((pool.cards_per_node for pool in pools), default=0)
    if memory and count:
        sliced = cards.is_slice(resource)
        nodes = sum(pool.nodes for pool in pools)
        return Offer(
            profile,
            engine,
            memory,
            1 if sliced else count,
            sliced,
            nodes=nodes,
            capability=profile.capability,
        )
    if pools:
        return NoOffer(
            profile.name,
            f"no node says how much memory its {resource} has, for accelerator profile "
            f"{profile.name}",
            "let NVIDIA's GPU feature discovery or AMD's node labeller label the nodes, or declare "
            "memory in the profile",
        )
    return NoOffer(
        profile.name,
        f"no node offers {resource} for accelerator profile {profile.name}",
        "add a node with it, or declare memory and gpusPerNode in the profile",
    )


def _allocatable(node: Node, resource: str) -> int:
    return _whole(node.allocatable.get(resource, "0"))


@lru_cache(maxsize=_QUANTITIES)
def _whole(quantity: str) -> int:
    return int(parse(quantity))
