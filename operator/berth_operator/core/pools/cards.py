"""What the pods of a pool have: the accelerator profile that it names, as this cluster has it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from berth_api.quantity import format_bytes, mebibytes, parse_bytes
from berth_api.shape import Failure
from berth_api.spec import Accelerator, Model, Runtime, Spec
from berth_operator.core.accelerators import offers
from berth_operator.core.accelerators.offer import Offer
from berth_operator.core.observed import Node
from berth_operator.core.planner.wishes import DEFAULT_GPU_FRACTION
from berth_operator.core.pools.pool import ResolvedPool
from berth_operator.settings import Settings

_GIB: Final = 2**30
# Host memory of a pool's pod beside its engines: the wrapper, and the process that keeps the
# engine's imports (0.7 GiB, design 0019).
OWN_BYTES: Final = _GIB
# A CPU pod with less has no room for any engine beside that.
LEAST_CPU_BYTES: Final = 3 * _GIB
# A source that the offers do not look at; the pool has none.
_NO_MODEL: Final = Model(source="pvc://none")


def offer(pool: ResolvedPool, settings: Settings, nodes: tuple[Node, ...]) -> Offer | Failure:
    """The card that every model of the pool is planned on. Of several kinds, the smallest."""
    found = offers.offers(settings, nodes, _asking(pool))
    offered = [one for one in found if isinstance(one, Offer)]
    if not offered:
        return _none(found)
    first = offered[0]
    return _on_cpu(pool, first) if first.on_cpu else _on_gpus(pool, first)


def _asking(pool: ResolvedPool) -> Spec:
    """The offers are made for a model's spec; this one says what the pool says."""
    runtime = pool.spec.runtime
    return Spec(
        model=_NO_MODEL,
        runtime=Runtime(engine_profile=runtime.engine_profile, image=runtime.image),
        accelerators=[Accelerator(profile=pool.spec.accelerator.profile)],
    )


def _none(found: Sequence[Offer | offers.NoOffer]) -> Failure:
    none = next(one for one in found if isinstance(one, offers.NoOffer))
    message = none.message.replace("spec.accelerators[0].profile", "spec.accelerator.profile")
    fix = none.fix.replace("spec.accelerators", "spec.accelerator.profile")
    return Failure(reason=none.reason, message=message, fix=fix)


def _on_gpus(pool: ResolvedPool, first: Offer) -> Offer | Failure:
    count = pool.spec.accelerator.gpus_per_pod
    if count <= first.cards_per_node and not (first.tenants > 1):
        return replace(first, cards_per_node=count, entry=None, gpus=None)
    if first.tenants > 1:
        return Failure(
            reason="InvalidSpec",
            message=f"spec.accelerator.profile {first.profile.name}: its cards are time-sliced, so "
            "that other pods take memory of them",
            fix="use a profile of whole cards or MIG slices",
        )
    return Failure(
        reason="InsufficientGPU",
        message=f"spec.accelerator.gpusPerPod {count}: a node of {first.profile.name} has "
        f"{first.cards_per_node}",
        fix=f"set it to at most {first.cards_per_node}, and spec.replicas to more",
    )


def _on_cpu(pool: ResolvedPool, first: Offer) -> Offer | Failure:
    asked = pool.spec.resources.memory
    memory = parse_bytes(asked) if asked else first.memory_bytes
    if memory < LEAST_CPU_BYTES:
        return Failure(
            reason="InvalidSpec",
            message=f"spec.resources.memory {mebibytes(memory)}: the pod itself takes "
            f"{format_bytes(OWN_BYTES)} of it",
            fix=f"set it to at least {mebibytes(LEAST_CPU_BYTES)}, and to more for more models",
        )
    return replace(first, memory_bytes=memory - OWN_BYTES, entry=None, gpus=None)


def pod_memory_bytes(pool: ResolvedPool, offered: Offer) -> int:
    """Host memory that a pod asks for. On GPUs what an engine's processes take, for each card."""
    asked = pool.spec.resources.memory
    if offered.on_cpu:
        return offered.memory_bytes + OWN_BYTES
    return parse_bytes(asked) if asked else OWN_BYTES + GPU_HOST_BYTES * offered.cards_per_node


# Of each card: two engines' processes, and the page cache that their weights pass through.
GPU_HOST_BYTES: Final = 16 * _GIB


def shared_bytes(offered: Offer) -> int:
    """Of one card that engines may share; the rest is the driver's, and vLLM's own reserve."""
    if offered.on_cpu:
        return offered.memory_bytes
    return int(offered.memory_bytes * DEFAULT_GPU_FRACTION)


def room(offered: Offer) -> tuple[int, ...]:
    """Of one pod: bytes of each card that engines may share; on CPU one of host memory."""
    return (shared_bytes(offered),) * max(1, offered.cards_per_node)
